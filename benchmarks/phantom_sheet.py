"""A contact sheet of phantoms for the documents: every finding, healthy chests, lateral views.

    python -m benchmarks.phantom_sheet [--seed 7]

Writes docs/figures/phantoms.jpg.
"""

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.files.atomic import write_bytes
from thorax.labels import NIH14, plain_name
from thorax.phantoms.phantom import draw
from thorax.phantoms.style import Style

SHEET: Final = Path(__file__).resolve().parents[1] / "docs/figures/phantoms.jpg"
SIDE: Final = 216
ACROSS: Final = 6
STYLE: Final = Style(subtlety=(0.1, 0.1))
LATERAL: Final = Style("lateral", (0.1, 0.1))


def tile(seed: int, index: int, findings: list[str], style: Style) -> npt.NDArray[np.uint8]:
    """Return uint8 [S + 18, S]: a phantom above its name."""
    phantom = draw(seed, index, side=2 * SIDE, findings=findings, style=style)
    small = cv2.resize(phantom.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    name = ", ".join(map(plain_name, findings)) or "no finding"
    label = np.full((18, SIDE), 255, np.uint8)
    text = f"{name}, lateral" if style is LATERAL else name
    cv2.putText(label, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 0, 1, cv2.LINE_AA)
    return np.vstack((small, label)).astype(np.uint8)


def main() -> None:
    """Read argv and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=7)
    seed = parser.parse_args().seed
    shown = [([name], STYLE) for name in NIH14.findings] + [([], STYLE)]
    shown += [([], LATERAL), (["Effusion"], LATERAL), (["Mass"], LATERAL)]
    tiles = [tile(seed, 3 * i, *one) for i, one in enumerate(shown)]
    rows = [np.hstack(tiles[i : i + ACROSS]) for i in range(0, len(tiles), ACROSS)]
    _, data = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])
    write_bytes(SHEET, data.tobytes())
    print(f"written: {SHEET.name}, {len(data) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
