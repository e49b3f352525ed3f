"""Names of images are matched by the ends of their paths, and never guessed."""

import tracemalloc
import unicodedata

import pytest

from thorax.data.names import NameIndex, name_parts, without_ending

FLAT = ("a.png", "b.PNG", "José.jpg", "1.2.840.113619.7", "=1+1.png")
STUDIES = tuple(
    f"small/train/patient{patient}/study{study}/view1_frontal.jpg"
    for patient in (1, 2)
    for study in (1, 2)
)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("a.png", 0),
        ("./a.png", 0),
        (r"C:\scans\a.png", 0),
        ("/mnt/scans/a.png", 0),
        ("A.PNG", 0),
        ("a", 0),
        ("a.dcm", 0),
        ("b.png", 1),
        (unicodedata.normalize("NFD", "José.jpg"), 2),
        (unicodedata.normalize("NFD", "scans/JOSÉ"), 2),
        ("1.2.840.113619.7", 3),
        ("1.2.840.113619.7.dcm", 3),
        ("'=1+1.png", 4),
        ("x/'=1+1.png", 4),
    ],
)
def test_what_does_not_matter_in_a_name_does_not(name: str, row: int) -> None:
    assert NameIndex(FLAT).find(name) == (row,)


@pytest.mark.parametrize("name", ["c.png", "1.2.840.113619", "a.png/x", "", "aa.png"])
def test_another_name_has_no_match(name: str) -> None:
    assert NameIndex(FLAT).find(name) == ()


def test_folders_tell_equal_names_apart_whatever_the_path_begins_with() -> None:
    index = NameIndex(STUDIES)
    for row, name in enumerate(STUDIES):
        for written in (
            name,
            name.removeprefix("small/"),
            name.removeprefix("small/train/"),
            f"/data/CheXpert/{name.removeprefix('small/')}",
            name.replace("/", "\\").removesuffix(".jpg").upper(),
        ):
            assert index.find(written) == (row,), written


def test_a_name_that_may_be_several_is_told_and_one_of_another_folder_is_none() -> None:
    index = NameIndex(STUDIES)
    assert index.find("view1_frontal.jpg") == (0, 1)
    assert index.find("study1/view1_frontal.jpg") == (0, 2)
    # Its patient is not there; that another has a study of this number says nothing.
    assert NameIndex(STUDIES[:2]).find("small/train/patient9/study1/view1_frontal.jpg") == ()
    assert NameIndex(["a.png", "a.jpg"]).find("a.jpg") == (1,)
    assert NameIndex(["a.png", "a.jpg"]).find("a") == (0, 1)


def test_parts_and_endings() -> None:
    assert name_parts(r"C:\x\.\y//a.png") == ("x", "y", "a.png")
    assert [without_ending(name) for name in ("a.dcm.gz", ".png", "1.2.3", "a.JPEG")] == [
        *("a", ".png", "1.2.3", "a"),
    ]


def test_a_name_of_many_folders_is_held_once() -> None:
    deep = [f"{'a/' * 3000}{number}.png" for number in range(40)]
    tracemalloc.start()
    assert NameIndex(deep).find(f"b/{deep[7]}") == (7,)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
