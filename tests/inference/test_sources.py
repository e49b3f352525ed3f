"""What is found in folders, archives and standard input, and what is passed over, and why."""

import gzip
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.dicoms import dicom, ramp

from thorax.artifact import Artifact
from thorax.devices.engine import compile as compile_artifact
from thorax.errors import ImageError
from thorax.images.radiograph import read
from thorax.inference.predictor import Prediction, Predictor
from thorax.inference.sources import STDIN, PassedOver, ZippedImage, find_files, find_sources


@pytest.fixture(scope="module")
def predictor(tiny_fp32: Artifact) -> Predictor:
    return Predictor(compile_artifact(tiny_fp32))


@pytest.fixture(scope="module")
def files(phantoms: Path) -> list[Path]:
    return sorted(phantoms.glob("*.png"))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*inputs: Path) -> list[Path]:
    return list(find_files(inputs))


def test_a_folder_gives_what_may_be_a_radiograph_sorted(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.png", "a.PNG", "sub/c.jpg", "sub/d.JPEG", "e.dcm", "f.dicom", "g.dic",
        "notes.txt", "labels.csv", "h.py", "i.png.partial", "README", "LOCKFILE",
    )  # fmt: skip
    for name in ("1.2.840.113619.2.5.1", "IM000001"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    names = [path.relative_to(tmp_path).as_posix() for path in found(tmp_path)]
    assert names == sorted(names)
    assert set(names) == {
        "1.2.840.113619.2.5.1", "IM000001", "a.PNG", "b.png", "e.dcm", "f.dicom", "g.dic",
        "sub/c.jpg", "sub/d.JPEG",
    }  # fmt: skip


def test_what_is_passed_over_is_listed_and_pictures_of_other_formats_are_not(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a.png", "b.tif", "c.BMP", "sub/d.webp", "labels.csv", "sub/notes.txt")
    passed_over = PassedOver()
    names = [path.name for path in find_files([tmp_path], passed_over)]
    assert names == ["a.png", "b.tif", "c.BMP", "d.webp"]
    assert [Path(name).name for name in passed_over.names] == ["labels.csv", "notes.txt"]
    assert passed_over.reasons == {".csv": 1, ".txt": 1}


def test_an_image_under_a_strange_name_is_told_by_how_it_begins(tmp_path: Path) -> None:
    (tmp_path / "scan.bak").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "scan.img").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "scan.old").write_bytes(b"\xff\xd8\xff\xe0")
    (tmp_path / "scan.txt").write_bytes(b"a report")
    assert [path.name for path in found(tmp_path)] == ["scan.bak", "scan.img", "scan.old"]


def test_hidden_files_and_folders_are_left_out_but_not_when_named(tmp_path: Path) -> None:
    touch(tmp_path, ".a.png", ".git/b.png", "sub/.c.png", "d.png", ".hidden/deep/e.png")
    assert found(tmp_path) == [tmp_path / "d.png"]
    assert found(tmp_path / ".a.png") == [tmp_path / ".a.png"]
    assert found(tmp_path / ".git") == [tmp_path / ".git" / "b.png"]


def test_what_is_named_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    named = [tmp_path / "notes.txt", tmp_path / "missing", tmp_path / "notes.txt"]
    assert found(*named) == named


def test_folders_that_contain_themselves_end(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "sub/b.png")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "linked.png").symlink_to("a.png")
    names = [path.relative_to(tmp_path).as_posix() for path in found(tmp_path)]
    assert names == ["a.png", "gone.png", "linked.png", "self", "sub/b.png", "sub/loop"]


def test_a_folder_that_is_a_link_is_followed_when_named(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to("real")
    assert found(tmp_path / "link") == [tmp_path / "link" / "a.png"]


def test_a_pipe_by_the_name_of_an_image_is_answered(tmp_path: Path, predictor: Predictor) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert found(tmp_path) == [tmp_path / "pipe.png"]
    answer = predictor.predict_file(tmp_path / "pipe.png")
    assert isinstance(answer, Prediction)
    assert answer.error is not None
    assert answer.error[0] == "image-not-a-file"


def test_a_folder_that_cannot_be_read_is_an_answer_and_never_left_out(
    predictor: Predictor, files: list[Path], tmp_path: Path
) -> None:
    for name in ("a.png", "sub/b.png", "locked/c.png", "zz/d.png", "zz/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(files[0].read_bytes())
    (tmp_path / "zz/notes.txt").write_text("no image")
    (tmp_path / "locked").chmod(0)
    (tmp_path / "zz/notes.txt").chmod(0)
    tmp_path.chmod(0o755)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from thorax.errors import ImageError\n"
        "from thorax.inference.sources import find_sources\n"
        "from thorax.images.radiograph import read\n"
        # Whoever may read everything is no judge of permissions.
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "os.chdir('/')\n"
        "for path in find_sources([Path(sys.argv[1]), Path(sys.argv[1], 'locked')], 48):\n"
        "    try: read(path); print('read', path.name)\n"
        "    except ImageError as error: print(error.code, path.name)\n"
    )
    reachable = [folder for folder in tmp_path.parents if folder.stat().st_uid == os.getuid()]
    modes = {folder: folder.stat().st_mode for folder in reachable}
    for folder in reachable:
        folder.chmod(modes[folder] | 0o011)
    try:
        told = subprocess.run(
            [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
        ).stdout.split("\n")
    finally:
        (tmp_path / "locked").chmod(0o700)
        for folder in reachable:
            folder.chmod(modes[folder])
    assert told[:-1] == [
        "read a.png", "image-unreadable locked", "read b.png", "read d.png",
        "image-unreadable notes.txt", "image-unreadable locked",
    ]  # fmt: skip


def test_a_folder_whose_listing_fails_is_an_answer(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png", "sub/b.png")
    scandir = os.scandir

    def failing(path: Path) -> object:
        if path.name == "sub":
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    assert found(tmp_path) == [tmp_path / "a.png", tmp_path / "sub"]
    answers = list(predictor.stream(find_sources([tmp_path], 48)))
    assert [answer.error is not None for answer in answers] == [True, True]


def test_links_to_folders_and_in_circles_are_answers_and_not_followed(
    predictor: Predictor, files: list[Path], tmp_path: Path
) -> None:
    scans, other = tmp_path / "scans", tmp_path / "other"
    for folder in (scans, other):
        folder.mkdir()
        (folder / "a.png").write_bytes(files[0].read_bytes())
    (scans / "again").symlink_to(scans)
    (scans / "batch.old").symlink_to(other)
    (scans / "circle.png").symlink_to("circle.png")
    (scans / "gone.png").symlink_to("nothing.png")
    (scans / "linked.png").symlink_to(scans / "a.png")
    os.mkfifo(scans / "pipe.png")
    os.mkfifo(scans / "pipe.log")
    answers = list(predictor.stream(find_sources([scans], 48)))
    assert [(Path(one.image).name, one.error[0] if one.error else None) for one in answers] == [
        ("a.png", None),
        ("again", "image-not-a-file"),
        ("batch.old", "image-not-a-file"),
        ("circle.png", "image-unreadable"),
        ("gone.png", "image-missing"),
        ("linked.png", None),
        ("pipe.png", "image-not-a-file"),
    ]
    (tmp_path / "scans-link").symlink_to(scans)
    assert len(found(tmp_path / "scans-link")) == len(answers)


def test_folders_within_folders_beyond_the_longest_path_end_in_an_answer(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1100):
            os.mkdir("deep", dir_fd=here)
            below = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        (last,) = found(tmp_path)
        assert len(str(last)) > 4000
        with pytest.raises(ImageError, match="image-unreadable"):
            read(last)
    finally:
        os.close(here)
        subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


def test_a_cd_gives_its_radiographs_and_passes_over_the_rest(tmp_path: Path) -> None:
    touch(tmp_path, "README", "autorun.inf", "viewer.exe")
    (tmp_path / "LOCKFILE").touch()
    (tmp_path / "IM1").write_bytes(dicom(ramp(8)))
    for name, sop_class in (
        ("DICOMDIR", "1.2.840.10008.1.3.10"),
        ("SR1", "1.2.840.10008.5.1.4.1.1.88.11"),
        ("PR1.dcm", "1.2.840.10008.5.1.4.1.1.11.1"),
    ):
        (tmp_path / name).write_bytes(dicom(ramp(8), SOPClassUID=sop_class))
    passed_over = PassedOver()
    assert list(find_files([tmp_path], passed_over)) == [tmp_path / "IM1"]
    assert passed_over.reasons == {
        "DICOM without pixels": 3,
        "no image by its content": 2,
        ".inf": 1,
        ".exe": 1,
    }
    assert passed_over.text().startswith("3 DICOM without pixels, 2 no image by its content")


def test_images_in_archives_are_answered_as_they_are(
    predictor: Predictor, files: list[Path], tmp_path: Path
) -> None:
    data = files[0].read_bytes()
    (tmp_path / "a.png.gz").write_bytes(gzip.compress(data))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b"no picture"))
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("s/one", data)
        archive.writestr("s/two.png", data)
        archive.writestr("s/README", b"words")
    (tmp_path / "broken.zip").write_bytes((tmp_path / "study.zip").read_bytes()[:-40])
    passed_over = PassedOver()
    sources = list(find_sources([tmp_path], 48, passed_over))
    assert sources == [
        tmp_path / "a.png.gz",
        tmp_path / "broken.zip",
        ZippedImage(tmp_path / "study.zip", "s/one"),
        ZippedImage(tmp_path / "study.zip", "s/two.png"),
    ]
    assert passed_over.names == [str(tmp_path / "b.tar.gz"), str(tmp_path / "study.zip/s/README")]
    plain = predictor.predict_file(files[0]).findings
    answers = list(predictor.stream(sources))
    assert [answer.findings for answer in answers] == [plain, {}, plain, plain]
    assert answers[1].error is not None
    assert answers[1].error[0] == "image-corrupt"
    assert answers[2].image == str(tmp_path / "study.zip" / "s/one")


def test_standard_input_is_a_source(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(files[0].read_bytes())))
    assert list(find_sources([STDIN], 48)) == [STDIN]
    answer = predictor.predict_file(STDIN)
    assert (answer.image, answer.error) == ("-", None)
    assert answer.findings == predictor.predict_file(files[0]).findings
    assert predictor.predict_file(STDIN).error == ("image-empty", "the file holds no bytes")


def test_links_to_folders_are_followed_when_asked_and_once(tmp_path: Path) -> None:
    touch(tmp_path, "scans/a.png", "elsewhere/b.png")
    (tmp_path / "scans" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scans" / "twice").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "scans")
    scans = tmp_path / "scans"
    names = [path.relative_to(scans).as_posix() for path in find_files([scans], follow_links=True)]
    assert names == ["a.png", "more/b.png", "more/back", "twice"]
