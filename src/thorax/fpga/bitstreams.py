"""The bitstreams that came with OpenVINO from 2018 to 2020, and what each overlay computes.

A name says release, board, precision and the networks an overlay was made for. Names are those of
the FPGA plug-in's page in the documentation of OpenVINO 2020.4, which also tells the activations
of each, and of the installation guides and published scripts of 2018 and 2019. No source tells
which architecture a bitstream holds: that is assumed, and said so.
"""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from thorax.errors import UsageError
from thorax.fpga.architecture import Architecture, find_architecture
from thorax.results.fpga import BitstreamFeatures

_RELEASES: Final = {
    "2-0-1": "2018 R3",
    "4-0": "2018 R4",
    "5-0": "2018 R5",
    "2019R1": "2019 R1",
    "2019R4": "2019 R4",
    "2020-3": "2020.3",
    "2020-4": "2020.4",
}
_BOARDS: Final = {
    "RC": "pac-a10",
    "A10DK": "a10dk",
    "PL1": "mustang-sg1",
    "PL2": "mustang-sg2",
}
_FEATURES: Final = ("Clamp", "ELU", "Generic", "SwishExcitation")
"""Words of a name that are no network."""


@dataclass(frozen=True, slots=True)
class Bitstream:
    """An overlay, built for a board; fields as of `thorax.results.fpga.BitstreamFeatures`.

    Other networks than its topologies run too, as far as its layers reach.
    """

    name: str
    release: str
    board: str
    precision: str
    topologies: tuple[str, ...]
    activations: tuple[str, ...]
    normalisation: bool
    assumed: tuple[str, ...]

    @property
    def architecture(self) -> Architecture:
        """What the overlay is built of, with the activations that this bitstream has."""
        return _architecture(self)

    @property
    def block(self) -> int:
        """Channels that share an exponent, the overlay's C_vec."""
        return self.architecture.c_vector

    def features(self) -> BitstreamFeatures:
        """Return what `thorax fpga list --bitstreams` says of it."""
        overlay = self.architecture
        facts = {"architecture": overlay.name, "vectors": overlay.vectors}
        return BitstreamFeatures.read({**dict(overlay.ranges), **asdict(self), **facts})


def _bitstream(name: str, flags: str | None = None) -> Bitstream:
    """Return a bitstream.

    Flags are a letter for each that it has: local response normalisation, leaky and parametric
    ReLU, clamp, ELU. Leaky and parametric ReLU are one operation of OpenVINO, and the table of
    2020.4 has both or none. They are None where nothing but the name is known: as in 2020.4, what
    was made for AlexNet or GoogLeNet, or for any network, has LRN and the leaky ReLU; RMNet needs
    the ELU, YOLO the leaky ReLU.
    """
    release, board, precision, *words = name.split("_")
    assumed: tuple[str, ...] = ("architecture",)
    if flags is None:
        assumed = ("architecture", "activations", "normalisation")
        flags = "LP" if {"Generic", "AlexNet", "GoogleNet", "SSD300"} & set(words) else ""
        flags += "P" if any("Yolo" in word for word in words) else ""
        flags += "C" if "Clamp" in words else ""
        flags += "E" if {"RMNet", "ELU"} & set(words) else ""
    kinds = {"P": "PRelu", "C": "Clamp", "E": "Elu"}
    return Bitstream(
        name=name,
        release=_RELEASES[release],
        board=_BOARDS[board],
        precision=precision.lower(),
        topologies=tuple(word for word in words if word not in _FEATURES),
        activations=("Relu", *(kind for letter, kind in kinds.items() if letter in flags)),
        normalisation="L" in flags,
        assumed=assumed,
    )


BITSTREAMS: Final[Mapping[str, Bitstream]] = {
    bitstream.name: bitstream
    for bitstream in (
        *map(
            _bitstream,
            (
                "2-0-1_RC_FP11_Generic",
                "2-0-1_RC_FP16_Generic",
                "2-0-1_A10DK_FP11_ResNet50-101",
                "2-0-1_A10DK_FP11_SqueezeNet",
                "2-0-1_A10DK_FP11_SSD300",
                "4-0_RC_FP11_Generic",
                "4-0_PL1_FP11_MobileNet_ResNet_VGG_Clamp",
                "4-0_PL1_FP11_SqueezeNet",
                "4-0_A10DK_FP11_MobileNet_ResNet_VGG_Clamp",
                "4-0_A10DK_FP16_MobileNet_ResNet_SqueezeNet_Clamp",
                "4-0_A10DK_FP16_VGG_Generic",
                "5-0_RC_FP11_SqueezeNet",
                "5-0_PL1_FP11_ResNet",
                "5-0_A10DK_FP11_MobileNet_Clamp",
                "5-0_A10DK_FP11_ResNet",
                "5-0_A10DK_FP11_SqueezeNet",
                "5-0_A10DK_FP11_VGG",
                "5-0_A10DK_FP16_Generic",
                "5-0_A10DK_FP16_MobileNet_Clamp",
                "5-0_A10DK_FP16_ResNet_TinyYolo",
                "5-0_A10DK_FP16_SqueezeNet_VGG",
                "2019R1_RC_FP11_ResNet_SqueezeNet_VGG",
                "2019R1_PL1_FP11_MobileNet_Clamp",
                "2019R1_PL1_FP11_RMNet",
                "2019R1_A10DK_FP11_AlexNet_GoogleNet_SqueezeNet",
                "2019R4_PL1_FP11_MobileNet_Clamp",
                "2019R4_PL1_FP11_ResNet_VGG",
                "2019R4_PL2_FP11_AlexNet_GoogleNet_Generic",
                "2020-3_RC_FP11_InceptionV1_SqueezeNet_VGG_YoloV3",
                "2020-4_RC_FP16_ResNet_TinyYolo_VGG",
            ),
        ),
        _bitstream("2020-4_RC_FP11_AlexNet_GoogleNet_Generic", "LP"),
        _bitstream("2020-4_RC_FP11_ELU", "PE"),
        _bitstream("2020-4_RC_FP11_InceptionV1_ResNet_SqueezeNet_TinyYolo_YoloV3", "P"),
        _bitstream("2020-4_RC_FP11_MobileNet_Clamp", "PC"),
        _bitstream("2020-4_RC_FP11_RMNet", "PE"),
        _bitstream("2020-4_RC_FP11_SwishExcitation", ""),
        _bitstream("2020-4_RC_FP16_AlexNet_GoogleNet_Generic", "LP"),
        _bitstream("2020-4_RC_FP16_InceptionV1_SqueezeNet_TinyYolo_VGG", "P"),
        _bitstream("2020-4_RC_FP16_InceptionV1_SqueezeNet_YoloV3", "P"),
        _bitstream("2020-4_RC_FP16_MobileNet_Clamp", "PC"),
        _bitstream("2020-4_RC_FP16_ResNet_YoloV3", "P"),
        _bitstream("2020-4_RC_FP16_RMNet", "PE"),
        _bitstream("2020-4_RC_FP16_SwishExcitation", ""),
        _bitstream("2020-4_PL2_FP11_AlexNet_GoogleNet_Generic", "LP"),
        _bitstream("2020-4_PL2_FP11_InceptionV1_ResNet_VGG", ""),
        _bitstream("2020-4_PL2_FP11_MobileNet_Clamp", "PC"),
        _bitstream("2020-4_PL2_FP11_RMNet", "PE"),
        _bitstream("2020-4_PL2_FP11_SqueezeNet", "P"),
        _bitstream("2020-4_PL2_FP11_SwishExcitation", ""),
        _bitstream("2020-4_PL2_FP11_TinyYolo_SSD300", "LP"),
        _bitstream("2020-4_PL2_FP11_YoloV3_ELU", "PE"),
        _bitstream("2020-4_PL2_FP16_AlexNet_GoogleNet_SSD300_Generic", "LP"),
        _bitstream("2020-4_PL2_FP16_ELU", "PE"),
        _bitstream("2020-4_PL2_FP16_MobileNet_Clamp", "PC"),
        _bitstream("2020-4_PL2_FP16_ResNet_YoloV3", "P"),
        _bitstream("2020-4_PL2_FP16_RMNet", "PE"),
        _bitstream("2020-4_PL2_FP16_SqueezeNet_TinyYolo_VGG", "P"),
        _bitstream("2020-4_PL2_FP16_SwishExcitation", ""),
    )
}
"""In order of release. The two of 2020.4 that were for internal use only are left out."""


_FOLDED: Final[Mapping[str, Bitstream]] = {
    name.lower(): bitstream for name, bitstream in BITSTREAMS.items()
}


def named_bitstream(name: str) -> Bitstream | None:
    """Return a bitstream by name, in any case, with or without `.aocx`; None for no such name."""
    return _FOLDED.get(name.lower().removesuffix(".aocx"))


def find_bitstream(name: str) -> Bitstream:
    """Return a bitstream by name, in any case, with or without `.aocx`.

    Raises:
        UsageError: `fpga-bitstream` for a name that is none, with the nearest there are.
    """
    bitstream = named_bitstream(name)
    if bitstream is None:
        folded = name.lower().removesuffix(".aocx")
        near = difflib.get_close_matches(folded, _FOLDED, n=3, cutoff=0.0)
        raise UsageError(
            "fpga-bitstream",
            f"there is no bitstream {name!r}; the nearest are "
            f"{', '.join(_FOLDED[match].name for match in near)}; "
            "`thorax fpga list --bitstreams` has all",
        )
    return bitstream


def bitstreams_for(board: str) -> tuple[Bitstream, ...]:
    """Return the bitstreams that were built for a board, in order of release."""
    return tuple(bitstream for bitstream in BITSTREAMS.values() if bitstream.board == board)


_TOLD: Final = (
    "name", "family", "precision", "weights", "budget", "flags", "source", "assumed", "calibrated",
)  # fmt: skip
"""Fields of an architecture that a bitstream's name tells, or that say nothing of its sizes."""


@functools.cache
def _architecture(bitstream: Bitstream) -> Architecture:
    """Return the architecture that is assumed: the two published ones from 2019, before that 8x48.

    The speed of the PAC of 2018 is that of the latter, the speed of 2019 that of 4x2x16x64. All but
    what the name and the documentation tell is listed as assumed, or as calibrated.
    """
    name = "4x2x16x32-fp16" if bitstream.precision == "fp16" else "4x2x16x64-fp11"
    base = find_architecture("8x48-fp11" if bitstream.release.startswith("2018") else name)
    auxiliary = base.auxiliary
    if bitstream.normalisation != bool(auxiliary.norm_k):
        auxiliary = auxiliary.model_copy(update={"norm_k": int(bitstream.normalisation)})
    known = {*_TOLD, *base.calibrated}
    assumed = [field for field in Architecture.model_fields if field not in known]
    if "activations" not in bitstream.assumed:
        sizes = (field for field in type(base.ranges).model_fields if field != "activations")
        at = assumed.index("ranges")
        assumed[at : at + 1] = [f"ranges.{field}" for field in sizes]
    return base.model_copy(
        update={
            "assumed": tuple(assumed),
            "source": f"assumed of bitstream {bitstream.name}, which no source describes: "
            f"{base.source}",
            "name": base.name.rpartition("-")[0] + f"-{bitstream.precision}",
            "precision": bitstream.precision,
            "ranges": base.ranges.model_copy(update={"activations": bitstream.activations}),
            "auxiliary": auxiliary,
        }
    )
