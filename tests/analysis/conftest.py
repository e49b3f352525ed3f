"""Networks that are converted once, read in the process of the test."""

from tests.converted import convert, fragile, save_onnx
from tests.importers.conftest import here

__all__ = ["convert", "fragile", "here", "save_onnx"]
