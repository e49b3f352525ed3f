"""Classified images on a report page: their heat maps and the findings that scored highest.

Pictures are encoded anew: of a file nothing but its pixels reaches a page.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from thorax.labels import plain_name
from thorax.report.parts import Bar, Sample, Section
from thorax.report.table import Table
from thorax.report.text import file_name
from thorax.results.findings import ClassifyResult, Findings
from thorax.results.pictures import read_png

_SAMPLES: Final = 12
_UNREAD: Final = 20
"""Files that could not be read that are named."""
_SIDE: Final = 1000
"""Pixels of a picture on a page; twice what it is shown at, for fine screens."""


def section(results: Sequence[ClassifyResult]) -> Section | None:
    """Return heat maps and what could not be read, of `classify`."""
    rows = [row for result in results for row in result.results]
    shown = _varied([row for row in rows if row.heatmaps])
    unread = _unread_table(rows)
    if not shown and unread is None:
        return None
    text: tuple[str, ...] = ()
    if shown:
        text = (
            f"{len(shown)} of {len(rows):,} classified images with the findings that scored"
            " highest; bold: above the operating point. Colour shows which cells of the last"
            " feature map speak for the finding.",
        )
    return Section(
        "samples",
        "Heat maps",
        text,
        tables=(unread,) if unread else (),
        samples=tuple(map(_sample, shown)),
        prose=True,
    )


def _unread_table(rows: Sequence[Findings]) -> Table | None:
    unread = [(row.image, row.error) for row in rows if row.error]
    if not unread:
        return None
    more = len(unread) - _UNREAD
    return Table(
        "Not read",
        ("Image", "Code", "Message"),
        tuple((file_name(image), error.code, error.message) for image, error in unread[:_UNREAD]),
        note=f"{more:,} more are left out." if more > 0 else "",
    )


def _varied(rows: Sequence[Findings]) -> list[Findings]:
    """Return at most `_SAMPLES` images: one for each finding first, then as they come."""
    seen: set[str] = set()
    first: list[Findings] = []
    rest: list[Findings] = []
    for row in rows:
        fresh = set(row.positive) - seen
        (first if fresh else rest).append(row)
        seen |= fresh
    return [*first, *rest][:_SAMPLES]


def _sample(row: Findings) -> Sample:
    ranked = sorted(row.findings.items(), key=lambda item: -item[1])
    # Of several heat maps the one of the finding that scored highest.
    path = next(row.heatmaps[name] for name, _ in ranked if name in row.heatmaps)
    picture = embed_image(Path(path))
    return Sample(
        file_name(row.image),
        picture,
        "" if picture else f"Heat map {file_name(path)} cannot be read.",
        tuple(
            Bar(plain_name(name), f"{value:.2f}", round(100 * value), name in row.positive)
            for name, value in ranked[:4]
        ),
    )


def embed_image(path: Path) -> str:
    """Return a PNG file, made small enough for a page, as a data URI; "" if it is none."""
    try:
        pixels = cv2.imdecode(np.frombuffer(read_png(path), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return ""
    if pixels is None:
        return ""
    longest = max(pixels.shape[:2])
    if longest > _SIDE:
        scale = _SIDE / longest
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    written, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not written:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")
