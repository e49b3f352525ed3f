"""Layers that begin a Caffe network, and the shapes that they say."""

from typing import Final

from thorax.importers.caffe_layer import Layer

Shape = tuple[int, ...]

_INPUTS: Final = {
    "INPUT", "DATA", "IMAGEDATA", "HDF5DATA", "MEMORYDATA", "WINDOWDATA", "ANNOTATEDDATA",
}  # fmt: skip


def is_input(layer: Layer) -> bool:
    """Return whether a layer is fed from outside; dummies that are random are, constants not."""
    if layer.key == "DUMMYDATA":
        fillers = layer.block.block("dummy_data_param").blocks("data_filler")
        return any(filler.text("type", "constant") != "constant" for filler in fillers)
    return layer.key in _INPUTS


def inputs_of(layer: Layer) -> dict[str, Shape | None]:
    """Return the inputs that a layer stands for, with their shapes; None is left to be said.

    The first blob of a layer that reads files is the images, the others are labels.
    """
    tops = layer.block.texts("top")
    if layer.key in ("INPUT", "DUMMYDATA"):
        return dict(zip(tops, said_shapes(layer, len(tops)), strict=True))
    shape = None
    if layer.key == "MEMORYDATA":
        param = layer.block.block("memory_data_param")
        sides = ("batch_size", "channels", "height", "width")
        shape = tuple(param.integer(side, -1) for side in sides)
    return dict.fromkeys(tops[:1], shape)


def said_shapes(layer: Layer, count: int) -> list[Shape | None]:
    """Return a shape for each top; one that stands alone is that of all."""
    name = "input_param" if layer.key == "INPUT" else "dummy_data_param"
    param = layer.block.block(name)
    shapes: list[Shape | None] = [tuple(shape.integers("dim")) for shape in param.blocks("shape")]
    if not shapes and "num" in param:
        sides = [param.integers(side) for side in ("num", "channels", "height", "width")]
        shapes = list(zip(*sides, strict=False))
    if len(shapes) == 1:
        return shapes * count
    return shapes + [None] * (count - len(shapes)) if len(shapes) <= count else shapes[:count]
