"""What a person sees: tables, progress with rates, and nothing of it on a JSON run's stdout."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from thorax.durable import write_text

_EVERY_S: Final = 5.0
"""Seconds between plain progress lines where there is no terminal."""


def emit(document: Mapping[str, Any], *, as_json: bool, show: Callable[[], None]) -> None:
    """Answer a command: one JSON document on stdout, or what `show` prints for a person."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        show()


def say(text: str) -> None:
    """Print a line for a person to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write a JSON document durably under its final name."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


@contextmanager
def progress(what: str, total: int | None, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """Yield `advance(n)`: a bar with its rate on a terminal, plain lines elsewhere; on stderr."""
    if sys.stderr.isatty():
        with _bar(what, total, unit) as advance:
            yield advance
        return
    begin = last = time.perf_counter()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.perf_counter()
        if now - last >= _EVERY_S:
            last = now
            of = f" of {total:,}" if total else ""
            say(f"{what}: {done:,}{of} {unit}, {done / (now - begin):,.0f}/s")

    yield advance
    elapsed = time.perf_counter() - begin
    if done:
        say(f"{what}: {done:,} {unit} in {elapsed:.1f} s, {done / elapsed:,.0f}/s")


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
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
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=total)
        yield lambda count: bars.advance(task, count)
