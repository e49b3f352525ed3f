"""A page shows the heat maps of its documents, and no other picture that a stranger names."""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from thorax.errors import DataError
from thorax.report.page import write_report
from thorax.report.samples import embed_image
from thorax.results.files import read_results


def png(path: Path, level: int = 128) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.full((40, 60, 3), level, np.uint8))
    return path


def naming(folder: Path, name: object, **more: object) -> Path:
    """Write a document of `classify` that names one heat map."""
    result: dict[str, Any] = {
        "image": "a.png", "findings": {"Mass": 0.5}, "positive": [], "error": None,
        "heatmaps": {"Mass": name}, **more,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    path = folder / "classify.json"
    document = {
        "command": "classify", "model": "m", "topology": "t", "digest": "d", "device": "CPU",
        "devices": ["CPU"], "precision": "fp32", "compute": "f32", "simulated": False, "images": 1,
        "failed": 0, "window_s": 1.0, "images_per_s": 1.0, "results": [result],
    }  # fmt: skip
    path.write_text(json.dumps(document), "utf-8")
    return path


def page(document: Path, folder: Path) -> str:
    return write_report(read_results([document]), folder / "report.html", title="T").read_text(
        "utf-8"
    )


@pytest.mark.parametrize("absolute", [True, False])
def test_a_picture_beside_its_document_is_shown(tmp_path: Path, absolute: bool) -> None:
    picture = png(tmp_path / "maps" / "x.png")
    document = naming(tmp_path, str(picture) if absolute else "maps/x.png")
    assert page(document, tmp_path).count("data:image/jpeg;base64,") == 1


def test_a_picture_elsewhere_is_shown_if_the_document_has_its_digest(tmp_path: Path) -> None:
    picture = png(tmp_path / "elsewhere" / "x.png")
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    document = naming(tmp_path / "results", str(picture), heatmaps_sha256={"Mass": digest})
    assert page(document, tmp_path).count("data:image/jpeg;base64,") == 1
    png(picture, 129)
    with pytest.raises(DataError, match=r"report-picture: .*not what the document was made with"):
        read_results([document])


def test_a_picture_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    for name in ("maps/x.png", "maps\0/x.png", "maps/" * 2000 + "x.png"):
        assert "Heat map x.png cannot be read." in page(naming(tmp_path, name), tmp_path)


def _linked(folder: Path) -> str:
    (folder / "x.png").symlink_to(png(folder.parent / "private" / "x.png"))
    return "x.png"


def _upwards(folder: Path) -> str:
    png(folder.parent / "private" / "x.png")
    return "../private/x.png"


def _fifo(folder: Path) -> str:
    os.mkfifo(folder / "x.png")
    return "x.png"


def _folder(folder: Path) -> str:
    (folder / "x.png").mkdir()
    return "x.png"


def _written(content: bytes) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / "x.png").write_bytes(content)
        return "x.png"

    return write


def _bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9)))


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'

FOREIGN: dict[str, Callable[[Path], str]] = {
    "an absolute path": lambda folder: str(png(folder.parent / "private" / "x.png")),
    "a path upwards": _upwards,
    "a link out of the folder": _linked,
    "a pipe": _fifo,
    "a device": lambda _: "/dev/zero",
    "a folder": _folder,
    "the folder itself": lambda _: "",
    "an SVG with a script": _written(SVG),
    "a page": _written(b"<html>"),
    "a JPEG": _written(cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes()),
    "nothing": _written(b""),
    "too many pixels": _written(_bomb(60_000, 60_000)),
    "as many as a number holds": _written(_bomb(2**32 - 1, 2**32 - 1)),
    "no pixel": _written(_bomb(0, 5)),
    "too many bytes": _written(b"\x89PNG\r\n\x1a\n" + bytes(1 << 26)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_heat_map_of_a_document_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    document = naming(folder, FOREIGN[name](folder))
    with pytest.raises(DataError) as refused:
        read_results([document])
    assert refused.value.code == "report-picture"
    assert len(refused.value.message) < 600


@pytest.mark.parametrize("name", [5, None, ["x.png"], {"a": 1}])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(DataError, match=r"report-damaged: .*classify\.json: .*heatmaps\.Mass"):
        read_results([naming(tmp_path, name)])


def test_a_heat_map_of_no_finding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"report-damaged: .*classify\.json"):
        read_results([naming(tmp_path, "x.png", findings={})])


def test_of_a_file_nothing_but_its_pixels_reaches_a_page(tmp_path: Path) -> None:
    picture = png(tmp_path / "x.png")
    picture.write_bytes(picture.read_bytes() + b"<script>alert(1)</script> secret")
    assert embed_image(picture).startswith("data:image/jpeg;base64,")
    import base64

    assert b"secret" not in base64.b64decode(embed_image(picture).partition(",")[2])
    assert embed_image(tmp_path / "none.png") == ""
