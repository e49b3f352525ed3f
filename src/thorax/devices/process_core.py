"""The process's one `ov.Core`, alone in its module: a child that reads a model needs no more."""

import functools

import openvino as ov


@functools.cache
def open_core() -> ov.Core:
    """Return the process's one core; of simulated cards it knows nothing."""
    return ov.Core()
