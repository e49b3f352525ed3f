"""A graph and its weights change together, whenever the process is killed."""

import os
import signal
from pathlib import Path

import pytest
from tests.killed import end_at_call, ended_at_every_call

from thorax.errors import ModelError
from thorax.files import atomic, pairs
from thorax.importers import formats


def write(xml: Path, content: str) -> None:
    with pairs.new_pair(xml) as staged:
        staged.write_text(f"graph {content}")
        staged.with_suffix(".bin").write_text(f"weights {content}")


def read(xml: Path) -> list[str]:
    return [xml.read_text(), xml.with_suffix(".bin").read_text()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_pair_is_replaced_and_its_neighbours_stay(tmp_path: Path) -> None:
    (tmp_path / "other.xml").write_text("other")
    for content in ("first", "second"):
        write(tmp_path / "net.xml", content)
        assert read(tmp_path / "net.xml") == [f"graph {content}", f"weights {content}"]
    assert names(tmp_path) == ["net.bin", "net.xml", "other.xml"]


def test_a_failure_leaves_the_old_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xml = tmp_path / "net.xml"
    write(xml, "first")
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial.xml"):
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        write(xml, "second")
    assert read(xml) == ["graph first", "weights first"]
    assert names(tmp_path) == ["net.bin", "net.xml"]


WRITE = """
from thorax.files import pairs; count()
with pairs.new_pair(folder / "net.xml") as staged:
    staged.write_text("graph second")
    staged.with_suffix(".bin").write_text("weights second")
"""
RECOVER = "from thorax.files import pairs; count(); pairs.recover(folder / 'net.xml')"


def test_a_kill_at_any_call_leaves_the_old_pair_or_the_new_one(tmp_path: Path) -> None:
    seen, calls, lost_name = [], 0, 0
    while True:
        xml = tmp_path / str(calls) / "net.xml"
        xml.parent.mkdir()
        write(xml, "first")
        status = end_at_call(WRITE, xml.parent, calls)
        if xml.exists():
            words = [text.split()[1] for text in read(xml)]
            assert len(set(words)) == 1, "a graph beside the weights of another"
        else:
            lost_name += 1
            # The one that puts it back may be killed too.
            end_at_call(RECOVER, xml.parent, 0)
            end_at_call(RECOVER, xml.parent, 1)
        pairs.recover(xml)
        words = [text.split()[1] for text in read(xml)]
        assert len(set(words)) == 1
        with atomic.locked(xml):
            pass
        assert names(xml.parent) == ["net.bin", "net.xml"], calls
        seen.append(words[0])
        calls += 1
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert set(seen) == {"first", "second"}
    assert lost_name >= 2


def test_who_looks_for_a_graph_leaves_what_is_being_written(tmp_path: Path) -> None:
    with pairs.new_pair(tmp_path / "net.xml") as staged:
        staged.write_text("graph first")
        staged.with_suffix(".bin").write_text("weights first")
        with pytest.raises(ModelError, match="model-missing"):
            formats.importer(tmp_path / "net.xml")
    assert read(tmp_path / "net.xml") == ["graph first", "weights first"]


def test_ctrl_c_before_any_call_leaves_the_old_pair_or_the_new_one(tmp_path: Path) -> None:
    seen = []
    for place in ended_at_every_call(
        WRITE, tmp_path, lambda place: write(place / "net.xml", "first"), end="Ctrl-C"
    ):
        pairs.recover(place / "net.xml")
        words = [text.split()[1] for text in read(place / "net.xml")]
        assert len(set(words)) == 1
        with atomic.locked(place / "net.xml"):
            pass
        assert names(place) == ["net.bin", "net.xml"]
        seen.append(words[0])
    assert set(seen) == {"first", "second"}


@pytest.mark.parametrize("ending", [".xml", ".bin"])
@pytest.mark.parametrize("what", ["link", "pipe", "device", "folder"])
def test_what_is_no_file_is_not_replaced_by_a_pair(tmp_path: Path, ending: str, what: str) -> None:
    place = tmp_path / f"net{ending}"
    if what == "link":
        place.symlink_to(tmp_path / "precious")
    elif what == "pipe":
        os.mkfifo(place)
    elif what == "device":
        place.symlink_to("/dev/null")
    else:
        place.mkdir()
    before = place.lstat()
    with pytest.raises(OSError, match="no regular file"):
        write(tmp_path / "net.xml", "new")
    assert place.lstat() == before
    assert names(tmp_path) == [place.name]


def test_a_pair_keeps_the_modes_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "net.xml", "old")
    (tmp_path / "net.bin").chmod(0o600)
    write(tmp_path / "net.xml", "new")
    assert (tmp_path / "net.bin").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "net.xml").stat().st_mode & 0o777 != 0o600
