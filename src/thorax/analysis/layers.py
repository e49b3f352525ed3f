"""Which operations of a graph make one layer.

A layer is what devices run as one kernel: an operation with the bias, scale and activation that
follow it and that nothing else reads. It has the name of the operation that it begins with.
"""

from dataclasses import dataclass
from typing import Final

import openvino as ov

VIEWS: Final = (
    "Parameter", "Constant", "Result", "Convert", "ConvertLike", "FakeQuantize", "FakeConvert",
    "Reshape", "Squeeze", "Unsqueeze", "ShapeOf", "Identity",
)  # fmt: skip
"""Operations that leave the values where they are, or change how they are written alone."""

PASSING: Final = (
    *VIEWS,
    "Transpose", "Concat", "Split", "VariadicSplit", "Slice", "StridedSlice", "Gather", "MaxPool",
    "Pad", "Broadcast", "Tile", "DepthToSpace", "SpaceToDepth", "ShuffleChannels",
)  # fmt: skip
"""Operations that hand values on, where they are or to another place, and compute none."""

FOLLOWING: Final = (
    "Add", "Subtract", "Multiply", "Divide", "BatchNormInference", "Relu", "PRelu", "Clamp", "Elu",
    "Sigmoid", "Tanh", "HSwish", "HSigmoid", "HardSigmoid", "Swish", "Mish", "Gelu", "SoftPlus",
)  # fmt: skip
"""What belongs to the layer before it, where its other inputs are constants."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Operations that run as one, with name and type of the first."""

    name: str
    type: str
    nodes: tuple[ov.Node, ...]

    @property
    def end(self) -> str:
        """Friendly name of the last operation, whose output is the layer's."""
        return str(self.nodes[-1].get_friendly_name())


def live_names(model: ov.Model) -> set[str]:
    """Return the unique names (`get_name`) of the operations that depend on an input."""
    live: set[str] = set()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Parameter" or any(
            source.get_node().get_name() in live for source in node.input_values()
        ):
            live.add(node.get_name())
    return live


def group_layers(
    model: ov.Model, live: set[str], *, apart: tuple[str, ...] = PASSING
) -> list[Layer]:
    """Return the layers in the order of execution; what has no static shape is left out.

    Those of `live_names` are live; operations of the types `apart` are no layers.
    """
    taken: set[str] = set()
    layers = []
    for node in model.get_ordered_ops():
        if (
            node.get_name() in taken
            or node.get_name() not in live
            or node.get_type_name() in apart
            or not node.outputs()
            or not node.output(0).get_element_type().is_real()
            or node.output(0).get_partial_shape().is_dynamic
        ):
            continue
        nodes = [node]
        while (follower := _follower(nodes[-1], live)) is not None:
            taken.add(follower.get_name())
            nodes.append(follower)
        layers.append(Layer(node.get_friendly_name(), node.get_type_name(), tuple(nodes)))
    return layers


def _follower(node: ov.Node, live: set[str]) -> ov.Node | None:
    """Return the operation that alone reads this one and belongs to its layer."""
    if len(node.outputs()) != 1 or node.get_type_name() in PASSING:
        return None
    users = [user.get_node() for user in node.output(0).get_target_inputs()]
    if len(users) != 1 or users[0].get_type_name() not in FOLLOWING:
        return None
    moving = [value for value in users[0].input_values() if value.get_node().get_name() in live]
    return users[0] if len(moving) == 1 else None
