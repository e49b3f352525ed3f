"""A child that was begun early is the one that reads, or ends unused."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from thorax.importers import standby


def test_what_was_begun_is_taken_once(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    standby.begin(tmp_path / "net.onnx")
    standby.begin(tmp_path / "net.onnx")
    (begun,) = standby._waiting
    first, second = standby.take(), standby.take()
    try:
        assert first is begun
        assert second.child.pid != first.child.pid
        assert first.folder.is_dir()
    finally:
        first.stack.close()
        second.stack.close()
    assert not first.folder.exists()


@pytest.mark.parametrize("name", ["missing.onnx", "model.xml", "folder"])
def test_nothing_is_begun_for_what_is_not_foreign(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.xml").touch()
    (tmp_path / "folder").mkdir()
    standby.begin(tmp_path / name)
    assert standby._waiting == []


def test_one_that_nobody_took_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    script = (
        "import sys; from pathlib import Path; from thorax.importers import standby\n"
        "standby.begin(Path(sys.argv[1])); print(standby._waiting[0].folder)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "net.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize(
    "name", ["net.onnx", "net.caffemodel", "net.params", "net.pt", "net.keras"]
)
def test_no_thread_is_there_before_the_child_gives_up_its_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    standby.begin(tmp_path / name)
    started = standby.take()
    with closing(started.stack):
        # It answers once it has imported all.
        started.child._exchange([], time.perf_counter() + 60, 0)
        assert len(list(Path(f"/proc/{started.child.pid}/task").iterdir())) == 1
        told = Path(f"/proc/{started.child.pid}/maps").read_text()
        assert ("libtorch" in told) == (name == "net.pt")
