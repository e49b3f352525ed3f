"""Options of a dataclass are typed one by one."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from typer import Option
from typer.testing import CliRunner

from thorax.cli.options import Device, Json, one_by_one, spelled_device

app = typer.Typer()


@dataclass(frozen=True)
class Traffic:
    """What is asked."""

    name: Annotated[str, Option(help="Whose.")]
    duration: Annotated[float, Option("--duration", "-t", help="Seconds.")] = 10.0
    words: Annotated[list[str] | None, Option("--word", help="Some.")] = None


@app.command()
@one_by_one
def ask(count: int, traffic: Traffic, json: Json = False) -> None:
    """Ask."""
    typer.echo(f"{count} {traffic.name} {traffic.duration} {traffic.words} {json}")


def test_fields_are_options_with_their_defaults() -> None:
    done = CliRunner().invoke(app, ["3", "--name", "a"])
    assert done.output.split() == ["3", "a", "10.0", "None", "False"]
    done = CliRunner().invoke(app, ["3", "--name", "a", "-t", "2", "--word", "b", "--json"])
    assert done.output.split() == ["3", "a", "2.0", "['b']", "True"]


def test_a_field_without_default_must_be_given() -> None:
    done = CliRunner().invoke(app, ["3"])
    assert done.exit_code == 2


def test_options_stand_where_their_value_stands() -> None:
    told = CliRunner().invoke(app, ["--help"]).output
    places = [told.index(option) for option in ("--name", "--duration", "--word", "--json")]
    assert places == sorted(places)


def test_a_default_that_is_made_is_refused_and_not_required() -> None:
    @dataclass(frozen=True)
    class Made:
        words: list[str] = field(default_factory=list)

    def command(made: Made) -> None: ...

    command.__annotations__["made"] = Made
    with pytest.raises(TypeError, match=r"Made\.words has a factory"):
        one_by_one(command)


def test_two_options_of_one_name_are_refused() -> None:
    @dataclass(frozen=True)
    class Other:
        duration: float = 1.0

    def values(traffic: Traffic, other: Other) -> None: ...
    def beside(duration: float, traffic: Traffic) -> None: ...

    values.__annotations__["other"] = Other
    for command in (values, beside):
        with pytest.raises(TypeError, match=r"two options of .* are named duration"):
            one_by_one(command)


@pytest.mark.parametrize(
    ("typed", "device"),
    [("cpu", "CPU"), (" auto: -gpu ", "AUTO:-GPU"), ("hetero:fpga.0, cpu", "HETERO:FPGA.0,CPU")],
)
def test_a_device_is_spelled_as_openvino_does(typed: str, device: str) -> None:
    one = typer.Typer()

    @one.command()
    def run(device: Device = "CPU") -> None:
        typer.echo(device)

    assert CliRunner().invoke(one, ["-d", typed]).output.strip() == device
    assert spelled_device(None) is None
