"""How easy the findings of a store are: what regressions on simple features reach, no network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.data.check import patients_across_splits
from thorax.data.samples import ReadOptions
from thorax.data.split import SPLITS
from thorax.data.store import Store
from thorax.errors import DataError
from thorax.evaluate import shallow_features
from thorax.evaluate.logistic import Standard, fit, scores
from thorax.evaluate.predictions import Truth, match
from thorax.evaluate.shallow_features import Shallow
from thorax.evaluate.validate import Bar, silent
from thorax.results.accuracy import (
    BaselineResult,
    ComparedNetwork,
    LabelScore,
    ScoreResult,
    ShallowModel,
    ValidationResult,
)
from thorax.results.files import read_results
from thorax.results.shared import Interval

PENALTIES: Final = (1.0, 0.1, 0.01, 0.001)
"""L2 on the mean log-loss that the val split chooses of, the strongest first."""

FEWEST: Final = 20
"""Images of the train split below which nothing is fitted."""

EASY: Final = 0.9
"""Mean AUROC of shallow models from which a network's says little beyond (a convention)."""
LEAK: Final = 0.6
"""AUROC of what should not tell a finding from which it is worth a look (a convention)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """The findings of a store that have both classes in every split, and where its splits are.

    Rows are indices of the store by split, columns and findings K of its labels.
    """

    store: Store
    rows: dict[str, npt.NDArray[np.int64]]
    columns: tuple[int, ...]
    findings: tuple[str, ...]
    unscored: dict[str, str]
    samples: int

    @classmethod
    def of(cls, store: Store, samples: int) -> "_Task":
        rows = {split: store.select(split) for split in SPLITS}
        absent = [split for split in SPLITS if not len(rows[split])]
        if absent:
            raise DataError(
                "split-empty",
                f"{store.path} has no images in its {' and '.join(absent)} split; baselines are "
                "fitted on train, chosen on val and judged on test: import a table without "
                "splits, or with all three",
            )
        if len(rows["train"]) < FEWEST:
            raise DataError(
                "baseline-images",
                f"{store.path} has {len(rows['train'])} images in its train split; baselines "
                f"need {FEWEST}: import more",
            )
        names = store.label_set.findings
        unscored = {
            name: why
            for column, name in enumerate(names)
            if (why := _missing_class(store.labels[:, column], rows))
        }
        columns = tuple(k for k, name in enumerate(names) if name not in unscored)
        if not columns:
            name, why = next(iter(unscored.items()))
            raise DataError(
                "baseline-undefined",
                f"no finding of {store.path} has images with and without it in every split; "
                f"{name}: {why}; import more images",
            )
        return cls(store, rows, columns, tuple(names[k] for k in columns), unscored, samples)

    def labels(self, split: str) -> npt.NDArray[np.int8]:
        """Labels of a split, int8 [N,K]."""
        return self.store.labels[self.rows[split]][:, self.columns]

    @property
    def patients(self) -> list[str]:
        """The patient of each image of the test split."""
        return [self.store.patients[index] for index in self.rows["test"]]

    def scored(self, answers: npt.NDArray[np.floating]) -> tuple[Interval, dict[str, LabelScore]]:
        """Return mean AUROC and that of each finding, of scores float [N,K] of the test split."""
        labels = self.labels("test")
        bounds = metrics.bootstrap_auroc(labels, answers, self.patients, samples=self.samples)
        areas = {
            name: LabelScore(
                **dict(Interval.of(area)),
                positives=int((labels[:, k] == 1).sum()),
                images=int((labels[:, k] >= 0).sum()),
            )
            for k, (name, area) in enumerate(zip(self.findings, bounds.labels, strict=True))
        }
        return Interval.of(bounds.mean), areas


def _missing_class(
    labels: npt.NDArray[np.int8], rows: dict[str, npt.NDArray[np.int64]]
) -> str | None:
    for split, indices in rows.items():
        for value, words in ((1, "shows it"), (0, "is without it")):
            if not (labels[indices] == value).any():
                return f"no image of the {split} split {words}"
    return None


def baselines(
    store: Store,
    *,
    against: Path | None = None,
    samples: int = 1000,
    say: Callable[[str], None] = lambda text: None,
    bar: Bar = silent,
) -> BaselineResult:
    """Fit and judge a regression on each kind of simple features, a finding at a time.

    Weights are fitted on the train split, the penalty of each finding is that of `PENALTIES` with
    the highest AUROC on the val split, and AUROC is that of the test split, patients resampled.
    Images whose label is unknown are left out of that finding, as `validate` does.

    Args:
        store: with all three splits.
        against: predictions of a network for the test split, a CSV as `match` takes it, or what
            `validate` or `score` printed with --json.
        samples: resamples of patients.
        say: takes what is done now.
        bar: shows how many images have been read.

    Raises:
        DataError: `split-empty`, `baseline-images`, `baseline-undefined`, `baseline-against` for
            a network of other images or findings, or as `match` and `read_results`.
    """
    task = _Task.of(store, samples)
    network = None if against is None else _Network.read(against, task)
    with bar("reading", len(store)) as advance:
        kinds = shallow_features.of_pixels(store, advance)
    facts = shallow_features.of_facts(store)
    kinds += [shallow_features.of_order(store), *([] if facts is None else [facts])]
    answers, models = [], []
    for shallow in kinds:
        say(f"fitting {shallow.what}")
        tested, penalties = _fit(shallow, task)
        mean, areas = task.scored(tested)
        answers.append(tested)
        models.append(
            ShallowModel(
                name=shallow.name,
                what=shallow.what,
                pixels=shallow.pixels,
                features=shallow.values.shape[1],
                mean_auroc=mean,
                auroc=areas,
                penalty=dict(zip(task.findings, penalties, strict=True)),
            )
        )
    compared = None if network is None else network.beside(models, answers, task)
    return _result(task, models, compared)


def _fit(shallow: Shallow, task: _Task) -> tuple[npt.NDArray[np.float64], list[float]]:
    """Return logits float64 [N,K] of the test split, and the penalty that each finding took."""
    standard = Standard.of(shallow.values[task.rows["train"]])
    tables = {split: standard.apply(shallow.values[rows]) for split, rows in task.rows.items()}
    labels = {split: task.labels(split) for split in SPLITS}
    weights = fit(tables["train"], labels["train"], PENALTIES)
    judged = scores(tables["val"], weights)
    areas = np.stack([metrics.auroc(labels["val"], judged[:, p]) for p in range(len(PENALTIES))])
    # Of equals the first, which is the strongest.
    best = areas.argmax(axis=0)
    taken = weights[best, np.arange(len(best))]
    return scores(tables["test"], taken), [PENALTIES[p] for p in best]


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """AUROC of a network on the test split; predictions float64 [N,K], in its rows, if known.

    Predictions have the findings of `columns` of the task alone.
    """

    name: str
    auroc: dict[str, LabelScore]
    columns: tuple[int, ...]
    predictions: npt.NDArray[np.float64] | None

    @classmethod
    def read(cls, path: Path, task: _Task) -> "_Network":
        if path.suffix.lower() == ".json":
            return cls._of_document(path, task)
        index = task.store.path / "index.csv"
        truth = Truth(index, ReadOptions())
        matched = match([path], truth, split=index, subset="test")
        columns = tuple(k for k, name in enumerate(task.findings) if name in matched.findings)
        _require_shared(columns, path, task)
        place = {name: row for row, name in enumerate(matched.images)}
        order = [place[task.store.names[index]] for index in task.rows["test"]]
        names = [task.findings[k] for k in columns]
        taken = [matched.findings.index(name) for name in names]
        return cls(path.name, {}, columns, matched.probabilities[0][order][:, taken])

    @classmethod
    def _of_document(cls, path: Path, task: _Task) -> "_Network":
        (result,) = read_results([path])
        if not isinstance(result, ValidationResult | ScoreResult):
            raise DataError(
                "baseline-against",
                f"{path} is of {result.command}; give predictions as CSV, or what validate or "
                "score printed with --json",
            )
        images = len(task.rows["test"])
        split = result.split if isinstance(result, ValidationResult) else "test"
        if (split, result.images) != ("test", images):
            raise DataError(
                "baseline-against",
                f"{path} is of {result.images:,} images of split {split}, the test split of "
                f"{task.store.path} has {images:,}; validate the network on that store",
            )
        columns = tuple(
            k
            for k, name in enumerate(task.findings)
            if name in result.auroc and result.auroc[name].value is not None
        )
        _require_shared(columns, path, task)
        areas = {task.findings[k]: result.auroc[task.findings[k]] for k in columns}
        return cls(path.name, areas, columns, None)

    def beside(
        self,
        models: Sequence[ShallowModel],
        answers: Sequence[npt.NDArray[np.float64]],
        task: _Task,
    ) -> ComparedNetwork:
        """Return it with its difference from each shallow model."""
        names = [task.findings[k] for k in self.columns]
        if self.predictions is None:
            mean = _mean(self.auroc, names)
            return ComparedNetwork(
                name=self.name,
                mean_auroc=Interval(value=mean),
                auroc=self.auroc,
                mean_difference={
                    model.name: Interval(value=mean - _mean(model.auroc, names)) for model in models
                },
            )
        labels, columns = task.labels("test")[:, self.columns], list(self.columns)
        part = _Task(
            task.store,
            task.rows,
            tuple(task.columns[k] for k in columns),
            tuple(names),
            {},
            task.samples,
        )
        mean_auroc, areas = part.scored(self.predictions)
        return ComparedNetwork(
            name=self.name,
            mean_auroc=mean_auroc,
            auroc=areas,
            mean_difference={
                model.name: Interval.of(
                    metrics.bootstrap_difference(
                        labels,
                        tested[:, columns],
                        self.predictions,
                        task.patients,
                        samples=task.samples,
                    ).mean
                )
                for model, tested in zip(models, answers, strict=True)
            },
        )


def _require_shared(columns: Sequence[int], path: Path, task: _Task) -> None:
    if not columns:
        raise DataError(
            "baseline-against",
            f"{path} has none of the findings that are scored of {task.store.path}: "
            f"{', '.join(task.findings[:20])}",
        )


def _mean(areas: dict[str, LabelScore], names: Sequence[str]) -> float:
    values = [areas[name].value for name in names]
    return float(np.mean([value for value in values if value is not None]))


def _result(
    task: _Task, models: Sequence[ShallowModel], network: ComparedNetwork | None
) -> BaselineResult:
    leaks = len(patients_across_splits(task.store))
    result = BaselineResult(
        store=task.store.path.name,
        splits={split: len(rows) for split, rows in task.rows.items()},
        patients=len(set(task.patients)),
        leaks=leaks,
        models=tuple(models),
        best={
            name: max(models, key=lambda model: model.auroc[name].value or 0.0).name
            for name in task.findings
        },
        unscored=task.unscored,
        verdict=tuple(_verdict(models, network, leaks)),
    )
    return result if network is None else result.model_copy(update={"network": network})


def _verdict(
    models: Sequence[ShallowModel], network: ComparedNetwork | None, leaks: int
) -> list[str]:
    by_name = {model.name: model for model in models}
    whole = [by_name[name] for name in ("block_means", "block_deviations", "statistics")]
    best = max(whole, key=lambda model: model.mean_auroc.value or 0.0)
    value = best.mean_auroc.value or 0.0
    reach = f"{best.what[:1].upper()}{best.what[1:]} reach a mean AUROC of {value:.3f}"
    meaning = (
        "a network's on this task says little beyond that"
        if value >= EASY
        else "a network is to be judged by what it has above that"
    )
    lines = [f"{reach}: {meaning}.", *_easiest(best)]
    lines += _suspicions(by_name)
    if network is not None:
        difference = network.mean_difference[best.name]
        ahead = f"{network.name} minus {best.what}: {difference.value:+.3f}"
        if difference.low is None or difference.high is None:
            lines.append(f"{ahead}.")
        else:
            bounds = f"[{difference.low:+.3f}, {difference.high:+.3f}]"
            level = difference.low <= 0 <= difference.high
            unsure = ", which these images do not tell from none" if level else ""
            lines.append(f"{ahead} {bounds}{unsure}.")
    if leaks:
        lines.append(f"{leaks:,} patients are in more than one split, which flatters all of it.")
    return lines


def _easiest(best: ShallowModel) -> list[str]:
    """Return which findings it tells best and worst, where there are several."""
    ranked = sorted(best.auroc.items(), key=lambda item: -(item[1].value or 0.0))
    if len(ranked) < 2:
        return []
    (easy, most), (hard, least) = ranked[0], ranked[-1]
    return [f"Of them {easy} is easiest, {most.value:.3f}, and {hard} hardest, {least.value:.3f}."]


_SUSPECTS: Final = {
    "border": "the outer edge of the image alone, without the lungs: look for markers, "
    "collimation, cropping or file sizes that differ by class",
    "order": "the order of the files: classes were collected apart, so look for what else "
    "differs between their sources",
    "facts": "view, age and sex without an image: compare networks within them",
}


def _suspicions(by_name: dict[str, ShallowModel]) -> list[str]:
    """Return a sentence for each kind of features that should not tell a finding and does.

    An interval that holds 0.5 is no reason to look.
    """
    lines = []
    for name, words in _SUSPECTS.items():
        areas = by_name[name].auroc if name in by_name else {}
        telling = {
            finding: area.value
            for finding, area in areas.items()
            if area.value is not None and area.value > LEAK and (area.low or 0) > 0.5
        }
        if telling:
            finding, value = max(telling.items(), key=lambda item: item[1])
            more = f" ({len(telling)} findings above {LEAK})" if len(telling) > 1 else ""
            lines.append(f"{finding} is told with {value:.3f}{more} by {words}.")
    return lines
