"""The commands that say how good an artifact, or anybody's predictions, are."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Device, Extensions, Json, Model, StorePath

evaluate_app = typer.Typer()


@evaluate_app.command(epilog="Example:  thorax validate fp32 store --against fp16 --against int8")
def validate(
    model: Model,
    store: StorePath,
    device: Device = "CPU",
    split: Annotated[str, Option(help="train, val or test.")] = "test",
    against: Annotated[
        list[Path] | None,
        Option(help="Another artifact: adds the paired difference; may be given several times."),
    ] = None,
    speed: Annotated[
        bool, Option("--speed/--no-speed", help="With --against, also time all of them in turns.")
    ] = True,
    samples: Annotated[
        int, Option(min=100, max=1_000_000, help="Bootstrap resamples of patients.")
    ] = 1000,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """AUROC of each finding with intervals; what each of several artifacts costs and brings."""
    from thorax.artifact import load
    from thorax.benchmark.run import side_by_side
    from thorax.data.store import open_store
    from thorax.devices.extensions import add_extensions
    from thorax.evaluate import validate as accuracy

    add_extensions(extension or ())
    opened = open_store(store)
    count = len(opened.select(split))
    # All are compiled before the first is asked, which takes long.
    others = [load(path) for path in against or ()]
    engines = accuracy.open_engines(load(model), others, device)
    runs = []
    for engine in engines:
        with console.progress(f"validating {engine.artifact.card.name}", count) as ticker:
            runs.append(
                accuracy.validate(
                    engine, opened, split=split, samples=samples, on_progress=ticker.advance
                )
            )
    speeds = []
    if against and speed:
        console.say(f"timing {len(runs)} artifacts in turns on {device}")
        speeds = side_by_side([one.engine for one in runs])
    document = accuracy.document(runs[0], runs[1:], speeds)

    def show() -> None:
        from thorax.report.accuracy import auroc_table, cost_table, difference_table, pointing_table
        from thorax.report.modelled import alone_and_against, modelled_table

        console.show(
            cost_table(document),
            modelled_table(alone_and_against([document])),
            auroc_table([document]),
            difference_table(document),
            pointing_table([document]),
        )

    console.emit(document, as_json=json, show=show)


@evaluate_app.command(
    epilog="Example:  thorax score predictions.csv --labels Data_Entry_2017_v2020.csv.gz"
)
def score(
    predictions: Annotated[Path, Argument(help="CSV: an image column and one a finding.")],
    labels: Annotated[Path, Option(help="CSV of labels, NIH's or one column a finding.")],
    split: Annotated[Path | None, Option(help="CSV of Image Index,split.")] = None,
    subset: Annotated[str, Option(help="With --split: which part to score.")] = "test",
    json: Json = False,
) -> None:
    """The same AUROC table for anybody's predictions."""
    from thorax.evaluate.score import score as run

    document = {
        "command": "score",
        "predictions": predictions.name,
        **run(predictions, labels, split=split, subset=subset).document(),
    }

    def show() -> None:
        from thorax.report.accuracy import auroc_table

        console.show(auroc_table([document]))

    console.emit(document, as_json=json, show=show)
