"""Custom layers for the frontends that read foreign formats."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

import openvino as ov
from openvino.frontend import FrontEnd, NodeContext

from thorax.devices.extensions import add_extension

FRAMEWORK_NAMES: Final = "framework_names"
"""Attribute of a Python class: what formats call the layer, `domain::type` or `type`."""


def attach(frontend: FrontEnd, specs: Iterable[str]) -> None:
    """Let a frontend read the custom layers of extensions, which the core learns as well.

    A library says itself what it is called in each format. A Python class says it in
    `framework_names`, else it is called as the class; its attributes are the keyword arguments of
    its `__init__`, with their defaults.

    Raises:
        UsageError: `extension-missing` or `extension-unusable`.
    """
    for spec in specs:
        extension = add_extension(spec)
        if extension.library is not None:
            frontend.add_extension(str(extension.library))
        elif extension.layer is not None:
            for rule in _rules(frontend.get_name(), extension.layer):
                frontend.add_extension(rule)


def operators(specs: Iterable[str]) -> frozenset[str]:
    """Return the operators of frameworks, `domain::type`, that Python classes compute."""
    layers = (add_extension(spec).layer for spec in specs)
    return frozenset(
        name for layer in layers if layer is not None for name in _names(layer) if "::" in name
    )


def _names(layer: type[Any]) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(layer, FRAMEWORK_NAMES, (layer.__name__,))
    return names


def _rules(framework: str, layer: type[Any]) -> list[Any]:
    names = _names(layer)
    if framework == "ir":
        return [ov.OpExtension(layer)]
    if framework == "onnx":
        from openvino.frontend.onnx import ConversionExtension as OnnxRule  # noqa: PLC0415

        parted = [name.rpartition("::") for name in names]
        return [
            OnnxRule(kind, *([domain] if domain else []), _converter(layer, by_name=True))
            for domain, _, kind in parted
        ]
    if framework == "pytorch":
        # Imports torch, which the other formats do not need.
        from openvino.frontend.pytorch import ConversionExtension as TorchRule  # noqa: PLC0415

        return [TorchRule(name, _converter(layer, by_name=False)) for name in names]
    if framework == "tf":
        from openvino.frontend.tensorflow import ConversionExtension as TfRule  # noqa: PLC0415

        return [TfRule(name, _converter(layer, by_name=True)) for name in names]
    return []


def _converter(layer: type[Any], *, by_name: bool) -> Callable[[NodeContext], list[ov.Output]]:
    """Return what makes a layer of a node, whose settings have names or are its last inputs."""
    parameters = inspect.signature(layer).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}

    def convert(node: NodeContext) -> list[ov.Output]:
        count = node.get_input_size() - (0 if by_name else len(defaults))
        inputs = [node.get_input(slot) for slot in range(count)]
        values = {
            name: node.get_attribute(name, value)
            if by_name
            else node.get_values_from_const_input(slot)
            for slot, (name, value) in enumerate(defaults.items(), count)
        }
        return list(layer(inputs, **values).outputs())

    return convert
