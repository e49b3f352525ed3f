"""What a person sees: tables, progress with rates, and nothing of it on a JSON run's stdout."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thorax.durable import write_text

if TYPE_CHECKING:
    from thorax.data.store import Store
    from thorax.measure.tables import Table
    from thorax.training.recipe import Recipe
    from thorax.training.watch import Progress

_EVERY_S: Final = 5.0
"""Seconds between plain progress lines where there is no terminal."""


def emit(
    document: Mapping[str, Any] | list[Any], *, as_json: bool, show: Callable[[], None]
) -> None:
    """Answer a command: one JSON document on stdout, or what `show` prints for a person."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        show()


def say(text: str) -> None:
    """Print a line for a person to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def show(*tables: "Table | None") -> None:
    """Print tables for a person to stdout; those that are absent or empty are left out."""
    from rich.console import Console  # noqa: PLC0415 - only a person needs it

    from thorax.measure.tables import rich_table  # noqa: PLC0415

    screen = Console()
    for table in tables:
        if table is not None and table.rows:
            screen.print(rich_table(table))


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write a JSON document durably under its final name."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


@dataclass(frozen=True, slots=True)
class Ticker:
    """A running display of progress.

    Attributes:
        advance: tells it how many more are done; may be called from several threads.
        say: prints a line without disturbing it.
    """

    advance: Callable[[int], None]
    say: Callable[[str], None]


@contextmanager
def progress(what: str, total: int | None, unit: str = "images") -> Iterator[Ticker]:
    """Show a bar with its rate on a terminal, plain lines elsewhere; on stderr."""
    if sys.stderr.isatty():
        with _bar(what, total, unit) as ticker:
            yield ticker
        return
    begin = last = time.perf_counter()
    done = 0
    lock = threading.Lock()

    def advance(count: int) -> None:
        nonlocal done, last
        with lock:
            done += count
            now = time.perf_counter()
            if now - last >= _EVERY_S:
                last = now
                of = f" of {total:,}" if total else ""
                say(f"{what}: {done:,}{of} {unit}, {done / (now - begin):,.0f}/s")

    yield Ticker(advance, say)
    elapsed = time.perf_counter() - begin
    if done:
        say(f"{what}: {done:,} {unit} in {elapsed:.1f} s, {done / elapsed:,.0f}/s")


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[..., None]]:
    """Show progress of what tells how many are done in all, and not how many came new."""
    with progress(what, total) as ticker:
        seen = 0

        def tell(done: int, _: int = 0) -> None:
            nonlocal seen
            ticker.advance(done - seen)
            seen = done

        yield tell


@contextmanager
def training(recipe: "Recipe", store: "Store") -> Iterator[Callable[["Progress"], None]]:
    """Show progress of a training run in images, and a line for every epoch."""
    batch, epochs = recipe.training.batch, recipe.training.epochs
    with progress("training", len(store.select("train")) // batch * batch * epochs) as ticker:

        def tell(at: "Progress") -> None:
            ticker.advance(at.images)
            if at.val_mean_auroc is not None:
                ticker.say(
                    f"epoch {at.epoch} of {at.epochs}: loss {at.loss:.4f}, "
                    f"mean val AUROC {at.val_mean_auroc:.4f}, rate {at.learning_rate:.2g}"
                )

        yield tell


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Ticker]:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    screen = Console(stderr=True)
    with Progress(*columns, console=screen) as bars:
        task = bars.add_task(what, total=total)
        yield Ticker(
            lambda count: bars.advance(task, count),
            lambda text: screen.print(text, markup=False, highlight=False),
        )
