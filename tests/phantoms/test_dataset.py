"""Folders of phantoms: the same bytes whoever writes them, and tables that say what is drawn."""

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from thorax.errors import DataError, UsageError
from thorax.files.atomic import locked
from thorax.images.radiograph import read
from thorax.labels import NIH14, NO_FINDING
from thorax.phantoms import dataset
from thorax.phantoms.dataset import write
from thorax.phantoms.phantom import draw
from thorax.phantoms.style import Style


def test_writing_refuses_an_empty_collection(tmp_path: Path) -> None:
    for count, workers, code in ((0, 1, "phantom-count"), (1, 0, "phantom-workers")):
        with pytest.raises(UsageError) as error:
            write(tmp_path, count=count, side=64, seed=0, workers=workers)
        assert error.value.code == code


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as error:
        write(tmp_path / "file", count=1, side=64, seed=0)
    assert error.value.code == "phantom-folder"


@pytest.mark.parametrize("name", ["labels.csv", "boxes.csv", "00000001_000.png", "card.json"])
def test_a_folder_with_files_of_others_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Image Index,Finding Labels\n")
    with pytest.raises(UsageError) as error:
        write(tmp_path, count=1, side=64, seed=0)
    assert error.value.code == "phantom-folder"
    assert _contents(tmp_path) == {name: b"Image Index,Finding Labels\n"}


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dicom", [False, True])
def test_writing_again_gives_the_same_bytes_whatever_the_workers(
    tmp_path: Path, dicom: bool
) -> None:
    told: list[int] = []
    for name, workers in (("one", 1), ("two", 2)):
        result = write(
            tmp_path / name,
            count=40,
            side=64,
            seed=9,
            dicom=dicom,
            workers=workers,
            on_progress=told.append,
        )
        assert result.images == 40
    assert told == [32, 40, 32, 40]
    first = _contents(tmp_path / "one")
    assert first == _contents(tmp_path / "two")
    assert len(first) == 42, "no temporary file is left"


def test_tables_say_what_is_drawn(tmp_path: Path) -> None:
    write(tmp_path, count=12, side=64, seed=21)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "labels.csv").read_text())))
    boxes = list(csv.DictReader(io.StringIO((tmp_path / "boxes.csv").read_text())))
    assert [row["image"] for row in rows] == [f"phantom_21_{i:06d}.png" for i in range(12)]
    for index, row in enumerate(rows):
        phantom = draw(21, index, side=64)
        image = cv2.imread(str(tmp_path / row["image"]), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert np.array_equal(image, phantom.pixels)
        assert row["findings"] == ("|".join(phantom.findings) or NO_FINDING)
        assert (row["patient"], row["view"]) == (phantom.patient, phantom.view)
        assert (int(row["age"]), row["sex"]) == (phantom.age, phantom.sex)
        assert np.array_equal(NIH14.row(row["findings"].split("|")), NIH14.row(phantom.findings))
        mine = [b for b in boxes if b["image"] == row["image"]]
        assert len(mine) == len(phantom.boxes)
        for noted, box in zip(mine, phantom.boxes, strict=True):
            assert noted["finding"] == box.finding
            assert float(noted["x"]) == pytest.approx(box.x, abs=0.006)
            assert float(noted["height"]) == pytest.approx(box.height, abs=0.006)
            subtlety = phantom.subtleties[phantom.findings.index(box.finding)]
            assert float(noted["subtlety"]) == pytest.approx(subtlety, abs=0.0006)


@pytest.fixture(scope="module")
def dicoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dicom")
    write(folder, count=6, side=128, seed=30, dicom=True)
    return folder


def test_a_dicom_reads_back_as_the_drawing(dicoms: Path) -> None:
    uids = set()
    for index in range(6):
        data = (dicoms / f"phantom_30_{index:06d}.dcm").read_bytes()
        image = pydicom.dcmread(io.BytesIO(data))
        phantom = draw(30, index, side=128)
        low = float(image.WindowCenter) - 0.5 - (float(image.WindowWidth) - 1) / 2
        shown = (image.pixel_array - low) / (float(image.WindowWidth) - 1)
        assert np.array_equal(np.floor(shown * 255 + 0.5), phantom.pixels)
        assert np.array_equal(read(data).grey8, phantom.pixels)
        assert image.pixel_array.max() < 2**image.BitsStored
        assert (image.ViewPosition, image.PatientID) == (phantom.view, phantom.patient)
        assert (image.PatientSex, image.PatientAge) == (phantom.sex, f"{phantom.age:03d}Y")
        assert not set(phantom.findings) & set(str(image).replace("'", " ").split())
        uids |= {image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID}
    assert len(uids) == 18


def test_a_dicom_is_a_valid_dx_object(dicoms: Path) -> None:
    dciodvfy = shutil.which("dciodvfy")
    if dciodvfy is None:
        pytest.skip("dciodvfy is not installed: it comes with the package dicom3tools")
    for path in sorted(dicoms.glob("*.dcm")):
        done = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert "DXImageForPresentation" in said
        assert "Error" not in said, said


def test_one_process_draws_into_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "phantoms"
    out.mkdir()
    with (
        locked(out),
        pytest.raises(DataError, match=rf"phantom-locked.*process {os.getpid()} on "),
    ):
        dataset.write(out, count=1, side=16, seed=0, workers=1)
    dataset.write(out, count=1, side=16, seed=0, workers=1)
    assert sorted(path.name for path in out.iterdir()) == [
        *("boxes.csv", "labels.csv", "phantom_0_000000.png")
    ]


def test_another_collection_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, count=5, side=16, seed=0, workers=1)
    write(tmp_path, count=2, side=16, seed=1, dicom=True, workers=1)
    write(tmp_path, count=2, side=16, seed=0, style=Style("lateral"), workers=1)
    names = [f"phantom_0_{index:06d}_lateral.png" for index in range(2)]
    assert sorted(_contents(tmp_path)) == ["boxes.csv", "labels.csv", *names]
    rows = csv.DictReader(io.StringIO((tmp_path / "labels.csv").read_text()))
    assert [row["image"] for row in rows] == names


DRAWN_AND_KILLED = """
import os, signal, sys
from pathlib import Path
from thorax.files import atomic
from thorax.phantoms import dataset

whole = os.fsync
def stop(descriptor):
    whole(descriptor)
    if not os.path.isdir(f"/proc/self/fd/{descriptor}"):
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = stop
dataset.write(Path(sys.argv[1]), count=2, side=16, seed=0, workers=1)
"""


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "phantoms"
    call = [sys.executable, "-c", DRAWN_AND_KILLED, str(out)]
    assert subprocess.run(call, check=False).returncode == -signal.SIGKILL
    left = [path.name for path in out.iterdir()]
    assert any(name.endswith(".partial") for name in left), left
    assert ".lock" in left
    dataset.write(out, count=2, side=16, seed=0, workers=1)
    assert sorted(path.name for path in out.iterdir()) == [
        *("boxes.csv", "labels.csv", "phantom_0_000000.png", "phantom_0_000001.png")
    ]


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    out = tmp_path / "phantoms"
    dataset.write(out, count=1, side=16, seed=0, workers=1)
    precious = tmp_path / "precious"
    precious.write_text("dear")
    (out / ".phantom_0_000000.png.part").symlink_to(precious)
    with pytest.raises(UsageError, match="phantom-folder"):
        dataset.write(out, count=1, side=16, seed=0, workers=1)
    assert precious.read_text() == "dear"


def test_a_table_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(UsageError, match="phantom-folder"):
        dataset.write(tmp_path, count=1, side=16, seed=0, workers=1)
