"""The command line as a user types it: exit codes, one line an error, one document on stdout."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.cli import command
from tests.conftest import Thorax

from thorax import __version__
from thorax.artifact import CARD, Artifact
from thorax.cli import console
from thorax.cli.app import app
from thorax.cli.commands import COMMANDS as CONTENTS


def commands(
    command: Any,  # noqa: ANN401 - a class that Typer keeps to itself
    path: str = "",
) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, by the words that name it."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}".strip())
    else:
        yield path, command


COMMANDS = dict(commands(typer.main.get_command(app)))


class Run:
    """`command.typed` with its fixtures bound."""

    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capfd, self._monkeypatch = capfd, monkeypatch

    def __call__(self, *words: object) -> tuple[int, str, str]:
        return command.typed(self._capfd, self._monkeypatch, *words)

    def refused(self, *words: object) -> tuple[int, str]:
        """Return exit status and code of a command that must end in one line on stderr."""
        status, out, err = self(*words)
        assert out == ""
        *progress, last = err.splitlines()
        assert not [line for line in progress if "thorax: " in line or "  " in line], err
        match = re.fullmatch(r"thorax: ([a-z0-9]+(?:-[a-z0-9]+)*): \S.*", last)
        assert match, err
        return status, match[1]


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


# Help.


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_fits_100_columns(
    name: str, typed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    status, out, err = typed(*name.split(), "--help")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    examples = [line for line in lines if line.strip().startswith("Example:")]
    assert len(examples) == 1
    assert examples[0].split()[1 : 2 + len(name.split())] == ["thorax", *name.split()]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_is_one_it_understands(name: str) -> None:
    command = COMMANDS[name]
    words = str(command.epilog).removeprefix("Example:").split(">")[0].split()
    assert words[: 1 + len(name.split())] == ["thorax", *name.split()]
    context = command.make_context(name, words[1 + len(name.split()) :])
    assert context.params


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json_and_every_option_is_explained(name: str) -> None:
    options = {word: one for one in COMMANDS[name].params for word in one.opts}
    assert "--json" in options
    assert all(getattr(one, "help", None) for one in options.values()), name


def test_the_commands_of_the_contract_are_there() -> None:
    wanted = {
        "phantom", "data import nih", "data check", "train", "optimize", "classify", "validate",
        "score", "benchmark", "devices", "report", "demo", "analyze", "compare",
    }  # fmt: skip
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("words", [["--help"], ["data", "--help"], ["data", "import", "--help"]])
def test_groups_have_help(typed: Run, words: list[str]) -> None:
    status, out, _ = typed(*words)
    assert (status, "Usage:" in out) == (0, True)


def test_the_first_page_says_of_each_command_what_its_own_page_says_first() -> None:
    for name, (_, summary) in CONTENTS.items():
        command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        assert (command.name, command.help.split("\n\n")[0]) == (name, summary)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['thorax', '--help']\nfrom thorax.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'cv2', 'openvino', 'torch', 'pydicom', 'pydantic', 'nncf',"
        " 'thorax.cli.options'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_told(typed: Run) -> None:
    status, out, _ = typed("--version")
    assert (status, out.strip()) == (0, f"thorax {__version__}")


# Exit codes and error lines, in this process.


@pytest.mark.parametrize(
    "words",
    [
        ["clasify"],
        ["classify"],
        ["classify", "m"],
        ["classify", "m", "i", "--heatmap", "x"],
        ["classify", "m", "i", "--csv"],
        ["classify", "m", "i", "--async", "0"],
        ["phantom", "o", "--count", "many"],
        ["phantom", "o", "--count", "0"],
        ["data", "import", "nih", "i", "--out", "o"],
        ["data", "import", "cheXpert"],
        ["--nonsense"],
    ],
)
def test_a_command_line_that_cannot_be_followed_is_one_line_and_status_2(
    typed: Run, words: list[str]
) -> None:
    assert typed.refused(*words) == (2, "usage")


def test_a_misspelt_command_or_option_is_answered_with_the_nearest(typed: Run) -> None:
    assert "classify" in typed("clasify")[2]
    assert "--heatmaps" in typed("classify", "m", "i", "--heatmap", "x")[2]


def test_each_mistake_ends_in_its_own_status(
    typed: Run, tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    model, image = tiny_fp32.path, phantoms / "phantom_11_000000.png"
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / CARD).write_text("{}")
    (tmp_path / "empty").mkdir()
    cases = {
        ("classify", model, image, "--colours", "jet"): (2, "heatmap-colours"),
        ("classify", model, image, "--csv", phantoms): (2, "output-unwritable"),
        ("benchmark", model, "--scenario", "fast"): (2, "scenario"),
        ("optimize", "m", "--out", "o", "--precision", "fp64"): (2, "precision"),
        ("classify", model, tmp_path / "empty"): (3, "inputs-empty"),
        ("data", "check", tmp_path / "empty"): (3, "store-missing"),
        ("classify", tmp_path / "none", image): (4, "artifact-missing"),
        ("classify", broken, image): (4, "artifact-card"),
        ("optimize", tmp_path / "none", "--out", tmp_path / "o"): (4, "model-missing"),
        ("classify", model, image, "-d", "TPU"): (5, "device-unknown"),
    }
    for words, wanted in cases.items():
        assert typed.refused(*words) == wanted
        assert typed.refused(*words, "--json") == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "empty"]


@pytest.mark.parametrize(
    "words",
    [
        ["phantom", "{file}/x", "--count", "1", "--size", "64"],
        ["data", "import", "phantom", "{phantoms}", "--size", "32", "--out", "{file}/x"],
        ["optimize", "{run}", "--out", "{file}/x"],
        ["train", "{recipe}", "--data", "{store}", "--out", "{file}/x"],
        ["classify", "{model}", "{phantoms}", "--csv", "{file}/x"],
        ["classify", "{model}", "{phantoms}", "--heatmaps", "{file}/x"],
        ["report", "{document}", "--out", "{file}/x"],
    ],
)
def test_a_place_that_cannot_be_written_is_no_bug(
    typed: Run,
    words: list[str],
    tiny_run: Path,
    tiny_fp32: Artifact,
    phantoms: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    document = tmp_path / "score.json"
    cell = {"value": 0.5, "low": 0.4, "high": 0.6, "positives": 3, "images": 9}
    document.write_text(
        json.dumps({"command": "score", "auroc": {"Mass": cell}, "mean_auroc": 0.5})
    )
    names = {
        "file": tmp_path / "file", "phantoms": phantoms, "run": tiny_run, "model": tiny_fp32.path,
        "recipe": tiny_run / "recipe.toml", "store": tiny_run.parent / "store",
        "document": document,
    }  # fmt: skip
    status, out, err = typed(*(word.format(**names) for word in words))
    last = err.splitlines()[-1]
    assert last.startswith("thorax: "), err
    assert "Traceback" not in err
    code = last.split(": ")[1]
    assert (code != "bug", status in (2, 3, 4), out) == (True, True, ""), err


def test_drawing_and_importing_count_each_image_once(typed: Run, tmp_path: Path) -> None:
    out = tmp_path / "drawn"
    _, _, err = typed("phantom", out, "--count", 70, "--size", 32, "--workers", 1)
    # A machine that others use tells how far it is before it is through.
    assert err.splitlines()[-1].startswith("drawing: 70 images in ")
    store = tmp_path / "store"
    _, _, err = typed("data", "import", "phantom", out, "--size", 32, "--out", store)
    assert err.splitlines()[-1].startswith("importing: 70 images in ")


def test_debug_adds_the_traceback_and_the_line_stays(typed: Run, tmp_path: Path) -> None:
    status, _, err = typed("classify", tmp_path / "none", "a.png", "--debug")
    assert status == 4
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("thorax: artifact-missing: ")
    assert "Traceback" not in typed("classify", tmp_path / "none", "a.png")[2]


def test_a_bug_is_called_one_and_asks_for_a_report(
    typed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(console, "emit", broken)
    assert typed.refused("devices") == (1, "bug")


def test_a_disk_that_is_full_is_no_bug(typed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/data/x")

    monkeypatch.setattr(console, "emit", full)
    assert typed.refused("devices") == (2, "system-refused")


# As processes of their own.


def test_a_reader_of_a_table_may_leave_early() -> None:
    words = [sys.executable, "-m", "thorax", "plan", "cluster", "--workers", "1..64"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_classify_from_a_shell(
    thorax: "object", tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    assert callable(thorax)
    good = phantoms / "phantom_11_000000.png"
    done = thorax("classify", tiny_fp32.path, good, "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["results"][0]["image"] == str(good)
    assert "Traceback" not in done.stderr

    strange = tmp_path / os.fsdecode(b"scan\xff.png")
    strange.write_bytes(good.read_bytes())
    (tmp_path / "bad.png").write_bytes(b"")
    for encoding in ("utf-8:strict", "ascii:strict"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = thorax("classify", tiny_fp32.path, tmp_path, "-pc", env=environment)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert "image-empty" in done.stdout
        assert "layer1.0.conv1" in done.stdout
        assert "not a medical device" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-pc", "{image}"], "Total measured"),
        (["{image}", "-pc"], "Total measured"),
        (["-pc", "layers", "{image}"], "Total measured"),
        (["-pc=lines", "{image}"], "realTime: "),
        (["{image}", "-pc", "lines"], "Total time, measured: "),
        (["-pc", "--", "{image}"], "Total measured"),
    ],
)
def test_pc_stands_alone_or_has_a_word_after_it(
    words: list[str], shown: str, typed: Run, tiny_fp32: Artifact, phantoms: Path
) -> None:
    image = str(phantoms / "phantom_11_000000.png")
    status, out, _ = typed(
        "classify", tiny_fp32.path, *(word.format(image=image) for word in words)
    )
    assert status == 0
    assert shown in out
    assert "layer1.0.conv1" in out


def test_another_word_tied_to_pc_is_refused(typed: Run, tiny_fp32: Artifact) -> None:
    assert typed.refused("classify", tiny_fp32.path, "x.png", "-pc=all") == (2, "option-choice")


def test_pc_layers_shows_what_a_card_would_take_and_says_it_is_modelled(
    typed: Run, tiny_fp32: Artifact, phantoms: Path, cards: Path
) -> None:
    image = phantoms / "phantom_11_000000.png"
    words = ["classify", tiny_fp32.path, image, "-d", "HETERO:FPGA,CPU", "-pc"]
    status, out, _ = typed(*words)
    assert status == 0
    assert "3. FPGA execute time" in out
    assert "layer1.0.conv1" not in out
    assert "modelled, not measured" in out
    status, out, _ = typed(*words, "layers")
    assert status == 0
    assert "layer1.0.conv1" in out
    status, out, _ = typed(*words, "lines")
    (line,) = (line for line in out.splitlines() if "3. FPGA execute time:" in line)
    assert re.match(r"subgraph\d: 3. FPGA execute time:EXECUTED +layerType: ", line)
    assert line.endswith("origin: modelled")


@pytest.mark.parametrize("device", ["HETERO:FPGA,CPU", "HETERO:FPGA.2,FPGA,CPU", "CPU"])
def test_partition_tells_and_draws_who_runs_what(
    device: str, typed: Run, tiny_fp32: Artifact, cards: Path, tmp_path: Path
) -> None:
    drawing = tmp_path / "split.svg"
    status, out, _ = typed("partition", tiny_fp32.path, "-d", device, "--svg", drawing, "--json")
    assert status == 0
    document = json.loads(out)
    assert (document["device"], document["simulated"]) == (device, device != "CPU")
    assert {"subgraphs", "layers", "crossings", "modelled"} <= set(document)
    first = document["layers"][0]
    assert {"name", "type", "device", "reason", "subgraph", "modelled_s"} <= set(first)
    assert {"before", "after", "bytes", "tensors"} == set(document["crossings"])
    assert (document["modelled"] is None) == (device == "CPU")
    used = {one["device"] for one in document["subgraphs"]}
    assert used == ({"CPU"} if device == "CPU" else {document["devices"][0], "CPU"})
    assert drawing.read_text("utf-8").startswith("<svg ")
    status, out, _ = typed("partition", tiny_fp32.path, "-d", device, "--all")
    assert status == 0
    assert "layer1.0.conv1" in out


def test_partition_refuses_what_no_card_takes(typed: Run, tiny_int8: Artifact, cards: Path) -> None:
    words = ["partition", tiny_int8.path, "-d", "HETERO:FPGA,CPU"]
    assert typed.refused(*words) == (5, "precision-unsupported")


def test_partition_refuses_a_drawing_that_is_none(typed: Run, tiny_fp32: Artifact) -> None:
    words = ["partition", tiny_fp32.path, "-d", "CPU", "--svg", "split.jpg"]
    assert typed.refused(*words) == (2, "plot-format")


def test_a_reader_that_leaves_early_is_no_failure(tiny_fp32: Artifact, phantoms: Path) -> None:
    command = [sys.executable, "-m", "thorax", "classify"]
    command += [str(tiny_fp32.path), str(phantoms), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read().decode()
    assert (process.returncode, "Traceback" in err, "bug" in err) == (0, False, False), err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_once_and_leaves_nothing_half_written(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    scans = [str(path) for path in sorted(phantoms.glob("*.png"))] * 150
    out, maps = tmp_path / "out.csv", tmp_path / "maps"
    command = [
        sys.executable, "-m", "thorax", "classify", str(tiny_fp32.path), *scans,
        "--csv", str(out), "--heatmaps", str(maps),
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A shell's background job ignores the signal, and so would what it starts.
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    ) as process:
        while not maps.is_dir() or not list(maps.iterdir()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + sent
    assert stdout == b""
    code = "interrupted" if sent == signal.SIGINT else "ended"
    assert stderr.decode().splitlines()[-1].startswith(f"thorax: {code}: ")
    assert b"Traceback" not in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps"]
    assert not [path for path in maps.iterdir() if path.suffix != ".png"]


def test_one_name_and_one_module_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("thorax")
    ways = ([script], [sys.executable, "-m", "thorax"])
    told = [
        subprocess.run([*way, "--version"], capture_output=True, text=True, check=True).stdout
        for way in ways
    ]
    assert told[0] == told[1] == f"thorax {__version__}\n"


def test_devices_are_a_list_with_the_keys_of_the_contract(typed: Run) -> None:
    status, out, _ = typed("devices", "--json")
    listed = json.loads(out)
    assert status == 0
    assert [set(one) for one in listed] == [
        {"name", "full_name", "simulated", "precisions", "arithmetic"} for _ in listed
    ]
    simulated = {one["name"]: one["simulated"] for one in listed}
    assert simulated["CPU"] is False
    assert simulated["FPGA.3"] is True
    assert {one["arithmetic"] for one in listed} == {None}, "cards come unprogrammed"


def test_the_table_of_devices_marks_simulated_cards(typed: Run, cards: Path) -> None:
    status, out, _ = typed("devices")
    assert status == 0
    assert out.count("(simulated)") == 4
    assert "fp11" in out


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("command", ["classify", "devices"])
def test_closed_descriptors_are_no_bug_and_become_no_file(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, command: str, closed: tuple[int, ...]
) -> None:
    image, table = phantoms / "phantom_11_000000.png", tmp_path / "all.csv"
    words: dict[str, list[object]] = {
        "classify": ["classify", tiny_fp32.path, image, "--csv", table, "--json"],
        "devices": ["devices"],
    }
    script = (
        "import os, sys\n"
        "for number in map(int, sys.argv[1].split(',')): os.close(number)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'thorax', *sys.argv[2:]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, ",".join(map(str, closed)), *map(str, words[command])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not [word for word in ("Traceback", "ignored", "bug") if word in done.stderr]
    if command == "classify":
        head, row = table.read_text().splitlines()
        assert head.startswith("image,")
        assert row.startswith(str(image))
    assert bool(done.stdout) == (1 not in closed)


def test_a_csv_on_stdout_is_alone_there(tiny_fp32: Artifact, phantoms: Path) -> None:
    words = ["classify", tiny_fp32.path, phantoms / "phantom_11_000000.png", "--csv", "/dev/stdout"]
    command = [sys.executable, "-m", "thorax", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    head, row = done.stdout.splitlines()
    assert (head.split(",")[0], row.split(",")[0]) == ("image", str(words[2]))
    assert "Findings at or above" in done.stderr
    both = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert (both.returncode, both.stdout) == (2, "")
    assert both.stderr.startswith("thorax: option-apart: ")


@pytest.mark.parametrize("command", ["phantom", "classify"])
def test_messages_that_nobody_can_be_told_fail_no_work(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, command: str
) -> None:
    words = {
        "phantom": ["phantom", "--count", "2", "--size", "32", str(tmp_path / "drawn")],
        "classify": ["classify", str(tiny_fp32.path), str(phantoms), "--csv", str(tmp_path / "c")],
    }
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "thorax", *words[command]],
            stdout=subprocess.PIPE, stderr=full, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout
    assert (tmp_path / ("drawn" if command == "phantom" else "c")).exists()


def test_a_page_on_stdout_is_all_that_is_there(
    thorax: Thorax, tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    words = ["classify", tiny_fp32.path, phantoms / "phantom_11_000000.png", "--json"]
    document = tmp_path / "classify.json"
    document.write_text(thorax(*words).stdout)
    done = thorax("report", document, "--out", "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("</html>")
    both = thorax("report", document, "--out", "/dev/stdout", "--json")
    assert (both.returncode, both.stdout) == (2, "")
    assert "option-together" in both.stderr
