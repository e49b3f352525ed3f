"""Artifacts of one source in several precisions, each written and checked before it is judged."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import openvino as ov

from thorax import artifact
from thorax.analysis.difference import largest_difference, require_equal
from thorax.artifact import Artifact, Card, Precision
from thorax.devices.core import list_parts, simulates
from thorax.devices.process_core import open_core
from thorax.fpga.card import find_card
from thorax.fpga.emulation import array_layers, fold_weights
from thorax.ir import rewrite
from thorax.ir.classifier import Classifier
from thorax.ir.reference import FP32_TOLERANCE

_TOLERANCE: Final = {
    Precision.FP32: FP32_TOLERANCE,
    # Weights rounded to 11 and 8 significant bits, everything computed in FP32.
    Precision.FP16: 1e-2,
    Precision.BF16: 5e-2,
    # On probes unlike any radiograph INT8 may stray; its AUROC judges it.
    Precision.INT8: 1.0,
    # So may weights of 6 bits; activations of 6 bits come in on the card.
    Precision.FP11: 1.0,
}
"""Largest difference of a probability on the probe images that is not taken for a broken graph."""


BLOCK: Final = 16
"""Channels that share an exponent: c_vector of the overlays that bitstreams of 2018 to 2020 name,
4x2x16x32 and 4x2x16x64 (OpenVINO 2020.4, FPGA plug-in)."""


def block_of(device: str) -> int:
    """Return the block of the programmed cards of a device string, the largest of several.

    What is rounded to large blocks is left alone by smaller ones. Without a programmed card it is
    `BLOCK`.

    Raises:
        DeviceError: `device-unknown`.
        DataError: `fpga-state`.
    """
    cards = [find_card(part) for part in list_parts(device) if simulates(part)]
    vectors = [card.bitstream.architecture.c_vector for card in cards if card.bitstream]
    return max(vectors, default=BLOCK)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact that may become the one asked for, with a card that has no accuracy yet.

    Its difference is the largest of a probability from the source's on probe images; `kept` are
    layers left in floating point on purpose.
    """

    artifact: Artifact
    difference: float
    kept: tuple[str, ...] = ()

    @property
    def precision(self) -> Precision:
        """How it stores its weights."""
        return self.artifact.card.precision


@dataclass(slots=True)
class CandidateBuilder:
    """Writes candidates of one source to a folder, made of its rewritten float graph.

    The card is that of all of them, the block the channels that share an exponent in FP11.
    """

    folder: Path
    source: Classifier
    model: ov.Model
    card: Card
    block: int = BLOCK
    _written: int = field(default=0, init=False)
    _fp32: Candidate | None = field(default=None, init=False)

    def fp32(self) -> Candidate:
        """Return the candidate that all others are measured by, made once.

        Of a source that is quantised already it is that source, in INT8.
        """
        if self._fp32 is None:
            stored = Precision.INT8 if self.source.quantized else Precision.FP32
            self._fp32 = self.write(stored, self.model)
        return self._fp32

    def halves(self, precision: Precision) -> Candidate:
        """Return the candidate in fp16, bf16 or fp11."""
        model = self.model
        if precision is Precision.FP11:
            # Every weight of it is exact in 16 bits.
            model = model.clone()
            fold_weights(model, array_layers(model), precision="fp11", block=self.block)
        elif precision is Precision.BF16:
            model = model.clone()
            rewrite.store_weights_as_bf16(model)
        return self.write(precision, model)

    def write(
        self, precision: Precision, lowered: ov.Model, kept: tuple[str, ...] = ()
    ) -> Candidate:
        """Write a graph as an artifact, read it back and compare it with the source.

        Raises:
            ModelError: `model-differs`.
        """
        facts: dict[str, object] = {
            "name": f"{self.card.topology}-{precision.value}",
            "precision": precision,
        }
        if precision is Precision.FP11:
            facts["provenance"] = {
                **self.card.provenance,
                "fp11": {"block": self.block, "rounding": "faithful"},
            }
        card = self.card.model_copy(update={**facts, "kept": kept})
        folder = self.folder / f"{self._written:03d}-{precision.value}"
        self._written += 1
        folder.mkdir()
        described = lowered.clone()
        rewrite.write_model_info(described, card)
        compress = precision in (Precision.FP16, Precision.FP11)
        ov.save_model(described, folder / artifact.XML, compress_to_fp16=compress)
        difference = largest_difference(
            open_core().read_model(folder / artifact.XML),
            self.source.reference,
            mean=self.source.mean,
            std=self.source.std,
        )
        tolerance = max(_TOLERANCE[precision], self.source.tolerance)
        require_equal(difference, tolerance=tolerance, what=f"{precision} graph")
        sealed = artifact.seal(folder, card, durable=False)
        return Candidate(Artifact(folder, sealed), difference, kept)
