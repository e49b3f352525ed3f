"""What `thorax validate` and `thorax score` say of how good a network is."""

from typing import Literal

from pydantic import Field

from thorax.results.schema import Part, Result
from thorax.results.shared import Engine, Environment, HeatmapKind, Interval, Modelled


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


class FlipShare(Part):
    """How much is called otherwise: positive in one and negative in the other."""

    images: float
    """Share of the images of which at least one finding flips, 0-1."""
    findings: float
    """Share of all pairs of image and finding that flip, 0-1."""
    to_positive: int
    """Pairs that only the other calls positive."""
    to_negative: int
    """Pairs that only the reference calls positive."""


class Flips(Part):
    """What another precision, or arithmetic, calls otherwise at the operating points."""

    images: int
    findings: int
    """That have an operating point."""
    reference: str
    """Name of what the other is compared with, whose operating points `same_points` applies."""
    same_points: FlipShare
    """With the operating points of the reference for both."""
    matched_points: FlipShare | None = None
    """With points of the other that call as many images of the val split positive, by finding, as
    those of the reference do; null without a val split."""
    own_points: FlipShare | None
    """With the operating points that were chosen for each; null where the other has none."""
    points_from: tuple[str, str] | None
    """Where those of the reference and of the other come from: its card, or a split."""
    by_finding: dict[str, float]
    """Share of the images that flip by finding, with the operating points of the reference."""
    largest_change: float
    """Of a probability, as the graphs give it."""


class Pointing(Part):
    """How often the peak of a heat map lay in a lesion box of its finding."""

    hits: int
    total: int
    rate: float | None
    """Hits / total, 0-1."""
    rate_interval: Interval | None = None
    """That rate with its 95 % interval: Wilson's, of as many trials as there are patients."""
    random_rate: float | None = None
    """Expected of a point drawn evenly over the image: mean share of the image in boxes."""
    fixed_rate: float | None = None
    """Of one point for all images, the one that hits most on other images of train and val; null
    where those have no box."""
    fixed_point: tuple[float, float] | None = None
    """Where that point is: x, y, in pixels of the images of the store."""


class MeanPointing(Part):
    """The pointing game on average over the findings that have boxes."""

    findings: int
    """How many."""
    rate: float
    rate_interval: Interval | None = None
    """That rate with its 95 % interval, patients resampled; its bounds are null where a finding has
    boxes on fewer than ten patients."""
    random_rate: float
    fixed_rate: float | None
    """Null where a finding has none."""


class Pointed(Part):
    """Where the heat maps of an artifact point."""

    heatmap_kind: HeatmapKind | None = None
    """What its maps are; absent without maps, and of artifacts that do not say it."""
    pointing: dict[str, Pointing] = Field(default_factory=dict)
    """By finding; empty without heat maps."""
    pointing_mean: MeanPointing | None = None
    """Absent without heat maps or boxes."""


class Comparison(Pointed, Score, Measured):
    """Another artifact on the same images, and how it differs from the one that was validated."""

    difference_is: str = "against minus model"
    mean_difference: Interval
    """Mean AUROC of this one minus that of the other, patients resampled in pairs."""
    difference: dict[str, Interval]
    """The same by finding."""
    auroc_drop: Interval | None = None
    """Mean AUROC of the reference minus that of the candidate: above 0 is a loss, as in `thorax
    optimize` and all tables."""
    auroc_drop_is: Literal["model minus against", "against minus model"] = "model minus against"
    """Which of the two is the reference, of drop and flips: the one that was validated; where that
    one runs on a simulated card and this one does not, this one."""
    auroc_drop_by_finding: dict[str, Interval] = Field(default_factory=dict)
    """The drop of each finding."""
    flips: Flips | None = None
    """Findings that the two call otherwise; absent without operating points."""

    @property
    def is_reference(self) -> bool:
        """Whether this one is what drop and flips are from, and the validated one the candidate."""
        return self.auroc_drop_is == "against minus model"


class _Validated(Measured, Result):
    command: Literal["validate"] = "validate"
    store: str
    """Name of the store that was asked."""
    split: str
    calibrated: bool | None = None
    """Whether probabilities are calibrated as the artifact says."""


class ValidationResult(Pointed, Score, _Validated):
    """How good an artifact is on a split of a store."""

    environment: Environment | None = None
    images_sha256: str | None = None
    """Of the SHA-256 of the files that the images were made of, sorted: which images these are."""
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


class ShallowModel(Part):
    """A logistic regression on simple features: fitted on train, penalty by val, judged on test."""

    name: str
    """Of the features."""
    what: str
    """They are, in words."""
    pixels: bool
    """Whether they are made of the image alone."""
    features: int
    mean_auroc: Interval
    """Over the findings that are scored."""
    auroc: dict[str, LabelScore]
    """By finding, in label order."""
    penalty: dict[str, float]
    """L2 of each finding that had the highest AUROC on the val split, on the mean log-loss."""


class ComparedNetwork(Part):
    """A network beside the shallow models, on the same test split."""

    name: str
    """Of the file that was given."""
    mean_auroc: Interval
    """Over the findings that are scored of both; without bounds where its file has none of it."""
    auroc: dict[str, LabelScore]
    mean_difference: dict[str, Interval]
    """The network's mean AUROC minus that of each shallow model, patients resampled in pairs;
    without bounds where a document says AUROC and not the predictions."""
    difference: dict[str, Interval]
    """By finding, its AUROC minus that of the features of `verdict.bar`; the bounds hold for all
    findings together."""


class PatientCounts(Part):
    """Patients of the test split by what their images show; one may be in both."""

    positive: int
    """With an image that shows the finding."""
    negative: int
    """With an image that is without it."""


class Suspicion(Part):
    """A finding that is told by what should not tell it."""

    features: str
    """Name of the shallow model."""
    finding: str
    auroc: Interval
    """The bounds hold for all that was tried together."""


class BaselineVerdict(Part):
    """What a network's AUROC on this test split is to be judged by."""

    whole: str
    """Of the shallow models of the whole image that with the highest mean AUROC."""
    bar: dict[str, str]
    """By finding, that with the highest AUROC."""
    easy: tuple[str, ...]
    """Findings of which it is so high that a network's says little beyond it."""
    suspicions: tuple[Suspicion, ...]
    tried: int
    """Pairs of a finding and of features that should not tell it."""
    too_few: dict[str, PatientCounts]
    """Findings without an interval and a verdict for want of patients."""
    fewest: int
    """Patients with and without a finding that both need."""


class BaselineResult(Result):
    """How far simple features go on the findings of a store, before any network."""

    command: Literal["data baseline"] = "data baseline"
    store: str
    """Its name."""
    splits: dict[str, int]
    """Images in each split."""
    patients: int
    """Of the test split, which is resampled by them."""
    leaks: int
    """Patients in more than one split, who flatter everything here."""
    models: tuple[ShallowModel, ...]
    best: dict[str, str]
    """By finding, the shallow model with the highest AUROC on the test split."""
    unscored: dict[str, str]
    """Findings that are not scored, with the reason."""
    verdict: BaselineVerdict
    network: ComparedNetwork | None = None
    """Present where one was named."""
