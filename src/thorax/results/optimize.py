"""What `thorax optimize`, `thorax mo` and `thorax compare` made of a model."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from thorax.results.accuracy import Flips
from thorax.results.schema import Part, Result
from thorax.results.shared import HeatmapKind, Interval


class Trial(Part):
    """One candidate that was judged before the artifact was chosen."""

    precision: str
    kept: tuple[str, ...] = ()
    """Layers left in floating point on purpose."""
    auroc_drop: float
    """Mean AUROC of the fp32 graph minus that of this one, same images."""
    auroc_drop_interval: tuple[float, float] | None = None
    """95 % bounds, patients resampled; null where they are too few."""
    speed: float | None = None
    """Images per second over those of fp32, in turns on one device; null where not timed."""
    size_bytes: int
    """Of its weights."""
    chosen: bool
    reason: str
    """Why it was chosen or not, in a few words."""


class Normalisation(Part):
    """A batch normalisation, or another scale for each channel."""

    name: str
    """The framework's."""
    into: str | None
    """The layer whose kernel took its scale; null where it stays a layer of its own."""


class GraphRewrite(Part):
    """What became of the layers of a source: operations that compute, constants not counted."""

    layers_before: int
    """As the framework left them."""
    layers_after: int
    normalisations: int
    """Batch normalisations and other scales for each channel."""
    normalisations_folded: int
    """That are inside the kernel of another layer now."""
    constants_folded: int
    """Layers that computed nothing of the image and became constants."""
    dead_layers_removed: int
    """Layers that handed on what they got."""
    transposes_removed: int
    """Layers that only moved axes."""
    transposes_left: int
    layers_before_by_type: dict[str, int]
    layers_after_by_type: dict[str, int]
    normalisation_layers: tuple[Normalisation, ...]
    """In order."""
    grey_stem: bool
    """Whether a first convolution over several channels takes the one grey now."""
    heatmap: bool
    """Whether heat map and embedding are outputs."""
    cam_macs: int | None = None
    """Multiply-accumulates of one inference with heat maps of the kind `cam`; null without maps."""


class OptimizeResult(Result):
    """An artifact, and what it costs."""

    command: Literal["optimize"] = "optimize"
    artifact: str
    """Folder that was written."""
    model: str = ""
    """Name of the artifact."""
    digest: str = ""
    """SHA-256 of the graph and its weights."""
    precision: str
    """That weights are stored in."""
    size_bytes: int
    """Of the weights."""
    parameters: int
    """Weights and biases that were trained."""
    macs: int
    """Multiply-accumulates of one inference."""
    heatmap_kind: HeatmapKind | None = None
    """What its heat maps are; null without any."""
    auroc_drop: float | None = None
    """Mean AUROC of fp32 minus this one's on the val split of the store; null where not judged."""
    auroc_drop_interval: Interval | None = None
    """That drop with its 95 % interval, patients resampled."""
    auroc_drop_by_finding: dict[str, Interval] = Field(default_factory=dict)
    """The drop of each finding; empty where not judged."""
    flips: Flips | None = None
    """Findings that this one and fp32 call otherwise on the val split, on which the operating
    points of both were chosen; absent where not judged, and of fp32 itself."""
    unlabelled: tuple[str, ...] = ()
    """Findings that the store has no labels of: the others judge, and these have no operating
    point."""
    max_auroc_drop: float | None = None
    """Largest drop that was allowed; null where nothing was asked."""
    kept: tuple[str, ...] = ()
    """Layers left in floating point."""
    tried: tuple[Trial, ...] = ()
    """All that were judged; empty where nothing was to be chosen."""
    why: str | None = None
    """The choice of the precision on one line; null where it was the user's."""
    largest_difference: float
    """Of a probability from the source's, on probe images."""
    rewritten: GraphRewrite | None = None


class Port(Part):
    """An input or output of an IR."""

    name: str
    """Of its tensor."""
    shape: tuple[int, ...]
    """-1 is an open axis."""
    type: str
    """OpenVINO's name of the element type."""
    layout: str | None
    """Letters of the axes; null where nobody knows them."""
    preprocessing: str | None
    """In words, what the graph does to it first; null is nothing."""


class ConvertResult(Result):
    """An IR, and what its making showed."""

    command: Literal["mo"] = "mo"
    artifact: str
    """The .xml; the weights are beside it."""
    model: str
    """Name of the two files."""
    framework: str
    """What the model came from."""
    precision: Literal["fp32", "fp16"]
    """That weights are stored in."""
    size_bytes: int
    """Of the weights."""
    parameters: int
    """Weights and biases that were trained."""
    macs: int | None
    """Multiply-accumulates of one inference; null where shapes are open."""
    auroc_drop: None = None
    """Nobody judged it."""
    layers: int
    """Operations, constants not counted."""
    inputs: tuple[Port, ...]
    """In order."""
    outputs: tuple[Port, ...]
    """In order."""
    difference: float | None
    """Largest of an output from the source's, relative to the output's largest value; null where
    an open shape left nothing to run."""
    compared_with: str
    """Who computed the source's outputs."""

    @property
    def xml(self) -> Path:
        """The graph's file."""
        return Path(self.artifact)


class OutputNoise(Part):
    """How far an output of the second model is from that of the first, over all images."""

    name: str
    type: str
    """Of the operation."""
    sqnr_db: float | None
    """10 log10(sum a^2 / sum (a - b)^2), a the first model's values; null where none differs."""
    max_error: float
    """Largest |a - b|."""


class LayerNoise(OutputNoise):
    """The same of a layer."""

    own_sqnr_db: float | None
    """With the layer fed what the first model fed its own: the noise that this layer adds."""


class ComparedModel(Part):
    """The second model of a comparison, and where it ran."""

    model: str
    digest: str | None = None
    """Of an artifact."""
    precision: str = ""
    """That weights are stored in."""
    device: str = ""
    compute: str = ""
    """Floating-point arithmetic that it ran in."""


class CompareResult(Result):
    """The noise of each layer between two models of one network."""

    command: Literal["compare"] = "compare"
    model: str
    """The first, which is the reference."""
    digest: str | None = None
    """Of an artifact."""
    precision: str
    """That weights are stored in."""
    device: str
    compute: str = ""
    """Floating-point arithmetic that it ran in."""
    against: ComparedModel
    images: int | None = None
    """That both were fed."""
    probes: bool = False
    """Whether these were fixed patterns."""
    layers: tuple[LayerNoise, ...]
    """Noisiest first."""
    outputs: tuple[OutputNoise, ...]
    unmatched: tuple[str, ...] = ()
    """Layers of the first that the second has not, or in another shape."""
    extra: tuple[str, ...] = ()
    """Layers of the second that the first has not."""
    suggested_ignore: tuple[str, ...] = ()
    """Layers that add far more noise than the others, for `thorax optimize --keep`."""
    verdict: str
    """What came of it, in one line."""
