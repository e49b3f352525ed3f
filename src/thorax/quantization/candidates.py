"""Artifacts of one source in several precisions, each written and checked before it is judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import openvino as ov

from thorax import artifact
from thorax.analysis.difference import FP32_TOLERANCE, largest_difference, require_equal
from thorax.artifact import Artifact, Card, Precision
from thorax.devices.process_core import open_core
from thorax.ir import rewrite
from thorax.ir.classifier import Classifier
from thorax.quantization import fp11

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


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact that may become the one asked for.

    Attributes:
        artifact: on disk, with a card that has no accuracy yet.
        difference: largest difference of a probability from the source's on probe images.
        kept: layers left in floating point on purpose.
    """

    artifact: Artifact
    difference: float
    kept: tuple[str, ...] = ()

    @property
    def precision(self) -> Precision:
        """How it stores its weights."""
        return self.artifact.card.precision


class CandidateBuilder:
    """Writes candidates of one source to a folder.

    Attributes:
        model: the rewritten float graph, never changed.
    """

    def __init__(
        self,
        folder: Path,
        source: Classifier,
        model: ov.Model,
        card: Card,
        *,
        block: int = fp11.BLOCK,
    ) -> None:
        """Remember what candidates are made of.

        Args:
            folder: where they are written.
            source: what they are compared with.
            model: the rewritten float graph.
            card: of all of them.
            block: channels that share an exponent in FP11.
        """
        self.model = model
        self._block = block
        self._folder, self._classifier, self._card = folder, source, card
        self._written = 0
        self._fp32: Candidate | None = None

    def fp32(self) -> Candidate:
        """Return the candidate that all others are measured by, made once."""
        if self._fp32 is None:
            self._fp32 = self.write(Precision.FP32, self.model)
        return self._fp32

    def halves(self, precision: Precision) -> Candidate:
        """Return the candidate in fp16, bf16 or fp11."""
        if precision is Precision.FP11:
            return self.write(precision, fp11.fold(self.model, self._block))
        if precision is not Precision.BF16:
            return self.write(precision, self.model)
        rounded = self.model.clone()
        rewrite.store_weights_as_bf16(rounded)
        return self.write(precision, rounded)

    def write(
        self, precision: Precision, lowered: ov.Model, kept: tuple[str, ...] = ()
    ) -> Candidate:
        """Write a graph as an artifact, read it back and compare it with the source.

        Raises:
            ModelError: `model-differs`.
        """
        card = self._card.model_copy(
            update={
                "name": f"{self._card.topology}-{precision.value}",
                "precision": precision,
                "kept": kept,
            }
        )
        if precision is Precision.FP11:
            provenance = {**card.provenance, **fp11.provenance(self._block)}
            card = card.model_copy(update={"provenance": provenance})
        folder = self._folder / f"{self._written:03d}-{precision.value}"
        self._written += 1
        folder.mkdir()
        described = lowered.clone()
        rewrite.write_model_info(described, card)
        compress = precision in (Precision.FP16, Precision.FP11)
        ov.save_model(described, folder / artifact.XML, compress_to_fp16=compress)
        difference = largest_difference(
            open_core().read_model(folder / artifact.XML),
            self._classifier.reference,
            mean=self._classifier.mean,
            std=self._classifier.std,
        )
        require_equal(difference, tolerance=_TOLERANCE[precision], what=f"{precision} graph")
        return Candidate(
            Artifact(folder, artifact.seal(folder, card, durable=False)), difference, kept
        )
