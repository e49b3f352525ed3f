"""TOML and `a.b=value` overrides to frozen models; every mistake is answered with what is allowed.

The models themselves sit beside the code that reads them and derive from `Settings`.
"""

import difflib
import hashlib
import json
import re
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from thorax.errors import UsageError
from thorax.files.atomic import write_text
from thorax.files.documents import parse_toml, read_limited

_LONGEST: Final = 1 << 20
"""Bytes of a configuration."""
_DEEPEST: Final = 16
"""Keys of an override, one within another."""
_WIDEST: Final = 200
"""Characters of a value that a message shows."""
_SIGNATURE: Final = "# sha256 of all lines above: "

FileState = Literal["as written", "edited", "unsigned"]
"""Of a configuration: as Thorax wrote it, changed since, or written by somebody else."""

_BARE_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")


class Settings(BaseModel):
    """Part of a configuration: frozen, no unknown keys, a string under each field as its help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


SettingsT = TypeVar("SettingsT", bound=Settings)


def load(path: Path, model_type: type[SettingsT], overrides: Sequence[str] = ()) -> SettingsT:
    """Read a TOML file, apply overrides in order and check the result.

    An override is `key.of.table=value`; the value is TOML, a bare word is a string.

    Raises:
        UsageError: `config-unreadable`, `config-syntax`, `config-override`, `config-key` (with
            the nearest key there is), or `config-value` (with what is allowed).

    Example:
        >>> load(Path("recipes/phantom_small.toml"), Recipe, ["schedule.peak=0.1"])
    """
    try:
        table = parse_toml(read_limited(path, _LONGEST))
    except OSError as error:
        raise UsageError(
            "config-unreadable", f"{path} cannot be read: {error.strerror}; give a TOML file"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError("config-syntax", f"{path} is not UTF-8 text, as TOML must be") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError("config-syntax", f"{path} is not TOML: {error}") from error
    except ValueError as error:
        raise UsageError(
            "config-value", f"{path}: {error}; allowed are finite numbers and few levels"
        ) from error
    for override in overrides:
        apply(table, override)
    return check(table, model_type, str(path))


def check(table: Mapping[str, Any], model_type: type[SettingsT], source: str) -> SettingsT:
    """Return the model of a table that was read from somewhere.

    Raises:
        UsageError: `config-key` or `config-value`.
    """
    try:
        # JSON mode: lists fill tuples, while a string is still no number and 1 no boolean.
        text = json.dumps(table, default=str)
    except (RecursionError, ValueError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else "too long a number"
        raise UsageError(
            "config-value", f"{source}: a value is {what}; allowed is what the recipes here have"
        ) from error
    try:
        return model_type.model_validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelt key leaves another one missing; the misspelling is what to correct.
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        raise _refusal(problems[0], len(problems) - 1, model_type, source) from error


def write_effective(model: BaseModel, path: Path, *, signed: bool = False) -> None:
    """Write every setting, defaults included, as TOML that `load` reads back to the same model.

    Each key carries its description as a comment. What is `signed` ends in a comment with the
    digest of all before it, by which `file_state` tells whether it was edited.
    """
    text = "\n".join(_toml(model, ())).lstrip("\n") + "\n"
    write_text(path, text + (f"{_SIGNATURE}{_digest(text)}\n" if signed else ""))


def file_state(path: Path) -> FileState:
    """Return whether a file that was loaded is as `write_effective` signed it, edited, or neither.

    It catches slips, numbers that are changed below sources that are not, and no forger: the
    digest has no key.
    """
    text = read_limited(path, _LONGEST).decode()
    above, mark, digest = text.rpartition(_SIGNATURE)
    if not mark:
        return "unsigned"
    return "as written" if digest.strip() == _digest(above) else "edited"


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """What a file that was loaded is, for the name and the sources of what it describes.

    Attributes:
        name: of the file.
        state: as of `file_state`.
        meaning: of the state, in words.
    """

    name: str
    state: FileState
    meaning: str

    @property
    def mark(self) -> str:
        """What stands behind a name or title: nothing of a file that is as Thorax wrote it."""
        return "" if self.state == "as written" else f" ({self.name}, {self.state})"

    def attribute(self, sources: Sequence[str]) -> tuple[str, ...]:
        """Return sources `key: kind: text` with the file before them.

        Of a file that is not as Thorax wrote it nobody knows which constants are still those of
        their sources, so all are given by the file, and what it says of them is quoted.
        """
        others = [source for source in sources if not source.startswith("file: ")]
        if self.state != "as written":
            others = [self.given(source) for source in others]
        return (f"file: {self.name}: {self.meaning}", *others)

    def given(self, source: str) -> str:
        """Return a source as the file's own words; one that is given already stays."""
        key, colon, rest = source.partition(": ")
        if not colon or re.match(r"given\b", rest):
            return source
        return f"{key}: given: by {self.name}, which says: {rest}"


def file_origin(path: Path, command: str) -> FileOrigin:
    """Return what a loaded file is, that a command such as "thorax plan server" writes."""
    state = file_state(path)
    meaning = {
        "as written": f"as {command} wrote it",
        "edited": f"edited since {command} wrote it, so sources may no longer hold",
        "unsigned": f"not written by {command}; sources are as somebody gives them",
    }[state]
    return FileOrigin(path.name, state, meaning)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def apply(table: dict[str, Any], override: str) -> None:
    """Put one `a.b=value` into a table, in place.

    Raises:
        UsageError: `config-override`.
    """
    dotted, equals, text = override.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not equals or not all(keys) or len(keys) > _DEEPEST:
        raise UsageError(
            "config-override",
            f"{_shown(override)} is no override; write key=value or table.key=value",
        )
    for depth, key in enumerate(keys[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UsageError(
                "config-override",
                f"{_shown(override)}: {'.'.join(keys[:depth])} is a value, not a table of keys",
            )
    table[keys[-1]] = _value(text.strip(), override)


def _value(text: str, override: str) -> object:
    try:
        parsed = parse_toml(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if _BARE_WORD.fullmatch(text):
            return text
        raise UsageError(
            "config-override",
            f"{_shown(override)}: {_shown(text)} is no TOML value; quote a text as '\"...\"'",
        ) from error
    except ValueError as error:
        raise UsageError(
            "config-value",
            f"{_shown(override)}: {error}; allowed are finite numbers and few levels",
        ) from error
    if len(parsed) != 1:
        raise UsageError("config-override", f"{_shown(override)} sets more than one value")
    return parsed["value"]


def _shown(value: object) -> str:
    """Return a value as it is written, the middle of a long one left out."""
    text = repr(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST // 2]}...{text[-9:]}"


def _refusal(
    problem: ErrorDetails, others: int, model_type: type[BaseModel], source: str
) -> UsageError:
    models, keys = _walk(problem["loc"], model_type)
    key = ".".join(keys) or "the whole"
    more = f" ({others} more after this)" if others else ""
    if problem["type"] == "extra_forbidden":
        allowed = sorted({name for model in models for name in model.model_fields})
        near = difflib.get_close_matches(keys[-1], allowed, n=1, cutoff=0.0)
        place = ".".join(keys[:-1])
        full = f"{place}.{near[0]}" if place else near[0]
        return UsageError(
            "config-key",
            f"{source}: there is no key {key}; the nearest is {full}; allowed here are "
            f"{', '.join(allowed)}{more}",
        )
    if problem["type"] == "missing":
        return UsageError("config-value", f"{source}: {key} is missing and has no default{more}")
    if problem["type"].startswith("union_tag"):
        context = problem["ctx"]
        tag = f"{key}.{str(context['discriminator']).strip(chr(39))}"
        allowed_tags = _tags(models, keys[-1])
        given = f"is {context['tag']!r}" if "tag" in context else "is missing"
        return UsageError(
            "config-value", f"{source}: {tag} {given}; allowed are {allowed_tags}{more}"
        )
    message = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return UsageError(
        "config-value", f"{source}: {key} is {_shown(problem['input'])}; allowed is {message}{more}"
    )


def _walk(
    location: Sequence[int | str], model_type: type[BaseModel]
) -> tuple[list[type[BaseModel]], list[str]]:
    """Return the models that could hold the last key of an error, and its keys without tags."""
    models, keys = [model_type], []
    inner: list[type[BaseModel]] = [model_type]
    for part in location:
        tagged = [model for model in inner if part in _tag_values(model)]
        if len(inner) > 1 and tagged:
            inner = tagged
            continue
        models = inner
        keys.append(str(part))
        inner = [
            found
            for model in models
            if part in model.model_fields
            for found in _models_in(model.model_fields[str(part)].annotation)
        ] or inner
    return models, keys


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, Annotated, tuple):
        for part in get_args(annotation):
            yield from _models_in(part)


def _tag_values(model: type[BaseModel]) -> list[Any]:
    field = model.model_fields.get("kind")
    return list(get_args(field.annotation)) if field else []


def _tags(models: Sequence[type[BaseModel]], key: str) -> str:
    tags = [
        repr(tag)
        for model in models
        if key in model.model_fields
        for member in _models_in(model.model_fields[key].annotation)
        for tag in _tag_values(member)
    ]
    return ", ".join(tags)


def _toml(model: BaseModel, place: tuple[str, ...]) -> Iterator[str]:
    tables = []
    if place:
        yield f"\n[{'.'.join(place)}]"
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            tables.append((name, value))
        elif value is not None:
            if field.description:
                yield f"# {' '.join(field.description.split())}"
            yield f"{name} = {_toml_value(value)}"
    for name, value in tables:
        yield from _toml(value, (*place, name))


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{json.dumps(k)} = {_toml_value(v)}' for k, v in value.items())} }}"
    if isinstance(value, BaseModel):
        pairs = ((name, getattr(value, name)) for name in type(value).model_fields)
        inner = ", ".join(f"{name} = {_toml_value(v)}" for name, v in pairs if v is not None)
        return f"{{ {inner} }}"
    # TOML basic strings are JSON strings, but for DEL, which TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
