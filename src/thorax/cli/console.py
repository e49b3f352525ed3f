"""What a person sees: tables, progress with rates, and nothing of it on a JSON run's stdout.

Names of files, labels and models come from strangers. Whatever is shown goes through here, where
all that a terminal would obey, and what turns the direction of text, is written as an escape.
"""

import io
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from thorax.errors import printable
from thorax.files.atomic import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from thorax.report.table import Table
    from thorax.results.schema import Result
    from thorax.training.log import Progress

_WIDTH: Final = 100
"""Columns that tables are made for."""

_EVERY_S: Final = 5.0
"""Seconds between plain progress lines where there is no terminal."""

_REDRAWN_S: Final = 0.5
"""Seconds that a figure on a terminal stays, to be read."""


def emit(
    answer: "Result | Mapping[str, Any] | list[Any]", *, as_json: bool, show: Callable[[], None]
) -> None:
    """Answer a command: one JSON document on stdout, or what `show` prints for a person."""
    if as_json:
        document = answer if isinstance(answer, Mapping | list) else answer.document()
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        with redirect_stdout(Harmless(sys.stdout)):
            show()


class Harmless(io.TextIOBase):
    """A stream that passes on text as lines, and escapes all else that is no letter.

    Attributes:
        beneath: what it writes to.
    """

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        """Write text, its line ends as they are."""
        self.beneath.write("\n".join(map(printable, text.split("\n"))))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self.beneath.flush()

    def isatty(self) -> bool:
        """Return whether a terminal is beneath."""
        return self.beneath.isatty()

    def fileno(self) -> int:
        """Return the descriptor beneath, which rich leaves to nobody when its reader is gone."""
        return self.beneath.fileno()


class _Messages(io.FileIO):
    """Standard error: what cannot be written, as nobody reads it, fails no work."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - as io.FileIO has it
        """Write what can be written."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def open_standard_streams() -> None:
    """Put /dev/null where a shell closed standard input, output or error (`>&-`).

    Otherwise the next file that is opened would become that descriptor, and take what is printed.
    Messages that cannot be written, to a full disk or a reader that is gone, are dropped.
    """
    opened = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is given away first.
            assert os.open(os.devnull, os.O_RDWR) == number
            opened.append(number)
    if 0 in opened or sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process
    if 1 in opened or sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    messages = io.BufferedWriter(_Messages(2, "wb", closefd=False))
    sys.stderr = io.TextIOWrapper(messages, encoding, "backslashreplace", line_buffering=True)


def say(text: str) -> None:
    """Print a line for a person to stderr."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def say_traceback() -> None:
    """Print the exception that is being handled, and where it was raised, to stderr."""
    for line in traceback.format_exc().splitlines():
        say(line)


def show(*tables: "Table | None", file: TextIO | None = None) -> None:
    """Print tables for a person, to stdout or a file; those absent or empty are left out."""
    from rich.console import Console

    from thorax.report.table import rich_table

    file = file or sys.stdout
    # Cells are escaped one by one: what colours them is not to be.
    beneath = file.beneath if isinstance(file, Harmless) else file
    # A pipe has no width of its own; the tables are made for this one.
    fixed = None if beneath.isatty() or "COLUMNS" in os.environ else _WIDTH
    screen = Console(width=fixed, file=beneath)
    for table in tables:
        if table is not None and table.rows:
            harmless = replace(
                table,
                title=printable(table.title),
                columns=tuple(map(printable, table.columns)),
                rows=tuple(tuple(map(printable, row)) for row in table.rows),
                note=printable(table.note),
            )
            screen.print(rich_table(harmless))


def answer(
    result: "Result", as_json: bool, tables: "Callable[[], Iterable[Table | None]]", *lines: str
) -> None:
    """Answer a command: one JSON document on stdout, or tables and lines for a person."""

    def shown() -> None:
        show(*tables())
        for line in lines:
            print(line)

    emit(result, as_json=as_json, show=shown)


def save(result: "Result", path: Path) -> None:
    """Write the JSON document of a result durably under its final name."""
    write_text(path, result.to_json())


@dataclass(frozen=True, slots=True)
class Ticker:
    """A running display of progress.

    Several threads may tell it how many more are done; it prints a line without being disturbed.
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
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show progress of what only tells how many more are done."""
    with progress(what, total) as ticker:
        yield ticker.advance


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
def training(*, shown: bool = True) -> Iterator[Callable[["Progress"], None]]:
    """Show how fast a run trains, how it stands and how long it still takes, and every epoch.

    A bar on a terminal, plain lines elsewhere; on stderr. All ranks but the first are not shown.
    """
    from thorax.report.text import clock_text, rate_text
    from thorax.training.log import Window

    if not shown:
        yield lambda at: None
        return
    terminal = sys.stderr.isatty()
    every_s = _REDRAWN_S if terminal else _EVERY_S
    begin = time.perf_counter()
    images = 0
    first: tuple[int, float] | None = None
    window = Window()
    with _training_bar() if terminal else nullcontext((_plain, say)) as (draw, line):

        def tell(at: "Progress") -> None:
            nonlocal images, first, window
            if at.val_mean_auroc is not None:
                line(
                    f"epoch {at.epoch} of {at.epochs}: loss {at.loss:.4f}, "
                    f"mean val AUROC {at.val_mean_auroc:.4f}, rate {at.learning_rate:.2g}"
                )
                window = Window()
                return
            now = time.perf_counter()
            # Starting up belongs to the first update and says nothing of the others.
            step, since = first or (at.step - 1, begin)
            first = first or (at.step, now)
            images += at.images
            window.add(at)
            if window.elapsed_s < every_s and at.step < at.steps:
                return
            per_step_s = (now - since) / (at.step - step)
            facts = window.means()
            draw(
                at,
                f"{rate_text(facts['images_per_s'])} images/s, data wait {facts['data_wait']:.0%}, "
                f"rate {facts['learning_rate']:.3g}, loss {facts['loss']:.3g}, "
                f"{clock_text(per_step_s * (at.steps - at.step))} left",
            )
            window = Window()

        yield tell
        if images and not terminal:
            say(f"training: {images:,} images in {clock_text(time.perf_counter() - begin)}")


def _plain(at: "Progress", facts: str) -> None:
    step = f"step {at.step:,} of {at.steps:,}"
    say(f"training: epoch {at.epoch} of {at.epochs}, {step}, {facts}")


@contextmanager
def _training_bar() -> Iterator[tuple[Callable[["Progress", str], None], Callable[[str], None]]]:
    """Yield what shows where a run is, with the facts in words, and what prints a line."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    screen = Console(stderr=True)
    # The words come first where a terminal is too narrow for both.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None))
    with Bars(*columns, console=screen, expand=True) as bars:
        task = bars.add_task("training", total=None)

        def draw(at: "Progress", facts: str) -> None:
            words = f"epoch {at.epoch}/{at.epochs}, step {at.step}/{at.steps}, {printable(facts)}"
            bars.update(task, total=at.steps, completed=at.step, description=words)

        yield draw, lambda text: _print(screen, text)


def _print(screen: "Console", text: str) -> None:
    screen.print(printable(text), markup=False, highlight=False)


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Ticker]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen) as bars:
        task = bars.add_task(printable(what), total=total)
        yield Ticker(lambda count: bars.advance(task, count), lambda text: _print(screen, text))
