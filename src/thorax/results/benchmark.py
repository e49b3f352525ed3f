"""Speed of an artifact: a measured window, its comparison with a baseline, settings tried."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from thorax.errors import DataError
from thorax.files.documents import document_digest, parse_json, read_limited
from thorax.results.energy import PowerResult
from thorax.results.schema import Part
from thorax.results.shared import EngineResult, Environment, Modelled

Scenario = Literal["offline", "server", "single-stream", "multi-stream"]
Verdict = Literal["loss", "held", "undecided"]

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Latency(Part):
    """Quantiles of a latency, ms; single-stream of an image, multi-stream of a query."""

    p50: _Positive | None = None
    p90: _Positive | None = None
    p99: _Positive | None = None


class Slices(Part):
    """The window in consecutive parts of equally many answers; empty where it was not cut."""

    images_per_s: tuple[_Positive, ...]
    latency_p99_ms: tuple[_Positive, ...]


class Probe(Part):
    """A rate of arrivals that was tried."""

    rate: float
    """Images per second."""
    p99_ms: float
    """Latency that 99 % of the answers kept."""
    kept: bool
    """Whether that is within the limit."""


class MetricChange(Part):
    """One figure now and of the baseline."""

    name: str
    """Key of the figure in this document, such as `images_per_s`."""
    value: float
    """Now."""
    baseline: float
    """Then, or of the other artifact."""
    ratio: float
    """value / baseline; in turns the median of the ratios of the turns."""
    low: float | None
    """Of the interval of the ratio; null where the spread of either is not known."""
    high: float | None
    better: Literal["higher", "lower"]
    """Which way is an improvement."""
    judged: bool
    """Whether a sure loss of it fails the run."""
    verdict: Verdict
    """"undecided" without an interval."""

    @property
    def title(self) -> str:
        """The name of the figure in words."""
        return _TITLES[self.name]

    @property
    def change(self) -> str:
        """The change as "-7.1% [-8.0%, -6.2%]"; without brackets where no spread is known."""
        parts = [f"{value - 1:+.1%}" for value in (self.ratio, self.low, self.high) if value]
        return parts[0] if len(parts) == 1 else f"{parts[0]} [{parts[1]}, {parts[2]}]"


_TITLES: Final = {
    "images_per_s": "Images/s",
    "answers_per_s": "Answers/s, one at a time",
    "latency_p99_ms": "p99 latency, ms",
    "images_per_s_per_w": "Images/s/W, whole",
}


class BaselineComparison(Part):
    """What came of comparing with a baseline."""

    baseline: str
    """Name of what was compared with."""
    how: Literal["earlier run", "in turns"]
    max_loss: float
    """Fraction of speed that may be lost."""
    metrics: tuple[MetricChange, ...]
    """The judged one first."""
    differences: tuple[str, ...] = ()
    """What is not the same in both and may be the reason."""
    rounds: int | None = None
    """Turns of each artifact; null of an earlier run."""
    advice: str = ""
    """What would decide it; "" where it is decided."""
    confidence: float
    """Of the intervals, 0-1."""
    verdict: Verdict
    """Of the figure that is judged."""

    @property
    def judged(self) -> MetricChange:
        """The figure that is judged."""
        return next(metric for metric in self.metrics if metric.judged)


class BenchmarkResult(EngineResult):
    """Images per second, latency and energy of an artifact."""

    command: Literal["benchmark"] = "benchmark"
    scenario: Scenario
    """Of MLPerf Inference."""
    streams: int | None = None
    """Inferences side by side."""
    batch: int | None = None
    """Images of one inference."""
    valid: bool | None = None
    """LoadGen's verdict; null where none of its rules was asked for."""
    invalid_because: tuple[str, ...] = ()
    """Why the run does not count."""
    duration_s: float | None = None
    """Length of the window that was asked for."""
    samples_per_query: int | None = None
    """Images of a query, multi-stream."""
    rate: float | None = None
    """Of arrivals, images per second, server."""
    scheduled_images_per_s: float | None = None
    """How fast images arrived, server."""
    latency_limit_ms: float | None = None
    """Which 99 % of the answers are to keep; null is no limit."""
    probes: tuple[Probe, ...] = ()
    """Rates that were tried, in order, server."""
    loadgen: dict[str, bool | int | float | str | None] = Field(default_factory=dict)
    """Figures of LoadGen's own log, by its names."""
    images: int | None = None
    """Answered within the window."""
    window_s: float | None = None
    """Wall-clock length of the window."""
    images_per_s: Annotated[float, Field(ge=0)]
    """Images / window; after tuning the median of the turns."""
    latency_ms: Latency = Latency()
    slices: Slices | None = None
    """How the rate went, which tells how sure it is."""
    power_w: float | None = None
    """Mean of the window; null without a meter."""
    energy_j: float | None = None
    """Over the window; null without a meter, never 0."""
    images_per_s_per_w: _Positive | None = None
    efficiency_error: str | None = None
    """Why there is no efficiency though there are watts."""
    energy_source: str = "none"
    """The meter; "none" without one."""
    energy_error: str | None = None
    """Why a meter told no energy."""
    power: PowerResult | None = None
    """What the meter read; null without one."""
    modelled: Modelled | None = None
    """What simulated cards would do; null where there are none."""
    environment: Environment | None = None
    baseline: BaselineComparison | None = None
    """Present where `--baseline` was given."""
    sha256: str = ""
    """Of this document, canonical, with this field empty: damage to it is found."""

    @property
    def device_names(self) -> list[str]:
        """Full names of the devices that take part, each once, where they are known."""
        names = self.environment.devices if self.environment else {}
        return [names[device] for device in dict.fromkeys(self.devices) if device in names]

    @property
    def hardware(self) -> str:
        """What it was measured on, in words; "" where it is not known."""
        processors = [f"{self.environment.processors} processors"] if self.environment else []
        return ", ".join([*self.device_names, *processors])

    def digested(self) -> Self:
        """Return the result with its SHA-256, by which damage to it is found."""
        return self.model_copy(update={"sha256": document_digest(self.document())})


class TriedSetting(Part):
    """One setting that tuning tried."""

    model: str
    precision: str
    device: str
    streams: int
    """Inferences side by side."""
    batch: int
    """Images of one inference."""
    images_per_s: float | None
    """Median of the rounds; null where it could not be compiled, as of both latencies."""
    p50_ms: float | None
    p99_ms: float | None
    simulated: bool | None
    """Whether these are times of an emulation."""
    chosen: bool
    """Whether it is the best of all."""
    reason: str
    """Why it was chosen or not."""


class StoredSetting(Part):
    """The best setting, as the card of its artifact keeps it."""

    device: str
    """The device string it was compiled for."""
    hardware: str
    """Full names of the devices behind it, a CPU with its family, model and stepping."""
    processors: int
    """That the program could use."""
    streams: int
    batch: int
    latency_limit_ms: float | None
    """Which 99 % of the inferences kept; null where none was asked."""
    images_per_s: float
    p99_ms: float
    """Latency that 99 % of the inferences kept, all streams busy."""
    simulated: bool
    """Whether these are times of an emulation."""
    measured: str
    """Day, ISO 8601, UTC."""
    thorax: str
    openvino: str


class TuningResult(BenchmarkResult):
    """The best of the settings that were tried, and all of them; of `tune`.

    Where none keeps the limit of latency it is the soonest to answer.
    """

    tuned: StoredSetting | None
    """What was stored; null where no setting keeps the limit."""
    tried: tuple[TriedSetting, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document: the limit stands beside what was tuned."""
        document = super().document()
        last = ("latency_limit_ms", "tuned", "tried", "sha256")
        return document | {key: document.pop(key) for key in last if key in document}


class Baseline(BenchmarkResult):
    """A benchmark that another may be compared with: it has a speed to divide by."""

    images_per_s: _Positive


def require_undamaged(document: object, name: str) -> None:
    """Refuse what is no document of `thorax benchmark`, or not as it was printed.

    Raises:
        DataError: `baseline-not-a-benchmark`, or `baseline-damaged`.
    """
    if not isinstance(document, dict) or document.get("command") != "benchmark":
        raise DataError(
            "baseline-not-a-benchmark",
            f"{name} is no document of `thorax benchmark` (command: it says another); give what it"
            " printed with --json, or an artifact",
        )
    if "sha256" not in document:
        raise DataError(
            "baseline-damaged",
            f"{name} has no sha256, so that nobody can tell whether it is what was measured; "
            "measure it anew with this Thorax",
        )
    try:
        sound = document_digest(document) == document["sha256"]
    except RecursionError:
        # Nothing that was printed is nested so deeply.
        sound = False
    if not sound:
        raise DataError(
            "baseline-damaged",
            f"{name} was changed after it was printed (SHA-256 differs); take an unchanged copy, or"
            " measure it anew",
        )


def read_undamaged(path: Path) -> bytes:
    """Return the content of a file of `thorax benchmark --json`, if it is what was printed.

    Raises:
        DataError: `baseline-unreadable`, or as `require_undamaged`.
    """
    try:
        content = read_limited(path)
        document = parse_json(content)
    except (OSError, ValueError) as error:
        message = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            "baseline-unreadable",
            f"{path}: {message}; give what `thorax benchmark --json` printed, or an artifact",
        ) from error
    require_undamaged(document, str(path))
    return content
