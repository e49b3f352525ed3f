"""Small tables in the form in which data sets are released, and what was made of them."""

import gzip
from pathlib import Path

import numpy as np

from thorax.data.samples import Source
from thorax.labels import CHEXPERT

OBSERVATIONS = ("No Finding", *CHEXPERT.findings)
"""Columns of CheXpert's tables, in their order."""


def touch(folder: Path, *names: str) -> Path:
    """Make empty files; reading tables opens none."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def save(path: Path, *lines: str) -> Path:
    """Write the lines of a table, packed where its name says so."""
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def observations(columns: tuple[str, ...], **values: str) -> str:
    """Return cells of CheXpert's labeller; what is not named is blank."""
    named = {name.replace("_", " "): value for name, value in values.items()}
    return ",".join(named.get(column, "") for column in columns)


def counts(source: Source) -> dict[str, tuple[int, int, int]]:
    """Return how many images of a source are positive, negative and unknown, by finding."""
    labels = np.stack([row.labels for row in source.rows])
    return {
        finding: tuple(int((labels[:, column] == value).sum()) for value in (1, 0, -1))  # type: ignore[misc]
        for column, finding in enumerate(source.label_set.findings)
    }


def reasons(source: Source) -> dict[str, str]:
    """Return why what was left out was."""
    return {skip.image: skip.code for skip in source.skipped}
