"""What a safetensors file says of itself, looked at before its library reads it.

The library takes half a minute for a header that names a million empty tensors.
"""

import struct
from pathlib import Path
from typing import Final

from thorax.files.documents import parse_json

_LONGEST_HEADER: Final = 8 << 20
"""Bytes; that of a DenseNet-121 with its optimizer has 0.3 MB."""
MOST_TENSORS: Final = 20_000
"""A DenseNet-121 with its optimizer and an average has 3,000."""


def require_header(path: Path) -> None:
    """Refuse a file whose header no network of ours would have.

    Raises:
        ValueError: with what is wrong.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise ValueError("it is no safetensors file, or is cut off")
        (length,) = struct.unpack("<Q", start)
        if length > _LONGEST_HEADER:
            raise ValueError(
                f"its header claims {length} bytes; {_LONGEST_HEADER} are the most that is read"
            )
        text = file.read(length)
    if len(text) < length:
        raise ValueError("it is cut off within its header")
    header = parse_json(text)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"it names {len(header)} tensors; {MOST_TENSORS} are the most")
