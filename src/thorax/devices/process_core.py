"""The process's one `ov.Core`, alone in its module: a child that reads a model needs no more."""

import functools

import numpy as np
import openvino as ov


@functools.cache
def open_core() -> ov.Core:
    """Return the process's one core; of simulated cards it knows nothing."""
    core = ov.Core()
    # OpenVINO's binding fills its tables of numpy when they are first used, and lets other threads
    # run meanwhile: two callbacks that came first together would wait for each other for ever.
    ov.Type.u8.to_dtype()
    ov.Type(np.uint8)
    ov.Tensor(np.zeros(1, np.uint8)).data.copy()
    return core
