"""Texts of the flags of the classic Model Optimizer: shapes, values, cuts and layouts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from thorax.errors import UsageError

_TYPES: Final = {
    "f64": "f64", "float64": "f64", "f32": "f32", "float32": "f32", "float": "f32",
    "f16": "f16", "float16": "f16", "half": "f16", "i64": "i64", "int64": "i64",
    "i32": "i32", "int32": "i32", "i8": "i8", "int8": "i8", "u8": "u8", "uint8": "u8",
    "boolean": "boolean", "bool": "boolean",
}  # fmt: skip
"""OpenVINO's name of an element type by what a person may write."""

_ADVICE: Final = {
    "no parser is needed; leave it out": "caffe_parser_path",
    "write --data_type FP16": "compress_to_fp16",
    "Kaldi models cannot be read": "counts remove_memory remove_output_softmax",
    "devices fuse layers when they compile; leave it out": (
        "disable_fusing disable_gfusing finegrain_fusing"
    ),
    "it belonged to custom layers of Caffe; see docs/optimizer.md": (
        "disable_omitting_optional enable_flattening_nested_params k"
    ),
    "strides are never moved between layers; leave it out": "disable_resnet_optimization",
    "weights are never merged; leave it out": "disable_weights_compression",
    "devices place concatenations themselves; leave it out": "enable_concat_optimization",
    "detectors of GluonCV cannot be read; export to ONNX": "enable_ssd_gluoncv",
    "Model Optimizer extensions no longer exist; --extension takes OpenVINO's, see "
    "docs/custom-layers.md": "extensions",
    "devices read IR of version 10 and later alone; leave it out": (
        "generate_deprecated_IR_V2 generate_deprecated_IR_V7"
    ),
    "every IR is of version 10 or later; leave it out": "generate_experimental_IR_V10",
    "freeze the graph to a .pb, or give --saved_model_dir": "input_checkpoint input_meta_graph",
    "give a binary .pb": "input_model_is_text",
    "quantisation in a model is always kept; leave it out": "keep_quantize_ops_in_IR",
    "shapes are always kept where they are open; leave it out": "keep_shape_ops",
    "there is one way to make an IR; leave it out": "legacy_ir_generation",
    "old symbols are recognised; leave it out": "legacy_mxnet_model",
    "errors are one line; --debug adds the traceback": "log_level",
    "give the mean of each channel with --mean_values": "mean_file mean_file_offsets",
    "there is no such section in an IR any more; leave it out": "move_to_preprocess",
    "give the -symbol.json and .params that the network was saved to": (
        "nd_prefix_name save_params_from_nd"
    ),
    "TensorFlow is not run inside an IR any more": (
        "offload_unsupported_operations_to_tf tensorflow_custom_layer_libraries "
        "tensorflow_operation_patterns tensorflow_subgraph_patterns"
    ),
    "give the .params with --input_model": "pretrained_model_name",
    "leave it out": "progress steps stream_output",
    "the default graph is what is read; leave it out": "saved_model_tags",
    "leave it out; --json prints one document alone": "silent",
    "write --layout 'nhwc->nchw', source first": "source_layout",
    "shapes are static unless you give -1; leave it out": "static_shape",
    "write --layout 'nhwc->nchw', target last": "target_layout",
    "show the model with `thorax analyze`": "tensorboard_logdir",
    "sub-graphs are not replaced any more; cut them off with --input and --output": (
        "tensorflow_custom_operations_config_update "
        "tensorflow_object_detection_api_pipeline_config tensorflow_use_custom_operations_config "
        "transformations_config"
    ),
    "state is kept as the model has it; leave it out": "transform",
    "each format has one reader; leave it out": "use_legacy_frontend use_new_frontend",
}
"""What to do instead of flags of past Model Optimizers that have nothing left to do."""

RETIRED: Final = {f"--{flag}": text for text, flags in _ADVICE.items() for flag in flags.split()}


@dataclass(frozen=True, slots=True)
class Values:
    """Numbers of one input, one or one a channel; its name is "" where none was written."""

    name: str
    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """An item of `--input`: where values enter the network, or are settled.

    `name` is of a layer or tensor, with its port as it was written: `0:conv`, `conv:0`. The shape,
    -1 an open axis, is in the framework's own layout, `element` OpenVINO's name of the element
    type; None leaves either as it is. `value` is what the input is frozen to, flat; None for one
    that is fed.
    """

    name: str
    shape: tuple[int, ...] | None = None
    element: str | None = None
    value: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Axes:
    """An item of `--layout`, whose name is "" where none was written.

    Letters are upper case; "?" in the source, the model, is an axis nobody named; the target are
    those that the IR shall have.
    """

    name: str
    source: str
    target: str


def refuse_unknown(words: list[str], known: list[str]) -> None:
    """Refuse words that no known option took, retired flags with what became of them.

    Raises:
        UsageError: `mo-retired`, `mo-flag`.
    """
    for word in words:
        flag = word.split("=")[0]
        if flag in RETIRED or flag in ("-k", "-mf", "-mo"):
            full = {"-k": "--k", "-mf": "--mean_file", "-mo": "--mean_file_offsets"}.get(flag, flag)
            raise UsageError("mo-retired", f"{flag} does nothing any more: {RETIRED[full]}")
        # Imported here alone: a command line that is right has no need of it.
        from difflib import get_close_matches  # noqa: PLC0415

        near = get_close_matches(flag, known, n=1, cutoff=0.6)
        hint = f"the nearest is {near[0]}" if near else "see `thorax mo --help`"
        raise UsageError("mo-flag", f"there is no {word!r}; {hint}")


def parse_values(text: str, flag: str) -> tuple[Values, ...]:
    """Read `(1,2,3)`, `[1,2,3]` or `data(1,2,3),info(4)`.

    Raises:
        UsageError: `mo-values`.
    """
    values: list[Values] = []
    for item in _split(text):
        match = re.fullmatch(r"([^()\[\]]*)(?:\(([^()\[\]]*)\)|\[([^()\[\]]*)\])", item)
        numbers = None if match is None else _numbers(match[2] or match[3] or "")
        if match is None or not numbers:
            raise UsageError(
                "mo-values",
                f"{flag} is {text!r}; write one number a channel in brackets, as in "
                "[123.68,116.78,103.94], with the input's name before them if there are several",
            )
        values.append(Values(match[1].strip(), numbers))
    names = [each.name for each in values]
    if not values or (any(names) and ("" in names or len(set(names)) != len(names))):
        raise UsageError("mo-values", f"{flag} is {text!r}; give each input its own name once")
    return tuple(values)


def parse_shapes(text: str) -> tuple[tuple[int, ...], ...]:
    """Read `[1,3,224,224]` or `(1,3,224,224),[1,2]`.

    Raises:
        UsageError: `mo-shape`.
    """
    shapes = []
    for item in _split(text):
        match = re.fullmatch(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]", item)
        if match is None:
            raise _wrong_shape(text)
        shapes.append(_shape(match[1] or match[2] or "", text))
    if not shapes:
        raise _wrong_shape(text)
    return tuple(shapes)


def parse_inputs(text: str) -> tuple[Entry, ...]:
    """Read `data[1,3,224,224]{u8},0:conv,is_training->False`.

    Raises:
        UsageError: `mo-input`, `mo-shape`.
    """
    entries = []
    for item in _split(text):
        where, _, value = item.partition("->")
        match = re.fullmatch(
            r"(?P<name>[^\[\](){}]+?)\s*(?:[\[(](?P<shape>[^\[\](){}]*)[\])])?\s*"
            r"(?:\{\s*(?P<type>\w+)\s*\})?",
            where.strip(),
        )
        element = None if match is None or match["type"] is None else match["type"].lower()
        if match is None or (element is not None and element not in _TYPES):
            raise UsageError(
                "mo-input",
                f"--input has {item!r}; write name[shape]{{type}} or name->value, joined by "
                f"commas; types are {', '.join(dict.fromkeys(_TYPES.values()))}",
            )
        frozen = None
        if "->" in item:
            frozen = _numbers(value.strip().strip("[]()"))
            if not frozen:
                raise UsageError(
                    "mo-input", f"--input has {item!r}; freeze to a number, True, False or [1,2]"
                )
        shape = None if match["shape"] is None else _shape(match["shape"], item)
        kind = None if element is None else _TYPES[element]
        entries.append(Entry(match["name"].strip(), shape, kind, frozen))
    names = [entry.name for entry in entries]
    if not entries or len(set(names)) != len(names):
        raise UsageError("mo-input", f"--input is {text!r}; name each input once")
    return tuple(entries)


def parse_names(text: str) -> tuple[str, ...]:
    """Read `prob,conv5:0`.

    Raises:
        UsageError: `mo-output`.
    """
    names = tuple(part.strip() for part in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise UsageError("mo-output", f"--output is {text!r}; name each layer once")
    return names


def parse_layouts(text: str) -> tuple[Axes, ...]:
    """Read `nhwc`, `nhwc->nchw`, `data(nchw),prob([n,c])`.

    Raises:
        UsageError: `mo-layout`.
    """
    layouts = []
    for item in _split(text):
        match = re.fullmatch(r"([^()]*)\(([^()]*)\)", item)
        name, axes = (match[1].strip(), match[2]) if match else ("", item)
        source, _, target = (
            re.sub(r"[\s,\[\]]", "", part).upper() for part in axes.partition("->")
        )
        target = target or source
        right = re.fullmatch(r"[NCHWD?]+", source) and (
            source == target or ("?" not in source and sorted(source) == sorted(target))
        )
        letters = source.replace("?", "")
        if not right or len(set(letters)) != len(letters) or ("(" in item and not match):
            raise UsageError(
                "mo-layout",
                f"--layout has {item!r}; write nchw, nhwc->nchw or name(nhwc->nchw): each of the "
                "letters n, c, d, h and w once",
            )
        layouts.append(Axes(name, source, target))
    names = [each.name for each in layouts]
    if not layouts or len(set(names)) != len(names):
        raise UsageError(
            "mo-layout", f"--layout is {text!r}; with several, name each input or output once"
        )
    return tuple(layouts)


def _split(text: str) -> Iterator[str]:
    """Yield the parts between commas that stand in no brackets, without blanks around them."""
    depth, start = 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield text[start:index].strip()
            start = index + 1
    last = text[start:].strip()
    if last or start:
        yield last


def _numbers(text: str) -> tuple[float, ...] | None:
    words = {"true": "1", "false": "0"}
    parts = re.split(r"\s*,\s*|\s+", text.strip())
    try:
        numbers = tuple(float(words.get(part.lower(), part)) for part in parts)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _shape(text: str, whole: str) -> tuple[int, ...]:
    if not text.strip():
        return ()
    axes = []
    for part in re.split(r"\s*,\s*|\s+", text.strip()):
        if not re.fullmatch(r"-1|\?|[1-9]\d{0,8}", part):
            raise _wrong_shape(whole)
        axes.append(-1 if part == "?" else int(part))
    return tuple(axes)


def _wrong_shape(text: str) -> UsageError:
    return UsageError(
        "mo-shape",
        f"shape {text!r} cannot be read; write numbers above 0 in brackets, as in [1,3,224,224], "
        "-1 for an axis that stays open, and a comma between several",
    )
