"""Simulated FPGA cards and overlays: what the commands below `thorax fpga` answer."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, JsonValue, ValidationError

from thorax.results.schema import Part, Result, first_problem
from thorax.results.shared import Environment, Interval

Vectors = tuple[int, int, int, int]
"""Output rows, output columns, input channels and output channels computed at once."""


class Resources(Part):
    """What a device has, or what a design takes of it."""

    dsp: int
    """DSP blocks."""
    m20k: int
    """Memory blocks of 20 kbit."""
    alm: int
    """Adaptive logic modules."""


DEVICES: Final[Mapping[str, Resources]] = {
    "arria10": Resources(dsp=1518, m20k=2713, alm=427_200),
    "agilex5": Resources(dsp=376, m20k=1611, alm=222_400),
    "agilex7": Resources(dsp=4510, m20k=7110, alm=487_200),
}
"""Arria 10 GX 1150 (Intel, A10-OVERVIEW); Agilex 5 E 065B and Agilex 7 F 014 (Altera, product
tables)."""


class BoardPower(Part):
    """One published figure of a board's power."""

    power_w: float
    """Of the board alone."""
    kind: Literal["stated", "measured", "limit"]
    """The source's own estimate, a meter's reading, or what is not exceeded."""
    source: str
    """Where it is published."""


class CardStatus(Part):
    """A simulated card and what it is programmed with."""

    name: str
    """What `-d` takes, `FPGA.0`."""
    full_name: str
    """Board and bitstream."""
    board: str
    bitstream: str | None
    """Null as a card comes."""
    precision: str | None
    """Format that the bitstream computes in."""
    programmed: str | None
    """When that was, ISO 8601 in UTC."""
    power_w: float | None
    """Published load of the board; null where none is known."""
    power_source: str | None
    """Where it is published."""
    power: tuple[BoardPower, ...]
    """Every published figure of the board."""
    simulated: bool
    """Arithmetic is real, time and power are modelled."""


class BitstreamFeatures(Part):
    """A bitstream that came with OpenVINO from 2018 to 2020, and what layers it has."""

    name: str
    release: str
    """Of OpenVINO."""
    board: str
    """That it was built for."""
    precision: str
    """Format that its PE array computes in."""
    topologies: tuple[str, ...]
    """Networks it was made for."""
    activations: tuple[str, ...]
    """OpenVINO types of the activations that it has."""
    normalisation: bool
    """Whether it has local response normalisation."""
    architecture: str
    """Name of the overlay that it is taken to hold."""
    vectors: Vectors
    max_kernel: int
    """Largest side of a filter, pixels."""
    max_stride: int
    """Largest step of a filter, pixels."""
    max_dilation: int
    """Largest distance of two taps, pixels."""
    max_pool_window: int
    """Largest side of a pooling window, pixels."""
    max_channels: int
    """Channels of the deepest feature map."""
    max_height: int
    """Rows of the largest image, pixels."""
    max_width: int
    """Columns of the largest image, pixels."""
    assumed: tuple[str, ...]
    """What no source says."""


class ProgramResult(Result):
    """Cards after a bitstream was put on them."""

    command: Literal["fpga program"] = "fpga program"
    cards: tuple[CardStatus, ...]


class EraseResult(Result):
    """Cards after their bitstream was taken off."""

    command: Literal["fpga erase"] = "fpga erase"
    cards: tuple[CardStatus, ...]


class OverlayDesign(Part):
    """Those fields of an overlay's architecture that tables show."""

    name: str
    family: str
    """Devices it is for."""
    precision: str
    """Format of the numbers that are multiplied."""
    p_vector: int
    """Output rows computed at once."""
    q_vector: int
    """Output columns computed at once."""
    c_vector: int
    """Input channels in one dot product."""
    k_vector: int
    """Output channels computed at once."""
    clock_hz: float
    budget: Resources | None
    """Most that the design may take; null is the whole device."""
    source: str = ""
    """Where it is known from, and what its file is."""


def _designed(architecture: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse an architecture whose design no table could show."""
    try:
        OverlayDesign.read(architecture)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    return architecture


OverlayArchitecture = Annotated[dict[str, JsonValue], AfterValidator(_designed)]
"""Every parameter of an overlay by its name, as a file of `thorax fpga search` has it."""


class OverlayLayer(Part):
    """Modelled cycles of one layer, those of a batch divided by its images."""

    name: str
    kind: str
    """What the overlay computes it as: convolution, pool, ..."""
    type: str
    """OpenVINO's."""
    fused: tuple[str, ...]
    """Layers that run together with it."""
    input_channels: int
    output_channels: int
    input_size: tuple[int, int]
    """Rows and columns."""
    output_size: tuple[int, int]
    """Rows and columns."""
    kernel: tuple[int, int]
    """Rows and columns."""
    strides: tuple[int, int]
    """Of rows and columns."""
    groups: int
    residual: bool
    """Whether a feature map is added to its output."""
    macs: int
    """Multiply-accumulates of one image."""
    cycles: int | float
    """That it occupies the overlay for, overhead included."""
    time_s: float
    compute_cycles: int | float
    """Of the PE array."""
    drain_cycles: int | float
    """Of the kernels behind it."""
    filter_cycles: int | float
    """That its filters take to arrive."""
    feature_cycles: int | float
    """That its feature maps take to and from external memory."""
    bound: Literal["compute", "drain", "filter", "feature", "none"]
    """Which of them decides; none: it runs on another's way, or not on the card."""
    utilization: int | float
    """Useful products of all that the PE array could make meanwhile; above 1 only by Winograd."""
    ddr_bytes: int | float
    """Moved for one image."""


class OverlayResult(Result):
    """Modelled speed, memory traffic, area and power of a network on an overlay."""

    simulated: Literal[True]
    origin: Literal["modelled"]
    source: str
    """The model that all figures come from, and the bitstream that was asked for."""
    model: str
    bitstream: str | None = None
    """That was asked for in place of an architecture, which is what it is taken to hold."""
    architecture: OverlayArchitecture
    """The overlay, key by key as its .toml file has it."""
    architecture_string: str
    """The same as the bitstreams of 2018 to 2020 carried it in their names."""
    assumed: tuple[str, ...]
    """Fields of the architecture that no source gives; of a bitstream first that it holds this."""
    calibrated: tuple[str, ...]
    """Fields of the architecture that were fitted to a published figure."""
    batch: int
    """Images that a fully connected layer sees together."""
    images_per_s: float | None
    """In steady state; null where no layer runs on the card."""
    latency_s: float | None
    """From the first image of a batch in to the last one out."""
    cycles: int | float
    """Of one image."""
    utilization: int | float
    """Useful products of all that the PE array could make; above 1 only by Winograd."""
    macs: int
    """Multiply-accumulates of one image."""
    ddr_bytes: int | float
    """Moved for one image."""
    ddr_bytes_per_s: float
    area: Resources
    """That the overlay takes."""
    budget: Resources
    """That it may take."""
    fits: bool
    board: str | None
    """Whose power counts."""
    power_w: float | None
    """Of the board at that rate; null where nothing is known."""
    power_source: str | None
    images_per_s_per_w: float | None
    """Per watt of the board."""
    out_of_range: tuple[str, ...] = ()
    """Layers that count here, though the overlay cannot be programmed for them, with the reason."""
    bounds: dict[str, float]
    """Share of the cycles that each bound decides, 0-1."""
    layers: tuple[OverlayLayer, ...]
    """In order of execution."""

    @property
    def design(self) -> OverlayDesign:
        """What tables show of the architecture."""
        return OverlayDesign.read(self.architecture)

    @property
    def overlay_name(self) -> str:
        """What was asked for: the architecture, or the bitstream with what it is taken to hold."""
        name = self.design.name
        return name if self.bitstream is None else f"{self.bitstream} (taken to hold {name})"


class OverlayEstimate(OverlayResult):
    """What a network would do on an overlay that was named."""

    command: Literal["fpga analyze"] = "fpga analyze"


class OverlaySearch(OverlayResult):
    """What a network would do on the fastest overlay that fits a device."""

    command: Literal["fpga search"] = "fpga search"
    family: str
    """Devices that were searched for."""
    out: str | None
    """File that the architecture was written to."""

    @classmethod
    def of(cls, estimate: OverlayEstimate, *, family: str, out: str | None) -> Self:
        """Return the estimate of an architecture that was searched for."""
        return cls(**{**dict(estimate), "command": "fpga search", "family": family, "out": out})


class VariantOverlay(Part):
    """The fastest overlay of a precision that a device has room for, as modelled."""

    images_per_s: float
    latency_s: float
    """Of one image."""
    power_w: float | None
    """Of the board at that rate; null where none is published."""
    images_per_s_per_w: float | None
    """Per watt of the board."""
    utilization: float
    """Useful products of all that the PE array could make."""
    vectors: Vectors
    clock_hz: float
    area: Resources
    """That the overlay takes."""
    architecture: dict[str, JsonValue]
    """The overlay, key by key as its .toml file has it; what has its default is left out."""
    source: str
    """Where the figures come from, in words."""


class VariantResult(Part):
    """One way to compute a network on an overlay: what it leaves of it, and what it brings."""

    name: str
    precision: str
    """Of the numbers that are multiplied."""
    weights: Literal["block", "ternary", "binary"]
    """Of the filters: as `precision`, or three or two values."""
    exploratory: bool
    """Whether no vendor's overlay computes so."""
    mean_auroc: Interval
    mean_difference: Interval
    """Of the mean AUROC, paired."""
    difference_is: str
    """What is subtracted from what."""
    auroc_drop: Interval | None = None
    """Mean AUROC of FP32 minus that of the variant: above 0 is a loss. The difference with the
    other sign, as all tables show it."""
    auroc: dict[str, Interval]
    """Of each finding."""
    pareto: bool
    """Whether no other variant beats it in both AUROC and what it brings."""
    modelled: VariantOverlay


class Reference(Part):
    """The network that variants are compared with."""

    precision: Literal["fp32"]
    mean_auroc: Interval


class PrecisionLadder(Result):
    """A network in falling precision: AUROC computed, speed modelled."""

    command: Literal["fpga explore"] = "fpga explore"
    model: str
    precision: str
    """That its weights are stored in."""
    store: str
    """Name of the store of radiographs."""
    split: str
    images: int
    """Of the split."""
    patients: int
    samples: int
    """Bootstrap resamples of patients."""
    doubt: str | None
    """Why the data allow no verdict on a difference; null where they do."""
    side: int
    """Of the images that the network was asked about, pixels."""
    modelled_side: int
    """Of the images that speed is modelled for, pixels."""
    board: str
    board_full_name: str
    simulated: Literal[True]
    reference: Reference
    variants: tuple[VariantResult, ...]
    """From the most bits to the fewest."""
    environment: Environment
