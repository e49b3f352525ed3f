"""Tables of simulated cards and their bitstreams."""

from collections.abc import Sequence
from typing import Final

from thorax.measure.tables import Document, Table


def cards_table(cards: Sequence[Document]) -> Table:
    """Return the cards of `thorax fpga list`, a row each."""
    return Table(
        "FPGA cards",
        ("Card", "Board", "Bitstream", "Precision", "Power, W"),
        tuple(
            (
                str(card["name"]),
                str(card["board"]),
                str(card["bitstream"] or "not programmed"),
                str(card["precision"] or "-").upper(),
                "unknown" if card["power_w"] is None else f"{card['power_w']:g}",
            )
            for card in cards
        ),
        note="Simulated: arithmetic is real, time and power are modelled. Power is that of the "
        "board under load, as published; `--json` names the source.",
    )


def bitstreams_table(bitstreams: Sequence[Document]) -> Table:
    """Return the registry of bitstreams, a row each, in order of release."""
    return Table(
        "Bitstreams",
        ("Name", "Board", "Has", "Vectors"),
        tuple(
            (str(one["name"]), str(one["board"]), _features(one), _vectors(one))
            for one in bitstreams
        ),
        note="A name says release, board (RC, A10DK, PL1, PL2), precision and networks. Has: "
        "beside the ReLU. Vectors: rows x columns x input x output channels a cycle, assumed. "
        "`--json` has the ranges of layers, and what else is assumed.",
    )


_FEATURES: Final = {"PRelu": "PReLU", "Clamp": "Clamp", "Elu": "ELU"}


def _features(one: Document) -> str:
    found = ["LRN"] if one["normalisation"] else []
    found += [name for kind, name in _FEATURES.items() if kind in one["activations"]]
    return "+".join(found) or "-"


def _vectors(one: Document) -> str:
    return "x".join(str(size) for size in one["vectors"])
