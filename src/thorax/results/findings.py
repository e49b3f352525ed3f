"""What `thorax classify` found in radiographs, and the devices that `thorax devices` lists."""

from typing import Final, Literal

from pydantic import Field, RootModel

from thorax.results.schema import Part
from thorax.results.shared import EngineResult, Modelled, ReadWarning

SHOWN: Final = 100
"""Rows of the table for people; JSON and CSV have all."""


class ReadError(Part):
    """Why a file could not be read."""

    code: str
    message: str
    """One line, for a person."""


class DicomFacts(Part):
    """What a DICOM file says of its image."""

    study_uid: str | None
    """Study Instance UID (0020,000D)."""
    series_uid: str | None
    """Series Instance UID (0020,000E)."""
    sop_uid: str | None
    """SOP Instance UID (0008,0018)."""
    accession: str | None
    """Accession Number (0008,0050)."""
    view: str | None
    """View Position (0018,5101), or of the View Code Sequence."""
    patient: dict[str, str | None] = Field(default_factory=dict)
    """Attributes of the patient; with --identities only."""


class Findings(Part):
    """Findings of one radiograph."""

    image: str
    """Its file, or its store and its name there."""
    findings: dict[str, float]
    """Calibrated probability of each finding, 0-1, in label order; empty with an error."""
    positive: tuple[str, ...] = ()
    """Findings at or above their operating point."""
    error: ReadError | None
    """Null when it was read."""
    warnings: tuple[ReadWarning, ...] = ()
    """What is doubtful about how it was read."""
    dicom: DicomFacts | None = None
    """Null where it is no DICOM file."""
    compute: str = ""
    """Floating-point arithmetic that it was computed in."""
    simulated: bool = False
    """Whether a simulated device took part."""
    peaks: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """(x, y) of the strongest evidence of each positive finding, pixels of the radiograph."""
    heatmaps: dict[str, str] = Field(default_factory=dict)
    """File of the heat map of a finding."""
    heatmaps_sha256: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of that file."""


class LayerCost(Part):
    """What one layer, or one step of a card, cost: the mean over the images."""

    layer: str
    type: str
    kernel: str
    """The implementation that ran and its precision."""
    status: str
    """"EXECUTED", "NOT_RUN" or "OPTIMIZED_OUT"."""
    real_ms: float
    """Wall-clock time of an image."""
    cpu_ms: float
    """Processor time of an image."""
    subgraph: int | None
    """Index of the HETERO subgraph; null on one device."""
    device: str | None
    """That ran it, where that is known."""
    part_of: str | None
    """The row whose time this is a part of; null for one that counts itself."""
    member: str | None
    """Of several devices that share the work, the one that it is of."""
    origin: Literal["measured", "modelled"]
    """Read from a clock, or computed from an architecture."""


class ArchiveRun(Part):
    """Who answered the shards of an archive."""

    address: str | None
    """Of the Ray cluster; null for this process."""
    nodes: int
    actors: int
    threads_per_actor: int
    shards: int
    shards_resumed: int
    """That earlier runs had answered."""
    retries: int
    """How often a shard was begun again."""
    processors: tuple[str, ...]
    """Of all machines that answered, each kind once."""
    rows: str
    """File with the findings of all images, one JSON object a line."""


class ClassifyResult(EngineResult):
    """Findings of a set of files."""

    command: Literal["classify"] = "classify"
    streams: int = 1
    """Inferences at once."""
    batch: int = 1
    """Images of one inference."""
    tuned: bool | None = None
    """Whether streams and batch are those that `thorax tune` stored; null with --out."""
    tuned_because: str = ""
    images: int
    """Files answered, those with an error too."""
    failed: int
    """Files that could not be read."""
    passed_over: tuple[str, ...] = ()
    """Files of the folders and archives that are no images by name and content."""
    passed_over_reasons: dict[str, int] = Field(default_factory=dict)
    """How many of them for each reason: their ending, or in words."""
    warnings: dict[str, int] = Field(default_factory=dict)
    """How many images were read with a warning of each code."""
    operating_points: dict[str, float] = Field(default_factory=dict)
    """Probability from which a finding is positive; empty where the network has none."""
    window_s: float
    """Wall clock from the first file to the last answer."""
    images_per_s: float | None
    """Files answered with findings / window; null where all was answered before."""
    modelled: Modelled | None = None
    """What simulated cards would do."""
    cluster: ArchiveRun | None = None
    """Of an archive; null without --out."""
    results: tuple[Findings, ...]
    """In the order of the files; with --json of all, otherwise of the first hundred."""
    counters: tuple[LayerCost, ...] = ()
    """With -pc, in the order in which layers run."""
    intended_use: str = ""


class DeviceFacts(Part):
    """A device that is here."""

    name: str
    """What `-d` takes."""
    full_name: str
    """What the hardware calls itself."""
    simulated: bool
    """Whether its time and power are modelled."""
    precisions: tuple[str, ...]
    """What it computes natively; of a simulated card, precisions of artifacts that it takes."""
    arithmetic: str | None = None
    """Of a simulated card, what its bitstream computes in; null while it is not programmed."""


class DeviceList(RootModel[tuple[DeviceFacts, ...]]):
    """The devices that are here: a list, and no object."""
