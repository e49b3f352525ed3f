"""Pixels of heat maps, encoded anew: nothing else of a file reaches a page."""

import base64
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from thorax.results.pictures import read_png

_SIDE: Final = 1000
"""Pixels of a picture on a page; twice what it is shown at, for fine screens."""


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
