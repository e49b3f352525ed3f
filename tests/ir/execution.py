"""Graphs executed as their framework would: in FP32, on the CPU."""

from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov


def run(model: ov.Model, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(image)[0])
