"""Sides that are measured beside each other, turn by turn, and what may be said of their ratios.

In each turn every side is measured once, in an order that is drawn at random from a seed; every
turn is kept. The ratio of two sides is the median of the ratios of their turns with the interval
of the sign test (`thorax.benchmark.confidence.median_of_turns`), of wall-clock time and of
processor time. Refused are sides that were not set alike, unless the comparison names the
difference; a run beside which others used more of the processors than is allowed; and a ratio above
a physical bound that nothing explains.
"""

import argparse
import math
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.harness import load, result
from thorax.benchmark.confidence import CONFIDENCE, FEWEST_TURNS, median_of_turns
from thorax.metrics import Interval


@dataclass(frozen=True, slots=True)
class Settings:
    """What a side is measured with.

    Attributes:
        threads: that compute.
        precision: of the arithmetic, "fp32", "bf16", "int8", or what else sides must share.
        side: pixels of an image; None where no image is of one size.
        input: form that images are handed over in.
        batch: images of one call.
        batch_choice: how the batch was come by: "fixed", or what it is the fastest of.
        warm_up_s: of each turn, not counted.
        process: whether the side has a process of its own or shares that of the other.
        more: versions and options that belong to this side alone.
    """

    threads: int
    precision: str
    side: int | None
    input: str
    batch: int = 1
    batch_choice: str = "fixed"
    warm_up_s: float = 0.0
    process: Literal["own", "shared"] = "own"
    more: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, other: "Settings") -> tuple[str, ...]:
        """Return the names of the settings that must be alike and are not."""
        own, theirs = asdict(self), asdict(other)
        alike = {key for key in own if key not in ("more", "batch")}
        # A batch of its own is what a side that was probed for the fastest is given.
        if "fixed" in (self.batch_choice, other.batch_choice):
            alike.add("batch")
        return tuple(key for key in own if key in alike and own[key] != theirs[key])


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement of one side.

    Attributes:
        wall_s: wall-clock time.
        cpu_s: processor time of the side, all its threads and processes; None where that is of
            more than what was timed.
        images: answered in it; None where time is what is compared.
        more: other quantities, by name; one that ends in `_s`, and not in `_per_s`, is of time.
    """

    wall_s: float
    cpu_s: float | None
    images: int | None = None
    more: Mapping[str, float] = field(default_factory=dict)

    def quantity(self, name: str, clock: Literal["wall", "cpu"]) -> float | None:
        """Return images/s, seconds, or another quantity, whose processor time is `NAME_cpu`."""
        time_s = self.wall_s if clock == "wall" else self.cpu_s
        if time_s is None or name == "seconds":
            return time_s
        if name == "images/s":
            assert self.images is not None, "images/s of a turn that counted none"
            return self.images / time_s
        return self.more[name] if clock == "wall" else self.more.get(f"{name}_cpu")


@dataclass(frozen=True, slots=True)
class Side:
    """A way that takes turns with others: what it is set to, and what makes one turn."""

    name: str
    settings: Settings
    measure: Callable[[], Turn]


@dataclass(frozen=True, slots=True)
class Bound:
    """A ratio that physics does not let a side pass, and why."""

    ratio: float
    because: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and what their ratio means.

    Attributes:
        name: for people.
        first: name of the side whose quantity is divided.
        second: by that of this side.
        meaning: one plain sentence.
        quantity: "images/s", "seconds" or a name of `Turn.more`; `less_is_better` says of which.
        label: the quantity for people; "" where its name is one.
        differs: settings that may differ, as they are what is compared or cannot be alike; those
            that do are in the result.
        bound: none where nothing physical bounds it.
        above_bound: why it is passed all the same, by more than the interval holds.
        goal: of the ratio.
    """

    name: str
    first: str
    second: str
    meaning: str
    quantity: str = "images/s"
    label: str = ""
    differs: tuple[str, ...] = ()
    bound: Bound | None = None
    above_bound: str | None = None
    goal: float | None = None


def less_is_better(quantity: str) -> bool:
    """Return whether a quantity is of time or of size."""
    timed = quantity.endswith("_s") and not quantity.endswith("per_s")
    return quantity == "seconds" or timed or quantity.endswith("bytes")


@dataclass(frozen=True, slots=True)
class Options:
    """What argv says of a run.

    Attributes:
        turns: of every side.
        seconds: of each measurement.
        seed: of the order within the turns.
        others: share of the processors that others may use.
        rehearsal: folder for a result that is not for the record, whatever the load; None writes
            into `benchmarks/results`.
    """

    turns: int
    seconds: float
    seed: int
    others: float = load.ALLOWED
    rehearsal: Path | None = None


def add_options(parser: argparse.ArgumentParser, *, turns: int, seconds: float) -> None:
    """Add what every comparison takes, with these defaults."""
    parser.add_argument("--turns", type=int, default=turns, help="of every side")
    parser.add_argument("--seconds", type=_positive, default=seconds, help="of each measurement")
    parser.add_argument(
        "--seed", type=int, help="of the order within the turns; default: drawn, and in the file"
    )
    parser.add_argument(
        "--others", type=_share, default=load.ALLOWED, help="share of the processors others may use"
    )


def _positive(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to 1")
    return number


def read_options(chosen: argparse.Namespace) -> Options:
    """Return them as they were given; fewer turns than an interval needs are refused."""
    if chosen.turns < FEWEST_TURNS:
        raise SystemExit(
            f"--turns is {chosen.turns}; an interval of {CONFIDENCE:.0%} needs {FEWEST_TURNS}"
        )
    if chosen.others > load.ALLOWED and chosen.rehearsal is None:
        raise SystemExit(
            f"--others is {chosen.others:g}; for the record {load.ALLOWED:g} is allowed, or less; "
            "--rehearsal FOLDER for a result that is not"
        )
    seed = random.SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    return Options(chosen.turns, chosen.seconds, seed, chosen.others, chosen.rehearsal)


class SideBySide:
    """One run of a claim: the turns of all its sides, the load beside them, and its result."""

    def __init__(self, claim: str, options: Options, *, read: load.Read = load.read) -> None:
        self.options = options
        self.sides: dict[str, Side] = {}
        self.turns: dict[str, list[dict[str, Any]]] = {}
        self._measured: dict[str, list[Turn]] = {}
        self._claim = claim
        self._read = read
        self._order = random.Random(options.seed)
        self._load = load.Load()
        self._load_of: dict[str, load.Load] = {}
        self._processors = len(os.sched_getaffinity(0))
        self._before = os.getloadavg()[0]

    def require_quiet(self) -> None:
        """Adopt what sides leave behind; refuse to begin beside others who use too much."""
        load.adopt()
        if self.options.rehearsal is None:
            self._require_share(load.watch(load.QUIET_S, self._processors).share, "before it")

    def take_turns(self, sides: Sequence[Side], *, turns: int | None = None) -> None:
        """Measure each side once a turn, in an order drawn anew each turn."""
        self.sides |= {side.name: side for side in sides}
        for number in range(turns or self.options.turns):
            for place, side in enumerate(self._order.sample(sides, len(sides))):
                before = self._read()
                turn = side.measure()
                beside = load.Load.between(before, self._read(), self._processors)
                self._load += beside
                self._load_of[side.name] = self._load_of.get(side.name, load.Load()) + beside
                self._measured.setdefault(side.name, []).append(turn)
                self.turns.setdefault(side.name, []).append(
                    {
                        "turn": number,
                        "place": place,
                        "images": turn.images,
                        "wall_s": turn.wall_s,
                        "cpu_s": turn.cpu_s,
                        "others_share": round(beside.share, 4),
                        **turn.more,
                    }
                )
            print(f"turn {number + 1}: others {self._load.share:.1%}", flush=True)

    def ratio(
        self, comparison: Comparison, clock: Literal["wall", "cpu"] = "wall"
    ) -> Interval | None:
        """Return the median of the ratios of the turns; None where the clock has no quantity."""
        values = [
            [turn.quantity(comparison.quantity, clock) for turn in self._measured[name]]
            for name in (comparison.first, comparison.second)
        ]
        pairs = [(a, b) for a, b in zip(*values, strict=True) if a is not None and b is not None]
        return median_of_turns([a / b for a, b in pairs]) if pairs else None

    def judge(self, comparison: Comparison) -> dict[str, Any]:
        """Return a comparison as the result file has it.

        Raises:
            SystemExit: for sides that are not set alike, and for a bound that is passed without
                an explanation by more than the interval holds.
        """
        differs = require_alike(comparison, self.sides)
        wall, cpu = self.ratio(comparison), self.ratio(comparison, "cpu")
        if wall is None:
            raise SystemExit(f"{comparison.name}: fewer than {FEWEST_TURNS} turns of both sides")
        return {
            "name": comparison.name,
            "first": comparison.first,
            "second": comparison.second,
            "quantity": comparison.quantity,
            "label": comparison.label or comparison.quantity,
            "differs": list(differs),
            "wall": _interval(wall),
            "cpu": None if cpu is None else _interval(cpu),
            "bound": None if comparison.bound is None else asdict(comparison.bound),
            "above_bound": _above(comparison, wall, rehearsed=self.options.rehearsal is not None),
            "goal": comparison.goal,
            "meaning": comparison.meaning,
        }

    def write(
        self,
        comparisons: Iterable[Comparison],
        document: Mapping[str, Any] | None = None,
        *,
        packages: Sequence[str] = result.PACKAGES,
    ) -> Path:
        """Print the ratios, write the result and return its file.

        Args:
            comparisons: of sides that took turns.
            document: keys that this claim has beside those of all.
            packages: that took part, whose versions are told.

        Raises:
            SystemExit: as `judge`, and for a load of others above what is allowed, beside all of it
                or beside one side; what was measured is then left in a temporary folder, not for
                the record.
        """
        judged, refusals = [], []
        for comparison in comparisons:
            try:
                judged.append(self.judge(comparison))
            except SystemExit as refusal:
                refusals.append(str(refusal))
        show(judged, {name: _typical(turns) for name, turns in self._measured.items()})
        if self.options.rehearsal is None:
            shares = {"it": self._load, **self._load_of}
            for what, beside in shares.items():
                try:
                    self._require_share(beside.share, f"beside {what}")
                except SystemExit as refusal:
                    refusals.append(str(refusal))
        if refusals:
            folder = Path(tempfile.mkdtemp(prefix="thorax-benchmarks-"))
            kept = self._file(judged, document, packages, folder)
            raise SystemExit("\n".join([*refusals, f"what was measured is in {kept}"]))
        path = self._file(judged, document, packages, self.options.rehearsal)
        recorded = self.options.rehearsal is None
        print(f"written: {path.name}{'' if recorded else ', not for the record'}")
        return path

    def _file(
        self,
        judged: Sequence[Mapping[str, Any]],
        document: Mapping[str, Any] | None,
        packages: Sequence[str],
        unrecorded: Path | None,
    ) -> Path:
        """Write all that was measured; into a folder for what is not for the record, if given."""
        whole = {
            "seed": self.options.seed,
            "load": {
                "others_share": round(self._load.share, 4),
                "allowed_share": self.options.others,
                "one_minute_before": round(self._before, 2),
            },
            "sides": {
                name: {"settings": asdict(side.settings), "turns": self.turns[name]}
                for name, side in self.sides.items()
            },
            "comparisons": list(judged),
            **(document or {}),
        }
        return result.write(self._claim, whole, packages=packages, rehearsal=unrecorded)

    def _require_share(self, share: float, when: str) -> None:
        load.require(self._claim, share, when, self.options.others)


def require_alike(comparison: Comparison, sides: Mapping[str, Side]) -> tuple[str, ...]:
    """Return the settings in which both sides differ.

    Raises:
        SystemExit: for one that the comparison does not name.
    """
    first, second = (sides[name].settings for name in (comparison.first, comparison.second))
    found = first.differences(second)
    unnamed = [name for name in found if name not in comparison.differs]
    if unnamed:
        raise SystemExit(
            f"{comparison.name}: {' and '.join(unnamed)} of {comparison.first} and "
            f"{comparison.second} are not alike; set them alike, or name them as what differs"
        )
    return found


def _above(comparison: Comparison, ratio: Interval, *, rehearsed: bool) -> str | None:
    """Return why a ratio lies beyond its bound, None where it does not.

    Raises:
        SystemExit: where nothing says why, in a run that is for the record.
    """
    if comparison.bound is None:
        return None
    limit = comparison.bound.ratio
    sign = -1 if less_is_better(comparison.quantity) else 1
    if sign * ratio.value <= sign * limit:
        return None
    if ratio.low <= limit <= ratio.high:
        return "noise: the interval holds the bound"
    if comparison.above_bound is not None:
        return comparison.above_bound
    if rehearsed:
        return "not explained, in a run that is not for the record"
    raise SystemExit(
        f"{comparison.name}: {ratio.value:.3f} is beyond the bound of {limit:g} "
        f"({comparison.bound.because}); find out why, and say it in the comparison"
    )


def _interval(ratio: Interval) -> dict[str, float]:
    return {"ratio": ratio.value, "low": ratio.low, "high": ratio.high}


def _typical(turns: Sequence[Turn]) -> str:
    """Return the median of a side: images/s, the first quantity of its own, or else seconds."""
    rates = [turn.images / turn.wall_s for turn in turns if turn.images]
    if rates:
        return f"{statistics.median(rates):,.1f} images/s"
    for name in turns[0].more:
        return f"{statistics.median(turn.more[name] for turn in turns):,.3f} {name}"
    return f"{statistics.median(turn.wall_s for turn in turns):.3f} s"


def show(judged: Sequence[Mapping[str, Any]], typical: Mapping[str, str]) -> None:
    """Print the medians of the sides, and each comparison with its intervals."""
    result.table("Sides", ("Side", "median"), list(typical.items()))

    def text(ratio: Mapping[str, float] | None) -> str:
        return "" if ratio is None else "{ratio:.3f} [{low:.3f}, {high:.3f}]".format(**ratio)

    rows = [
        (
            row["name"],
            row["label"],
            text(row["wall"]),
            text(row["cpu"]),
            "" if row["goal"] is None else f"{row['goal']:g}",
        )
        for row in judged
    ]
    header = ("Comparison", "of", "wall clock [95 %]", "processor time [95 %]", "goal")
    if rows:
        result.table("", header, rows)
    for row in judged:
        if row["above_bound"]:
            print(f"{row['name']}: above {row['bound']['ratio']:g}: {row['above_bound']}")


def command_side(
    name: str,
    settings: Settings,
    words: Callable[[], Sequence[str]],
    environment: Mapping[str, str] | None = None,
) -> Side:
    """Return a side that is a process from start to exit.

    Args:
        name: of the side.
        settings: of it.
        words: returns the whole command; called before each turn, uncounted.
        environment: variables that it has beside those of this process.
    """
    return Side(name, settings, lambda: Turn(*result.timed(words(), environment or {})))
