"""The commands that make a model fit for devices: convert, analyse, compare."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_args

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import (
    Extensions,
    Json,
    Out,
    WordT,
    device_option,
    one_by_one,
    one_of,
    spelled_device,
)
from thorax.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from thorax.importers.options import ImportOptions
    from thorax.ir.classifier import Description
    from thorax.ir.open import OpenedModel
    from thorax.labels import LabelSet
    from thorax.quantization.optimize import OptimizeOptions, Wanted
    from thorax.report.table import Table

optimize_app = typer.Typer()

NumberT = TypeVar("NumberT", int, float)

AnyModel = Annotated[Path, Argument(help="Artifact folder, OpenVINO IR, or any model file.")]
Side = Annotated[int | None, Option(help="Input side where a file leaves it open.")]
InputShape = Annotated[
    str | None, Option("--input_shape", help="Every axis of the input, e.g. 1,3,224,224.")
]
Structure = Annotated[Path | None, Option(help="File of the layers, if not beside the weights.")]
Topology = Annotated[
    str | None, Option(help="Of a PyTorch state dict: a name, or module:function.")
]


def _labels(text: str | None) -> "LabelSet | None":
    from thorax.cli.label_file import read_labels
    from thorax.labels import named_set

    if text is None:
        return None
    if "," not in text and Path(text).is_file():
        return read_labels(Path(text))
    return named_set(text)


def _numbers(
    text: str | None, option: str, number: Callable[[str], NumberT], what: str = "numbers"
) -> tuple[NumberT, ...] | None:
    try:
        return None if text is None else tuple(map(number, text.split(",")))
    except ValueError as error:
        raise UsageError(
            "option-numbers", f"{option} is {text!r}; give {what} joined by commas"
        ) from error


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _one_of(option: str, word: str | None, allowed: tuple[WordT, ...]) -> WordT | None:
    return None if word is None else one_of(option, word, allowed)


def _wanted(text: str) -> "Wanted":
    from thorax.artifact import Precision

    if text == "auto":
        return "auto"
    try:
        return Precision(text)
    except ValueError as error:
        allowed = ", ".join((*Precision, "auto"))
        raise UsageError("precision", f"precision is {text!r}; allowed are {allowed}") from error


def begin_reading(path: Path) -> None:
    """Start what reads a foreign model, so that it imports while this process does."""
    from thorax.importers import standby

    standby.begin(path)


@dataclass(frozen=True)
class Target:
    """What an artifact is to be."""

    precision: Annotated[
        str, Option(help="fp32, fp16, bf16, int8, fp11, or auto: the fastest within the budget.")
    ] = "fp32"
    data: Annotated[
        Path | None, Option(help="Store: calibrates int8; gives AUROC and thresholds.")
    ] = None
    max_auroc_drop: Annotated[
        float | None,
        Option(help="Budget of mean AUROC on the store's val split; auto allows 0.002."),
    ] = None
    keep: Annotated[
        str | None, Option(help="Layers that int8 leaves in floating point, joined by commas.")
    ] = None
    device: Annotated[
        str,
        device_option(help="Judges and times what is tried; fp11 on a card only."),
    ] = "CPU"
    heatmap: Annotated[
        str,
        Option(
            help="cam; fine: twice the resolution, more work; relative: above the mean map of "
            "the train split."
        ),
    ] = "cam"

    def options(self) -> "OptimizeOptions":
        """Return what a precision may cost, and the rest, as values."""
        from thorax.quantization.optimize import OptimizeOptions
        from thorax.results.shared import HeatmapKind

        return OptimizeOptions(
            max_auroc_drop=self.max_auroc_drop,
            keep=() if self.keep is None else _names(self.keep),
            device=self.device,
            heatmap=one_of("--heatmap", self.heatmap, get_args(HeatmapKind)),
        )


@dataclass(frozen=True)
class Origin:
    """What a foreign file does not say of itself."""

    labels: Annotated[
        str | None,
        Option(help="nih14, chexpert, mimic, padchest, xrv18, names joined by commas, or a file."),
    ] = None
    mean: Annotated[str | None, Option(help="Per channel on 0-1, e.g. 0.485,...")] = None
    std: Annotated[str | None, Option(help="Per channel on 0-1, e.g. 0.229,...")] = None
    side: Side = None
    layout: Annotated[
        str | None, Option(help="NCHW or NHWC, where it is not the format's usual one.")
    ] = None
    activation: Annotated[
        str | None,
        Option(help="Of logits: sigmoid (else assumed) or softmax; none of probabilities."),
    ] = None
    output: Annotated[
        str | None, Option(help="Which of several outputs has the scores; several by commas.")
    ] = None
    structure: Structure = None
    topology: Topology = None
    extension: Extensions = None

    def description(self) -> "Description":
        """Return it as values."""
        from thorax.ir.classifier import Description

        return Description(
            labels=_labels(self.labels),
            mean=_numbers(self.mean, "--mean", float),
            std=_numbers(self.std, "--std", float),
            side=self.side,
            layout=_one_of("--layout", self.layout, ("NCHW", "NHWC")),
            activation=_one_of("--activation", self.activation, ("sigmoid", "softmax", "none")),
            outputs=() if self.output is None else _names(self.output),
            structure=self.structure,
            topology=self.topology,
            extensions=tuple(self.extension or ()),
        )


@optimize_app.command(epilog="Example:  thorax optimize run --out model --precision auto --data s")
@one_by_one
def optimize(
    source: Annotated[Path, Argument(help="Run or checkpoint folder, or a model file.")],
    out: Out,
    target: Target,
    origin: Origin,
    json: Json = False,
) -> None:
    """Convert a model to an artifact: OpenVINO IR with a card."""
    begin_reading(source)
    from thorax.data.store import open_store
    from thorax.devices.core import simulates
    from thorax.quantization.accuracy_budget import OnProgress
    from thorax.quantization.optimize import optimize as convert
    from thorax.report.optimize import optimize_tables

    result = convert(
        source,
        out,
        _wanted(target.precision),
        store=None if target.data is None else open_store(target.data),
        description=origin.description(),
        options=target.options(),
        on_progress=OnProgress(console.say, console.counting),
    ).result
    device = target.device
    if result.precision == "fp11" and not simulates(device):
        device = "HETERO:FPGA,CPU"
    console.answer(
        result,
        json,
        lambda: optimize_tables(result),
        f"next: thorax classify {out} IMAGE..." + (f" -d {device}" * (device != "CPU")),
    )


@dataclass(frozen=True)
class FileShape:
    """What a file leaves open that is only looked at."""

    side: Side = None
    input_shape: InputShape = None
    structure: Structure = None
    topology: Topology = None
    extension: Extensions = None

    def import_options(self) -> "ImportOptions":
        """Return it as values; the process's core learns the custom layers."""
        from thorax.devices.extensions import add_extensions
        from thorax.importers.options import ImportOptions

        add_extensions(self.extension or ())
        shape = self.input_shape and self.input_shape.strip("[]() ")
        lengths = _numbers(shape, "--input_shape", int, "lengths")
        return ImportOptions(
            structure=self.structure,
            topology=self.topology,
            shapes={} if lengths is None else {"": lengths},
            side=self.side,
            extensions=tuple(self.extension or ()),
        )


def _gops(text: str | None, element: str) -> dict[str, float]:
    from thorax.devices.peak import ELEMENTS

    peaks = {}
    for part in [] if text is None else text.split(","):
        name, _, number = part.strip().rpartition("=")
        try:
            peaks[name or element] = float(number) * 1e9
        except ValueError:
            peaks[name] = 0.0
    if any(name not in ELEMENTS or not 0 < rate < float("inf") for name, rate in peaks.items()):
        raise UsageError(
            "option-numbers",
            f"--peak-gops is {text!r}; give a number above 0, or one for each of "
            f"{', '.join(ELEMENTS)}, e.g. f32=250,int8=900",
        )
    return peaks


@dataclass(frozen=True)
class Roofs:
    """The device that is analysed, and its roofs."""

    device: Annotated[
        str,
        device_option(help="Whose roofs, and whose fusion."),
    ] = "CPU"
    peak_gops: Annotated[
        str | None, Option(help="Roof of the device, 10^9 operations/s: X, or f32=X,int8=Y.")
    ] = None
    bandwidth_gb_s: Annotated[float | None, Option(help="Of its memory, 10^9 bytes/s.")] = None
    measure: Annotated[
        bool, Option("--measure/--no-measure", help="Time it, and the roofs that are not given.")
    ] = True


@optimize_app.command(epilog="Example:  thorax analyze model-int8 -d CPU --plot roofline.svg")
@one_by_one
def analyze(
    model: AnyModel,
    roofs: Roofs,
    *,
    all_layers: Annotated[
        bool, Option("--all", help="Show every layer, not those with the highest bound.")
    ] = False,
    plot: Annotated[Path | None, Option(help="Write the roofline to a .svg or .png.")] = None,
    shape: FileShape,
    json: Json = False,
) -> None:
    """Work and memory of each layer, and its least time at the fastest rate OpenVINO reached."""
    begin_reading(model)
    from thorax.analysis.roofline import analyze as look
    from thorax.devices.peak import find_peaks
    from thorax.ir.open import open_model

    if plot is not None:
        from thorax.report.roofline import require_plot_format

        require_plot_format(plot)
    opened = open_model(model, shape.import_options())
    element = "int8" if opened.precision == "int8" else opened.compute
    bandwidth = roofs.bandwidth_gb_s
    peaks = find_peaks(
        roofs.device,
        operations_per_s=_gops(roofs.peak_gops, element),
        bytes_per_s=None if bandwidth is None else bandwidth * 1e9,
        measure=roofs.measure,
        on_progress=console.say,
    )
    if roofs.measure:
        console.say(f"measuring the kernels of {opened.name}")
    result = look(opened, roofs.device, peaks, measure=roofs.measure)
    if plot is not None:
        from thorax.report.roofline import write_plot

        write_plot(result, plot)

    def tables() -> "list[Table]":
        from thorax.report.roofline import TOP, analyze_tables

        return analyze_tables(result, top=None if all_layers else TOP)

    console.answer(result, json, tables, *([f"plot: {plot}"] if plot else []))


@dataclass(frozen=True)
class Trials:
    """What two models are run on, and where."""

    images: Annotated[Path | None, Option(help="Folder of radiographs to run.")] = None
    data: Annotated[Path | None, Option(help="Store to take images from, evenly.")] = None
    device: Annotated[str, device_option(help="Runs the first model.")] = "CPU"
    device2: Annotated[
        str | None,
        Option(callback=spelled_device, help="Runs the second; default: the same."),
    ] = None
    compute: Annotated[
        str | None, Option(help="f32 or bf16: arithmetic in place of what the cards say.")
    ] = None
    count: Annotated[int, Option(min=3, help="How many images at most.")] = 8


@optimize_app.command(epilog="Example:  thorax compare model-fp32 model-int8 --data store")
@one_by_one
def compare(
    model: AnyModel,
    model2: Annotated[Path, Argument(help="Of the same network: what is compared with it.")],
    trials: Trials,
    *,
    all_layers: Annotated[bool, Option("--all", help="Show every layer, not the worst.")] = False,
    shape: FileShape,
    json: Json = False,
) -> None:
    """Noise of each layer between two models of one network, worst first."""
    begin_reading(model)
    from thorax.analysis.difference import CompareOptions
    from thorax.analysis.difference import compare as run
    from thorax.ir.open import open_pair
    from thorax.report.optimize import TOP, compare_tables

    if trials.images is not None and trials.data is not None:
        raise UsageError("compare-images", "--images and --data are both given; leave out one")
    first, second = open_pair(model, model2, shape.import_options())
    images = _images(trials, first)
    options = CompareOptions(
        devices=(trials.device, trials.device2 or trials.device),
        compute=_one_of("--compute", trials.compute, ("f32", "bf16")),
        count=trials.count,
    )
    with console.progress("comparing", None) as ticker:
        result = run(first, second, images, options, on_progress=ticker.advance)
    top = None if all_layers else TOP
    console.answer(result, json, lambda: compare_tables(result, top=top), result.verdict)


def _images(trials: Trials, opened: "OpenedModel") -> "npt.NDArray[np.uint8] | None":
    """Return uint8 [N,1,S,S] of a folder or a store; None of neither."""
    import numpy as np

    from thorax.analysis.inputs import image_side

    if trials.images is not None:
        from thorax.benchmark.measurement import read_images
        from thorax.images.preprocess import InputSpec
        from thorax.inference.sources import find_files

        files = list(find_files([trials.images]))[: trials.count]
        return np.stack(read_images(files, InputSpec(image_side(opened))))
    if trials.data is not None:
        from thorax.data.store import open_store

        images = open_store(trials.data).images
        if not len(images):
            raise UsageError(
                "compare-images", f"{trials.data} holds no images; give one that has some"
            )
        count = min(trials.count, len(images))
        spread = np.linspace(0, len(images) - 1, count).astype(int)
        return np.asarray(images[spread])[:, None]
    return None
