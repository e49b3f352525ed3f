"""store.json: what a store is, under a digest of its own, and what is said of a damaged one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thorax.documents import document_digest, parse_json, read_limited
from thorax.errors import DataError
from thorax.files import write_text
from thorax.labels import LabelSet

FORMAT: Final = 2
FACTS: Final = "store.json"
PIXELS: Final = "images.u8"
TABLES: Final = ("index.csv", "boxes.csv", "skipped.csv")
_LARGEST_FACTS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Facts:
    """What store.json says.

    Attributes:
        count: images, N.
        side: of each, pixels.
        label_set: what the labels are.
        source: what kind of source the images came from.
        plan: digest of what the import was asked to do.
        tables: SHA-256 of each table.
    """

    count: int
    side: int
    label_set: LabelSet
    source: str
    plan: str
    tables: Mapping[str, str]


def partial_of(path: Path) -> Path:
    """Return the folder in which an import into `path` goes on."""
    return path.with_name(path.name + ".partial")


def damaged(path: Path, what: str) -> DataError:
    """Return the error that says of a store what is wrong with it."""
    return DataError("store-damaged", f"{path}: {what}; delete it and import again")


def read_facts(path: Path) -> Facts:
    """Read store.json of a finished store, or of an import that only lacks its name.

    Raises:
        DataError: `store-missing`, `store-unfinished`, `store-format` or `store-damaged`.
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
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"{FACTS} cannot be read: {error}") from error
    if found != FORMAT:
        raise DataError(
            "store-format",
            f"{path} has format {found!r}; this Thorax reads {FORMAT}; import again",
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
        tables={name: str(tables[name]) for name in TABLES},
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
