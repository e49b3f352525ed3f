"""What one process at a time may write: a second one is refused or waits, a killed one lets go."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmarks.killed_work import write_onnx
from benchmarks.reliability_bits import make_artifact, make_rows
from tests.conftest import Thorax

from thorax import artifact
from thorax.data import store
from thorax.data.store_verify import verify
from thorax.errors import DataError, ModelError, ThoraxError
from thorax.fpga.card import list_cards
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14
from thorax.phantoms import dataset

ROOT = Path(__file__).parents[1]

PAUSE = """
import sys
from pathlib import Path
def pause(*_):
    print("held", flush=True)
    sys.stdin.read()
folder = Path(sys.argv[1])
"""


@contextmanager
def holder(script: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a process that stands still in the midst of writing; it is killed afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", PAUSE + script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def draw(folder: Path) -> None:
    dataset.write(folder / "drawn", count=4, side=16, seed=0, workers=1)


def bring_in(folder: Path) -> None:
    rows = make_rows(folder / "images", 4)
    store.write(rows, folder / "store", InputSpec(16), NIH14, source="noise", workers=1)
    assert not [piece for piece in verify(folder / "store") if piece.damage]


def change(folder: Path) -> None:
    made = artifact.load(folder / "model")
    with artifact.hold(made):
        artifact.seal(made.path, made.card)


def replace(folder: Path) -> None:
    with artifact.new_folder(folder / "model") as staging:
        shutil.copytree(folder / "model", staging, dirs_exist_ok=True)
        (staging / ".lock").unlink(missing_ok=True)


def change_and_replace(folder: Path) -> None:
    change(folder)
    replace(folder)


def make_new(folder: Path) -> None:
    with artifact.new_folder(folder / "new") as staging:
        shutil.copytree(folder / "model", staging, dirs_exist_ok=True)
    shutil.rmtree(folder / "new")


@dataclass(frozen=True, slots=True)
class Output:
    """Something that is written: by whom meanwhile, by us, and what we are told."""

    script: str
    write: Callable[[Path], None]
    error: type[ThoraxError]
    code: str


OUTPUTS = {
    "phantoms": Output(
        "from thorax.phantoms import dataset\n"
        "dataset.write(folder / 'drawn', count=4, side=16, seed=0, workers=1, on_progress=pause)",
        *(draw, DataError, "phantom-locked"),
    ),
    "store": Output(
        "from benchmarks.reliability_bits import make_rows\n"
        "from thorax.data import store\n"
        "from thorax.labels import NIH14\n"
        "from thorax.images.preprocess import InputSpec\n"
        "store.write(make_rows(folder / 'images', 4), folder / 'store', InputSpec(16), NIH14,\n"
        "            source='noise', workers=1, on_progress=pause)",
        *(bring_in, DataError, "store-locked"),
    ),
    "card": Output(
        "from thorax import artifact\nwith artifact.hold(artifact.load(folder / 'model')): pause()",
        *(change, ModelError, "artifact-locked"),
    ),
    "artifact, its card changed": Output(
        "from thorax import artifact\nwith artifact.hold(artifact.load(folder / 'model')): pause()",
        *(replace, ModelError, "artifact-locked"),
    ),
    "card, its artifact replaced": Output(
        "from thorax import artifact\nwith artifact.new_folder(folder / 'model'): pause()",
        *(change_and_replace, ModelError, "artifact-locked"),
    ),
    "new artifact": Output(
        "from thorax import artifact\nwith artifact.new_folder(folder / 'new'): pause()",
        *(make_new, ModelError, "artifact-locked"),
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_second_writer_is_told_of_the_first_and_a_killed_one_lets_go(
    name: str, tmp_path: Path
) -> None:
    output = OUTPUTS[name]
    make_artifact(tmp_path / "model")
    make_rows(tmp_path / "images", 4)
    with holder(output.script, tmp_path) as first:
        with pytest.raises(output.error) as refused:
            output.write(tmp_path)
        assert refused.value.code == output.code
        assert f"process {first.pid} on " in refused.value.message
    output.write(tmp_path)
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_of_two_commands_of_mo_on_one_pair_the_second_is_refused(
    tmp_path: Path, thorax: Thorax
) -> None:
    write_onnx(tmp_path / "net.onnx", 1)
    out = tmp_path / "out"
    out.mkdir()
    words = ["mo", "--input_model", tmp_path / "net.onnx", "--output_dir", out]
    script = "from thorax.files.pairs import new_pair\nwith new_pair(folder / 'net.xml'): pause()"
    with holder(script, out) as first:
        refused = thorax(*words)
        assert refused.returncode == 2
        assert "thorax: mo-locked: " in refused.stderr
        assert f"process {first.pid} on " in refused.stderr
        assert [path.name for path in out.iterdir()] == [".net.xml.lock"]
    done = thorax(*words)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["net.bin", "net.xml"]


PROGRAMS = """
import sys
from pathlib import Path
from thorax.fpga.card import program
print("begun", flush=True)
sys.stdin.readline()
for name in [*sys.argv[3:], *sys.argv[3:]] * 5:
    for card in sys.argv[2].split():
        program(card, name, state=Path(sys.argv[1]))
"""
FP11, FP16 = "2-0-1_RC_FP11_Generic", "2-0-1_RC_FP16_Generic"


def test_two_processes_that_program_cards_at_once_lose_nothing_of_each_other(
    tmp_path: Path,
) -> None:
    state = tmp_path / "fpga.json"
    orders = (("FPGA.0 FPGA.2", FP11, FP16), ("FPGA.1 FPGA.3", FP16, FP11))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAMS, str(state), *order],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for order in orders
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    names = [card.bitstream.name if card.bitstream else None for card in list_cards(state)]
    assert names == [FP16, FP11, FP16, FP11]
    assert [path.name for path in tmp_path.iterdir()] == ["fpga.json"]


def test_a_card_is_not_changed_of_an_artifact_that_was_replaced_since_it_was_read(
    tmp_path: Path,
) -> None:
    make_artifact(tmp_path / "model")
    read = artifact.load(tmp_path / "model")
    graph = tmp_path / "model" / artifact.XML
    graph.write_bytes(graph.read_bytes() + b"\n")
    artifact.seal(tmp_path / "model", read.card)
    with pytest.raises(ModelError) as refused, artifact.hold(read):
        pass
    assert refused.value.code == "artifact-changed"
