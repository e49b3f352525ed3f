"""Commands that score an artifact, or anybody's predictions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import (
    Blank,
    Device,
    Extensions,
    Json,
    Model,
    Samples,
    StorePath,
    Uncertain,
    one_by_one,
    read_options,
)

evaluate_app = typer.Typer()


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """How an artifact is validated."""

    device: Device = "CPU"
    split: Annotated[str, Option(help="train, val or test.")] = "test"
    against: Annotated[
        list[Path] | None,
        Option(help="Another artifact: adds the paired difference; may be given several times."),
    ] = None
    speed: Annotated[
        bool, Option("--speed/--no-speed", help="With --against, also time all of them in turns.")
    ] = True
    samples: Samples = 1000
    extension: Extensions = None


@evaluate_app.command(epilog="Example:  thorax validate fp32 store --against fp16 --against int8")
@one_by_one
def validate(
    model: Model, store: StorePath, options: ValidationOptions, json: Json = False
) -> None:
    """AUROC of each finding with intervals; what each of several artifacts costs and brings."""
    from thorax.artifact import load
    from thorax.data.store import open_store
    from thorax.devices.extensions import add_extensions
    from thorax.evaluate.validate import open_engines
    from thorax.evaluate.validate import validate as run
    from thorax.report import accuracy
    from thorax.report.modelled import modelled_tables

    add_extensions(options.extension or ())
    opened = open_store(store)
    others = [load(path) for path in options.against or ()]
    result = run(
        # All are compiled before the first is asked, which takes long.
        open_engines(load(model), others, options.device),
        opened,
        split=options.split,
        samples=options.samples,
        timed=bool(others) and options.speed,
        say=console.say,
        bar=console.counting,
    )
    console.answer(
        result,
        json,
        lambda: [
            accuracy.cost_table(result),
            accuracy.flips_table(result),
            *modelled_tables(accuracy.validated_artifacts([result])),
            accuracy.auroc_table([result]),
            accuracy.difference_table(result),
            accuracy.pointing_table([result]),
        ],
        *accuracy.scope_lines(result),
    )


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How predictions are scored."""

    against: Annotated[
        list[Path] | None,
        Option(help="Other predictions: adds the paired difference; may be given several times."),
    ] = None
    common: Annotated[
        bool, Option("--common", help="Score the images that all files have; say how many not.")
    ] = False
    split: Annotated[Path | None, Option(help="CSV of Image Index,split.")] = None
    subset: Annotated[str, Option(help="With --split: which part to score.")] = "test"
    uncertain: Uncertain = "ignore"
    blank: Blank = None
    samples: Samples = 1000


@evaluate_app.command(
    epilog="Example:  thorax score predictions.csv --labels Data_Entry_2017_v2020.csv.gz"
)
@one_by_one
def score(
    predictions: Annotated[Path, Argument(help="CSV: an image column and one a finding.")],
    labels: Annotated[Path, Option(help="CSV of labels, NIH's or one column a finding.")],
    options: ScoreOptions,
    json: Json = False,
) -> None:
    """The same AUROC table for anybody's predictions."""
    from thorax.evaluate.score import score as run
    from thorax.report import accuracy

    result = run(
        predictions,
        labels,
        against=options.against or (),
        split=options.split,
        subset=options.subset,
        common=options.common,
        options=read_options(uncertain=options.uncertain, blank=options.blank),
        samples=options.samples,
    )
    console.answer(
        result,
        json,
        lambda: [
            accuracy.auroc_table([result, *result.against]),
            accuracy.difference_table(result),
        ],
        *accuracy.scope_lines(result),
    )
