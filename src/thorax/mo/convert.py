"""The classic Model Optimizer: a model of any framework to plain IR, by the flags of 2018."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import openvino as ov

from thorax import __version__
from thorax.analysis.cost import count_macs, count_parameters
from thorax.errors import ModelError, UsageError
from thorax.files.atomic import LockedError, sha256
from thorax.files.pairs import new_pair
from thorax.importers import formats
from thorax.importers.options import Imported
from thorax.ir.corrections import correct
from thorax.ir.fold import fold
from thorax.ir.names import layers_of
from thorax.ir.open import half_weights, widen_weights
from thorax.ir.shapes import fix_shapes
from thorax.mo.arguments import Arguments, check_framework, import_options, parse
from thorax.mo.command_line import Flags
from thorax.mo.cut import cut, is_called
from thorax.mo.ports import InputPlan, OutputPlan, plan_inputs, plan_outputs
from thorax.mo.preprocessing import append_layout, prepend
from thorax.mo.verify import Reference, compare
from thorax.results.optimize import ConvertResult, Port

_STORED_TOLERANCE: Final = 0.1
"""Largest such difference that storing weights with 16 bits may make; 1e-3 is usual."""


def convert(flags: Flags, *, on_progress: Callable[[str], None] = lambda _: None) -> ConvertResult:
    """Convert a model as its flags say; nothing is written unless all is well.

    Raises:
        UsageError: a flag that cannot be followed, `mo-...`; `model-undescribed` where the model
            leaves a shape open.
        ModelError: the model cannot be read, does not take a shape, or `model-differs`.
    """
    arguments = parse(flags)
    imported = _read(arguments, on_progress)
    check_framework(arguments, imported)
    if imported.layout == "NHWC":
        _require_inputs(imported.model, arguments)
    model, run, name = imported.model, imported.run, arguments.path.name
    if arguments.entries or arguments.outputs:
        model, run = cut(model, arguments.entries, arguments.outputs), None
    inputs = plan_inputs(arguments, model, imported.layout)
    shapes = [plan.shape for plan in inputs]
    reference = Reference.of(model, shapes, run, imported.compile)
    fix_shapes(model, shapes, name)
    correct(model)
    outputs = plan_outputs(arguments, model, imported.layout)
    _rewrite(model, inputs, outputs)
    on_progress("comparing with the source")
    steps, orders = [plan.steps for plan in inputs], [plan.order for plan in outputs]
    difference = compare(model, reference, steps, orders)
    _require_equal(difference, name, reference)
    half = arguments.data_type == "fp16"
    if arguments.data_type == "fp32":
        widen_weights(model)
    _sign(model, flags, imported)
    model.set_friendly_name(arguments.name)
    with _pair(flags.output_dir, arguments.name) as staged:
        ov.save_model(model, staged, compress_to_fp16=half)
        if half:
            # What is written, not what was meant: its weights have lost bits.
            difference = compare(staged, reference, steps, orders)
            _require_equal(difference, name, reference, stored=True)
    xml = flags.output_dir / f"{arguments.name}.xml"
    return ConvertResult(
        artifact=str(xml),
        model=xml.stem,
        framework=imported.framework,
        precision="fp16" if half or half_weights(model) else "fp32",
        size_bytes=xml.with_suffix(".bin").stat().st_size,
        parameters=count_parameters(model),
        macs=None if model.is_dynamic() else count_macs(model),
        auroc_drop=None,
        layers=len(layers_of(model)),
        inputs=tuple(
            _port(port, plan.steps.layout, plan.steps.words())
            for port, plan in zip(model.inputs, inputs, strict=True)
        ),
        outputs=tuple(
            _port(port, plan.layout) for port, plan in zip(model.outputs, outputs, strict=True)
        ),
        difference=difference,
        compared_with="nobody" if difference is None else reference.who,
    )


def _rewrite(model: ov.Model, inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]) -> None:
    """Put in what is done to inputs and outputs, and fold; every port keeps or gets a name."""
    for index, plan in enumerate(inputs):
        prepend(model, index, plan.steps)
    for index, end in enumerate(outputs):
        if end.order:
            append_layout(model, index, end.order, end.layout)
    model.validate_nodes_and_infer_types()
    named = [port.get_names() for port in model.inputs]
    fold(model)
    for port, names in zip(model.inputs, named, strict=True):
        # A transpose that cancels leaves the input the names of what it answered.
        if names:
            port.get_tensor().set_names(names)
    for port in model.outputs:
        # PyTorch's outputs have no name, and a caller asks by name.
        if not port.get_names():
            source = port.get_node().input_value(0)
            source.set_names({source.get_node().get_friendly_name()})


def _read(arguments: Arguments, on_progress: Callable[[str], None]) -> Imported:
    on_progress("reading the model")
    options = import_options(arguments)
    bare = replace(options, shapes={})
    named = bool(options.shapes) and "" not in options.shapes
    # A shape with a name may be that of a cut, which the importer cannot know.
    try:
        imported = formats.read(arguments.path, bare if named else options)
    except UsageError:
        if not named:
            raise
        imported = formats.read(arguments.path, options)
    if imported.note:
        on_progress(imported.note)
    return imported


def _require_inputs(model: ov.Model, arguments: Arguments) -> None:
    """Refuse to enter a network between layers whose axes its reader has moved about."""
    for entry in arguments.entries:
        if not any(is_called(node, entry.name) for node in model.get_parameters()):
            own = ", ".join(node.get_friendly_name() for node in model.get_parameters())
            raise UsageError(
                "mo-inside",
                f"{entry.name!r} is no input of {arguments.path.name} ({own}), and only a frozen "
                ".pb and formats with channels first can be entered inside; export the part you "
                "need",
            )


def _port(port: ov.Output, letters: str, words: str = "") -> Port:
    shape = port.get_partial_shape()
    return Port(
        name=sorted(port.get_names(), key=len)[0] if port.get_names() else "",
        shape=tuple(axis.get_length() if axis.is_static else -1 for axis in shape),
        type=port.get_element_type().to_string(),
        layout=letters or None,
        preprocessing=words or None,
    )


def _require_equal(
    difference: float | None, name: str, reference: Reference, *, stored: bool = False
) -> None:
    """Refuse what strays from its source.

    Raises:
        ModelError: `model-differs`, `model-batch`.
    """
    tolerance = max(reference.tolerance, _STORED_TOLERANCE if stored else 0)
    if difference is None or difference <= tolerance:
        return
    if reference.one_by_one and not stored:
        raise ModelError(
            "model-batch",
            f"{name}: in a batch an output differs by {difference:.2g} of its largest value from "
            "that of single images, so its answers depend on the others; convert with --batch 1",
        )
    what = "with weights of 16 bits an output" if stored else "an output of the fp32 graph"
    advice = "leave out --data_type FP16; " if stored else ""
    raise ModelError(
        "model-differs",
        f"{name}: {what} differs by {difference:.2g} of its largest value from the source's, "
        f"allowed is {tolerance:.2g}; {advice}nothing was written",
    )


def _sign(model: ov.Model, flags: Flags, imported: Imported) -> None:
    """Say in the graph itself what it was made of, and how."""
    facts = {"thorax_version": __version__, "framework": imported.framework}
    digests = {f"sha256 of {file.name}": sha256(file) for file in imported.files if file.is_file()}
    for key, value in (facts | digests).items():
        model.set_rt_info(value, ["thorax_mo", key.replace(" ", "_")])
    for key, value in flags.given().items():
        model.set_rt_info(value, ["thorax_mo", "flags", key])


@contextmanager
def _pair(folder: Path, name: str) -> Iterator[Path]:
    """Yield a .xml to write, which with its .bin takes its place only when the block succeeds."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(
            "mo-output-dir", f"--output_dir {folder} is a file; name a folder"
        ) from error
    try:
        with new_pair(folder / f"{name}.xml") as staged:
            yield staged
    except LockedError as error:
        raise UsageError(
            "mo-locked",
            f"{folder / name}.xml is being written by {error.holder}; wait for it, or give "
            "another --model_name",
        ) from error
