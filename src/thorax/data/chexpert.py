"""CheXpert as Stanford gives it out (Irvin et al., AAAI 2019): train.csv and valid.csv.

A blank is what the report does not mention: negative, as the authors count it (Table 1). -1 is
uncertain. `No Finding` makes every finding but support devices negative.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from thorax.data.columns import SPLIT, image_column
from thorax.data.files import locate, search
from thorax.data.folder import CHEXPERT_PATIENT, describe, patients_in
from thorax.data.label_columns import read_labels
from thorax.data.names import name_parts
from thorax.data.samples import AS_ITS_TABLES_SAY, Note, ReadOptions, Sample, Source
from thorax.data.table import Table, read_table
from thorax.errors import DataError
from thorax.labels import CHEXPERT

_SPLITS: Final = {"train": "train", "valid": "val", "val": "val", "test": "test"}


def read(
    images: Path, *, labels: Sequence[Path], options: ReadOptions = AS_ITS_TABLES_SAY
) -> Source:
    """Return the radiographs that CheXpert's tables label, in their order.

    Args:
        images: the folder that holds CheXpert-v1.0-small or CheXpert-v1.0, or it, or its train.
        labels: train.csv, and valid.csv and test_labels.csv if they are to be val and test; of
            train.csv alone val and test are drawn by patient.
        options: what the labels are, CheXpert's thirteen without.

    Raises:
        DataError: when a table cannot be followed or no image is left.
    """
    if options.findings is None:
        options = replace(options, findings=CHEXPERT)
    rows: list[Sample] = []
    own = False
    conventions: dict[str, None] = {}
    warnings: list[Note] = []
    for path in labels:
        table = read_table(path)
        label_table = read_labels(table, options)
        names = [cells[image_column(table)] for cells in table.rows]
        described = describe(table, names, _patients(table, names), label_table.rows)
        has_splits = table.find(SPLIT) is not None
        own = own or has_splits
        rows += [
            replace(row, split=row.split if has_splits else _split(row.image), view=_view(row))
            for row in described
        ]
        conventions |= dict.fromkeys(label_table.conventions)
        warnings += label_table.warnings
    located = locate(rows, search(images), labels[0], others=labels[1:], views=options.views)
    placed = located.rows
    if own:
        conventions["splits are those of the split column"] = None
    elif {row.split for row in placed} <= {"train", None}:
        placed = tuple(replace(row, split=None) for row in placed)
        conventions["only images of train: val and test are drawn from them by patient"] = None
    else:
        conventions["splits are CheXpert's folders: train, valid (val), test"] = None
    return Source(
        "chexpert",
        options.findings or CHEXPERT,
        placed,
        located.skipped,
        tuple(conventions),
        tuple(warnings),
    )


def _patients(table: Table, names: Sequence[str]) -> list[str]:
    patients = patients_in(names, CHEXPERT_PATIENT)
    if "" in patients:
        raise DataError(
            "patient-missing",
            f"{table.path.name}: {names[patients.index('')]!r} does not lie in a folder such as "
            "patient00001, by which CheXpert names patients; import it with `data import folder`",
        )
    return patients


def _view(row: Sample) -> str | None:
    """Return the view of a row; the tables of test leave it to the name of the file."""
    return row.view or ("LATERAL" if "_lateral" in row.image.lower() else None)


def _split(name: str) -> str | None:
    """Return the split of CheXpert's folder that a path leads through.

    That is the last of such a name: the data set itself may lie in a folder called test.
    """
    folders = [_SPLITS[part.lower()] for part in name_parts(name)[:-1] if part.lower() in _SPLITS]
    return folders[-1] if folders else None
