"""The one preprocessing: an image gives the same bytes whatever it came as and wherever it goes."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from thorax.data.loader import BatchOrder, batches
from thorax.data.store import Store
from thorax.errors import UsageError
from thorax.images.preprocess import InputSpec, letterbox, placement, prepare
from thorax.images.radiograph import Meaning, Radiograph, read

Image = npt.NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def dicom(path: Path, image: Image, photometric: str) -> Path:
    """Write an 8-bit DX with the window that is the identity (PS3.3 C.11.2.1.2.1)."""
    data = Dataset()
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["preprocess"])
    data.Modality = "DX"
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = photometric
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.WindowCenter, data.WindowWidth = "128", "256"
    data.PixelData = image.tobytes() + b"\0" * (image.size % 2)
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("shape", [(48, 48), (301, 200), (97, 256)])
def test_an_image_is_the_same_as_png_dicom_and_float(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    image = noise(*shape)
    spec = InputSpec(64)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    wide = image.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    cv2.imwrite(str(tmp_path / "colour.png"), cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    sources = [
        read(tmp_path / "a.png"),
        read(tmp_path / "wide.png"),
        read(tmp_path / "colour.png"),
        read(dicom(tmp_path / "two.dcm", image, "MONOCHROME2")),
        read(dicom(tmp_path / "one.dcm", 255 - image, "MONOCHROME1")),
        Radiograph(image, Meaning("png"), "array"),
        Radiograph(image.astype(np.float32) / np.float32(255), Meaning("png"), "floats"),
    ]
    wanted = letterbox(image, 64)
    for radiograph in sources:
        assert np.array_equal(prepare(radiograph, spec), wanted), radiograph.source


def test_a_store_holds_what_prepare_makes_of_each_file(tiny_store: Store, phantoms: Path) -> None:
    spec = InputSpec(tiny_store.side)
    for number, name in enumerate(tiny_store.names):
        assert np.array_equal(tiny_store.images[number], prepare(read(phantoms / name), spec)[0])


def test_training_without_augmentation_is_fed_what_prepare_makes(
    tiny_store: Store, phantoms: Path
) -> None:
    spec = InputSpec(tiny_store.side)
    seen = 0
    indices = tiny_store.select("train")
    for batch in batches(tiny_store, indices, BatchOrder(batch=8, seed=1, shuffle=True), workers=1):
        for index, image in zip(batch.indices, batch.images, strict=True):
            file = phantoms / tiny_store.names[int(index)]
            assert np.array_equal(np.asarray(image), prepare(read(file), spec))
            seen += 1
    assert seen == len(indices)


sides = some.integers(16, 300)
lengths = some.integers(1, 700)


@given(lengths, lengths, sides)
def test_the_longer_edge_fills_and_the_shorter_is_centred(
    height: int, width: int, side: int
) -> None:
    place = placement(height, width, side)
    assert max(place.width, place.height) == side
    assert (place.width == side) if width >= height else (place.height == side)
    for start, length in ((place.left, place.width), (place.top, place.height)):
        assert start >= 0
        assert 0 <= (side - start - length) - start <= 1
    # The shape is kept to the nearest pixel.
    longer = max(height, width)
    assert abs(place.width - max(1, side * width / longer)) <= 0.5
    assert abs(place.height - max(1, side * height / longer)) <= 0.5


@given(lengths, lengths, sides, some.integers(1, 255))
def test_white_fills_its_place_and_nothing_else(
    height: int, width: int, side: int, grey: int
) -> None:
    square = letterbox(np.full((height, width), grey, np.uint8), side)
    assert square.dtype == np.uint8
    assert square.shape == (1, side, side)
    place = placement(height, width, side)
    wanted = np.zeros((side, side), np.uint8)
    wanted[place.top :, place.left :][: place.height, : place.width] = grey
    assert np.array_equal(square[0], wanted)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_an_image_of_the_right_size_is_left_as_it_is(side: int) -> None:
    image = noise(side, side)
    assert np.array_equal(letterbox(image, side)[0], image)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_powers_of_two_are_exact_means_rounded_at_each_halving(factor: int) -> None:
    image = noise(32 * factor, 32 * factor)
    wanted = image
    while len(wanted) > 32:
        parts = wanted.reshape(len(wanted) // 2, 2, len(wanted) // 2, 2).astype(np.uint16)
        wanted = ((parts.sum(axis=(1, 3)) + 2) // 4).astype(np.uint8)
    assert np.array_equal(letterbox(image, 32)[0], wanted)


def test_halving_keeps_the_mean_of_the_image() -> None:
    image = noise(1024, 1024)
    assert abs(float(letterbox(image, 128).mean()) - float(image.mean())) < 0.5


def test_turning_and_mirroring_commute_with_preparing_where_nothing_is_cut() -> None:
    image = noise(512, 256)
    plain = letterbox(image, 128)[0]
    assert np.array_equal(letterbox(np.ascontiguousarray(image[:, ::-1]), 128)[0], plain[:, ::-1])
    assert np.array_equal(letterbox(np.ascontiguousarray(image[::-1]), 128)[0], plain[::-1])
    assert np.array_equal(letterbox(np.ascontiguousarray(image.T), 128)[0], plain.T)


def test_preparing_changes_nothing_of_what_it_is_given() -> None:
    image = noise(100, 80)
    before = image.copy()
    letterbox(image, 32)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("side", "code"), [(15, "input-side"), (2049, "input-side")])
def test_a_side_out_of_bounds_is_refused(side: int, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        InputSpec(side)
    assert caught.value.code == code
    assert str(side) in caught.value.message


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_a_std_that_cannot_be_divided_by_is_refused(std: float) -> None:
    with pytest.raises(UsageError) as caught:
        InputSpec(64, 0.5, std)
    assert caught.value.code == "input-std"


@pytest.mark.parametrize("mean", [float("nan"), float("inf"), float("-inf")])
def test_a_mean_that_cannot_be_subtracted_is_refused(mean: float) -> None:
    with pytest.raises(UsageError) as caught:
        InputSpec(64, mean)
    assert caught.value.code == "input-mean"
