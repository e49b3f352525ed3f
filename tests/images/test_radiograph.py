"""Reading: what is told by content, what is refused before it is read, and what is never loaded."""

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from thorax.errors import ImageError, UsageError
from thorax.images.error_codes import REFUSALS, image_error
from thorax.images.radiograph import Limits, read


def encoded(kind: str, image: npt.NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(kind, image)
    assert done
    return data.tobytes()


@pytest.fixture
def image() -> npt.NDArray[np.uint8]:
    return np.arange(200, dtype=np.uint8).reshape(10, 20)


def refusal(source: Path | str | bytes, limits: Limits | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        read(source, limits=limits or Limits())
    assert caught.value.code in REFUSALS
    assert "\n" not in caught.value.message
    return caught.value.code


def test_the_name_says_nothing_of_the_format(image: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.dcm", "a"):
        path = tmp_path / name
        path.write_bytes(encoded(".png", image))
        for source in (path, str(path)):
            radiograph = read(source)
            assert radiograph.meaning.format == "png"
            assert radiograph.source == str(path)
            assert np.array_equal(radiograph.grey8, image)
    assert read(encoded(".jpg", image)).meaning.format == "jpeg"
    for content in (encoded(".png", image), bytearray(encoded(".png", image))):
        for data in (content, memoryview(content)):
            assert read(data).source == "<bytes>"
            assert np.array_equal(read(data).grey8, image)


def test_values_are_the_bytes_or_their_255ths(image: npt.NDArray[np.uint8]) -> None:
    radiograph = read(encoded(".png", image))
    assert radiograph.pixels.dtype == np.float32
    assert np.array_equal(radiograph.pixels, image.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"P5 2 2 255 abcd" + bytes(100), "is a PNM picture"),
        (b"8BPS" + bytes(100), "is a Photoshop picture"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"GIF89a" + bytes(100), "is a GIF picture"),
        (b"\0\0\0\x1cftypavif" + bytes(100), "is an AVIF picture"),
        (b"\xff\x0a" + bytes(100), "is a JPEG XL picture"),
        (b"\x76\x2f\x31\x01" + bytes(100), "is an OpenEXR picture"),
        (bytes(344) + b"n+1\0" + bytes(9), "is a NIfTI volume"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "is a 7z archive"),
        (bytes(1000), "is neither PNG"),
        (b"\x89PNG", "is neither PNG"),
        (b"x", "is neither PNG"),
    ],
)
def test_other_formats_are_refused_by_content(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "radiograph.png"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ImageError, match=words) as caught:
            read(source)
        assert caught.value.code == "image-format"


def test_an_open_file_is_read(image: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png", image))
    with path.open("rb") as file:
        radiograph = read(file)
    assert np.array_equal(radiograph.grey8, image)
    assert radiograph.source == str(path)
    assert np.array_equal(read(io.BytesIO(path.read_bytes())).grey8, image)
    with pytest.raises(ImageError, match="allowed are 50"):
        read(io.BytesIO(path.read_bytes()), limits=Limits(file_bytes=50))


def test_an_image_that_says_nothing_is_told() -> None:
    def codes(pixels: npt.NDArray[np.uint8]) -> list[str]:
        return [warning.code for warning in read(encoded(".png", pixels)).meaning.warnings]

    assert codes(np.zeros((64, 64), np.uint8)) == ["image-uniform"]
    assert codes(np.full((1, 1), 255, np.uint8)) == ["image-small", "image-uniform"]
    assert codes(np.arange(4096, dtype=np.uint8).reshape(64, 64)) == []


def test_what_is_not_a_readable_file_is_refused_at_once(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.png") == "image-missing"
    assert refusal("none\0.png") == "image-missing"
    assert refusal(tmp_path / ("x" * 5000)) == "image-unreadable"
    assert refusal(tmp_path) == "image-not-a-file"
    assert refusal("/dev/zero") == "image-not-a-file"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(pipe) == "image-not-a-file"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket") == "image-not-a-file"
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="is a folder, or a link to one; name it"):
        read(tmp_path / "folder.png")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert refusal(loop) == "image-unreadable"
    empty = tmp_path / "empty.png"
    empty.touch()
    assert refusal(empty) == refusal(b"") == "image-empty"
    (tmp_path / "link.png").symlink_to("none.png")
    assert refusal(tmp_path / "link.png") == "image-missing"


def test_names_in_messages_stay_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read(tmp_path / "two\nlines\x1b[31m")
    assert "\\n" in caught.value.message
    assert "\x1b" not in caught.value.message


def test_limits_are_checked_before_decoding(image: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    data = encoded(".png", image)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, data):
        assert refusal(source, Limits(file_bytes=len(data) - 1)) == "image-too-large"
        assert refusal(source, Limits(pixels=199)) == "image-too-large"
        assert read(source, limits=Limits(pixels=200, file_bytes=len(data))).grey8.size == 200
    sparse = tmp_path / "sparse.dcm"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    assert refusal(sparse) == "image-too-large"


@pytest.mark.parametrize("name", ["file_bytes", "pixels", "frames", "seconds"])
def test_limits_must_be_above_zero(name: str) -> None:
    for value in (0, -1):
        arguments: dict[str, int] = {name: value}
        with pytest.raises(UsageError) as caught:
            Limits(**arguments)
        assert name in caught.value.message


def test_every_code_is_known_and_kebab_case() -> None:
    for code in REFUSALS:
        assert code.replace("-", "").isalpha()
        assert code == code.lower()
    with pytest.raises(AssertionError):
        image_error("image-surprise", "no such code")


def test_pictures_load_no_dicom_and_start_no_process(
    image: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png", image))
    script = f"""
import os, sys
from thorax.images.radiograph import read
read({str(path)!r})
loaded = {{"pydicom", "gdcm", "openjpeg", "jpeg_ls", "torch", "openvino"}} & set(sys.modules)
assert not loaded, loaded
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("childless")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "childless\n"


@pytest.mark.realdata
def test_real_pictures_equal_opencvs_and_colour_ones_are_grey(realdata: Path) -> None:
    paths = sorted((realdata / "nih" / "images-1024").glob("*.png"))
    assert len(paths) == 64
    colour = 0
    for path in paths:
        theirs = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert theirs is not None
        if theirs.ndim == 3:
            colour += 1
            assert (theirs[..., 0] == theirs[..., 1]).all()
            theirs = theirs[..., 0]
        assert np.array_equal(read(path).grey8, theirs)
    assert colour == 5


def test_an_image_of_a_few_greys_is_told() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    assert [w.code for w in read(encoded(".png", ramp // 3)).meaning.warnings] == ["image-faint"]
    assert not read(encoded(".png", ramp)).meaning.warnings
