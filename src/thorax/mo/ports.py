"""What the flags of the Model Optimizer ask of each input and output."""

import re
from collections.abc import Sequence
from typing import Final

import openvino as ov

from thorax.errors import UsageError
from thorax.importers.options import Imported, Layout
from thorax.mo.arguments import Plan
from thorax.mo.cut import channels_first, find_input
from thorax.mo.flags import Axes, Entry, Values
from thorax.mo.preprocessing import Steps

_LAYOUTS: Final = {4: ("NCHW", "NHWC"), 5: ("NCDHW", "NDHWC")}
"""By number of axes: what images of that many are called, channels first and last."""


def wanted_shapes(plan: Plan, model: ov.Model, layout: Layout) -> list[ov.PartialShape]:
    """Return the shape of every input in the framework's own layout.

    Raises:
        UsageError: `mo-shape`, `mo-batch`, `model-undescribed`.
    """
    own = [port.get_partial_shape() for port in model.inputs]
    said: dict[int, tuple[int, ...]] = {}
    fed = [entry for entry in plan.entries if entry.value is None]
    if plan.shapes:
        count = len(fed) or len(own)
        if len(plan.shapes) != count:
            raise UsageError(
                "mo-shape",
                f"--input_shape gives {len(plan.shapes)} shapes for {count} inputs "
                f"({', '.join(port.any_name for port in model.inputs)}); give one each",
            )
        places = [find_input(model, entry.name) for entry in fed] or range(count)
        said = dict(zip(places, plan.shapes, strict=True))
    for entry in fed:
        if entry.shape is not None:
            said[find_input(model, entry.name)] = entry.shape
    wanted = []
    for index, shape in enumerate(own):
        name = model.inputs[index].any_name
        if index in said:
            if shape.rank.is_static and len(shape) != len(said[index]):
                raise UsageError(
                    "mo-shape",
                    f"input {name!r} has {len(shape)} axes, {shape}; "
                    f"{list(said[index])} has {len(said[index])}",
                )
            asked = list(said[index])
            if layout == "NHWC" and channels_first(model.inputs[index]):
                asked = [asked[0], asked[-1], *asked[1:-1]]
            wanted.append(ov.PartialShape(asked))
            continue
        if plan.batch is not None and shape.rank.is_static and len(shape):
            axes = _axes_of(plan.layouts, model, model.inputs[index], "input")
            place = axes.source.find("N") if axes else 0
            if place >= 0:
                shape[place] = plan.batch
        if shape.is_dynamic:
            raise UsageError(
                "model-undescribed",
                f"input {name!r} is {shape} in {plan.path.name}; give --input_shape (or --batch "
                "if only the first axis is open), with -1 for what shall stay open",
            )
        wanted.append(shape)
    return wanted


def steps_of(plan: Plan, model: ov.Model, imported: Imported) -> list[Steps]:
    """Return what is to be done to each input.

    Raises:
        UsageError: `mo-layout`, `mo-values`, `mo-reverse`, `mo-name`.
    """
    mean = _per_input(plan.mean, model, "--mean_values", plan.entries)
    scale = _per_input(plan.scale, model, "--scale_values", plan.entries)
    elements = {
        find_input(model, entry.name): entry.element
        for entry in plan.entries
        if entry.element is not None and entry.value is None
    }
    steps = []
    for index, port in enumerate(model.inputs):
        shape = port.get_partial_shape()
        axes = _axes_of(plan.layouts, model, port, "input") or _usual(
            port, imported.layout, turned=not plan.keeps_channels_last
        )
        letters = axes.source if axes else ""
        known = "C" in letters and shape[letters.index("C")].is_static
        channels = shape[letters.index("C")].get_length() if known else None
        for values, flag in ((mean[index], "--mean_values"), (scale[index], "--scale_values")):
            if len(values) > 1 and "C" not in letters:
                raise UsageError(
                    "mo-layout",
                    f"{flag} has {len(values)} numbers, but which axis of {port.any_name!r} "
                    f"{shape} holds the channels? Say so with --layout",
                )
            if len(values) > 1 and channels not in (None, len(values)):
                raise UsageError(
                    "mo-values",
                    f"{flag} has {len(values)} numbers, {port.any_name!r} has "
                    f"{channels} channels ({letters} {shape}); give one a channel",
                )
        order: tuple[int, ...] = ()
        if axes and axes.source != axes.target:
            order = tuple(axes.target.index(letter) for letter in axes.source)
        kind = port.get_element_type()
        if (mean[index] or scale[index]) and not kind.is_real():
            raise UsageError(
                "mo-values",
                f"input {port.any_name!r} takes whole numbers ({kind.to_string()}), of which a "
                "mean or scale would leave nothing; name another input",
            )
        element = elements.get(index, "")
        steps.append(
            Steps(
                layout=axes.target if axes else "",
                order=order,
                reverse=plan.reverses and channels == 3,
                mean=mean[index],
                scale=scale[index],
                element="" if element == kind.to_string() else element,
            )
        )
    if plan.reverses and not any(one.reverse for one in steps):
        shapes = ", ".join(f"{port.any_name} {port.get_partial_shape()}" for port in model.inputs)
        raise UsageError(
            "mo-reverse",
            f"--reverse_input_channels swaps 3 channels; no input here has 3: {shapes}",
        )
    return steps


def end_orders(
    plan: Plan, model: ov.Model, imported: Imported
) -> list[tuple[tuple[int, ...], str]]:
    """Return for each output in which order it answers its axes, () as it is, and their letters."""
    ends = []
    for port in model.outputs:
        axes = _axes_of(plan.layouts, model, port, "output")
        if axes is None:
            turned = not plan.keeps_channels_last and not plan.layouts
            axes = _usual(port.get_node().input_value(0), imported.layout, turned=turned)
        order: tuple[int, ...] = ()
        if axes and axes.source != axes.target:
            order = tuple(axes.source.index(letter) for letter in axes.target)
        ends.append((order, axes.target if axes else ""))
    return ends


def _usual(value: ov.Output, layout: Layout, *, turned: bool) -> Axes | None:
    """Return how the graph lays out an image, and how the IR shall; None for what is none."""
    shape = value.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) not in _LAYOUTS:
        return None
    first, last = _LAYOUTS[len(shape)]
    if layout == "NCHW":
        return Axes("", first, first)
    return Axes("", first if channels_first(value) else last, first if turned else last)


def _axes_of(layouts: Sequence[Axes], model: ov.Model, port: ov.Output, kind: str) -> Axes | None:
    """Return what `--layout` says of an input or output.

    Raises:
        UsageError: `mo-layout` where it does not fit.
    """
    for one in layouts:
        if one.name == "" and kind == "input" and len(model.inputs) > 1:
            raise UsageError(
                "mo-layout", "--layout names no input and there are several; write name(nchw),..."
            )
        if (one.name == "" and kind == "input") or _is_called(port, one.name):
            shape = port.get_partial_shape()
            if shape.rank.is_static and len(shape) != len(one.source):
                raise UsageError(
                    "mo-layout",
                    f"--layout says {one.source.lower()} of {port.any_name!r}, which is {shape}",
                )
            return one
    own = port.get_node().get_friendly_name()
    return _own_axes(port) if kind == "input" and "/placeholder_" not in own else None


def _own_axes(port: ov.Output) -> Axes | None:
    """Return the layout that an IR says itself."""
    text = str(port.get_node().get_layout())
    letters = "" if "..." in text else re.sub(r"[^A-Z?]", "", text)
    return Axes("", letters, letters) if letters else None


def _per_input(
    values: Sequence[Values], model: ov.Model, flag: str, entries: Sequence[Entry]
) -> list[tuple[float, ...]]:
    """Return the numbers of each input; without names they go by the order of the inputs."""
    found: list[tuple[float, ...]] = [()] * len(model.inputs)
    if values and values[0].name == "*":
        # As it was: what a cut put in place of an inner layer is not an original input.
        return [
            () if "/placeholder_" in port.get_node().get_friendly_name() else values[0].numbers
            for port in model.inputs
        ]
    if values and values[0].name == "":
        fed = [entry for entry in entries if entry.value is None]
        if len(values) != (len(fed) or len(found)):
            raise UsageError(
                "mo-values",
                f"{flag} has {len(values)} lists for {len(fed) or len(found)} inputs; give one "
                "each, or name(...) for some",
            )
        places = [find_input(model, entry.name) for entry in fed] or range(len(found))
    else:
        places = [find_input(model, one.name) for one in values]
    for place, one in zip(places, values, strict=True):
        found[place] = one.numbers
    return found


def _is_called(port: ov.Output, name: str) -> bool:
    node = port.get_node()
    if node.get_type_name() == "Result":
        node = node.input_value(0).get_node()
    return name in port.get_names() or name == node.get_friendly_name()
