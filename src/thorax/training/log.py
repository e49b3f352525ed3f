"""Watching a run: JSON lines for programs and TensorBoard events for people.

One process writes them. A line or event covers everything since the one before, so that what is
logged seldom is an average and not a sample.
"""

import errno
import math
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Final

from thorax.files.documents import checked_line
from thorax.results.training import LOG, RECIPE
from thorax.training.card import unwritable
from thorax.training.verify import EVENTS

EVERY_S: Final = 5.0
"""Seconds between two words about steps: under 2 MB of lines a day."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, told after every update and, with the AUROC, after every epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        epochs: of the whole run.
        step: updates done.
        steps: of the whole run.
        images: trained on by all ranks since the last word, 0 after an epoch.
        loss: of the last batch, or the mean of the epoch, nats.
        learning_rate: of the last update.
        val_mean_auroc: over labels with both classes in the validation split, 0-1.
        data_wait: share of the time since the last word spent waiting for images, 0-1.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    images: int
    loss: float
    learning_rate: float
    val_mean_auroc: float | None = None
    data_wait: float = 0.0


class Log:
    """The log of one run, as `open_log` opens it."""

    def __init__(
        self, lines: FileIO, events: "_EventFile", *, recipe: str, after: int, every_s: float
    ) -> None:
        """Log to open files the run that has done `after` updates."""
        self._lines = lines
        self._events = events
        self._recipe = recipe
        self._after = after
        self._every_s = every_s
        self._window = Window()

    def start(self, facts: Mapping[str, Any]) -> None:
        """Say what is run, and after how many updates; the clock of the first window starts."""
        self._write("start", {**facts, "resumed_step": self._after}, durable=True)
        if not self._events.earlier:
            self._events.text("recipe", self._recipe)
        self._window = Window()

    def step(self, at: Progress) -> None:
        """Take in an update; once a window is long enough, log means over it."""
        self._window.add(at)
        if self._window.elapsed_s >= self._every_s:
            self._tell()

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Log the updates since the last word, then an epoch.

        Args:
            entry: JSON values with the key `step`, updates done; `val_mean_auroc` and `auroc` (by
                label, None where undefined) are shown under val/, other numbers under epoch/.
        """
        self._tell()
        self._write("epoch", entry, durable=True)
        scalars = {
            "val/mean_auroc" if key == "val_mean_auroc" else f"epoch/{key}": value
            for key, value in entry.items()
            if key not in {"epoch", "step"}
        } | {f"val/auroc/{label}": value for label, value in entry.get("auroc", {}).items()}
        self._events.scalars(entry["step"], scalars)
        # Validation and saving belong to no window of training.
        self._window = Window()

    def stopped(self, facts: Mapping[str, Any]) -> None:
        """Say that the run was asked to stop, and after which update it did."""
        self._tell()
        self._write("stopped", facts, durable=True)

    def end(self, facts: Mapping[str, Any]) -> None:
        """Say how the run ended."""
        self._write("end", facts, durable=True)

    def _tell(self) -> None:
        at, told = self._window.last, self._window.means()
        if at is None:
            return
        self._write("step", {"epoch": at.epoch, "step": at.step, **told})
        self._events.scalars(at.step, {f"train/{key}": value for key, value in told.items()})
        self._window = Window()

    def _write(self, event: str, facts: Mapping[str, Any], *, durable: bool = False) -> None:
        entry = {"unix_s": round(time.time(), 3), "event": event, **facts}
        _append(
            self._lines,
            checked_line({key: _finite(value) for key, value in entry.items()}).encode(),
        )
        if durable:
            os.fsync(self._lines.fileno())


class Window:
    """Updates since the last word, whose clock starts at once."""

    def __init__(self) -> None:
        """Begin without an update."""
        self._begin = self._end = time.perf_counter()
        self._images = 0
        self._waited_s = 0.0
        self._losses: list[float] = []
        self.last: Progress | None = None

    @property
    def elapsed_s(self) -> float:
        """Until the last update."""
        return self._end - self._begin

    def add(self, at: Progress) -> None:
        """Take in an update that was just done."""
        now = time.perf_counter()
        self._images += at.images
        self._waited_s += at.data_wait * (now - self._end)
        self._losses.append(at.loss)
        self._end = now
        self.last = at

    def means(self) -> dict[str, float]:
        """Return loss, learning_rate, images_per_s and data_wait; nothing without an update."""
        if self.last is None:
            return {}
        return {
            "loss": math.fsum(self._losses) / len(self._losses),
            "learning_rate": self.last.learning_rate,
            "images_per_s": self._images / self.elapsed_s,
            "data_wait": self._waited_s / self.elapsed_s,
        }


class _EventFile:
    """A TensorBoard event file: length, data and checksums of one protocol buffer after another.

    The writers of tensorboard and torch name their files by the second, the host and the process;
    TensorBoard reads in the order of names. A number keeps that the order of writing whatever the
    clock and wherever a run is resumed.
    """

    def __init__(self, folder: Path, *, after: int) -> None:
        # 0.2 s that only the process that logs needs.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # noqa: PLC0415
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import (  # noqa: PLC0415
            masked_crc32c,
        )

        self._event, self._summary, self._crc = Event, Summary, masked_crc32c
        folder.mkdir(exist_ok=True)
        self.earlier = len(list(folder.glob("events.out.tfevents.*")))
        self._file = FileIO(folder / f"events.out.tfevents.{self.earlier:06d}", "x")
        self._put(file_version="brain.Event:2")
        if self.earlier:
            # TensorBoard drops what earlier files say of this step and later ones.
            self._put(step=after + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, values: Mapping[str, object]) -> None:
        """Write those values that are finite numbers."""
        kept = [
            self._summary.Value(tag=tag, simple_value=value)
            for tag, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        self._put(step=step, summary=self._summary(value=kept))

    def text(self, tag: str, toml: str) -> None:
        """Write TOML to be shown as it is."""
        from tensorboard.compat.proto.tensor_pb2 import TensorProto  # noqa: PLC0415
        from tensorboard.compat.proto.types_pb2 import DT_STRING  # noqa: PLC0415
        from tensorboard.plugins.text.metadata import (  # noqa: PLC0415
            create_summary_metadata,
        )

        shown = f"```toml\n{toml}\n```".encode()
        value = self._summary.Value(
            tag=tag,
            metadata=create_summary_metadata(tag, ""),
            tensor=TensorProto(dtype=DT_STRING, string_val=[shown]),
        )
        self._put(summary=self._summary(value=[value]))

    def close(self) -> None:
        self._file.close()

    def _put(self, **fields: object) -> None:
        data = self._event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(data))
        sums = [struct.pack("<I", self._crc(part)) for part in (length, data)]
        _append(self._file, length + sums[0] + data + sums[1])


@contextmanager
def open_log(out: Path, *, after: int = 0, every_s: float = EVERY_S) -> Iterator[Log]:
    """Log a run into its folder: `train.jsonl`, and event files under `tensorboard/`.

    A resumed run appends; what an interrupted one logged past the point of resuming stays in the
    lines, where `resumed_step` of the next start says so, and is dropped by TensorBoard. Lines of
    starts, epochs and ends are on disk once written.

    The folder has the run's recipe, `after` updates were done already, and between two words about
    steps lie `every_s`; 0 = every step.

    Raises:
        ModelError: `checkpoint-unwritable` when a file cannot be opened or, later, written.
    """
    try:
        recipe = (out / RECIPE).read_text("utf-8")
        _drop_half_line(out / LOG)
        lines = FileIO(out / LOG, "a")
        events = _EventFile(out / EVENTS, after=after)
    except OSError as error:
        raise unwritable(out, error) from error
    with lines:
        try:
            yield Log(lines, events, recipe=recipe, after=after, every_s=every_s)
        finally:
            events.close()


def _append(file: FileIO, data: bytes) -> None:
    """Write in one go: a reader meets no half line of a live run, a kill leaves none behind."""
    try:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise unwritable(Path(os.fsdecode(file.name)), error) from error


def _drop_half_line(path: Path) -> None:
    """Cut off what a machine that lost power left of its last line."""
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _finite(value: object) -> object:
    """Return a JSON value with null for each number that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
