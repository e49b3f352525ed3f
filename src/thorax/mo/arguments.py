"""The command line of the Model Optimizer, parsed: texts become values, contradictions errors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from thorax.errors import UsageError
from thorax.importers.options import Imported, ImportOptions
from thorax.mo.command_line import Flags
from thorax.mo.flags import (
    Axes,
    Entry,
    Values,
    parse_inputs,
    parse_layouts,
    parse_names,
    parse_shapes,
    parse_values,
)

_FRAMEWORKS: Final = {
    "tf": ("tensorflow", "keras", "tf_keras"), "tensorflow": ("tensorflow", "keras", "tf_keras"),
    "tf2": ("tensorflow", "keras", "tf_keras"), "keras": ("keras", "tf_keras", "tensorflow"),
    "tflite": ("tflite",),
    "caffe": ("caffe",), "mxnet": ("mxnet",), "onnx": ("onnx",), "pytorch": ("pytorch",),
    "torch": ("pytorch",), "ir": ("openvino",),
}  # fmt: skip
"""What `--framework` may say, and the names that an importer may answer to it."""

_DATA_TYPES: Final = {"fp16": "fp16", "half": "fp16", "fp32": "fp32", "float": "float"}


@dataclass(frozen=True, slots=True)
class Arguments:
    """The flags as values.

    `flags` are as they were typed, `name` is the stem of the files to write, `data_type` "fp16",
    "fp32" or "float". `entries` are where the network begins, `outputs` where it ends; empty leaves
    that alone. `mean` and `scale` are of inputs, by name or in order; the scale of "*" is that of
    every one.
    """

    flags: Flags
    path: Path
    name: str
    data_type: str
    entries: tuple[Entry, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    mean: tuple[Values, ...]
    scale: tuple[Values, ...]
    layouts: tuple[Axes, ...]

    @property
    def fed(self) -> list[Entry]:
        """The entries that are not frozen."""
        return [entry for entry in self.entries if entry.value is None]


def parse(flags: Flags) -> Arguments:
    """Read every flag before the model, so that a misspelt one costs no time.

    Raises:
        UsageError: `mo-...`.
    """
    path = flags.saved_model_dir or flags.input_model
    data_type = _DATA_TYPES.get(flags.data_type.lower())
    if path is None or (flags.saved_model_dir and flags.input_model):
        raise UsageError("mo-model", "give --input_model or --saved_model_dir, and not both")
    if flags.input_proto and flags.input_symbol:
        raise UsageError("mo-model", "give --input_proto (Caffe) or --input_symbol (MXNet)")
    name = path.stem if flags.model_name is None else flags.model_name
    if not name or name != Path(name).name or name.startswith("."):
        raise UsageError("mo-model-name", f"--model_name is {name!r}; give a plain file name")
    if data_type is None:
        raise UsageError(
            "mo-data-type",
            f"--data_type is {flags.data_type!r}; allowed are FP16, FP32, half, float; int8 is "
            "made by `thorax optimize --precision int8`",
        )
    _check_numbers(flags)
    entries = _entries(flags)
    shapes = () if flags.input_shape is None else parse_shapes(flags.input_shape)
    if shapes and any(entry.shape is not None for entry in entries if entry.value is None):
        raise UsageError("mo-shape", "--input and --input_shape both give shapes; use one")
    return Arguments(
        flags=flags,
        path=path,
        name=name,
        data_type=data_type,
        entries=entries,
        outputs=() if flags.output is None else parse_names(flags.output),
        shapes=shapes,
        mean=() if flags.mean_values is None else parse_values(flags.mean_values, "--mean_values"),
        scale=_scale(flags),
        layouts=() if flags.layout is None else parse_layouts(flags.layout),
    )


def _check_numbers(flags: Flags) -> None:
    if flags.input_shape is not None and flags.batch is not None:
        raise UsageError("mo-batch", "--input_shape and --batch both set the batch; give one")
    if flags.batch is not None and flags.batch < 1:
        raise UsageError("mo-batch", f"--batch is {flags.batch}; it must be 1 or more")
    if flags.framework is not None and flags.framework.lower() not in _FRAMEWORKS:
        raise UsageError(
            "mo-framework",
            f"--framework is {flags.framework!r}; allowed are {', '.join(_FRAMEWORKS)}",
        )


def _entries(flags: Flags) -> tuple[Entry, ...]:
    entries = () if flags.input is None else parse_inputs(flags.input)
    if flags.freeze_placeholder_with_value is None:
        return entries
    frozen = parse_inputs(flags.freeze_placeholder_with_value)
    if any(entry.value is None for entry in frozen):
        raise UsageError(
            "mo-input",
            f"--freeze_placeholder_with_value is {flags.freeze_placeholder_with_value!r}; "
            "write name->value",
        )
    return entries + frozen


def _scale(flags: Flags) -> tuple[Values, ...]:
    if flags.scale is not None and flags.scale_values is not None:
        raise UsageError("mo-values", "--scale and --scale_values both divide; give one")
    scale: tuple[Values, ...] = ()
    if flags.scale is not None:
        scale = (Values("*", (flags.scale,)),)
    elif flags.scale_values is not None:
        scale = parse_values(flags.scale_values, "--scale_values")
    if any(number == 0 or not np.isfinite(number) for each in scale for number in each.numbers):
        raise UsageError("mo-values", "a scale is 0 or no number; inputs are divided by it")
    return scale


def import_options(arguments: Arguments) -> ImportOptions:
    """Return what the importer is told."""
    flags, fed = arguments.flags, arguments.fed
    shapes = {entry.name: entry.shape for entry in fed if entry.shape is not None}
    if len(arguments.shapes) == len(fed):
        shapes = {entry.name: shape for entry, shape in zip(fed, arguments.shapes, strict=True)}
    elif len(arguments.shapes) == 1 and not fed:
        shapes = {"": arguments.shapes[0]}
    return ImportOptions(
        structure=flags.input_proto or flags.input_symbol,
        topology=flags.topology,
        shapes=shapes,
        extensions=tuple(flags.extensions or ()),
        begins=tuple(entry.name for entry in arguments.entries),
        ends=arguments.outputs,
    )


def check_framework(arguments: Arguments, imported: Imported) -> None:
    """Refuse a file that is not from the framework that was named.

    Raises:
        UsageError: `mo-framework`.
    """
    named = arguments.flags.framework
    # A version may follow the name.
    if named is not None and imported.framework.split()[0] not in _FRAMEWORKS[named.lower()]:
        raise UsageError(
            "mo-framework",
            f"--framework is {named!r} but {arguments.path.name} is read as "
            f"{imported.framework}; leave the flag out or give the right file",
        )
