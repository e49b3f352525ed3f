"""Layer names that a person finds again in the source."""

import re
from collections import Counter
from typing import Final

import openvino as ov

from thorax.importers.layers import CONVOLUTIONS

_ONNX_KERNEL: Final = "/WithoutBiases"
"""What OpenVINO adds to the name of an ONNX layer when it parts it from its bias."""

_TORCH: Final = re.compile(r"^__module\.(.+?)/(?:aten|prim|ov_ext|quantized)::(\w+)")
_BARE: Final = ("Convolution", "GroupConvolution", "MaxPool", "Relu", "BatchNormInference")
"""Layers that a torch module consists of: they are called as it is."""

WEIGHTED: Final = (*CONVOLUTIONS, "MatMul")
"""Layers with a kernel, into which scales fold and by which people know a network."""


def layers_of(model: ov.Model) -> list[ov.Node]:
    """Return the nodes that compute, in the order they run in: all but constants and ports."""
    ports = ("Constant", "Parameter", "Result")
    return [node for node in model.get_ordered_ops() if node.get_type_name() not in ports]


def module_name(name: str, kind: str) -> str | None:
    """Return what PyTorch calls the module of a node, `layer1.0.conv1`; None for other nodes.

    The frontend's name is `__module.layer1.0.conv1/aten::_convolution/Convolution`; all but the
    first kind of a module's nodes have it in theirs.
    """
    match = _TORCH.match(name)
    if match is None:
        return None
    return match[1] if kind in _BARE else f"{match[1]}/{match[2].strip('_')}"


def readable_names(model: ov.Model) -> None:
    """Call each layer what its framework calls it; a name that is taken gets `_2`, `_3`, ..."""
    names: dict[str, str] = {}
    # Backwards, so that a batch normalisation left as a Multiply takes after the Add that follows.
    layers = [node for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    given = {node.get_friendly_name() for node in layers}
    for node in reversed(layers):
        name = node.get_friendly_name()
        module = module_name(name, node.get_type_name())
        if module is not None:
            names[name] = module
        elif name.endswith(_ONNX_KERNEL):
            names[name] = name.removesuffix(_ONNX_KERNEL)
        elif name + _ONNX_KERNEL in given:
            names[name] = f"{name}/bias"
        elif re.fullmatch(r"Multiply_\d+", name):
            user = next(iter(node.output(0).get_target_inputs())).get_node().get_friendly_name()
            names[name] = f"{names.get(user, user)}/scale"
    # Names of ports are what a model is fed and read by: they stay, and are taken.
    ports = ("Parameter", "Result")
    taken: Counter[str] = Counter(
        node.get_friendly_name() for node in layers if node.get_type_name() in ports
    )
    inner = [node for node in layers if node.get_type_name() not in ports]
    for node in sorted(inner, key=lambda node: node.get_type_name() not in WEIGHTED):
        old = node.get_friendly_name()
        name = names.get(old, old)
        new, uses = name, 1
        while taken[new]:
            uses += 1
            new = f"{name}_{uses}"
        taken[new] += 1
        if new != old:
            node.set_friendly_name(new)
