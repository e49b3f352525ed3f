"""Any model as a graph to look at: an artifact, an IR, or a file of any framework."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import openvino as ov

from thorax import artifact
from thorax.artifact import CARD, XML, Card
from thorax.devices.extensions import add_extensions, missing
from thorax.devices.process_core import open_core
from thorax.errors import ModelError, UsageError
from thorax.importers import formats
from thorax.importers.options import UNREADABLE, ImportOptions, Layout, unreadable
from thorax.ir.corrections import correct
from thorax.ir.layouts import TO_CHANNELS_FIRST, TO_CHANNELS_LAST


@dataclass(frozen=True, slots=True)
class Graph:
    """A network of one fixed input shape, and what is known of it.

    Attributes:
        path: where it was read from.
        model: every shape is fixed.
        layout: of an input that is an image.
        card: of an artifact; None of a foreign file.
        compute: element type that its floating-point layers run in on a CPU.
    """

    path: Path
    model: ov.Model
    layout: Layout
    card: Card | None
    compute: str

    @property
    def name(self) -> str:
        """What to call it."""
        return self.card.name if self.card else self.path.stem

    @property
    def precision(self) -> str:
        """How its weights are stored, or float where no card says."""
        return self.card.precision.value if self.card else _stored(self.model)


def open_graph(path: Path, asked: ImportOptions | None = None, *, side: int | None = None) -> Graph:
    """Read a model to look at it; what only a classifier needs is not asked for.

    Args:
        path: artifact folder, or a file that `formats.read` knows.
        asked: what a foreign file leaves open of itself.
        side: of a square input whose sides the file leaves open, pixels.

    Raises:
        ModelError: as `artifact.load` and `formats.read`, `model-input` when the shape that was
            asked for does not fit.
        UsageError: `model-undescribed` when the file leaves a shape open, `model-described` when
            an artifact is given one.
    """
    asked = asked or ImportOptions()
    if _is_artifact(path):
        if replace(asked, extensions=()) != ImportOptions() or side is not None:
            raise UsageError(
                "model-described",
                f"{path} is an artifact, which says its input itself; leave out --side, "
                "--input_shape, --structure and --topology",
            )
        made = artifact.load(path)
        add_extensions(asked.extensions)
        model = _read_ir(made)
        return Graph(made.path, model, "NCHW", made.card, made.card.precision.compute)
    imported = formats.read(path, replace(asked, side=side))
    model, layout = imported.model, imported.layout
    _fix(model, path, asked, side, layout)
    correct(model)
    return Graph(path, model, layout, None, "f32")


def open_pair(
    path: Path, path2: Path, asked: ImportOptions, *, side: int | None = None
) -> tuple[Graph, Graph]:
    """Read two models to compare them; what is asked for an artifact alone does not need.

    A shape is that of the first model; a second whose framework puts channels elsewhere is given
    the same shape in its own layout.

    Raises:
        ModelError: as `open_graph`.
        UsageError: as `open_graph`, `model-described` only where both are artifacts.
    """
    paths = (path, path2)
    bare = ImportOptions(extensions=asked.extensions)
    if len({_is_artifact(one) for one in paths}) == 1:
        wanted = [asked, replace(asked, shapes=_as_laid_out(asked, path, path2))]
        sides = [side, side]
    else:
        wanted = [bare if _is_artifact(one) else asked for one in paths]
        sides = [None if _is_artifact(one) else side for one in paths]
    first, second = (
        open_graph(one, each, side=length)
        for one, each, length in zip(paths, wanted, sides, strict=True)
    )
    return first, second


def _as_laid_out(asked: ImportOptions, path: Path, path2: Path) -> Mapping[str, tuple[int, ...]]:
    """Return shapes of the first model as the framework of the second puts channels."""
    layouts = [formats.usual_layout(one) for one in (path, path2)]
    if layouts[0] == layouts[1]:
        return asked.shapes
    order = TO_CHANNELS_LAST if layouts[1] == "NHWC" else TO_CHANNELS_FIRST
    return {
        name: tuple(shape[axis] for axis in order) if len(shape) == 4 else shape
        for name, shape in asked.shapes.items()
    }


def _is_artifact(path: Path) -> bool:
    return _has_card(path) or (path.name == XML and _has_card(path.parent))


def _has_card(folder: Path) -> bool:
    return (folder / CARD).is_file()


def _read_ir(made: artifact.Artifact) -> ov.Model:
    try:
        return open_core().read_model(made.xml)
    except UNREADABLE as error:
        raise missing(made, error) or unreadable(made.xml, error) from error


def _fix(
    model: ov.Model, path: Path, asked: ImportOptions, side: int | None, layout: Layout
) -> None:
    """Give every input one shape: what was asked for, one image, and a square of this side."""
    shapes = {}
    for port in model.inputs:
        given = asked.shapes.get(port.any_name if port.get_names() else "", asked.shapes.get(""))
        shape = port.get_partial_shape()
        if given is not None:
            shapes[port] = ov.PartialShape(list(given))
        elif shape.is_dynamic:
            shapes[port] = _open_axes(shape, side, layout)
    for port, shape in shapes.items():
        if shape.is_dynamic:
            raise UsageError(
                "model-undescribed",
                f"{path.name} takes {port.get_partial_shape()}; say a square side with --side, or "
                "every axis with --input_shape, e.g. 1,3,224,224",
            )
    try:
        if shapes:
            model.reshape(shapes)
    except RuntimeError as error:
        told = ", ".join(map(str, shapes.values()))
        raise ModelError(
            "model-input",
            f"{path.name} does not take {told}: {str(error).strip().splitlines()[-1]}",
        ) from error


def _open_axes(shape: ov.PartialShape, side: int | None, layout: Layout) -> ov.PartialShape:
    if shape.rank.is_dynamic or len(shape) != 4:
        return shape
    axes = list(shape)
    square = (2, 3) if layout == "NCHW" else (1, 2)
    wanted = {0: 1, **(dict.fromkeys(square, side) if side is not None else {})}
    for axis, length in wanted.items():
        if axes[axis].is_dynamic:
            axes[axis] = ov.Dimension(length)
    return ov.PartialShape(axes)


def _stored(model: ov.Model) -> str:
    """Return the precision that most bytes of the weights are stored in."""
    held: dict[str, int] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant":
            element = node.get_element_type().get_type_name()
            held[element] = held.get(element, 0) + node.get_byte_size()
    most = max(held, key=lambda element: held[element], default="f32")
    return {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}.get(
        most, most
    )
