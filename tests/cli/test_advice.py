"""An option that an error advises is one of the command that was typed, or of the one it names."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.cli.command import typed
from tests.importers import small_models

from thorax.cli.app import app
from thorax.cli.mo import in_own_words

_ADVISED = re.compile(r"(?<![\w-])(?P<option>--[\w-]+)(?: of `thorax (?P<command>[\w ]+)`)?")


def options_of(words: str) -> set[str]:
    command: Any = typer.main.get_command(app)
    for word in words.split():
        command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts}


def state_dict(folder: Path) -> Path:
    return small_models.state_dict(folder)


def weights_of_mxnet(folder: Path) -> Path:
    small_models.mxnet(folder)
    path = next(file for file in folder.iterdir() if file.suffix == ".params")
    return path.rename(folder / "alone-0001.params")


def transformers(folder: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def nothing(folder: Path) -> Path:
    return folder


COMMANDS = {
    "optimize": ("{model}", "--out", "{out}", "--labels", "a,b"),
    "mo": ("--input_model", "{model}", "--output_dir", "{out}"),
    "analyze": ("{model}",),
    "partition": ("{model}",),
    "fpga analyze": ("{model}", "--arch", "8x48-fp11"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("build", [state_dict, weights_of_mxnet, transformers, nothing])
def test_an_error_advises_options_that_the_command_has(
    command: str,
    build: Any,  # noqa: ANN401 - of a folder, the model's path
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "model").mkdir()
    places = {"model": build(tmp_path / "model"), "out": tmp_path / "out"}
    words = [word.format(**places) for word in COMMANDS[command]]
    status, _, err = typed(capfd, monkeypatch, *command.split(), *words)
    assert status in (2, 4), err
    line = err.strip().splitlines()[-1].replace(str(tmp_path), "")
    for match in _ADVISED.finditer(line):
        assert match["option"] in options_of(match["command"] or command), line
    # What was given is not asked for.
    assert "--labels" not in line, line


@pytest.mark.parametrize(
    ("message", "own"),
    [
        ("say --side, or --input_shape of `thorax mo`", "say --input_shape"),
        (
            "close it with --side, or with --input_shape of `thorax mo`",
            "close it with --input_shape",
        ),
        (
            "say with --structure, or --input_symbol of `thorax mo`, where",
            "say --input_symbol, where",
        ),
        ("or say a smaller --side", "or say a smaller --input_shape"),
    ],
)
def test_the_model_optimizer_speaks_of_its_own_options(message: str, own: str) -> None:
    assert in_own_words(message) == own
