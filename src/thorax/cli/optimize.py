"""The commands that make a model fit for devices: convert, analyse, compare."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Extensions, Json, Out
from thorax.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from thorax.importers.options import ImportOptions
    from thorax.ir.graphs import Graph
    from thorax.labels import LabelSet
    from thorax.quantization.optimize import Wanted

optimize_app = typer.Typer()

_Word = TypeVar("_Word", bound=str)

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
    from thorax.labels import NIH14, LabelSet

    if text is None:
        return None
    if text == NIH14.name:
        return NIH14
    return LabelSet("custom", tuple(part.strip() for part in text.split(",")))


def _numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            "option-numbers", f"{option} is {text!r}; give numbers joined by commas"
        ) from error


def _one_of(text: str | None, allowed: tuple[_Word, ...], option: str) -> _Word | None:
    for word in allowed:
        if text is not None and text.lower() == word.lower():
            return word
    if text is None:
        return None
    raise UsageError("option-choice", f"{option} is {text!r}; allowed are {', '.join(allowed)}")


def _wanted(text: str) -> "Wanted":
    from thorax.artifact import Precision

    if text == "auto":
        return "auto"
    try:
        return Precision(text)
    except ValueError as error:
        allowed = ", ".join((*Precision, "auto"))
        raise UsageError("precision", f"precision is {text!r}; allowed are {allowed}") from error


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    with console.progress(what, total) as ticker:
        yield ticker.advance


def begin_reading(path: Path) -> None:
    """Start what reads a foreign model, so that it imports while this process does."""
    from thorax.importers import standby

    standby.begin(path)


@optimize_app.command(epilog="Example:  thorax optimize run --out model --precision auto --data s")
def optimize(
    source: Annotated[Path, Argument(help="Run or checkpoint folder, or a model file.")],
    out: Out,
    precision: Annotated[
        str, Option(help="fp32, fp16, bf16, int8, fp11, or auto: the fastest within the budget.")
    ] = "fp32",
    data: Annotated[
        Path | None, Option(help="Store: calibrates int8; gives AUROC and thresholds.")
    ] = None,
    max_auroc_drop: Annotated[
        float | None,
        Option(help="Budget of mean AUROC on the store's val split; auto allows 0.002."),
    ] = None,
    keep: Annotated[
        str | None, Option(help="Layers that int8 leaves in floating point, joined by commas.")
    ] = None,
    device: Annotated[
        str, Option("-d", "--device", help="Judges and times what is tried; fp11 on a card only.")
    ] = "CPU",
    labels: Annotated[str | None, Option(help="nih14, or names joined by commas.")] = None,
    mean: Annotated[str | None, Option(help="Per channel on 0-1, e.g. 0.485,...")] = None,
    std: Annotated[str | None, Option(help="Per channel on 0-1, e.g. 0.229,...")] = None,
    side: Side = None,
    layout: Annotated[
        str | None, Option(help="NCHW or NHWC, where it is not the format's usual one.")
    ] = None,
    activation: Annotated[
        str | None, Option(help="Of outputs without one: sigmoid (else assumed) or softmax.")
    ] = None,
    structure: Structure = None,
    topology: Topology = None,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """Convert a model to an artifact: OpenVINO IR with a card."""
    begin_reading(source)
    from thorax.data.store import open_store
    from thorax.devices.core import simulates
    from thorax.ir.open import Described
    from thorax.quantization.accuracy_budget import Watcher
    from thorax.quantization.optimize import optimize as make

    made = make(
        source,
        out,
        _wanted(precision),
        store=None if data is None else open_store(data),
        described=Described(
            labels=_labels(labels),
            mean=_numbers(mean, "--mean"),
            std=_numbers(std, "--std"),
            side=side,
            layout=_one_of(layout, ("NCHW", "NHWC"), "--layout"),
            activation=_one_of(activation, ("sigmoid", "softmax"), "--activation"),
            structure=structure,
            topology=topology,
            extensions=tuple(extension or ()),
        ),
        max_auroc_drop=max_auroc_drop,
        keep=() if keep is None else tuple(name.strip() for name in keep.split(",")),
        device=device,
        watcher=Watcher(console.say, _bar),
    )
    document = made.document()

    def show() -> None:
        from thorax.report.optimize import artifact_table, drop_table, tried_table

        console.show(artifact_table([document]), drop_table(document), tried_table([document]))
        on = device if document["precision"] != "fp11" or simulates(device) else "HETERO:FPGA,CPU"
        print(f"next: thorax classify {out} IMAGE..." + (f" -d {on}" if on != "CPU" else ""))

    console.emit(document, as_json=json, show=show)


def _shape(text: str | None) -> dict[str, tuple[int, ...]]:
    if text is None:
        return {}
    try:
        return {"": tuple(int(part) for part in text.strip("[]() ").split(","))}
    except ValueError as error:
        raise UsageError(
            "option-numbers", f"--input_shape is {text!r}; give lengths joined by commas"
        ) from error


def _asked(
    structure: Path | None,
    topology: str | None,
    input_shape: str | None,
    extension: list[str] | None,
) -> "ImportOptions":
    from thorax.importers.options import ImportOptions

    return ImportOptions(
        structure=structure,
        topology=topology,
        shapes=_shape(input_shape),
        extensions=tuple(extension or ()),
    )


def _gops(text: str | None, element: str) -> dict[str, float]:
    from thorax.devices.peak import ELEMENTS

    found = {}
    for part in [] if text is None else text.split(","):
        name, _, number = part.strip().rpartition("=")
        try:
            found[name or element] = float(number) * 1e9
        except ValueError:
            found[name] = 0.0
    if any(name not in ELEMENTS or not 0 < rate < float("inf") for name, rate in found.items()):
        raise UsageError(
            "option-numbers",
            f"--peak-gops is {text!r}; give a number above 0, or one for each of "
            f"{', '.join(ELEMENTS)}, e.g. f32=250,int8=900",
        )
    return found


@optimize_app.command(epilog="Example:  thorax analyze model-int8 -d CPU --plot roofline.svg")
def analyze(
    model: AnyModel,
    device: Annotated[str, Option("-d", "--device", help="Whose roofs, and whose fusion.")] = "CPU",
    peak_gops: Annotated[
        str | None, Option(help="Peak of the device, 10^9 operations/s: X, or f32=X,int8=Y.")
    ] = None,
    bandwidth_gb_s: Annotated[float | None, Option(help="Of its memory, 10^9 bytes/s.")] = None,
    measure: Annotated[
        bool, Option("--measure/--no-measure", help="Time it, and the peaks that are not given.")
    ] = True,
    all_layers: Annotated[
        bool, Option("--all", help="Show every layer, not those with the highest bound.")
    ] = False,
    plot: Annotated[Path | None, Option(help="Write the roofline to a .svg or .png.")] = None,
    side: Side = None,
    input_shape: InputShape = None,
    structure: Structure = None,
    topology: Topology = None,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """Work, memory and least time of each layer on a device, and what runs as one kernel."""
    begin_reading(model)
    from thorax.analysis.roofline import analyze as look
    from thorax.devices.extensions import add_extensions
    from thorax.devices.peak import find_peaks
    from thorax.ir.graphs import open_graph

    if plot is not None:
        from thorax.report.roofline import require_plot_format

        require_plot_format(plot)
    add_extensions(extension or ())
    asked = _asked(structure, topology, input_shape, extension)
    graph = open_graph(model, asked, side=side)
    element = "int8" if graph.precision == "int8" else graph.compute
    peaks = find_peaks(
        device,
        operations_per_s=_gops(peak_gops, element),
        bytes_per_s=None if bandwidth_gb_s is None else bandwidth_gb_s * 1e9,
        measure=measure,
        on_progress=console.say,
    )
    if measure:
        console.say(f"measuring the kernels of {graph.name}")
    document = look(graph, device, peaks, measure=measure)
    if plot is not None:
        from thorax.report.roofline import write_plot

        write_plot(document, plot)

    def show() -> None:
        from thorax.report.roofline import TOP, analyze_tables

        console.show(*analyze_tables(document, top=None if all_layers else TOP))
        if plot is not None:
            print(f"plot: {plot}")

    console.emit(document, as_json=json, show=show)


@optimize_app.command(epilog="Example:  thorax compare model-fp32 model-int8 --data store")
def compare(
    model: AnyModel,
    model2: Annotated[Path, Argument(help="Of the same network: what is compared with it.")],
    images: Annotated[Path | None, Option(help="Folder of radiographs to run.")] = None,
    data: Annotated[Path | None, Option(help="Store to take images from, evenly.")] = None,
    device: Annotated[str, Option("-d", "--device", help="Runs the first model.")] = "CPU",
    device2: Annotated[
        str | None, Option("--device2", help="Runs the second; default: the same.")
    ] = None,
    compute: Annotated[
        str | None, Option(help="f32 or bf16: arithmetic in place of what the cards say.")
    ] = None,
    count: Annotated[int, Option(min=3, help="How many images at most.")] = 8,
    all_layers: Annotated[bool, Option("--all", help="Show every layer, not the worst.")] = False,
    side: Side = None,
    input_shape: InputShape = None,
    structure: Structure = None,
    topology: Topology = None,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """Noise of each layer between two models of one network, worst first."""
    begin_reading(model)
    from thorax.analysis import difference
    from thorax.devices.extensions import add_extensions
    from thorax.ir.graphs import open_pair

    if images is not None and data is not None:
        raise UsageError("compare-images", "--images and --data are both given; leave out one")
    add_extensions(extension or ())
    asked = _asked(structure, topology, input_shape, extension)
    first, second = open_pair(model, model2, asked, side=side)
    chosen = _chosen(images, data, first, count)
    with console.progress("comparing", None) as ticker:
        document = difference.compare(
            first,
            second,
            chosen,
            devices=(device, device2 or device),
            compute=_one_of(compute, ("f32", "bf16"), "--compute"),
            count=count,
            on_progress=ticker.advance,
        )

    def show() -> None:
        from thorax.report.difference import TOP, compare_tables

        console.show(*compare_tables(document, top=None if all_layers else TOP))
        print(document["verdict"])

    console.emit(document, as_json=json, show=show)


def _chosen(
    folder: Path | None, store: Path | None, graph: "Graph", count: int
) -> "npt.NDArray[np.uint8] | None":
    """Return uint8 [N,1,S,S] of a folder or a store; None of neither."""
    import numpy as np

    from thorax.analysis.inputs import image_side

    if folder is not None:
        from thorax.benchmark.run import read_images
        from thorax.images.preprocess import InputSpec
        from thorax.inference.predictor import find_files

        files = list(find_files([folder]))
        return np.stack(read_images(files[:count], InputSpec(image_side(graph))))
    if store is not None:
        from thorax.data.store import open_store

        opened = open_store(store).images
        if not len(opened):
            raise UsageError("compare-images", f"{store} holds no images; give one that has some")
        wanted = np.linspace(0, len(opened) - 1, min(count, len(opened))).astype(int)
        return np.asarray(opened[wanted])[:, None]
    return None
