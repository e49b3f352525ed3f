"""Which layers of a network a bitstream runs, and why it does not run the others."""

from dataclasses import dataclass

import openvino as ov

from thorax.fpga.bitstreams import Bitstream


@dataclass(frozen=True, slots=True)
class Support:
    """Whether an overlay runs a layer.

    Attributes:
        supported: that it does.
        reason: why or why not, in a few words.
    """

    supported: bool
    reason: str


def query(model: ov.Model, bitstream: Bitstream) -> dict[str, Support]:
    """Return by friendly name whether a bitstream runs each node of a model."""
    supported = {"Convolution", "GroupConvolution", "Add", "Relu", "MaxPool", "AvgPool", "Concat"}
    answer = {}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in ("Parameter", "Constant", "Result"):
            answer[node.get_friendly_name()] = Support(True, "follows what it feeds or comes from")
        elif kind in supported and len(node.get_output_partial_shape(0)) == 4:
            answer[node.get_friendly_name()] = Support(True, bitstream.name)
        else:
            answer[node.get_friendly_name()] = Support(False, f"{kind}: not in this bitstream")
    return answer
