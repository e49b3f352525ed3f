"""What `thorax validate` and `thorax score` say of how good a network is."""

from typing import Literal

from pydantic import Field

from thorax.results.schema import Part, Result
from thorax.results.shared import Engine, Environment, Interval, Modelled


class LabelScore(Interval):
    """AUROC of one finding; null where a class is missing, its bounds where patients are."""

    positives: int
    """Images that show it."""
    images: int
    """Images whose label is known."""


class ReliabilityBin(Part):
    """The entries whose probability lies in [low, high); the last bin holds 1 too."""

    low: float
    high: float
    mean_probability: float
    fraction_positive: float
    count: int


class Score(Part):
    """AUROC of each finding with what it rests on; what is undefined is null."""

    images: int
    """Images scored."""
    patients: int | None = None
    """Patients among them; null where not known."""
    mean_auroc: float | None
    """Over the findings whose AUROC is defined."""
    mean_auroc_interval: Interval | None = None
    """The same with its bounds."""
    auroc: dict[str, LabelScore]
    """By finding, in label order."""
    ece: float | None = None
    """Expected calibration error over all findings, 10 bins, 0-1."""
    brier: float | None = None
    """Mean squared error of all probabilities, 0-1."""
    reliability: tuple[ReliabilityBin, ...] = ()
    """Promised against true frequency over all findings."""
    roc: dict[str, tuple[tuple[float, float], ...]] = Field(default_factory=dict)
    """Of each finding with an AUROC at most 200 points: false and true positive rate."""
    ignored: tuple[str, ...] = ()
    """Columns of the predictions that name no labelled finding."""
    unused: int = 0
    """Predictions outside the split that was asked for."""

    @property
    def mean(self) -> Interval:
        """Mean AUROC, with its bounds where the document has them."""
        return self.mean_auroc_interval or Interval(value=self.mean_auroc)


class MedianLatency(Part):
    """Time to an answer, milliseconds."""

    p50: float


class Measured(Engine):
    """An artifact, how large it is and, where that was measured, how fast."""

    size_bytes: int | None = None
    """Of graph and weights."""
    modelled: Modelled | None = None
    """What simulated cards would do."""
    latency_ms: MedianLatency | None = None
    """Of one image alone."""
    images_per_s: float | None = None
    """All streams busy."""


class Comparison(Score, Measured):
    """Another artifact on the same images, and how it differs from the one that was validated."""

    difference_is: str = "against minus model"
    mean_difference: Interval
    """Mean AUROC of this one minus that of the other, patients resampled in pairs."""
    difference: dict[str, Interval]
    """The same by finding."""
    auroc_drop: Interval | None = None
    """Mean AUROC of the one that was validated minus that of this one: above 0 is a loss. The
    difference with the other sign, as `thorax optimize` has it and all tables show it."""
    auroc_drop_by_finding: dict[str, Interval] = Field(default_factory=dict)
    """The same by finding."""


class Pointing(Part):
    """How often the peak of a heat map lay in a lesion box of its finding."""

    hits: int
    total: int
    rate: float | None
    """Hits / total, 0-1."""


class _Validated(Measured, Result):
    command: Literal["validate"] = "validate"
    store: str
    """Name of the store that was asked."""
    split: str
    calibrated: bool | None = None
    """Whether probabilities are calibrated as the artifact says."""


class ValidationResult(Score, _Validated):
    """How good an artifact is on a split of a store."""

    pointing: dict[str, Pointing] = Field(default_factory=dict)
    """By finding; empty without heat maps."""
    environment: Environment | None = None
    unlabelled: tuple[str, ...] = ()
    """Findings that the model answers and the store has no labels of; not scored."""
    unanswered: tuple[str, ...] = ()
    """Findings that the store labels and the model does not answer; not scored."""
    uncompared: tuple[str, ...] = ()
    """Findings of both that another model lacks; not scored."""
    against: tuple[Comparison, ...] = ()
    """Others on the same images; absent where none was named."""


class _Predictions(Result):
    command: Literal["score"] = "score"
    predictions: str
    """Name of the file that was scored."""


class _Left(Part):
    unlabelled_images: int = 0
    """Predictions of images that the labels lack, left out by --common."""
    unshared_images: int = 0
    """Predictions of images that another file lacks, left out by --common."""


class ScoreComparison(_Left, Score):
    """Other predictions of the same images, and how they differ from those that were scored."""

    predictions: str
    """Name of their file."""
    difference_is: str = "against minus predictions"
    mean_difference: Interval
    """Mean AUROC of these minus that of the others, patients resampled in pairs."""
    difference: dict[str, Interval]
    """The same by finding."""
    auroc_drop: Interval | None = None
    """Mean AUROC of those that were scored minus that of these: above 0 is a loss. The difference
    with the other sign, as all tables show it."""
    auroc_drop_by_finding: dict[str, Interval] = Field(default_factory=dict)
    """The same by finding."""


class ScoreResult(_Left, Score, _Predictions):
    """How good anybody's predictions are."""

    unpredicted: tuple[str, ...] = ()
    """Labelled findings that no column of the predictions, or of those compared, is of."""
    unpredicted_images: int = 0
    """Labelled images, of the split where one was asked for, that no score is of."""
    against: tuple[ScoreComparison, ...] = ()
    """Others of the same images; absent where none was named."""
