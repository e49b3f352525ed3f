"""What the flags of the Model Optimizer ask of each input and output, as one value each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import openvino as ov

from thorax.errors import UsageError
from thorax.importers.options import Layout
from thorax.mo.arguments import Arguments
from thorax.mo.cut import channels_first, find_input
from thorax.mo.flags import Axes, Entry, Values
from thorax.mo.preprocessing import Steps

_LAYOUTS: Final = {4: ("NCHW", "NHWC"), 5: ("NCDHW", "NDHWC")}
"""By number of axes: what images of that many are called, channels first and last."""


@dataclass(frozen=True, slots=True)
class InputPlan:
    """What becomes of an input: its shape in the framework's own layout, and steps before it."""

    shape: ov.PartialShape
    steps: Steps


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What becomes of an output: the order of its axes, () as it is, and their letters or ""."""

    order: tuple[int, ...]
    layout: str


def plan_inputs(arguments: Arguments, model: ov.Model, layout: Layout) -> list[InputPlan]:
    """Return what the flags ask of each input.

    Raises:
        UsageError: `mo-shape`, `mo-batch`, `mo-layout`, `mo-values`, `mo-reverse`, `mo-name`,
            `model-undescribed`.
    """
    shapes = _stated_shapes(arguments, model)
    mean = _per_input(arguments.mean, model, "--mean_values", arguments.fed)
    scale = _per_input(arguments.scale, model, "--scale_values", arguments.fed)
    elements = {
        find_input(model, entry.name): entry.element
        for entry in arguments.fed
        if entry.element is not None
    }
    plans = []
    for index, port in enumerate(model.inputs):
        stated = _stated_axes(arguments.layouts, model, port, "input")
        shape = _shape(port, shapes.get(index), stated, arguments, layout)
        turned = not arguments.flags.disable_nhwc_to_nchw
        axes = stated or _usual_axes(port, shape, layout, turned=turned)
        _require_rank(port, shape, stated)
        letters = axes.source if axes else ""
        is_known = "C" in letters and shape[letters.index("C")].is_static
        channels = shape[letters.index("C")].get_length() if is_known else None
        _require_channels(port, shape, letters, channels, (mean[index], scale[index]))
        element = elements.get(index, "")
        steps = Steps(
            layout=axes.target if axes else "",
            order=_order(axes.target, axes.source) if axes else (),
            reverse=arguments.flags.reverse_input_channels and channels == 3,
            mean=mean[index],
            scale=scale[index],
            element="" if element == port.get_element_type().to_string() else element,
        )
        plans.append(InputPlan(shape, steps))
    if arguments.flags.reverse_input_channels and not any(plan.steps.reverse for plan in plans):
        shown = ", ".join(
            f"{port.any_name} {plan.shape}" for port, plan in zip(model.inputs, plans, strict=True)
        )
        raise UsageError(
            "mo-reverse", f"--reverse_input_channels swaps 3 channels; no input here has 3: {shown}"
        )
    return plans


def _order(source: str, target: str) -> tuple[int, ...]:
    """Return the axes of `source` in the order that `target` has them; () where it is the same."""
    return () if source == target else tuple(source.index(letter) for letter in target)


def _stated_shapes(arguments: Arguments, model: ov.Model) -> dict[int, tuple[int, ...]]:
    fed = arguments.fed
    shapes: dict[int, tuple[int, ...]] = {}
    if arguments.shapes:
        count = len(fed) or len(model.inputs)
        if len(arguments.shapes) != count:
            raise UsageError(
                "mo-shape",
                f"--input_shape gives {len(arguments.shapes)} shapes for {count} inputs "
                f"({', '.join(port.any_name for port in model.inputs)}); give one each",
            )
        indices = [find_input(model, entry.name) for entry in fed] or range(count)
        shapes = dict(zip(indices, arguments.shapes, strict=True))
    for entry in fed:
        if entry.shape is not None:
            shapes[find_input(model, entry.name)] = entry.shape
    return shapes


def _shape(
    port: ov.Output,
    stated: tuple[int, ...] | None,
    axes: Axes | None,
    arguments: Arguments,
    layout: Layout,
) -> ov.PartialShape:
    shape = port.get_partial_shape()
    if stated is not None:
        if shape.rank.is_static and len(shape) != len(stated):
            raise UsageError(
                "mo-shape",
                f"input {port.any_name!r} has {len(shape)} axes, {shape}; "
                f"{list(stated)} has {len(stated)}",
            )
        lengths = list(stated)
        if layout == "NHWC" and channels_first(port):
            lengths = [lengths[0], lengths[-1], *lengths[1:-1]]
        return ov.PartialShape(lengths)
    if arguments.flags.batch is not None and shape.rank.is_static and len(shape):
        axis = axes.source.find("N") if axes else 0
        if 0 <= axis < len(shape):
            shape[axis] = arguments.flags.batch
    if shape.is_dynamic:
        raise UsageError(
            "model-undescribed",
            f"input {port.any_name!r} is {shape} in {arguments.path.name}; give --input_shape (or "
            "--batch if only the first axis is open), with -1 for what shall stay open",
        )
    return shape


def _require_channels(
    port: ov.Output,
    shape: ov.PartialShape,
    letters: str,
    channels: int | None,
    values: tuple[tuple[float, ...], tuple[float, ...]],
) -> None:
    for numbers, flag in zip(values, ("--mean_values", "--scale_values"), strict=True):
        if len(numbers) > 1 and "C" not in letters:
            raise UsageError(
                "mo-layout",
                f"{flag} has {len(numbers)} numbers, but which axis of {port.any_name!r} "
                f"{shape} holds the channels? Say so with --layout",
            )
        if len(numbers) > 1 and channels not in (None, len(numbers)):
            raise UsageError(
                "mo-values",
                f"{flag} has {len(numbers)} numbers, {port.any_name!r} has "
                f"{channels} channels ({letters} {shape}); give one a channel",
            )
    kind = port.get_element_type()
    if any(values) and not kind.is_real():
        raise UsageError(
            "mo-values",
            f"input {port.any_name!r} takes whole numbers ({kind.to_string()}), of which a "
            "mean or scale would leave nothing; name another input",
        )


def plan_outputs(arguments: Arguments, model: ov.Model, layout: Layout) -> list[OutputPlan]:
    """Return what the flags ask of each output.

    Raises:
        UsageError: `mo-layout`.
    """
    plans = []
    for port in model.outputs:
        shape = port.get_partial_shape()
        axes = _stated_axes(arguments.layouts, model, port, "output")
        _require_rank(port, shape, axes)
        if axes is None:
            turned = not arguments.flags.disable_nhwc_to_nchw and not arguments.layouts
            axes = _usual_axes(port.get_node().input_value(0), shape, layout, turned=turned)
        order, letters = (_order(axes.source, axes.target), axes.target) if axes else ((), "")
        plans.append(OutputPlan(order, letters))
    return plans


def _usual_axes(
    value: ov.Output, shape: ov.PartialShape, layout: Layout, *, turned: bool
) -> Axes | None:
    """Return how the graph lays out an image, and how the IR shall; None for what is none."""
    if shape.rank.is_dynamic or len(shape) not in _LAYOUTS:
        return None
    first, last = _LAYOUTS[len(shape)]
    if layout == "NCHW":
        return Axes("", first, first)
    return Axes("", first if channels_first(value) else last, first if turned else last)


def _stated_axes(
    layouts: Sequence[Axes], model: ov.Model, port: ov.Output, kind: Literal["input", "output"]
) -> Axes | None:
    """Return what `--layout`, or else an IR itself, says of an input or output."""
    for axes in layouts:
        if axes.name == "" and kind == "input" and len(model.inputs) > 1:
            raise UsageError(
                "mo-layout", "--layout names no input and there are several; write name(nchw),..."
            )
        if (axes.name == "" and kind == "input") or _is_called(port, axes.name):
            return axes
    text = str(port.get_node().get_layout())
    if kind == "output" or "/placeholder_" in port.get_node().get_friendly_name() or "..." in text:
        return None
    letters = re.sub(r"[^A-Z?]", "", text)
    return Axes("", letters, letters) if letters else None


def _require_rank(port: ov.Output, shape: ov.PartialShape, axes: Axes | None) -> None:
    if axes is not None and shape.rank.is_static and len(shape) != len(axes.source):
        raise UsageError(
            "mo-layout",
            f"--layout says {axes.source.lower()} of {port.any_name!r}, which is {shape}",
        )


def _per_input(
    values: Sequence[Values], model: ov.Model, flag: str, fed: Sequence[Entry]
) -> list[tuple[float, ...]]:
    """Return the numbers of each input; without names they go by the order of the inputs."""
    numbers: list[tuple[float, ...]] = [()] * len(model.inputs)
    if values and values[0].name == "*":
        # As it was: what a cut put in place of an inner layer is not an original input.
        return [
            () if "/placeholder_" in port.get_node().get_friendly_name() else values[0].numbers
            for port in model.inputs
        ]
    if values and values[0].name == "":
        if len(values) != (len(fed) or len(numbers)):
            raise UsageError(
                "mo-values",
                f"{flag} has {len(values)} lists for {len(fed) or len(numbers)} inputs; give one "
                "each, or name(...) for some",
            )
        indices = [find_input(model, entry.name) for entry in fed] or range(len(numbers))
    else:
        indices = [find_input(model, each.name) for each in values]
    for index, each in zip(indices, values, strict=True):
        numbers[index] = each.numbers
    return numbers


def _is_called(port: ov.Output, name: str) -> bool:
    node = port.get_node()
    if node.get_type_name() == "Result":
        node = node.input_value(0).get_node()
    return name in port.get_names() or name == node.get_friendly_name()
