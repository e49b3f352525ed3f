"""Commands that score an artifact, or anybody's predictions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Device, Extensions, Json, Model, StorePath, one_by_one

if TYPE_CHECKING:
    from thorax.results.accuracy import ValidationResult

evaluate_app = typer.Typer()


@dataclass(frozen=True, slots=True)
class Validation:
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
    samples: Annotated[
        int, Option(min=100, max=1_000_000, help="Bootstrap resamples of patients.")
    ] = 1000
    extension: Extensions = None

    def run(self, model: Path, store: Path) -> "ValidationResult":
        """Validate an artifact and those that it is compared with on a store."""
        from thorax.artifact import load
        from thorax.benchmark.measurement import side_by_side
        from thorax.data.store import open_store
        from thorax.devices.extensions import add_extensions
        from thorax.evaluate import validate as accuracy

        add_extensions(self.extension or ())
        opened = open_store(store)
        count = len(opened.select(self.split))
        # All are compiled before the first is asked, which takes long.
        others = [load(path) for path in self.against or ()]
        engines = accuracy.open_engines(load(model), others, self.device)
        runs = []
        for engine in engines:
            with console.progress(f"validating {engine.artifact.card.name}", count) as ticker:
                run = accuracy.validate(
                    engine,
                    opened,
                    split=self.split,
                    samples=self.samples,
                    on_progress=ticker.advance,
                )
            runs.append(run)
        speeds = []
        if self.against and self.speed:
            console.say(f"timing {len(runs)} artifacts in turns on {self.device}")
            speeds = side_by_side(engines)
        return accuracy.result_of(runs[0], runs[1:], speeds)


@evaluate_app.command(epilog="Example:  thorax validate fp32 store --against fp16 --against int8")
@one_by_one
def validate(model: Model, store: StorePath, options: Validation, json: Json = False) -> None:
    """AUROC of each finding with intervals; what each of several artifacts costs and brings."""
    from thorax.report import accuracy
    from thorax.report.modelled import modelled_table

    result = options.run(model, store)
    console.answer(
        result,
        json,
        lambda: [
            accuracy.cost_table(result),
            modelled_table(accuracy.validated_artifacts([result])),
            accuracy.auroc_table([result]),
            accuracy.difference_table(result),
            accuracy.pointing_table([result]),
        ],
    )


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
    from thorax.report.accuracy import auroc_table

    result = run(predictions, labels, split=split, subset=subset)
    console.answer(result, json, lambda: [auroc_table([result])])
