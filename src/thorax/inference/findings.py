"""What is said of each radiograph: a JSON object, and a line of a table."""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from thorax.artifact import Card
from thorax.devices.engine import Engine
from thorax.errors import UsageError
from thorax.files import atomic
from thorax.files.csv_cells import harmless
from thorax.inference.heatmap import peak, to_source
from thorax.inference.predictor import Prediction, Source, StoredImage

Row = dict[str, Any]
"""`image`, `findings`, `positive`, `error`, `compute`, `simulated` and, of a network with heat
maps, `peaks`."""


def to_row(prediction: Prediction, engine: Engine) -> Row:
    """Return the JSON object of one radiograph: probabilities rounded to 1e-6, peaks to 0.1.

    It says what computed it too, so that rows of several runs can be told apart.
    """
    card = engine.artifact.card
    row: Row = {
        "image": prediction.image,
        "findings": {name: round(value, 6) for name, value in prediction.findings.items()},
        "positive": list(prediction.positive),
        "error": None,
        "compute": engine.compute,
        "simulated": engine.simulated,
    }
    if prediction.error is not None:
        code, message = prediction.error
        return {**row, "error": {"code": code, "message": message}}
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


def read_of(model: Path, sources: Iterable[Source]) -> tuple[list[Path], set[Path]]:
    """Return the files that are read one by one, and the folders that are read whole."""
    singles, folders = [], {model.parent if model.suffix else model}
    for source in sources:
        if isinstance(source, StoredImage):
            folders.add(source.store)
        else:
            singles.append(source)
    return singles, folders


def require_apart(out: Path | None, inputs: Iterable[Path], folders: Iterable[Path]) -> None:
    """Refuse an output that would take the place of what it is made of.

    Args:
        out: None, or what will not be replaced as it is not there, is no matter.
        inputs: files that are read.
        folders: an artifact and stores, all files of which are read.

    Raises:
        UsageError: `output-is-input`.
    """
    if out is None or not out.is_file():
        return
    place = out.stat()
    for path in inputs:
        with suppress(OSError):
            if os.path.samestat(place, path.stat()):
                raise UsageError(
                    "output-is-input",
                    f"{str(out)!r} is an input too, which would be lost; name another place",
                )
    for folder in folders:
        if Path(os.path.realpath(out)).is_relative_to(Path(os.path.realpath(folder))):
            raise UsageError(
                "output-is-input",
                f"{str(out)!r} is a part of {str(folder)!r}, which would be damaged; name another "
                "place",
            )


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
    with ExitStack() as stack:
        with writing(path):
            file = stack.enter_context(atomic.new_text(path, errors="backslashreplace"))
            table = csv.writer(file)
            heads = ["image", *card.labels, "positive", "error", "compute", "simulated"]
            table.writerow(map(harmless, heads))

        def write(row: Mapping[str, Any]) -> None:
            with writing(path):
                table.writerow(_cells(row, len(card.labels)))

        try:
            yield write
        except BaseException:
            # A full disk fails the closing too; what made it fail has been told.
            with suppress(OSError):
                stack.pop_all().__exit__(*sys.exc_info())
            raise
        with writing(path):
            stack.close()


def _cells(row: Mapping[str, Any], labels: int) -> list[str]:
    findings = [f"{value:.6f}" for value in row["findings"].values()]
    return [
        harmless(row["image"]),
        *(findings or [""] * labels),
        harmless("|".join(row["positive"])),
        row["error"]["code"] if row["error"] else "",
        row["compute"],
        str(row["simulated"]).lower(),
    ]
