"""Architecture of an overlay: the configuration of an FPGA AI Suite IP, and the old strings.

The words are those of the vendor's architecture files (Altera, FPGA AI Suite Handbook, document
863373, and IP Reference Manual, document 768974; before that the names of the bitstreams of
OpenVINO 2018 to 2020.4). A value that no source gives is listed as assumed, one that was fitted
to a published figure as calibrated.
"""

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from thorax.config import Settings, check, file_origin, load
from thorax.errors import UsageError
from thorax.fpga.formats import EXPONENT_BITS, FORMATS

Family = Literal["arria10", "agilex5", "agilex7"]
Weights = Literal["block", "ternary", "binary"]
OverlayPrecision = Literal["fp8", "fp9", "fp11", "fp12agx", "fp13agx", "fp16"]

_LONGEST: Final = 12
"""Digits of a number in an old string."""
_WEIGHT_BITS: Final = {"ternary": 2, "binary": 1}
_FOLDER: Final = resources.files("thorax.fpga") / "architectures"

Count = Annotated[int, Field(gt=0, le=2**31)]
Lanes = Annotated[int, Field(gt=0, le=4096)]
Kernel = Annotated[int, Field(ge=0, le=4096)]


class Auxiliary(Settings):
    """The kernels behind the crossbar, each with the channels it takes in a clock cycle.

    A width of 0 says that the kernel is absent.
    """

    activation_k: Kernel = 4
    """Channels a cycle of the activation kernel (`actk`)."""
    pool_k: Kernel = 4
    """Channels a cycle of the pooling kernel (`poolk`)."""
    norm_k: Kernel = 0
    """Channels a cycle of local response normalisation (`normk`)."""
    depthwise_k: Kernel = 0
    """Channels a cycle of the kernel for depthwise convolution; 0 sends it through the PEs."""
    output_writer_k: Lanes = 4
    """Channels a cycle of the output writer (`owk`), which every map passes."""
    softmax: bool = False
    """Whether softmax runs on the card."""


class Memory(Settings):
    """The external memory of a card."""

    filter_banks: Lanes = 1
    """DDR banks that filters are read from; 1 where banks are `shared`, as it then says nothing."""
    feature_banks: Lanes = 1
    """DDR banks that feature maps are read from and written to."""
    shared: bool = False
    """Whether filters and feature maps come from the same banks (then `feature_banks` of them)."""
    bank_bytes_per_s: Annotated[float, Field(ge=1, le=1e15)] = 2133e6 * 8
    """Peak of one bank, bytes/s: DDR4-2133 of 64 bits."""
    efficiency: Annotated[float, Field(ge=1e-6, le=1)] = 0.8
    """Share of the peak that long bursts attain, 0-1."""

    @model_validator(mode="after")
    def _banks_count(self) -> "Memory":
        if self.shared and self.filter_banks != 1:
            raise ValueError(
                f"filter_banks is {self.filter_banks}; 1 where banks are shared: feature_banks "
                "then counts for both"
            )
        return self


class Ranges(Settings):
    """Largest layers that a configuration can be programmed for."""

    max_kernel: Count = 14
    """Largest side of a filter, pixels; 28 at most (handbook 863373)."""
    max_stride: Count = 15
    """Largest step of a filter, pixels."""
    max_dilation: Count = 16
    """Largest distance of two taps, pixels."""
    max_pool_window: Count = 3
    """Largest side of a pooling window, pixels, but for the mean of a whole map."""
    max_height: Count = 224
    """Rows of the largest image, pixels."""
    max_width: Count = 224
    """Columns of the largest image, pixels."""
    max_channels: Count = 8192
    """Channels of the deepest feature map."""
    deconvolution_strides: tuple[int, ...] = ()
    """Steps of transposed convolution; none says that there is none."""
    activations: tuple[str, ...] = ("Relu",)
    """OpenVINO types of the activations that the kernel has."""


class Budget(Settings):
    """Resources of a device, or those of them that a design may take."""

    dsp: Count
    """DSP blocks."""
    m20k: Count
    """Memory blocks of 20 kbit."""
    alm: Count
    """Adaptive logic modules."""


class Architecture(Settings):
    """One configuration of the overlay."""

    name: str
    """What it is called."""
    family: Family = "arria10"
    """Devices it is for."""
    precision: OverlayPrecision = "fp11"
    """Format of the numbers that are multiplied; blocks share one exponent."""
    weights: Weights = "block"
    """Format of the filters: as `precision`, or three or two values (exploratory)."""
    p_vector: Lanes = 1
    """Output rows computed at once (P_vec)."""
    q_vector: Lanes = 1
    """Output columns computed at once (Q_vec)."""
    c_vector: Lanes
    """Input channels in one dot product, and numbers in one block (C_vec)."""
    k_vector: Lanes
    """Output channels computed at once (K_vec)."""
    clock_hz: Annotated[float, Field(ge=1, le=1e12)] = 250e6
    """Of the overlay, Hz."""
    winograd: bool = False
    """Whether Q_vec columns of input make Q_vec - 2 outputs of 3 taps at once (F(4,3) of 6)."""
    interleave: Lanes = 1
    """Output pixels that a PE takes in turn, so that its accumulator has time to add
    (`num_interleaved_features`); the last group of a map is filled up."""
    accumulator: Literal["fixed", "fp32"] = "fixed"
    """What adds up dot products: a fixed-point adder in logic (2018 to 2020), or the
    floating-point adder of a DSP block for each lane of K_vec (FPGA AI Suite)."""
    stream_buffer_depth: Count
    """Words of the buffer that holds feature maps on the chip, each of C_vec x P_vec x Q_vec
    numbers (`sb`)."""
    filter_cache_depth: Count = 1024
    """Words of C_vec numbers that each lane of K_vec keeps of its filters (`fcd`). A convolution
    with longer filters takes several passes, whose sums are added up."""
    group_slicing: bool = True
    """What happens to maps that the stream buffer is too small for: several layers run slice by
    slice (the graph compiler of arXiv 1807.06434), or they go through external memory."""
    overhead_cycles: Annotated[int, Field(ge=0, le=10**9)] = 500
    """Cycles a layer takes before and after its work: configuration, filling and draining."""
    interfaces: Annotated[int, Field(ge=1, le=1)] = 1
    """Input streams (`i`): 1, as every published overlay has it; no more are modelled."""
    auxiliary: Auxiliary = Auxiliary()
    """Kernels behind the crossbar."""
    memory: Memory = Memory()
    """External memory."""
    ranges: Ranges = Ranges()
    """Layers it can be programmed for."""
    budget: Budget | None = None
    """Most that the design may take of its device; left out: the whole device."""
    dsp_limit: Count | None = None
    """DSP blocks of the PE array at most, the rest of its products in logic."""
    flags: tuple[str, ...] = ()
    """Words of an old string that have no number, as `prelu` and `mbfr`."""
    source: str = ""
    """Where the configuration is known from."""
    assumed: tuple[str, ...] = ()
    """Fields that no source gives, as `auxiliary.pool_k`."""
    calibrated: tuple[str, ...] = ()
    """Fields that were fitted to a published figure."""

    @field_validator("assumed", "calibrated")
    @classmethod
    def _fields_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        fields = _field_names(cls)
        for name in names:
            if name not in fields:
                near = difflib.get_close_matches(name, fields, n=1, cutoff=0.0)[0]
                raise ValueError(f"names of fields, and {name!r} is none; the nearest is {near!r}")
        return names

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Fields that no source gives: those named so, and constants of the model left as it is."""
        plain = {
            "overhead_cycles": self.overhead_cycles,
            "memory.efficiency": self.memory.efficiency,
        }
        default = {
            "overhead_cycles": type(self).model_fields["overhead_cycles"].default,
            "memory.efficiency": Memory.model_fields["efficiency"].default,
        }
        named = {*self.assumed, *self.calibrated}
        constants = (
            field
            for field, value in plain.items()
            if value == default[field] and not {field, field.partition(".")[0]} & named
        )
        return *self.assumed, *constants

    @property
    def vectors(self) -> tuple[int, int, int, int]:
        """P_vec, Q_vec, C_vec and K_vec."""
        return self.p_vector, self.q_vector, self.c_vector, self.k_vector

    @property
    def macs_per_cycle(self) -> int:
        """Products that the PE array makes in a clock cycle."""
        return self.p_vector * self.q_vector * self.c_vector * self.k_vector

    @property
    def value_bits(self) -> int:
        """Bits of one multiplied number beside its block's exponent."""
        return FORMATS[self.precision].bits

    @property
    def weight_bits(self) -> int:
        """Bits of one weight beside its block's exponent."""
        return _WEIGHT_BITS.get(self.weights, self.value_bits)

    @property
    def weight_bytes(self) -> float:
        """Bytes of one weight in external memory, its share of the exponent included.

        A block of C_vec numbers of n bits and its exponent begin at a byte (derived).
        """
        return -(-(self.c_vector * self.weight_bits + EXPONENT_BITS) // 8) / self.c_vector


def _field_names(model: type[Settings]) -> tuple[str, ...]:
    """Return the fields of a model and of its tables, the latter as `table.field`."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Settings):
                names += (f"{name}.{inner}" for inner in _field_names(part))
    return tuple(names)


def list_architectures() -> tuple[str, ...]:
    """Return the names of the architectures that come with Thorax."""
    names = (file.name for file in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def find_architecture(text: str) -> Architecture:
    """Return the architecture that a TOML file, a name or an old string stands for.

    Raises:
        UsageError: `fpga-architecture` when it is none of them; of a file as `config.load`, which
            names the nearest key there is, or what is allowed.

    Example:
        >>> find_architecture("4x2x16x64-fp11").macs_per_cycle
        8192
    """
    if text.endswith(".toml"):
        return _read(Path(text))
    if text.lower() in list_architectures():
        with resources.as_file(_FOLDER / f"{text.lower()}.toml") as path:
            return load(path, Architecture)
    if _VECTORS.fullmatch(_words(text)[0]):
        return parse_architecture(text)
    raise UsageError(
        "fpga-architecture",
        f"{text[:300]!r} is no architecture; give a .toml file, one of "
        f"{', '.join(list_architectures())}, or a string such as "
        "4x2x16x64_fp11_sb18823_actk8_poolk8_owk8_image224x224",
    )


def _read(path: Path) -> Architecture:
    """Return the architecture of a file; its name and source say if it is not as it was written.

    Nothing then says which of its fields are still those of its source, so all that can be
    assumed are.
    """
    architecture, origin = load(path, Architecture), file_origin(path, "thorax fpga search")
    if not origin.mark:
        return architecture
    said = f"; said by the file: {architecture.source}" if architecture.source else ""
    return architecture.model_copy(
        update={
            "name": architecture.name + origin.mark,
            "source": f"{origin.name}: {origin.meaning}{said}",
            "assumed": tuple(name for name in Architecture.model_fields if name not in _NAMING),
            "calibrated": (),
        }
    )


_NAMING: Final = ("name", "family", "flags", "source", "assumed", "calibrated")
"""Fields of an architecture that say nothing of what it does."""


_VECTORS: Final = re.compile(r"\d+x\d+(x\d+x\d+)?")
_PART: Final = re.compile(r"([a-z]+?)(\d+(?:x\d+)*)?")
_FLAGS: Final = {
    "prelu": "PRelu", "leakyrelu": "PRelu", "clamp": "Clamp", "elu": "Elu", "sigmoid": "Sigmoid",
}  # fmt: skip


def _words(text: str) -> list[str]:
    """Return the parts of a string without what a file name adds to it."""
    return text.lower().removesuffix(".aocx").removeprefix("dla_").split("_")


def parse_architecture(text: str) -> Architecture:
    """Return the architecture of a string as the bitstreams of 2018 to 2020 carry it.

    `P_vec x Q_vec x C_vec x K_vec` (the oldest: `C_vec x K_vec`), precision, `sb` depth of the
    stream buffer, `fcd` depth of the filter cache, `i` interfaces, `actk`, `poolk`, `normk`,
    `owk` channels a cycle of activation, pooling, normalisation and output writer, `image` height
    x width (x channels) of the largest map, and words such as `prelu`, which are kept. What the
    string does not say has its default and is listed as assumed.

    Raises:
        UsageError: `fpga-architecture` naming the part that is not understood.
    """
    words = _words(text)
    if len(words) < 2 or not _VECTORS.fullmatch(words[0]):
        raise _misread(text, words[0], "sizes such as 4x2x16x64 or 8x48, then a precision")
    if words[1] not in FORMATS:
        raise _misread(text, words[1], f"one of {', '.join(FORMATS)}")
    numbers = _numbers(text, words[2:])
    if "sb" not in numbers:
        raise _misread(text, "", "the depth of the stream buffer, as sb9408")
    vectors = [_number(size, text) for size in words[0].split("x")]
    assumed = ["clock_hz"]
    if len(vectors) == 2:
        vectors = [1, 1, *vectors]
        assumed += ["p_vector", "q_vector"]
    sizes = {field: numbers[letters][0] for letters, field in _SIZES.items() if letters in numbers}
    assumed += [field for field in _SIZES.values() if field not in sizes]
    widths = {field: numbers[word][0] for word, field in _WIDTHS.items() if word in numbers}
    assumed += [f"auxiliary.{field}" for field in _WIDTHS.values() if field not in widths | _ABSENT]
    image = dict(zip(_IMAGE, numbers.get("image", ()), strict=False))
    assumed += [f"ranges.{field}" for field in _IMAGE if field not in image]
    activations = ["Relu", *(_FLAGS[flag] for flag in numbers if flag in _FLAGS)]
    flags = [word for word in words[2:] if _PART.fullmatch(word) and word.isalpha()]
    idle = [flag for flag in flags if flag not in _FLAGS]
    return check(
        {
            "name": "_".join(words),
            "precision": words[1],
            **dict(zip(_VECTOR_FIELDS, vectors, strict=True)),
            **sizes,
            "auxiliary": widths,
            "ranges": {**image, "activations": activations},
            "flags": flags,
            "assumed": [*assumed, "memory", "interleave", "accumulator", "group_slicing"],
            "source": f"its string, of which {', '.join(idle)} changes nothing here"
            if idle
            else "its string",
        },
        Architecture,
        text,
    )


_VECTOR_FIELDS: Final = ("p_vector", "q_vector", "c_vector", "k_vector")
_SIZES: Final = {"sb": "stream_buffer_depth", "fcd": "filter_cache_depth", "i": "interfaces"}
_WIDTHS: Final = {
    "actk": "activation_k", "poolk": "pool_k", "normk": "norm_k", "owk": "output_writer_k",
}  # fmt: skip
_ABSENT: Final = {"norm_k": 0}
"""A kernel that is not there where a string does not name it."""
_IMAGE: Final = ("max_height", "max_width", "max_channels")
_NUMBERED: Final = (*_SIZES, *_WIDTHS, "image")


def _numbers(text: str, words: list[str]) -> dict[str, list[int]]:
    """Return the numbers of each part by its letters; words without numbers have none."""
    parts_by_letters: dict[str, list[int]] = {}
    for word in words:
        parts = _PART.fullmatch(word)
        if parts is None:
            raise _misread(text, word, "letters and a number, as sb9408")
        letters, numbers = parts[1], parts[2]
        values = [_number(number, text) for number in (numbers or "").split("x") if number]
        count = (2, 3) if letters == "image" else (1,)
        if numbers and (letters not in _NUMBERED or len(values) not in count):
            raise _misread(text, word, f"{', '.join(_NUMBERED)} with their numbers")
        if letters in _NUMBERED and not numbers:
            raise _misread(text, word, f"{letters} with its number")
        if letters in parts_by_letters:
            raise _misread(text, word, f"{letters} once")
        parts_by_letters[letters] = values
    return parts_by_letters


def _number(digits: str, text: str) -> int:
    """Return a number of a string; one that is too long for any field is no number."""
    if len(digits) > _LONGEST or not digits.isascii():
        raise _misread(text, digits, f"a number of at most {_LONGEST} digits")
    return int(digits)


def _misread(text: str, part: str, allowed: str) -> UsageError:
    where = f"at {part[:100]!r}" if part else "at its end"
    return UsageError(
        "fpga-architecture",
        f"{text[:300]!r} is not understood {where}; what can stand there is {allowed}",
    )


def format_architecture(architecture: Architecture) -> str:
    """Return the string of an architecture; `parse_architecture` reads the same sizes from it.

    What is assumed beside sizes that are known is left out; where even these are, all of it stands.
    """
    aux, ranges = architecture.auxiliary, architecture.ranges
    hidden = set() if "c_vector" in architecture.assumed else set(architecture.assumed)
    sizes = [architecture.c_vector, architecture.k_vector]
    if not {"p_vector", "q_vector"} & hidden:
        sizes = [architecture.p_vector, architecture.q_vector, *sizes]
    image = [ranges.max_height, ranges.max_width]
    if "ranges.max_channels" not in hidden:
        image.append(ranges.max_channels)
    parts = [
        ("", "x".join(map(str, sizes)), ""),
        ("", architecture.precision, ""),
        ("sb", architecture.stream_buffer_depth, "stream_buffer_depth"),
        ("fcd", architecture.filter_cache_depth, "filter_cache_depth"),
        ("i", architecture.interfaces, "interfaces"),
        ("actk", aux.activation_k, "auxiliary.activation_k"),
        ("poolk", aux.pool_k, "auxiliary.pool_k"),
        ("normk", aux.norm_k or "", ""),
        ("owk", aux.output_writer_k, "auxiliary.output_writer_k"),
        ("image", "x".join(map(str, image)), "ranges.max_height"),
        *(("", flag, "") for flag in architecture.flags),
    ]
    return "_".join(
        f"{letters}{value}"
        for letters, value, field in parts
        if value != "" and field not in hidden
    )
