"""Tables of simulated cards and their bitstreams."""

from collections.abc import Sequence
from typing import Final

from thorax.report.series import Document, images_text
from thorax.report.table import Table
from thorax.report.text import number_text


def cards_table(cards: Sequence[Document]) -> Table:
    """Return the cards of `thorax fpga list`, a row each."""
    return Table(
        "FPGA cards",
        ("Card", "Board", "Bitstream", "Published load, W"),
        tuple(
            (
                str(card["name"]),
                str(card["board"]),
                str(card["bitstream"] or "not programmed"),
                "unknown" if card["power_w"] is None else f"{card['power_w']:g}",
            )
            for card in cards
        ),
        note="Simulated: arithmetic is real, time and power are modelled. Published load: of the "
        "board whatever its bitstream; `--json` names the source, and `thorax partition` and "
        "`thorax fpga analyze` model what it draws for a network.",
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


def explore_table(document: Document) -> Table:
    """Return what each precision leaves and brings, a row a variant, FP32 first."""
    unit = any(one["modelled"]["power_w"] for one in document["variants"])
    rows = [
        ("FP32, CPU", number_text(document["reference"]["mean_auroc"]["value"], ".3f"))
        + ("",) * (8 if unit else 6)
    ]
    for one in document["variants"]:
        figures = one["modelled"]
        size = figures["area"]
        rows.append(
            (
                one["name"] + (" *" if one["pareto"] else ""),
                number_text(one["mean_auroc"]["value"], ".3f"),
                _interval_text(one["mean_difference"]),
                _vectors(figures),
                f"{size['dsp']:,}",
                f"{size['m20k']:,}",
                f"{size['alm'] / 1e3:.0f}",
                f"{figures['images_per_s']:,.0f}",
                *(
                    (f"{figures['power_w']:.1f}", f"{figures['images_per_s_per_w']:.2f}")
                    if unit
                    else ()
                ),
            )
        )
    power = ("W", "Img/s/W") if unit else ()
    return Table(
        f"{document['model']}, {sides_text(document)}, falling precision on "
        f"{document['board_full_name']}",
        ("", "AUROC", "minus FP32 [95%]", "Vectors", "DSP", "M20K", "kALM", "Img/s", *power),
        tuple(rows),
        (False, *(True for _ in document["variants"])),
        _explore_note(document),
    )


def sides_text(document: Document) -> str:
    """Return what sides of images an exploration is about."""
    if document["modelled_side"] == document["side"]:
        return f"{document['side']} px"
    return f"{document['side']} px, speed at {document['modelled_side']} px"


def _interval_text(interval: Document) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _explore_note(document: Document) -> str:
    judged = () if document["doubt"] else document["variants"]
    lost = [one["name"] for one in judged if _is_chance(one["mean_auroc"])]
    worse = [
        one["name"]
        for one in judged
        if one["name"] not in lost and _is_worse(one["mean_difference"])
    ]
    watts = any(one["modelled"]["power_w"] for one in document["variants"])
    rest = "its area, and the board's power" if watts else "and its area; no power is published"
    told = [
        f"Mean AUROC of {images_text({**document, 'simulated': False})}, computed with the "
        "overlay's arithmetic, nothing trained after rounding. All else is modelled: the fastest "
        "overlay of rows x columns x input x output channels a cycle that the device has room "
        f"for, {rest}. * none is better in both."
    ]
    if document["doubt"]:
        told.append(f"No verdict on the differences: {document['doubt']}.")
    if lost:
        told.append(f"{_and(lost)}: destroyed, no better than chance.")
    if worse:
        told.append(f"{_and(worse)}: worse than FP32 beyond chance.")
    told.append(
        "No vendor has FP9, FP8 or filters of two and three values, nor the AGX formats but for "
        "Agilex: their overlays go on from the model."
    )
    return " ".join(told)


def _is_chance(interval: Document) -> bool:
    return _is_spread(interval) and bool(interval["low"] <= 0.5)


def _is_worse(interval: Document) -> bool:
    return _is_spread(interval) and bool(interval["high"] < 0)


def _is_spread(interval: Document) -> bool:
    """Return whether resampling found an interval, and not one value over and over."""
    low, high = interval["low"], interval["high"]
    return low is not None and high is not None and low < high


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
