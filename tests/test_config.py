"""Configuration: what is accepted, what is refused and in which words."""

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from thorax.config import Settings, load, write_effective
from thorax.errors import UsageError


class Circle(Settings):
    kind: Literal["circle"]
    radius_mm: float = Field(default=1.0, gt=0)
    """Radius, mm, above 0."""


class Square(Settings):
    kind: Literal["square"]
    side_mm: float = Field(default=2.0, gt=0)


class Look(Settings):
    colour: str = "grey"
    """Any name."""
    weights: tuple[float, ...] = (0.5, 1.0)
    filled: bool = False


class Drawing(Settings):
    shape: Annotated[Circle | Square, Field(discriminator="kind")]
    count: int = Field(ge=1, le=9)
    """How many, 1 to 9."""
    look: Look = Look()


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    path = tmp_path / "drawing.toml"
    path.write_text('count = 3\n[shape]\nkind = "circle"\n')
    return path


def refusal(path: Path, *overrides: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(path, Drawing, overrides)
    assert "\n" not in caught.value.message
    return caught.value


def test_overrides_are_toml_values_and_bare_words_are_strings(drawing: Path) -> None:
    loaded = load(
        drawing,
        Drawing,
        ["count=4", "look.colour=dark-blue", "look.weights=[1, 2.5]", "look.filled = true"],
    )
    assert loaded.count == 4
    assert loaded.look == Look(colour="dark-blue", weights=(1.0, 2.5), filled=True)


def test_the_last_override_of_a_key_holds(drawing: Path) -> None:
    assert load(drawing, Drawing, ["count=4", "count=5"]).count == 5


def test_quoted_override_may_hold_anything(drawing: Path) -> None:
    assert load(drawing, Drawing, ['look.colour="a = b.c\\n\\u007f é"']).look.colour == (
        "a = b.c\n\x7f é"
    )


def test_effective_configuration_reads_back_to_the_same_model(drawing: Path) -> None:
    model = load(drawing, Drawing, ['look.colour="\\u007f \\\\ é \\""', "shape.radius_mm=1e-9"])
    written = drawing.with_name("effective.toml")
    write_effective(model, written)
    assert load(written, Drawing) == model
    text = written.read_text("utf-8")
    assert "# Radius, mm, above 0.\nradius_mm = 1e-09\n" in text
    assert "filled = false" in text, "defaults are written too"


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("cuont=2", "count"),
        ("look.color=red", "look.colour"),
        ("shape.radius=2", "shape.radius_mm"),
        ("zzz=1", "shape"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest(
    drawing: Path, override: str, nearest: str
) -> None:
    error = refusal(drawing, override)
    assert error.code == "config-key"
    if override != "zzz=1":
        assert f"the nearest is {nearest}" in error.message
    assert override.partition("=")[0] in error.message
    assert "allowed here are" in error.message


def test_key_of_another_kind_is_unknown(drawing: Path) -> None:
    error = refusal(drawing, "shape.side_mm=2")
    assert error.code == "config-key"
    assert "allowed here are kind, radius_mm" in error.message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("count=10", ["count", "10", "less than or equal to 9"]),
        ('count="3"', ["count", "'3'", "integer"]),
        ("count=2.5", ["count", "2.5", "integer"]),
        ("look.filled=1", ["look.filled", "boolean"]),
        ("shape.radius_mm=inf", ["shape.radius_mm", "finite"]),
        ("shape.radius_mm=-1", ["shape.radius_mm", "-1", "greater than 0"]),
        ("shape.kind=hexagon", ["shape.kind", "'hexagon'", "'circle', 'square'"]),
        ("shape={}", ["shape.kind", "missing", "'circle', 'square'"]),
        ("look=3", ["look", "3"]),
    ],
)
def test_wrong_value_names_key_value_and_what_is_allowed(
    drawing: Path, override: str, words: list[str]
) -> None:
    error = refusal(drawing, override)
    assert error.code == "config-value"
    for word in words:
        assert word in error.message


def test_missing_key_without_default_is_named(drawing: Path) -> None:
    drawing.write_text("count = 3\n")
    error = refusal(drawing)
    assert error.code == "config-value"
    assert "shape is missing" in error.message


@pytest.mark.parametrize(
    "override", ["count", "=3", "a..b=1", "count=1\nlook.filled=true", "count.x=1", "count=[1"]
)
def test_malformed_override_is_refused(drawing: Path, override: str) -> None:
    assert refusal(drawing, override).code == "config-override"


@pytest.mark.parametrize("content", [b"count = ", b"\xff\xfe", b"count = 1\ncount = 2"])
def test_file_that_is_not_toml_is_refused(drawing: Path, content: bytes) -> None:
    drawing.write_bytes(content)
    assert refusal(drawing).code == "config-syntax"


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml").code == "config-unreadable"
    assert refusal(tmp_path).code == "config-unreadable"


def test_settings_are_frozen(drawing: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(drawing, Drawing).count = 1


DEEP = 20_000
EXTREMES = (
    "1e999",
    "inf",
    "-inf",
    "nan",
    "1" + "0" * 5000,
    "[" * DEEP + "]" * DEEP,
    "0x" + "f" * 9000,
)


@pytest.mark.parametrize("value", EXTREMES, ids=lambda value: value[:5])
@pytest.mark.parametrize("key", ["count", "shape.radius_mm", "look.weights"])
def test_a_value_that_no_computer_holds_is_refused_in_a_file_and_as_an_override(
    drawing: Path, key: str, value: str
) -> None:
    error = refusal(drawing, f"{key}={value}")
    assert error.code == "config-value"
    assert len(error.message) < 1000
    table, _, name = key.rpartition(".")
    text = f"[{table}]\n{name} = {value}\n" if table else f"{name} = {value}\n"
    drawing.write_text(text)
    assert refusal(drawing).code == "config-value"


def test_tables_within_tables_without_end_are_refused(drawing: Path) -> None:
    assert refusal(drawing, ".".join("a" * DEEP) + " = 1").code == "config-override"
    drawing.write_text(".".join("a" * DEEP) + " = 1")
    assert refusal(drawing).code == "config-value"
    inner = "{ a = " * DEEP + "1" + " }" * DEEP
    assert refusal(drawing, f"look={inner}").code == "config-value"


def test_a_long_wrong_value_is_shown_in_part(drawing: Path) -> None:
    error = refusal(drawing, f'count="{"x" * 100_000}"')
    assert error.code == "config-value"
    assert len(error.message) < 1000


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", tmp_path, Path("/dev/zero")):
        assert refusal(path).code == "config-unreadable"


def test_a_byte_order_mark_is_passed_over(drawing: Path) -> None:
    drawing.write_bytes(b"\xef\xbb\xbf" + drawing.read_bytes())
    assert load(drawing, Drawing).count == 3
