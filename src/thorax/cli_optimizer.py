"""The commands that make a model fit for devices: convert, analyse, compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer import Argument, Option

from thorax import console
from thorax.cli_data import Json, Out
from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.artifact import Precision
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


def _precision(text: str) -> "Precision":
    from thorax.artifact import Precision

    try:
        return Precision(text)
    except ValueError as error:
        allowed = ", ".join(Precision)
        raise UsageError("precision", f"precision is {text!r}; allowed are {allowed}") from error


@optimizer_app.command(
    epilog="Example:  thorax optimize run --out model-int8 --precision int8 --data s"
)
def optimize(
    source: Annotated[Path, Argument(help="Run or checkpoint folder, or a model file.")],
    out: Out,
    precision: Annotated[str, Option(help="fp32, fp16, bf16 or int8.")] = "fp32",
    data: Annotated[
        Path | None, Option(help="Store: calibrates int8; gives AUROC and thresholds.")
    ] = None,
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
    from thorax.ir.load import Described
    from thorax.ir.optimize import optimize as make

    made = make(
        source,
        out,
        _precision(precision),
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
        on_progress=console.say,
    )
    document = made.document()

    def show() -> None:
        from thorax.measure.tables import artifact_table

        console.show(artifact_table([document]))
        print(f"next: thorax classify {out} IMAGE...")

    console.emit(document, as_json=json, show=show)
