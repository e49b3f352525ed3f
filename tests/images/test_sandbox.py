"""Children that crash, hang, die or outlive their parent."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from thorax.errors import ImageError
from thorax.images.sandbox import Sandbox

HEAD = {"file_bytes": 1 << 20, "pixels": 1 << 20, "frames": 1, "cpu_s": 5.0}
SOMETHING = b"\0" * 128 + b"DICM" + b"\0" * 100


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox("thorax.images.dicom")
    yield sandbox
    sandbox.close()


def ask(sandbox: Sandbox, wall_s: float = 60.0) -> str:
    """Ask what a child refuses; return the code."""
    with pytest.raises(ImageError) as caught:
        sandbox.ask(HEAD, SOMETHING, wall_s=wall_s, most_bytes=1 << 20)
    return caught.value.code


def gone(pid: int) -> bool:
    """Wait until a process is gone or a zombie."""
    deadline = time.perf_counter() + 30
    while time.perf_counter() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as status:  # noqa: PTH123
                if status.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        threading.Event().wait(0.01)
    return False


def test_no_child_is_started_before_there_is_work_and_one_is_used_again(sandbox: Sandbox) -> None:
    assert sandbox.children == ()
    assert ask(sandbox) == "dicom-not-an-image"
    first = sandbox.children
    assert len(first) == 1
    assert ask(sandbox) == "dicom-not-an-image"
    assert sandbox.children == first


def test_a_crash_costs_one_answer_and_no_more(sandbox: Sandbox) -> None:
    ask(sandbox)
    (child,) = sandbox.children
    os.kill(child, signal.SIGSEGV)
    assert gone(child)
    assert ask(sandbox) == "dicom-decoder-crashed"
    assert ask(sandbox) == "dicom-not-an-image"


def test_a_child_that_hangs_is_killed_and_replaced(sandbox: Sandbox) -> None:
    ask(sandbox)
    (child,) = sandbox.children
    os.kill(child, signal.SIGSTOP)
    assert ask(sandbox, wall_s=0.2) == "image-timeout"
    assert gone(child)
    assert ask(sandbox) == "dicom-not-an-image"


def test_processor_time_is_limited_by_the_kernel(sandbox: Sandbox) -> None:
    ask(sandbox)
    many = SOMETHING[:132] + b"\x09\x00\x01\x00LO\x02\x00ab" * 400_000
    with pytest.raises(ImageError) as caught:
        sandbox.ask({**HEAD, "cpu_s": 0.01}, many, wall_s=60, most_bytes=1 << 20)
    assert caught.value.code == "image-timeout"
    assert ask(sandbox) == "dicom-not-an-image"


def test_threads_that_ask_at_the_same_time_get_their_own_answers(sandbox: Sandbox) -> None:
    codes: list[str] = []
    barrier = threading.Barrier(3)

    def work() -> None:
        barrier.wait()
        codes.extend(ask(sandbox) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["dicom-not-an-image"] * 15
    assert 1 <= len(sandbox.children) <= 3


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


START = """
import os, sys
from thorax.images.sandbox import Sandbox
from thorax.errors import ImageError
def ask(sandbox):
    try:
        sandbox.ask({"file_bytes": 9999, "pixels": 99, "frames": 1}, b"\\0" * 200,
                    wall_s=60, most_bytes=9)
    except ImageError as error:
        return error.code
sandbox = Sandbox("thorax.images.dicom")
code = ask(sandbox)
print(*sandbox.children, flush=True)
"""


@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_children_end_with_their_parent_however_it_ends(end: str) -> None:
    done = run(START + end)
    assert done.stderr == ""
    assert gone(int(done.stdout))


def test_a_fork_starts_children_of_its_own() -> None:
    done = run(
        START
        + """
before = sandbox.children
pid = os.fork()
if pid == 0:
    assert sandbox.children == ()
    assert ask(sandbox) == code
    assert sandbox.children != before
    sandbox.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert ask(sandbox) == code
assert sandbox.children == before
"""
    )
    assert done.stderr == ""
    assert done.returncode == 0
