"""A contact sheet of phantoms for the documents: every finding, a healthy chest, lateral views.

    python -m benchmarks.phantom_sheet [--seed 7]

All are of subtlety 0, and each is the one of CHOICE chests that its finding changes most: at the
size of a tile many would not show it. Writes docs/figures/phantoms.jpg.
"""

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.files.atomic import write_bytes
from thorax.labels import NIH14, plain_name
from thorax.phantoms.phantom import draw, expose
from thorax.phantoms.style import Style

SHEET: Final = Path(__file__).resolve().parents[1] / "docs/figures/phantoms.jpg"
SIDE: Final = 320
ACROSS: Final = 4
CAPTION: Final = 26
STYLE: Final = Style(subtlety=(0, 0))
LATERAL: Final = Style("lateral", (0, 0))
CHOICE: Final = 24
FROM_THE_SIDE: Final = ("Effusion", "Mass", "Pneumonia", "Hernia")


def clearest(seed: int, findings: list[str], style: Style) -> int:
    """Return the index of the chest whose density findings change most; 0 of none."""
    changes = [
        np.abs(
            expose(seed, index, findings, side=128, style=style).density
            - expose(seed, index, [], side=128, style=style).density
        ).sum()
        for index in range(CHOICE)
    ]
    return int(np.argmax(changes))


def tile(seed: int, index: int, findings: list[str], style: Style) -> npt.NDArray[np.uint8]:
    """Return uint8 [S + CAPTION, S]: a phantom above its name."""
    phantom = draw(seed, index, side=2 * SIDE, findings=findings, style=style)
    small = cv2.resize(phantom.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    name = ", ".join(map(plain_name, findings)) or "no finding"
    label = np.full((CAPTION, SIDE), 255, np.uint8)
    text = f"{name}, lateral" if style is LATERAL else name
    cv2.putText(label, text, (4, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.58, 0, 1, cv2.LINE_AA)
    return np.vstack((small, label)).astype(np.uint8)


def main() -> None:
    """Read argv and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=7)
    seed = parser.parse_args().seed
    shown = [([name], STYLE) for name in NIH14.findings] + [([], STYLE)]
    shown += [([], LATERAL), *(([name], LATERAL) for name in FROM_THE_SIDE)]
    tiles = [tile(seed, clearest(seed, *one), *one) for one in shown]
    rows = [np.hstack(tiles[i : i + ACROSS]) for i in range(0, len(tiles), ACROSS)]
    _, data = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])
    write_bytes(SHEET, data.tobytes())
    print(f"written: {SHEET.name}, {len(data) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
