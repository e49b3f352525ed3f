"""The classic Model Optimizer: a model of any framework to plain IR, by the flags of 2018."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax import __version__
from thorax.analysis.cost import count_macs, count_parameters
from thorax.errors import ModelError, UsageError
from thorax.files.atomic import LockedError, sha256
from thorax.files.pairs import new_pair
from thorax.importers import formats
from thorax.importers.options import Imported
from thorax.ir.corrections import correct
from thorax.ir.fold import fold
from thorax.mo.arguments import Flags, Plan, asked, check_framework, understand
from thorax.mo.cut import cut, is_called
from thorax.mo.ports import end_orders, steps_of, wanted_shapes
from thorax.mo.preprocessing import append_layout, prepend
from thorax.mo.reference import Reference, compare
from thorax.mo.reshape import fix_shapes

_TOLERANCE: Final = 1e-4
"""Largest difference, relative to the output's largest value, that reordered FP32 explains."""

_STORED_TOLERANCE: Final = 0.1
"""Largest such difference that storing weights with 16 bits may make; 1e-3 is usual."""

_NOT_LAYERS: Final = ("Parameter", "Result", "Constant")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the IR.

    Attributes:
        name: of its tensor.
        shape: -1 is an open axis.
        element: OpenVINO's name of the element type.
        layout: letters of the axes, None where nobody knows them.
        steps: in words, what the graph does to it first; "" is nothing.
    """

    name: str
    shape: tuple[int, ...]
    element: str
    layout: str | None
    steps: str = ""

    def document(self) -> dict[str, Any]:
        """Return the port as the JSON document has it."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "type": self.element,
            "layout": self.layout,
            "preprocessing": self.steps or None,
        }


@dataclass(frozen=True, slots=True)
class Generated:
    """An IR and what its making showed.

    Attributes:
        xml: the graph; the weights are beside it.
        framework: what the model came from.
        precision: how weights are stored, "fp32" or "fp16".
        size_bytes: of the weights.
        parameters: weights and biases.
        macs: multiply-accumulates of one inference; None where shapes are open.
        layers: operations, constants not counted.
        inputs: in order.
        outputs: in order.
        difference: largest difference of an output from the source's, relative to the output's
            largest value; None where an open shape left nothing to run.
        compared_with: who computed the source's outputs.
    """

    xml: Path
    framework: str
    precision: str
    size_bytes: int
    parameters: int
    macs: int | None
    layers: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    difference: float | None
    compared_with: str

    def hint(self) -> str:
        """Return the options that make `thorax optimize` feed this IR what it expects."""
        channels = (
            "C" in (self.inputs[0].layout or "")
            and self.inputs[0].shape[(self.inputs[0].layout or "").index("C")]
        )
        # A graph that subtracts its own mean takes 0-255, which is 0-1 divided by 1/255.
        normalised = any(word in self.inputs[0].steps for word in ("minus", "divided"))
        if normalised and channels and channels > 0:
            zeros, scales = ",".join(["0"] * channels), ",".join(["0.00392157"] * channels)
            return f"--labels ... --mean {zeros} --std {scales}"
        return "--labels ... --mean ... --std ..."

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `thorax mo`."""
        return {
            "command": "mo",
            "artifact": str(self.xml),
            "model": self.xml.stem,
            "framework": self.framework,
            "precision": self.precision,
            "size_bytes": self.size_bytes,
            "parameters": self.parameters,
            "macs": self.macs,
            "auroc_drop": None,
            "layers": self.layers,
            "inputs": [port.document() for port in self.inputs],
            "outputs": [port.document() for port in self.outputs],
            "difference": self.difference,
            "compared_with": self.compared_with,
        }


def convert(flags: Flags, *, on_progress: Callable[[str], None] | None = None) -> Generated:
    """Convert a model as its flags say; nothing is written unless all is well.

    Raises:
        UsageError: a flag that cannot be followed, `mo-...`; `model-undescribed` where the model
            leaves a shape open.
        ModelError: the model cannot be read, does not take a shape, or `model-differs`.
    """
    tell = on_progress or (lambda _: None)
    plan = understand(flags)
    tell("reading the model")
    imported = _read(flags, plan)
    check_framework(flags, imported, plan.path)
    whole = not (plan.entries or plan.outputs)
    if imported.layout == "NHWC":
        _require_inputs(imported.model, plan)
    model = imported.model if whole else cut(imported.model, plan.entries, plan.outputs)
    shapes = wanted_shapes(plan, model, imported.layout)
    reference = Reference.of(model, shapes, imported.run if whole else None, imported.compile)
    fix_shapes(model, shapes, plan.path.name)
    correct(model)
    steps = steps_of(plan, model, imported)
    ends = end_orders(plan, model, imported)
    for index, one in enumerate(steps):
        prepend(model, index, one)
    for index, (order, letters) in enumerate(ends):
        if order:
            append_layout(model, index, order, letters)
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
    tell("comparing with the source")
    turned = [order for order, _ in ends]
    difference = compare(model, reference, steps, turned)
    _require_equal(difference, plan.path.name)
    half = plan.data_type == "fp16"
    if plan.data_type == "fp32":
        _widen(model)
    _sign(model, flags, imported)
    model.set_friendly_name(plan.name)
    stored = half or bool(_halves(model))
    static = not model.is_dynamic()
    parameters, macs = count_parameters(model), count_macs(model) if static else None
    with _pair(flags.output_dir, plan.name) as staged:
        ov.save_model(model, staged, compress_to_fp16=half)
        if half:
            # What is written, not what was meant: its weights have lost bits.
            difference = compare(staged, reference, steps, turned)
            _require_stored(difference, plan.path.name)
    xml = flags.output_dir / f"{plan.name}.xml"
    return Generated(
        xml=xml,
        framework=imported.framework,
        precision="fp16" if stored else "fp32",
        size_bytes=xml.with_suffix(".bin").stat().st_size,
        parameters=parameters,
        macs=macs,
        layers=sum(node.get_type_name() not in _NOT_LAYERS for node in model.get_ops()),
        inputs=tuple(
            _port(port, one.layout, one.words())
            for port, one in zip(model.inputs, steps, strict=True)
        ),
        outputs=tuple(
            _port(port, letters) for port, (_, letters) in zip(model.outputs, ends, strict=True)
        ),
        difference=difference,
        compared_with="nobody" if difference is None else reference.who,
    )


def _read(flags: Flags, plan: Plan) -> Imported:
    told = asked(flags, plan)
    if "" in told.shapes or not told.shapes:
        return formats.read(plan.path, told)
    # A shape with a name may be that of a cut, which the importer cannot know.
    try:
        return formats.read(plan.path, replace(told, shapes={}))
    except UsageError:
        return formats.read(plan.path, told)


def _require_inputs(model: ov.Model, plan: Plan) -> None:
    """Refuse to enter a network between layers whose axes its reader has moved about.

    Raises:
        UsageError: `mo-inside`.
    """
    for entry in plan.entries:
        if not any(is_called(node, entry.name) for node in model.get_parameters()):
            own = ", ".join(node.get_friendly_name() for node in model.get_parameters())
            raise UsageError(
                "mo-inside",
                f"{entry.name!r} is no input of {plan.path.name} ({own}), and only a frozen .pb "
                "and formats with channels first can be entered inside; export the part you need",
            )


def _port(port: ov.Output, letters: str, words: str = "") -> Port:
    shape = port.get_partial_shape()
    return Port(
        name=sorted(port.get_names(), key=len)[0] if port.get_names() else "",
        shape=tuple(axis.get_length() if axis.is_static else -1 for axis in shape),
        element=port.get_element_type().to_string(),
        layout=letters or None,
        steps=words,
    )


def _require_equal(difference: float | None, name: str) -> None:
    if difference is not None and not difference <= _TOLERANCE:
        raise ModelError(
            "model-differs",
            f"{name}: an output of the fp32 graph differs by {difference:.2g} of its largest value "
            f"from the source's, allowed is {_TOLERANCE:.2g}; nothing was written",
        )


def _require_stored(difference: float | None, name: str) -> None:
    if difference is not None and not difference <= _STORED_TOLERANCE:
        raise ModelError(
            "model-differs",
            f"{name}: with weights of 16 bits an output differs by {difference:.2g} of its largest "
            f"value from the source's, allowed is {_STORED_TOLERANCE:.2g}; leave out "
            "--data_type FP16; nothing was written",
        )


def _halves(model: ov.Model) -> list[ov.Node]:
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == ov.Type.f16
    ]


def _widen(model: ov.Model) -> None:
    """Store weights of 16 bits with 32."""
    for node in _halves(model):
        for user in node.output(0).get_target_inputs():
            convert_node = user.get_node()
            if convert_node.get_type_name() != "Convert":
                continue
            wide = ops.constant(np.asarray(node.data, np.float32))
            wide.set_friendly_name(node.get_friendly_name())
            for taker in convert_node.output(0).get_target_inputs():
                taker.replace_source_output(wide.output(0))


def _sign(model: ov.Model, flags: Flags, imported: Imported) -> None:
    """Say in the graph itself what it was made of, and how."""
    facts = {"thorax_version": __version__, "framework": imported.framework}
    for file in imported.files:
        if file.is_file():
            facts[f"sha256 of {file.name}"] = sha256(file)
    for key, value in facts.items():
        model.set_rt_info(value, ["thorax_mo", key.replace(" ", "_")])
    for key, value in flags.given().items():
        model.set_rt_info(value, ["thorax_mo", "flags", key])


@contextmanager
def _pair(folder: Path, name: str) -> Iterator[Path]:
    """Yield a .xml to write, which with its .bin takes its place only when the block succeeds.

    Raises:
        UsageError: `mo-output-dir`, or `mo-locked` when another process writes the same pair.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(
            "mo-output-dir", f"--output_dir {folder} is a file; name a folder"
        ) from error
    with ExitStack() as stack:
        try:
            staged = stack.enter_context(new_pair(folder / f"{name}.xml"))
        except LockedError as error:
            raise UsageError(
                "mo-locked",
                f"{folder / name}.xml is being written by {error.holder}; wait for it, or give "
                "another --model_name",
            ) from error
        yield staged
