"""The bitstreams that shipped with OpenVINO from 2018 to 2020, and what each overlay computes."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from thorax.errors import UsageError

_RELU: Final = frozenset({"Relu"})


@dataclass(frozen=True, slots=True)
class Ranges:
    """The layers that an overlay's arrays take.

    Attributes:
        kernel: largest side of a convolution's kernel.
        stride: largest stride of a convolution.
        dilation: largest dilation.
        channels: most channels of a tensor.
        side: largest height or width of a tensor.
        pool_window: largest side of a pooling window.
    """

    kernel: int = 14
    stride: int = 15
    dilation: int = 16
    channels: int = 8192
    side: int = 1024
    pool_window: int = 3


@dataclass(frozen=True, slots=True)
class Bitstream:
    """An overlay, built for a board.

    Attributes:
        name: as the file was called, without `.aocx`.
        release: of OpenVINO.
        board: name of the board it was built for.
        precision: format that its PE array computes in, as `thorax.fpga.formats` names it.
        block: channels that share an exponent, the overlay's C_vec.
        topologies: networks it was made and tuned for; others run within the ranges, slower.
        activations: OpenVINO types of the activations it has.
        normalisation: whether it has local response normalisation (LRN).
        ranges: of its layers.
        assumed: what no source says and is assumed here.
    """

    name: str
    release: str
    board: str
    precision: str
    block: int
    topologies: tuple[str, ...]
    activations: frozenset[str]
    normalisation: bool
    ranges: Ranges
    assumed: tuple[str, ...] = ()


BITSTREAMS: Final[Mapping[str, Bitstream]] = {
    one.name: one
    for one in (
        Bitstream(
            "2019R1_RC_FP11_ResNet_SqueezeNet_VGG",
            "2019 R1",
            "pac-a10",
            "fp11",
            16,
            ("ResNet", "SqueezeNet", "VGG"),
            _RELU,
            False,
            Ranges(),
        ),
    )
}


def find_bitstream(name: str) -> Bitstream:
    """Return a bitstream by name, with or without `.aocx`.

    Raises:
        UsageError: `fpga-bitstream` for a name that is none, with the nearest there are.
    """
    known = BITSTREAMS.get(name.removesuffix(".aocx"))
    if known is None:
        near = difflib.get_close_matches(name, BITSTREAMS, n=3, cutoff=0.0)
        raise UsageError(
            "fpga-bitstream",
            f"there is no bitstream {name!r}; the nearest are {', '.join(near)}; "
            "`thorax fpga list --bitstreams` has all",
        )
    return known
