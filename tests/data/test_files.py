"""Files are found by whatever a table calls them."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from thorax.data.files import locate, search
from thorax.data.samples import Sample, Views
from thorax.errors import DataError

FILES = ("sub/a0.png", "sub/a1.PNG", "sub/José.png", "deep/er/1.2.840.113619", "deep/1.2.840.7.dcm")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "img" / unicodedata.normalize("NFD", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "img"


def found(images: Path, *names: str, views: Views = "frontal") -> list[str]:
    rows = [
        Sample(
            name, Path(), "p", np.zeros(1, np.int8), view="LL" if name == "deep/1.2.840.7" else None
        )
        for name in names
    ]
    located = locate(rows, search(images), images.parent / "labels.csv", views=views)
    paths = [row.path.relative_to(images).as_posix() for row in located.rows]
    return [unicodedata.normalize("NFC", path) for path in paths]


@pytest.mark.parametrize(
    "name",
    [
        r"sub\a0.png",
        "./sub/a0.png",
        "img/sub/a0.png",
        r"img\sub\a0.png",
        "sub/../sub/a0.png",
        "A0.PNG",
        "sub/a0",
        "a0.jpg",
        r"D:\archive\img\sub\a0.png",
        "/nowhere/img/sub/a0.png",
        "../img/sub/a0.png",
    ],
)
def test_a_file_is_found_under_any_of_its_names(images: Path, name: str) -> None:
    assert found(images, name) == ["sub/a0.png"]
    assert found(images, str(images / "sub" / "a0.png")) == ["sub/a0.png"]


def test_letters_endings_and_uids(images: Path) -> None:
    assert found(images, "José.png", "a1", "1.2.840.113619", "1.2.840.7", "sub/a0") == [
        *("sub/José.png", "sub/a1.PNG", "deep/er/1.2.840.113619", "deep/1.2.840.7.dcm"),
        "sub/a0.png",
    ]


def test_other_views_are_left_out_unless_asked_for(images: Path) -> None:
    assert found(images, "deep/1.2.840.7", "a0") == ["sub/a0.png"]
    assert found(images, "deep/1.2.840.7", "a0", views="all") == [
        *("deep/1.2.840.7.dcm", "sub/a0.png"),
    ]


def test_two_names_of_one_file_are_refused(images: Path) -> None:
    with pytest.raises(DataError, match=r"label-twice.*'a0' and 'sub/a0\.png' for one file"):
        found(images, "a0", "sub/a0.png")


def test_what_may_be_two_files_is_refused_with_both(images: Path) -> None:
    (images / "a0.jpg").touch()
    assert found(images, "a0.jpg") == ["a0.jpg"]
    with pytest.raises(DataError, match=r"image-ambiguous.*a0\.jpg and sub/a0\.png"):
        found(images, "a0")


def test_a_path_that_is_elsewhere_is_refused(images: Path) -> None:
    (images.parent / "secret.png").touch()
    with pytest.raises(DataError, match="path-outside"):
        found(images, str(images.parent / "secret.png"))
