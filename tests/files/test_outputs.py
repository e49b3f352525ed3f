"""An output is refused where it would take the place of what it is made of."""

import errno
from pathlib import Path

import pytest

from thorax.errors import UsageError
from thorax.files.outputs import require_apart, writing


@pytest.mark.parametrize("place", ["input.json", "link.json", "folder/inner.csv"])
def test_an_input_is_not_written_over(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("input.json", "folder/inner.csv"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "link.json").hardlink_to(tmp_path / "input.json")
    with pytest.raises(UsageError) as caught:
        require_apart(tmp_path / place, [tmp_path / "input.json"], [tmp_path / "folder"])
    assert caught.value.code == "output-is-input"


def test_other_places_and_none_are_free(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    for out in (None, tmp_path / "absent.json", tmp_path / "other.json"):
        require_apart(out, [tmp_path / "missing.json"], [tmp_path / "folder"])


def test_a_disk_that_refuses_is_told_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.json") as caught, writing(tmp_path / "x.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.code == "output-unwritable"
