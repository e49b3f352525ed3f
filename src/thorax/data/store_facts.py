"""store.json: what a store is, under a digest of its own, and the tables that it knows."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thorax.data.table import parse_rows
from thorax.errors import DataError
from thorax.files.atomic import write_text
from thorax.files.documents import (
    cannot_be_read,
    document_digest,
    is_refusal,
    parse_json,
    read_limited,
    read_line,
)
from thorax.labels import LabelSet

FORMAT: Final = 3
"""That is written; `_OLD` is read too."""
_OLD: Final = 2
"""Without age and sex."""
FACTS: Final = "store.json"
PIXELS: Final = "images.u8"
JOURNAL: Final = "progress.jsonl"
PARTIAL: Final = ".partial"
PLAN: Final = "plan"
HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "index.csv": (
        *("image", "patient", "split", "view", "age", "sex", "warnings"),
        *("sha256", "pixels_sha256"),
    ),
    "boxes.csv": ("image", "finding", "x", "y", "width", "height"),
    "skipped.csv": ("image", "code", "message"),
}
"""Columns of the tables; those of the findings follow in index.csv."""
_LATER: Final = ("age", "sex", "warnings")
"""What format 2 does not have, one after the other."""
_LARGEST_FACTS: Final = 1 << 24
_LARGEST_TABLE: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Facts:
    """What store.json says: N images of so many pixels a side, their labels and their source.

    Attributes:
        plan: digest of what the import was asked to do.
        tables: SHA-256 of each table.
        number: of the format.
    """

    count: int
    side: int
    label_set: LabelSet
    source: str
    plan: str
    tables: Mapping[str, str]
    number: int = FORMAT


@dataclass(frozen=True, slots=True)
class Plan:
    """What an unfinished import is to become, as the file `plan` of its folder says.

    Attributes:
        digest: of everything that the store depends on, but for the content of the files.
        side: of the images, pixels.
    """

    digest: str
    side: int


def read_plan(partial: Path) -> Plan:
    """Read the plan of an unfinished import.

    Raises:
        DataError: `store-damaged`.
    """
    try:
        document = read_line(read_limited(partial / PLAN))
        return Plan(str(document["digest"]), int(document["side"]))
    except OSError as error:
        raise unreadable(partial, PLAN, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(partial, f"{PLAN} cannot be read: {error}") from error


def partial_of(path: Path) -> Path:
    """Return the folder in which an import into `path` goes on."""
    # The current folder has no name of its own.
    whole = path if path.name else path.absolute()
    return whole.with_name(whole.name + PARTIAL)


def damaged(path: Path, what: str) -> DataError:
    """Return the error that says of a store what is wrong with it."""
    return DataError("store-damaged", f"{path}: {what}; delete it and import again")


def unreadable(path: Path, name: str, error: OSError) -> DataError:
    """Return the error that says of a store why a file of it cannot be read."""
    if is_refusal(error):
        return DataError("store-unreadable", f"{path}: {name} {cannot_be_read(error)}")
    return damaged(path, f"{name} cannot be read: {error.strerror or error}")


def read_facts(path: Path) -> Facts:
    """Read store.json of a finished store, or of an import that only lacks its name.

    Raises:
        DataError: `store-missing`, `store-unfinished`, `store-format`, `store-unreadable` or
            `store-damaged`.
    """
    if not (path / FACTS).is_file():
        if partial_of(path).is_dir():
            raise DataError(
                "store-unfinished",
                f"the import into {path} was interrupted; run the same import again to finish it",
            )
        raise DataError(
            "store-missing", f"{path} holds no store (no {FACTS}); make one by `data import`"
        )
    try:
        document = parse_json(read_limited(path / FACTS, _LARGEST_FACTS))
        found = document["format"]
    except OSError as error:
        raise unreadable(path, FACTS, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"{FACTS} cannot be read: {error}") from error
    if found not in (FORMAT, _OLD):
        raise DataError(
            "store-format",
            f"{path} has format {found!r}; this Thorax reads {_OLD} and {FORMAT}; import again",
        )
    if document_digest(document) != document.get("sha256"):
        raise damaged(path, f"{FACTS} is not what was written")
    try:
        return _facts(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"{FACTS} lacks a fact: {type(error).__name__} {error}") from error


def _facts(document: Mapping[str, Any]) -> Facts:
    labels, tables = document["labels"], document["tables"]
    count, side = document["count"], document["side"]
    if not (isinstance(count, int) and isinstance(side, int) and count > 0 and side > 0):
        raise ValueError(f"{count!r} images of {side!r} pixels a side")
    return Facts(
        count=count,
        side=side,
        label_set=LabelSet(str(labels["name"]), tuple(map(str, labels["findings"]))),
        source=str(document["source"]),
        plan=str(document["import"]),
        tables={name: str(tables[name]) for name in HEADS},
        number=int(document["format"]),
    )


def write_facts(folder: Path, facts: Facts) -> None:
    """Write store.json durably.

    Raises:
        OSError: when the disk refuses.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "count": facts.count,
        "side": facts.side,
        "labels": {"name": facts.label_set.name, "findings": list(facts.label_set.findings)},
        "source": facts.source,
        "import": facts.plan,
        "tables": dict(facts.tables),
    }
    document["sha256"] = document_digest(document)
    write_text(folder / FACTS, json.dumps(document, indent=2) + "\n")


def head_of(name: str, label_set: LabelSet, number: int = FORMAT) -> tuple[str, ...]:
    """Return the columns of a table, one of `HEADS`, in a format."""
    head = HEADS[name] if number == FORMAT else [c for c in HEADS[name] if c not in _LATER]
    return (*head, *(label_set.findings if name == "index.csv" else ()))


def read_part(path: Path, facts: Facts, name: str) -> list[list[str]]:
    """Return the rows of a table, one of `HEADS`, that is what was written.

    Columns that its format has not are empty.

    Raises:
        DataError: `store-damaged`.
    """
    try:
        content = read_limited(path / name, _LARGEST_TABLE)
    except OSError as error:
        raise unreadable(path, name, error) from error
    if hashlib.sha256(content).hexdigest() != facts.tables[name]:
        raise damaged(path, f"{name} is not what was written")
    try:
        rows = parse_rows(content, head_of(name, facts.label_set, facts.number))
    except (ValueError, csv.Error) as error:
        raise damaged(path, f"{name}: {error}") from error
    if name == "index.csv" and facts.number == _OLD:
        place = HEADS[name].index(_LATER[0])
        rows = [[*row[:place], *("" for _ in _LATER), *row[place:]] for row in rows]
    if name == "index.csv" and len(rows) != facts.count:
        raise damaged(path, f"{name} has {len(rows)} rows, {FACTS} says {facts.count}")
    return rows
