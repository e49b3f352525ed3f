"""What is said of each radiograph: a JSON object, and a line of a table."""

import csv
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from thorax import files
from thorax.artifact import Card
from thorax.errors import UsageError
from thorax.heatmap import peak, to_source
from thorax.predict import Prediction

Row = dict[str, Any]
"""`image`, `findings`, `positive`, `error` and, of a network with heat maps, `peaks`."""


def to_row(prediction: Prediction, card: Card) -> Row:
    """Return the JSON object of one radiograph: probabilities rounded to 1e-6, peaks to 0.1."""
    if prediction.error is not None:
        code, message = prediction.error
        error = {"code": code, "message": message}
        return {"image": prediction.image, "findings": {}, "positive": [], "error": error}
    row: Row = {
        "image": prediction.image,
        "findings": {name: round(value, 6) for name, value in prediction.findings.items()},
        "positive": list(prediction.positive),
        "error": None,
    }
    if prediction.heatmap is not None and card.heatmap is not None and prediction.size is not None:
        row["peaks"] = {
            name: [
                round(value, 1)
                for value in to_source(
                    peak(prediction.heatmap[card.labels.index(name)], card.heatmap),
                    *prediction.size,
                    card.input.side,
                )
            ]
            for name in prediction.positive
        }
    return row


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a disk that refuses what it refused.

    Raises:
        UsageError: `output-unwritable`.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            "output-unwritable",
            f"{str(path)!r} cannot be written: {error.strerror or error}; name another place",
        ) from error


@contextmanager
def csv_writer(path: Path | None, card: Card) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that adds a row; the file takes its name when the block succeeds.

    Args:
        path: None writes nothing.
        card: of the network that answers.

    Raises:
        UsageError: `output-unwritable`.
    """
    if path is None:
        yield lambda _: None
        return
    with writing(path):
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is there and no regular file")
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        file = temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace")
    try:
        table = csv.writer(file)
        table.writerow(["image", *card.labels, "positive", "error"])

        def write(row: Mapping[str, Any]) -> None:
            values = [f"{value:.6f}" for value in row["findings"].values()]
            with writing(path):
                table.writerow(
                    [
                        row["image"],
                        *(values or [""] * len(card.labels)),
                        "|".join(row["positive"]),
                        row["error"]["code"] if row["error"] else "",
                    ]
                )

        yield write
        with writing(path):
            file.close()
            files.sync(temporary)
            temporary.replace(path)
            files.sync(path.parent)
    finally:
        # A full disk fails the closing too; what made it fail has been told.
        with suppress(OSError):
            file.close()
        temporary.unlink(missing_ok=True)
