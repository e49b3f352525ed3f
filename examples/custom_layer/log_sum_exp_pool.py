"""A layer that OpenVINO lacks, in Python: pooling by the logarithm of a mean of exponentials.

The mean over all cells of a plane drowns a small lesion and the maximum trusts one cell; between
them lies (1 / r) log(mean(exp(r x))), the mean for r near 0 and the maximum for large r (Wang et
al., ChestX-ray8, CVPR 2017, equation 1).
"""

from typing import Any

import numpy as np
import openvino as ov


class LogSumExpPool(ov.Op):
    """float32 [N,C,H,W] -> [N,C,1,1]."""

    framework_names = ("example::LogSumExpPool", "example::log_sum_exp_pool")
    """What ONNX files and PyTorch programs call it."""

    def __init__(self, inputs: list[ov.Output] | None = None, *, r: float = 10.0) -> None:
        """Make the layer; without inputs when OpenVINO reads it from a file.

        Args:
            inputs: list of the one value to pool.
            r: sharpness, above 0.
        """
        super().__init__(self, inputs)
        self.r = r

    def validate_and_infer_types(self) -> None:
        """Say what comes out."""
        shape = self.get_input_partial_shape(0)
        shape[2] = shape[3] = 1
        self.set_output_type(0, self.get_input_element_type(0), shape)

    def clone_with_new_inputs(self, new_inputs: list[ov.Output]) -> "LogSumExpPool":
        """Return the same layer of other inputs."""
        return LogSumExpPool(new_inputs, r=self.r)

    def visit_attributes(self, visitor: Any) -> bool:  # noqa: ANN401
        """Write or read what stands in the file: the visitor may change the dictionary."""
        attributes = {"r": self.r}
        visitor.on_attributes(attributes)
        self.r = attributes["r"]
        return True

    def has_evaluate(self) -> bool:
        """Say that `evaluate` computes it."""
        return True

    def evaluate(self, outputs: list[ov.Tensor], inputs: list[ov.Tensor]) -> bool:
        """Compute it, the largest exponent taken off first, or the exponentials overflow."""
        image = inputs[0].data
        top = image.max((2, 3), keepdims=True)
        mean = np.exp(self.r * (image - top)).mean((2, 3), keepdims=True)
        outputs[0].shape = mean.shape
        outputs[0].data[:] = top + np.log(mean) / self.r
        return True
