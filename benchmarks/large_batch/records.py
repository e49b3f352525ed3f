"""Records of finished runs in a work folder, one JSON file each; none of another recipe."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.large_batch.cells import Cell, Study, recipe

Record = Mapping[str, Any]


def record_path(work: Path, cell: Cell) -> Path:
    """Return where the record of a finished run is."""
    return work / cell.study / f"{cell.name}.json"


def read_record(work: Path, study: Study, cell: Cell) -> Record | None:
    """Return the record of a finished run, None where it is not made yet.

    Raises:
        SystemExit: it was made by another recipe than the cell has now.
    """
    path = record_path(work, cell)
    if not path.is_file():
        return None
    record: Record = json.loads(path.read_text("utf-8"))
    if record["recipe"] != recipe(study, cell).model_dump(mode="json"):
        raise SystemExit(f"{path} was made by another recipe; remove it, or use a new --work")
    return record
