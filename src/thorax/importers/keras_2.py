"""Descriptions of networks of Keras 2, rewritten as Keras 3 writes them.

Weights lie in both alike: in a .h5 in the order of the layers, in a .keras by their classes. What
differs is how the description names classes and kinds of number, settings that Keras 3 has no
more, how a network within a network counts its calls, and functions of TensorFlow that are called
by name. What has no counterpart stays, and is for tf_keras to read.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from thorax.importers.keras_file import KerasFile

Description = dict[str, Any]

_FUNCTIONAL: Final = ("Functional", "Model")
_POLICIES: Final = ("Policy", "PolicyV1", "DTypePolicy", "FloatDTypePolicy")
_OLD: Final = re.compile(r"(?:tf_)?keras(?:\.src)?(?:\.\w+)*")
_HOMES: Final = ("initializers", "regularizers", "constraints", "activations")

_RENAMED: Final = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}

_NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "groups": (1,),
    "ragged": (False,),
    "time_major": (False,),
    "implementation": (0, 1, 2),
    "fused": (None, False, True),
    "renorm": (False,),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
}
"""Settings that Keras 3 has no more, with the values that change no answer."""
_UNGROUPED: Final = re.compile(r"DepthwiseConv\dD|SeparableConv\dD|Conv\dDTranspose")
"""Layers whose `groups` Keras 3 does not know."""
_OF_TRAINING: Final[Mapping[str, re.Pattern[str]]] = {
    "kernel_initializer": re.compile(r"(Depthwise|Separable)Conv\dD"),
    "kernel_regularizer": re.compile(r"(Depthwise|Separable)Conv\dD"),
    "kernel_constraint": re.compile(r"(Depthwise|Separable)Conv\dD"),
    "noise_shape": re.compile(r"SpatialDropout\dD"),
    "trainable": re.compile(r"SpatialDropout\dD"),
}
"""Settings that only training asks for, and the layers that do not take them in Keras 3."""

_ACTIVATIONS: Final = ("relu", "relu6", "sigmoid", "silu", "swish", "softmax", "tanh", "elu",
                       "selu", "gelu", "leaky_relu", "softplus")  # fmt: skip
_SCALED: Final[Mapping[str, Callable[[float], tuple[float, float]]]] = {
    "truediv": lambda number: (1 / number, 0.0),
    "divide": lambda number: (1 / number, 0.0),
    "multiply": lambda number: (number, 0.0),
    "subtract": lambda number: (1.0, -number),
    "add": lambda number: (1.0, number),
}
"""Functions of a tensor and a number, as scale and offset."""
_MERGED: Final = {"add": "Add", "subtract": "Subtract", "multiply": "Multiply"}


def modern(file: KerasFile) -> KerasFile:
    """Return a file with its description as Keras 3 writes it; one of Keras 3 is returned as is."""
    if not file.is_keras_2:
        return file
    return replace(file, config=as_keras_3(file.config), changed=True)


def as_keras_3(config: Description) -> Description:
    """Return the description of a whole network as Keras 3 writes it; the given one stays."""
    rewritten: Description = _rewritten(config)
    for network in _networks(rewritten):
        network["layers"] = [_without_tensorflow(layer) for layer in network["layers"]]
        _count_calls_from_zero(network)
        _take_slashes_out(network)
    return rewritten


def _rewritten(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_rewritten(part) for part in value]
    if not isinstance(value, dict):
        return value
    entry = {key: _rewritten(part) for key, part in value.items()}
    if "class_name" in entry and isinstance(entry.get("config"), dict | list):
        return _object(entry)
    return entry


def _object(entry: Description) -> Description:
    kind, settings = entry["class_name"], entry["config"]
    if isinstance(kind, str) and kind in _POLICIES:
        return {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": settings.get("name")} if isinstance(settings, dict) else settings,
            "registered_name": None,
        }
    if kind in _FUNCTIONAL or kind == "Sequential":
        return _network(entry)
    module = entry.get("module")
    if isinstance(module, str) and _OLD.fullmatch(module):
        entry = {**entry, "module": _home(module), "registered_name": None}
    if not isinstance(settings, dict) or "name" not in settings:
        return entry
    kind = _RENAMED.get(str(kind), str(kind))
    return {**entry, "class_name": kind, "config": _layer(kind, settings)}


def _home(module: str) -> str:
    """Return the public module of Keras 3 that has what was in one of Keras 2."""
    parts = module.split(".")
    return next((f"keras.{home}" for home in _HOMES if home in parts), "keras.layers")


def _network(entry: Description) -> Description:
    kind, settings = entry["class_name"], entry["config"]
    sequential = kind == "Sequential"
    if isinstance(settings, list):
        # Before 2.3 a sequential network was the list of its layers.
        settings = {"name": entry.get("name", "sequential"), "layers": settings}
    facts = {
        "module": "keras" if sequential else "keras.src.models.functional",
        "class_name": "Sequential" if sequential else "Functional",
        "config": settings,
        "registered_name": None,
    }
    return facts | {key: entry[key] for key in entry if key in ("name", "inbound_nodes")}


def _layer(kind: str, settings: Description) -> Description:
    layer = {
        key: value
        for key, value in settings.items()
        if not (
            key in _NEUTRAL
            and value in _NEUTRAL[key]
            and (key != "groups" or _UNGROUPED.fullmatch(kind))
        )
        and not (key in _OF_TRAINING and _OF_TRAINING[key].fullmatch(kind))
    }
    if "batch_input_shape" in layer and kind == "InputLayer":
        layer["batch_shape"] = layer.pop("batch_input_shape")
    axis = layer.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        layer["axis"] = axis[0]
    if kind == "LeakyReLU" and "alpha" in layer:
        layer["negative_slope"] = layer.pop("alpha")
    return layer


def _networks(value: object) -> Iterator[Description]:
    """Yield every network of a description that has layers, inner before outer."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _networks(part)
        settings = value.get("config")
        if isinstance(settings, dict) and isinstance(settings.get("layers"), list):
            yield settings
    elif isinstance(value, list):
        for part in value:
            yield from _networks(part)


def _without_tensorflow(layer: Any) -> Any:  # noqa: ANN401
    """Return a call of TensorFlow by name as a layer of Keras, anything else as it is.

    What has a counterpart is a function of one tensor, of a tensor and a number, or of two tensors.
    """
    if not isinstance(layer, dict) or layer.get("class_name") != "TFOpLambda":
        return layer
    calls = layer.get("inbound_nodes")
    if not isinstance(calls, list) or len(calls) != 1 or not isinstance(calls[0], list):
        return layer
    function = str(layer["config"].get("function", "")).rpartition(".")[2]
    match calls[0]:
        case [str(name), int(index), int(port), dict(values)]:
            made = _counterpart(function, {k: v for k, v in values.items() if v is not None})
        case _:
            return layer
    if made is None:
        return layer
    kind, settings, other = made
    own = {"name": layer["config"]["name"], "dtype": "float32"}
    sources = [[name, index, port, {}], *([[*other, {}]] if other else [])]
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": own | settings,
        "registered_name": None,
        "name": layer.get("name", own["name"]),
        "inbound_nodes": [sources],
    }


def _counterpart(
    function: str, values: Mapping[str, Any]
) -> tuple[str, Description, list[Any] | None] | None:
    """Return a layer's class, its settings and its second source for a function of TensorFlow."""
    other = values.get("y")
    if function in _ACTIVATIONS and not values:
        return "Activation", {"activation": function}, None
    if function == "cast" and values == {"dtype": "float32"}:
        return "Rescaling", {"scale": 1.0, "offset": 0.0}, None
    if len(values) != 1 or other is None:
        return None
    if function in _SCALED and isinstance(other, int | float) and other:
        scale, offset = _SCALED[function](float(other))
        return "Rescaling", {"scale": scale, "offset": offset}, None
    if function in _MERGED and isinstance(other, list) and len(other) == 3:
        return _MERGED[function], {}, other
    return None


def _count_calls_from_zero(network: Description) -> None:
    """Let calls of a network within another count from 0, in place.

    Keras 2 counts from 1 where the inner network was built with an input of its own. Keras 3 does
    so of functional networks, where they are outputs.
    """
    layers = [layer for layer in network["layers"] if isinstance(layer, dict)]
    kinds = {
        layer.get("name"): layer.get("class_name")
        for layer in layers
        if layer.get("class_name") in ("Functional", "Sequential")
    }
    outputs = _references(network.get("output_layers"))
    calls = _references([layer.get("inbound_nodes") for layer in layers])
    for name, kind in kinds.items():
        own = [node for node in (*outputs, *calls) if node[0] == name]
        first = min((node[1] for node in own), default=0)
        for node in own:
            if kind == "Sequential" or not any(node is output for output in outputs):
                node[1] -= first
    for ports in ("input_layers", "output_layers"):
        # A list of one is answered as a list.
        if isinstance(network.get(ports), list) and len(network[ports]) == 1:
            network[ports] = network[ports][0]


def _references(value: object) -> list[list[Any]]:
    """Return every [layer, call, output, ...] of a part of a network, as they stand in it."""
    places, references = [value], list[list[Any]]()
    while places:
        part = places.pop()
        if isinstance(part, dict):
            places.extend(part.values())
        elif isinstance(part, list):
            if len(part) >= 3 and isinstance(part[0], str) and isinstance(part[1], int):
                references.append(part)
                places.extend(part[3:])
            else:
                places.extend(part)
    return references


def _take_slashes_out(network: Description) -> None:
    """Rename layers that have a slash in their names, which Keras 3 does not take; in place."""
    named = [layer for layer in network["layers"] if isinstance(layer, dict)]
    taken = {_name(layer) for layer in named}
    renamed: dict[str, str] = {}
    for layer in named:
        if "/" in (name := _name(layer)):
            plain = name.replace("/", "_")
            while plain in taken:
                plain += "_"
            taken.add(plain)
            renamed[name] = plain
    for layer in named:
        if (name := _name(layer)) in renamed:
            layer["config"]["name"] = renamed[name]
            if "name" in layer:
                layer["name"] = renamed[name]
    ports = [network.get("input_layers"), network.get("output_layers")]
    for node in _references([*ports, *(layer.get("inbound_nodes") for layer in named)]):
        node[0] = renamed.get(node[0], node[0])


def _name(layer: Description) -> str:
    settings = layer.get("config")
    return str(settings.get("name", "")) if isinstance(settings, dict) else ""
