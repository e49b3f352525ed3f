"""Pictures of the evidence for findings, in a folder: a file a finding and radiograph."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np

from thorax.artifact import Card
from thorax.files.atomic import require_place, sha256, sweep_folder, write_bytes
from thorax.files.outputs import writing
from thorax.inference.heatmap_picture import overlay
from thorax.inference.predictor import Prediction
from thorax.labels import plain_name
from thorax.results.findings import Findings

_NO_NAME: Final = frozenset('/\\:*?"<>|')
"""What no name of a file may hold on one system or another."""
_PART_BYTES: Final = 80
"""Bytes of the name of an image, and of a label, in that of its picture: file systems allow 255 in
all, of which 33 are for what stands around it while it is written."""


@dataclass(frozen=True, slots=True)
class HeatmapFolder:
    """A folder that heat maps are drawn in.

    The card is of the network, which has heat maps, `colours` are of the evidence, and
    `label_parts` what stands for each label in the name of a file.
    """

    path: Path
    card: Card
    colours: str
    label_parts: dict[str, str]

    @classmethod
    def open(cls, path: Path, card: Card, colours: str) -> Self:
        """Make the folder, and remove what a killed run left half written in it.

        Raises:
            UsageError: `output-unwritable`.
        """
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            require_place(path / "000000.png")
            sweep_folder(path)
        return cls(path, card, colours, _label_parts(card.labels))

    def draw(self, prediction: Prediction, findings: Findings, number: int) -> Findings:
        """Draw each positive finding, or the likeliest when none is, and name the pictures.

        The prediction has its heat map; the number of the radiograph begins the names of its
        pictures.
        """
        if prediction.error is not None:
            return findings
        likeliest = max(prediction.findings, key=prediction.findings.__getitem__)
        pictures = {
            name: self._draw(prediction, name, number)
            for name in prediction.positive or (likeliest,)
        }
        return findings.model_copy(
            update={
                "heatmaps": {name: str(path) for name, path in pictures.items()},
                "heatmaps_sha256": {name: sha256(path) for name, path in pictures.items()},
            }
        )

    def _draw(self, prediction: Prediction, name: str, number: int) -> Path:
        card = self.card
        assert prediction.heatmap is not None
        assert prediction.prepared is not None
        assert card.heatmap is not None
        title = f"{plain_name(name)}  {prediction.findings[name]:.2f}"
        if not prediction.positive:
            title += (
                "  (likeliest; below its operating point)" if card.thresholds else "  (likeliest)"
            )
        picture = overlay(
            prediction.prepared[0],
            prediction.heatmap[card.labels.index(name)],
            card.heatmap,
            title=title,
            colours=self.colours,
        )
        image = _file_part(Path(prediction.image).stem)
        path = self.path / f"{number:06d}_{image}_{self.label_parts[name]}.png"
        with writing(path):
            encoded = np.asarray(cv2.imencode(".png", picture)[1]).tobytes()
            write_bytes(path, encoded, swept=True)
        return path


def _label_parts(labels: tuple[str, ...]) -> dict[str, str]:
    """Return what stands for each label in the name of a file; no two of them are the same."""
    parts: dict[str, str] = {}
    taken: set[str] = set()
    for number, label in enumerate(labels):
        part = _file_part(label)
        # There are file systems for which `mass` and `Mass` are one name.
        while part.casefold() in taken:
            part = f"{part}-{number}"
        taken.add(part.casefold())
        parts[label] = part
    return parts


def _file_part(text: str) -> str:
    """Return text as a part of a file's name: nothing that leads elsewhere or is no letter."""
    plain = "".join(
        letter if letter.isprintable() and letter not in _NO_NAME else "_"
        for letter in unicodedata.normalize("NFC", text)
    )
    return plain.encode()[:_PART_BYTES].decode(errors="ignore")
