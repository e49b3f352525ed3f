"""The commands that make a model fit for devices: convert, analyse, compare."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer import Argument, Option

from thorax import console
from thorax.cli_data import Json, Out
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.ir.optimize import Wanted
    from thorax.labels import LabelSet

optimizer_app = typer.Typer()

_Word = TypeVar("_Word", bound=str)


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


@optimizer_app.command(epilog="Example:  thorax optimize run --out model --precision auto --data s")
def optimize(
    source: Annotated[Path, Argument(help="Run or checkpoint folder, or a model file.")],
    out: Out,
    precision: Annotated[
        str, Option(help="fp32, fp16, bf16, int8, or auto: the fastest that keeps the budget.")
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
        str, Option("-d", "--device", help="Judges and times what is tried; see `thorax devices`.")
    ] = "CPU",
    labels: Annotated[str | None, Option(help="nih14, or names joined by commas.")] = None,
    mean: Annotated[str | None, Option(help="Per channel on 0-1, e.g. 0.485,...")] = None,
    std: Annotated[str | None, Option(help="Per channel on 0-1, e.g. 0.229,...")] = None,
    side: Annotated[int | None, Option(help="Input side where the file leaves it open.")] = None,
    layout: Annotated[
        str | None, Option(help="NCHW or NHWC, where it is not the format's usual one.")
    ] = None,
    activation: Annotated[
        str | None, Option(help="Of outputs without one: sigmoid (else assumed) or softmax.")
    ] = None,
    structure: Annotated[
        Path | None, Option(help="File of the layers, if not beside the weights.")
    ] = None,
    topology: Annotated[
        str | None, Option(help="Of a PyTorch state dict: a name, or module:function.")
    ] = None,
    json: Json = False,
) -> None:
    """Convert a model to an artifact: OpenVINO IR with a card."""
    from thorax.data.store import open_store
    from thorax.ir.guard import Watcher
    from thorax.ir.load import Described
    from thorax.ir.optimize import optimize as make

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
        ),
        max_auroc_drop=max_auroc_drop,
        keep=() if keep is None else tuple(name.strip() for name in keep.split(",")),
        device=device,
        watcher=Watcher(console.say, _bar),
    )
    document = made.document()

    def show() -> None:
        from thorax.measure.tables import artifact_table, drop_table, tried_table

        console.show(artifact_table([document]), drop_table(document), tried_table([document]))
        print(f"next: thorax classify {out} IMAGE...")

    console.emit(document, as_json=json, show=show)


@optimizer_app.command(
    epilog="Example:  thorax mo --input_model net.onnx --data_type FP16 --output_dir ir",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def mo(
    context: typer.Context,
    input_model: Annotated[
        Path | None, Option("--input_model", "-m", "-w", help="Model file, or its weights.")
    ] = None,
    model_name: Annotated[
        str | None, Option("--model_name", "-n", help="Of the files; default: as the input.")
    ] = None,
    output_dir: Annotated[
        Path, Option("--output_dir", "-o", help="Where NAME.xml and NAME.bin go.")
    ] = Path(),
    input_shape: Annotated[
        str | None,
        Option("--input_shape", help="[1,3,224,224],... in the framework's own layout."),
    ] = None,
    batch: Annotated[int | None, Option("--batch", "-b", help="First axis of every input.")] = None,
    data_type: Annotated[
        str, Option("--data_type", help="FP16, half, FP32; float is as the model has it.")
    ] = "float",
    mean_values: Annotated[
        str | None, Option("--mean_values", help="(123.68,116.78,103.94) or data(...),...")
    ] = None,
    scale_values: Annotated[
        str | None, Option("--scale_values", help="Divide by, after the mean; as --mean_values.")
    ] = None,
    scale: Annotated[
        float | None, Option("--scale", "-s", help="Divide every input by this.")
    ] = None,
    reverse_input_channels: Annotated[
        bool, Option("--reverse_input_channels", help="Swap RGB and BGR, before the mean.")
    ] = False,
    inputs: Annotated[
        str | None,
        Option("--input", help="Begin here: data[1,3,64,64]{u8},0:conv,flag->False."),
    ] = None,
    outputs: Annotated[
        str | None, Option("--output", help="End here: layers or tensors, prob,conv5:0.")
    ] = None,
    layout: Annotated[
        str | None, Option("--layout", help="nchw, nhwc->nchw or data(nhwc->nchw),...")
    ] = None,
    disable_nhwc_to_nchw: Annotated[
        bool, Option("--disable_nhwc_to_nchw", help="Leave TensorFlow's channels last.")
    ] = False,
    input_proto: Annotated[
        Path | None, Option("--input_proto", "-d", help="Caffe's deploy.prototxt.")
    ] = None,
    input_symbol: Annotated[
        Path | None, Option("--input_symbol", help="MXNet's -symbol.json.")
    ] = None,
    saved_model_dir: Annotated[
        Path | None, Option("--saved_model_dir", help="TensorFlow SavedModel folder.")
    ] = None,
    freeze_placeholder_with_value: Annotated[
        str | None, Option("--freeze_placeholder_with_value", help="As name->value of --input.")
    ] = None,
    framework: Annotated[
        str | None, Option("--framework", help="tf, caffe, mxnet, onnx, keras: to be checked.")
    ] = None,
    topology: Annotated[
        str | None, Option("--topology", help="Of a PyTorch state dict: a name, module:function.")
    ] = None,
    json: Json = False,
) -> None:
    """The classic Model Optimizer: any model to IR, by the flags of 2018."""
    from thorax.ir.mo import convert
    from thorax.ir.mo_flags import refuse_unknown
    from thorax.ir.mo_plan import Flags

    known = [word for one in context.command.params for word in one.opts]
    refuse_unknown(context.args, known)
    made = convert(
        Flags(
            input_model=input_model,
            saved_model_dir=saved_model_dir,
            input_proto=input_proto,
            input_symbol=input_symbol,
            framework=framework,
            topology=topology,
            model_name=model_name,
            output_dir=output_dir,
            data_type=data_type,
            input=inputs,
            output=outputs,
            input_shape=input_shape,
            batch=batch,
            mean_values=mean_values,
            scale_values=scale_values,
            scale=scale,
            reverse_input_channels=reverse_input_channels,
            layout=layout,
            disable_nhwc_to_nchw=disable_nhwc_to_nchw,
            freeze_placeholder_with_value=freeze_placeholder_with_value,
        ),
        on_progress=console.say,
    )
    document = made.document()

    def show() -> None:
        from thorax.measure.tables import artifact_table, ports_table

        console.show(ports_table(document), artifact_table([document]))
        print(f"made: {made.xml} and {made.xml.with_suffix('.bin').name}")
        print(f"next: thorax optimize {made.xml} {made.hint()} --out {made.xml.stem}.artifact")

    console.emit(document, as_json=json, show=show)
