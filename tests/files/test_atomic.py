"""Files are there whole or not at all."""

import errno
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.killed import ended_at_every_call

from thorax.files import atomic


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_text(path, "grün\n")
    atomic.write_text(path, "second\n")
    assert path.read_bytes() == b"second\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, order = tmp_path / "a", []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    atomic.write_bytes(path, b"x")
    assert order[0].startswith(f".a.{os.getpid()}.")
    assert order[1:] == ["rename", tmp_path.name]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    script = (
        "import os, signal, sys; from pathlib import Path; from thorax.files import atomic\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "atomic.write_bytes(Path(sys.argv[1]), b'new' * 1000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_the_digest_is_that_of_the_content(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "a").write_bytes(content)
    assert atomic.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")


@needs_root
def test_mode_and_owner_stay(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o600)
    os.chown(path, 1234, 4321)
    atomic.write_bytes(path, b"new")
    found = path.stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o600, 1234, 4321)
    assert path.read_bytes() == b"new"


def test_a_new_file_obeys_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "a", b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(tmp_path: Path, there: bool) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    target, link = tmp_path / "far" / "a", tmp_path / "near" / "b"
    if there:
        target.write_bytes(b"old")
    link.symlink_to(Path("..") / "far" / "a")
    (tmp_path / "c").symlink_to(link)
    atomic.write_bytes(tmp_path / "c", b"new")
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()
    assert link.is_symlink()
    assert names(tmp_path / "far") == ["a"]
    assert names(tmp_path / "near") == ["b"]


def test_links_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="links"):
        atomic.write_bytes(tmp_path / "a", b"x")
    assert names(tmp_path) == ["a", "b"]


@needs_root
def test_a_strangers_link_in_a_shared_folder_is_not_followed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    victim = tmp_path / "victim"
    victim.write_bytes(b"old")
    (shared / "out").symlink_to(victim)
    os.chown(shared / "out", 1234, 1234, follow_symlinks=False)
    with pytest.raises(PermissionError, match="another user's link"):
        atomic.write_bytes(shared / "out", b"new")
    assert victim.read_bytes() == b"old"


def test_a_planted_name_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"old")
    for name in (f".a.{os.getpid()}.partial", ".a.partial"):
        (tmp_path / name).symlink_to(victim)
    atomic.write_bytes(tmp_path / "a", b"new")
    assert victim.read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"


@needs_root
def test_devices_take_what_is_written_and_stay_devices(tmp_path: Path) -> None:
    atomic.write_bytes(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(OSError, match="No space"):
        atomic.write_bytes(Path("/dev/full"), b"x" * (1 << 20))
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    atomic.write_text(tmp_path / "null", "x")
    (tmp_path / "link").symlink_to(tmp_path / "null")
    atomic.write_text(tmp_path / "link", "x")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    assert names(tmp_path) == ["link", "null"]


def make_block(path: Path) -> None:
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 200))


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (Path.mkdir, "folder"),
        (os.mkfifo, "no program reads"),
        (make_socket, "socket"),
        (make_block, "block device"),
    ],
)
def test_what_cannot_hold_an_output_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], word: str
) -> None:
    path = tmp_path / "out"
    make(path)
    kind = stat.S_IFMT(path.stat().st_mode)
    with pytest.raises(OSError, match=word):
        atomic.write_bytes(path, b"x")
    if make is os.mkfifo:
        atomic.require_place(path)
    else:
        with pytest.raises(OSError, match=word):
            atomic.require_place(path)
    assert stat.S_IFMT(path.stat().st_mode) == kind
    assert names(tmp_path) == ["out"]


def test_a_pipe_gets_what_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        # Until the reader has opened it, nobody reads.
        while True:
            try:
                atomic.write_bytes(tmp_path / "pipe", b"x" * 100_000)
                break
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
        assert reader.communicate()[0] == b"x" * 100_000


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_a_stream_whatever_it_is(tmp_path: Path, name: str) -> None:
    script = (
        "import sys; from pathlib import Path; from thorax.files import atomic\n"
        "print('before', flush=True)\n"
        "atomic.write_text(Path(sys.argv[1]), 'content\\n')\n"
        "print('after', flush=True)\n"
    )
    command = [sys.executable, "-c", script, name]
    piped = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(command, stdout=log, check=True)
    assert piped.stdout == (tmp_path / "log").read_bytes() == b"before\ncontent\nafter\n"
    assert names(tmp_path) == ["log"]


@needs_root
def test_what_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from thorax.files import atomic\n"
        "os.setgid(1234); os.setuid(1234)\n"
        "try: atomic.write_bytes(Path(sys.argv[1]), b'new')\n"
        "except OSError as error: print(error.strerror)\n"
    )
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o777)
        for name, mode, owner in (("locked", 0o444, 1234), ("theirs", 0o666, 0)):
            (folder / name).write_bytes(b"old")
            (folder / name).chmod(mode)
            os.chown(folder / name, owner, owner)
            command = [sys.executable, "-c", script, str(folder / name)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert ("may not" in done.stdout) or ("another user" in done.stdout)
            assert (folder / name).read_bytes() == b"old"
        assert names(folder) == ["locked", "theirs"]
    finally:
        shutil.rmtree(folder)


def test_text_ends_lines_as_it_is_told(tmp_path: Path) -> None:
    with atomic.new_text(tmp_path / "a", errors="backslashreplace") as file:
        file.write("grün\r\n\udcff\n")
    assert (tmp_path / "a").read_bytes() == b"gr\xc3\xbcn\r\n\\udcff\n"


def fill(out: Path, content: str) -> None:
    with atomic.new_folder(out) as folder:
        (folder / "a").write_text(content)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    out = tmp_path / "out"
    fill(out, "first")
    (out / "b").write_text("old")
    fill(out, "second")
    assert names(tmp_path) == ["out"]
    assert names(out) == ["a"]
    assert (out / "a").read_text() == "second"

    def fail() -> None:
        with atomic.new_folder(out) as folder:
            (folder / "a").write_text("third")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert (out / "a").read_text() == "second"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("end", ["kill", "Ctrl-C", "Ctrl-C after"])
@pytest.mark.parametrize("exchange", [True, False])
def test_an_end_at_any_call_leaves_the_old_or_the_new_folder(
    tmp_path: Path, exchange: bool, end: str
) -> None:
    script = (
        "from thorax.files import atomic; count()\n"
        f"if not {exchange}: atomic._exchange = lambda first, second: False\n"
        "with atomic.new_folder(folder / 'out') as out:\n"
        "    (out / 'a').write_text('new'); (out / 'b').write_text('new')\n"
    )
    seen = []
    for place in ended_at_every_call(
        script, tmp_path, lambda place: fill(place / "out", "old"), end=end
    ):
        out = place / "out"
        atomic.recover(out)
        assert names(place) == ["out"]
        seen.append((out / "a").read_text())
        assert names(out) == (["a", "b"] if seen[-1] == "new" else ["a"])
    assert set(seen) == {"old", "new"}
    assert len(seen) > 8


@pytest.mark.parametrize("end", ["kill", "Ctrl-C", "Ctrl-C after"])
def test_an_end_at_any_call_leaves_the_old_or_the_new_file(tmp_path: Path, end: str) -> None:
    script = (
        "from thorax.files import atomic; count()\n"
        "atomic.write_bytes(folder / 'a', b'new' * 1000)\n"
    )
    seen = []
    for place in ended_at_every_call(
        script, tmp_path, lambda place: (place / "a").write_bytes(b"old"), end=end
    ):
        if end == "kill":
            atomic.sweep(place / "a")
        assert names(place) == ["a"]
        seen.append((place / "a").read_bytes())
    assert set(seen) == {b"old", b"new" * 1000}
    assert len(seen) > 4


def test_a_deep_leftover_is_removed_whole(tmp_path: Path) -> None:
    deep = os.open(tmp_path, os.O_RDONLY)
    name = ".out.1.0123456789abcdef.partial"
    for _ in range(3000):
        os.mkdir(name, dir_fd=deep)
        inner = os.open(name, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep, name = inner, "d"
    os.close(deep)
    fill(tmp_path / "out", "new")
    assert names(tmp_path) == ["out"]


def test_the_lock_of_another_is_not_removed(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (second / ".lock").write_text("theirs")
    with atomic.locked(first):
        first.rename(tmp_path / "old")
        second.rename(first)
    assert (first / ".lock").read_text() == "theirs"


@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_what_is_no_lock_is_named(tmp_path: Path, what: str) -> None:
    lock = tmp_path / ".a.lock"
    if what == "folder":
        lock.mkdir()
    elif what == "link":
        lock.symlink_to("elsewhere")
    else:
        os.mkfifo(lock)
    with (
        pytest.raises(OSError, match="no lock of Thorax; remove it"),
        atomic.locked(tmp_path / "a"),
    ):
        pass


def test_a_live_writer_is_not_swept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic.new_folder(out) as first:
        (first / "a").write_text("first")
        fill(out, "second")
        assert first.is_dir()
    assert (out / "a").read_text() == "first"
    with atomic.new_file(tmp_path / "x") as file:
        atomic.write_bytes(tmp_path / "x", b"other")
        file.write(b"mine")
    assert (tmp_path / "x").read_bytes() == b"mine"


def test_temporary_folders_of_killed_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    script = (
        "import os, signal; from thorax.files import atomic\n"
        "with atomic.temporary_folder() as folder:\n"
        "    (folder / 'a').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(names(tmp_path)) == 1
    # What a person calls so is not ours.
    own = ["thorax-report.html", "thorax-results", f".thorax.1.{'0' * 16}.partial"]
    (tmp_path / own[0]).write_text("x")
    (tmp_path / own[1]).mkdir()
    (tmp_path / own[2]).write_text("x")
    with atomic.temporary_folder() as first, atomic.temporary_folder() as second:
        assert names(tmp_path) == sorted([first.name, second.name, *own])
        assert first.stat().st_mode & 0o777 == 0o700
    assert names(tmp_path) == sorted(own)


def test_the_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from thorax.files import atomic\n"
        "with atomic.locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    for path in (tmp_path, tmp_path / "file"):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as first:
            assert first.stdout is not None
            first.stdout.readline()
            with pytest.raises(atomic.LockedError) as caught, atomic.locked(path):
                pass
            assert f"process {first.pid} on {socket.gethostname()}" in caught.value.holder
            first.kill()
        with atomic.locked(path):
            pass
    assert names(tmp_path) == []


def test_waiting_writers_follow_one_another(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from thorax.files import atomic\n"
        "path = Path(sys.argv[1])\n"
        "for _ in range(40):\n"
        "    with atomic.locked(path, wait=True):\n"
        "        path.write_text(str(int(path.read_text()) + 1))\n"
    )
    path = tmp_path / "count"
    path.write_text("0")
    command = [sys.executable, "-c", script, str(path)]
    writers = [subprocess.Popen(command) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert path.read_text() == "160"
    assert names(tmp_path) == ["count"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_who_was_given_a_name_that_no_encoding_has_can_hold_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["thorax", "\udcff"])
    with (
        atomic.locked(tmp_path),
        pytest.raises(atomic.LockedError, match=r"thorax \\udcff"),
        atomic.locked(tmp_path),
    ):
        pass
