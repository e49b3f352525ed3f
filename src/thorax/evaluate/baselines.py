"""How easy the findings of a store are: what regressions on simple features reach, no network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from thorax.evaluate.verdict import judge, patient_counts, too_few
from thorax.results.accuracy import (
    BaselineResult,
    ComparedNetwork,
    LabelScore,
    PatientCounts,
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
            raise _undefined(store, unscored)
        return cls(store, rows, columns, tuple(names[k] for k in columns), unscored, samples)

    def labels(self, split: str) -> npt.NDArray[np.int8]:
        """Labels of a split, int8 [N,K]."""
        return self.store.labels[self.rows[split]][:, self.columns]

    def part(self, columns: Sequence[int]) -> "_Task":
        """Return the task of some of its findings, by their columns in it."""
        return replace(
            self,
            columns=tuple(self.columns[k] for k in columns),
            findings=tuple(self.findings[k] for k in columns),
        )

    @property
    def patients(self) -> list[str]:
        """The patient of each image of the test split."""
        return [self.store.patients[index] for index in self.rows["test"]]

    def patient_counts(self) -> dict[str, PatientCounts]:
        """Return the patients of the test split with and without each finding."""
        return patient_counts(self.findings, self.labels("test"), self.patients)

    def scored(self, answers: npt.NDArray[np.floating]) -> tuple[Interval, dict[str, LabelScore]]:
        """Return mean AUROC and that of each finding, of scores float [N,K] of the test split.

        Of too few patients, of whom resamples would promise what they cannot know, there are no
        bounds, and none of a mean with such a finding.
        """
        labels = self.labels("test")
        bounds = metrics.bootstrap_auroc(labels, answers, self.patients, samples=self.samples)
        areas = self.by_finding(bounds.labels)
        return self.mean(bounds.mean), {
            name: LabelScore(
                **dict(area),
                positives=int((labels[:, k] == 1).sum()),
                images=int((labels[:, k] >= 0).sum()),
            )
            for k, (name, area) in enumerate(zip(self.findings, areas, strict=True))
        }

    def by_finding(self, intervals: Sequence[metrics.Interval]) -> list[Interval]:
        """Return the intervals of the findings, without bounds of those with too few patients."""
        return [
            _without_bounds(interval) if too_few(counts) else Interval.of(interval)
            for interval, counts in zip(intervals, self.patient_counts().values(), strict=True)
        ]

    def mean(self, interval: metrics.Interval) -> Interval:
        """Return the interval of the mean, without bounds where a finding has none."""
        unsure = any(map(too_few, self.patient_counts().values()))
        return _without_bounds(interval) if unsure else Interval.of(interval)


def _without_bounds(interval: metrics.Interval) -> Interval:
    return Interval(value=Interval.of(interval).value)


def _missing_class(
    labels: npt.NDArray[np.int8], rows: dict[str, npt.NDArray[np.int64]]
) -> str | None:
    if (labels < 0).all():
        return "all its labels are unknown"
    for split, indices in rows.items():
        for value, words in ((1, "shows it"), (0, "is without it")):
            if not (labels[indices] == value).any():
                return f"no image of the {split} split {words}"
    return None


def _undefined(store: Store, unscored: dict[str, str]) -> DataError:
    """Return why nothing of a store is scored, and what to do, by what is known of its labels."""
    if (store.labels < 0).all():
        return DataError(
            "baseline-undefined",
            f"all labels of {store.path} are unknown; import a table whose cells say what images "
            "show, or again with --blank negative if a blank cell means that there is none",
        )
    if not (store.labels == 0).any():
        return DataError(
            "baseline-undefined",
            f"no image of {store.path} is known to be without a finding; import again with --blank "
            "negative if a blank cell of its table means that there is none",
        )
    name, why = next(iter(unscored.items()))
    return DataError(
        "baseline-undefined",
        f"no finding of {store.path} has images with and without it in every split; {name}: {why}; "
        "import more images",
    )


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
        tested, model = _judged(shallow, task)
        answers.append(tested)
        models.append(model)
    verdict = judge(models, task.patient_counts())
    result = BaselineResult(
        store=store.path.name,
        splits={split: len(rows) for split, rows in task.rows.items()},
        patients=len(set(task.patients)),
        leaks=len(patients_across_splits(store)),
        models=tuple(models),
        best={
            name: max(models, key=lambda model: model.auroc[name].value or 0.0).name
            for name in task.findings
        },
        unscored=task.unscored,
        verdict=verdict,
    )
    if network is None:
        return result
    compared = network.beside(models, answers, verdict.bar, task)
    return result.model_copy(update={"network": compared})


def _judged(shallow: Shallow, task: _Task) -> tuple[npt.NDArray[np.float64], ShallowModel]:
    """Return logits float64 [N,K] of the test split, and what the regression reaches there."""
    tested, penalties = _fit(shallow, task)
    mean, areas = task.scored(tested)
    return tested, ShallowModel(
        name=shallow.name,
        what=shallow.what,
        pixels=shallow.pixels,
        features=shallow.values.shape[1],
        mean_auroc=mean,
        auroc=areas,
        penalty=dict(zip(task.findings, penalties, strict=True)),
    )


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
        _require_same_images(result, path, task)
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
        bar: Mapping[str, str],
        task: _Task,
    ) -> ComparedNetwork:
        """Return it with its difference from each shallow model, and from that of `bar`."""
        names = [task.findings[k] for k in self.columns]
        if self.predictions is None:
            mean = _mean(self.auroc, names)
            by_name = {model.name: model for model in models}
            return ComparedNetwork(
                name=self.name,
                mean_auroc=Interval(value=mean),
                auroc=self.auroc,
                mean_difference={
                    model.name: Interval(value=mean - _mean(model.auroc, names)) for model in models
                },
                difference={
                    name: Interval(
                        value=_mean(self.auroc, [name]) - _mean(by_name[bar[name]].auroc, [name])
                    )
                    for name in names
                },
            )
        part = task.part(self.columns)
        mean_auroc, areas = part.scored(self.predictions)
        tables = {
            model.name: tested[:, list(self.columns)]
            for model, tested in zip(models, answers, strict=True)
        }
        highest = np.stack([tables[bar[name]][:, k] for k, name in enumerate(names)], axis=1)
        by_finding = self._difference(highest, part).labels
        together = [metrics.simultaneous(bounds, len(names)) for bounds in by_finding]
        return ComparedNetwork(
            name=self.name,
            mean_auroc=mean_auroc,
            auroc=areas,
            mean_difference={
                name: part.mean(self._difference(table, part).mean)
                for name, table in tables.items()
            },
            difference=dict(zip(names, part.by_finding(together), strict=True)),
        )

    def _difference(self, table: npt.NDArray[np.float64], part: _Task) -> metrics.Intervals:
        """Return its AUROC minus that of scores float64 [N,K] of the same findings."""
        assert self.predictions is not None
        return metrics.bootstrap_difference(
            part.labels("test"), table, self.predictions, part.patients, samples=part.samples
        )


def _require_same_images(result: ValidationResult | ScoreResult, path: Path, task: _Task) -> None:
    """Refuse a document of other images than the test split, as far as it says which those are."""
    store = task.store
    split = result.split if isinstance(result, ValidationResult) else "test"
    images = len(task.rows["test"])
    if (split, result.images) != ("test", images):
        raise _of_others(path, f"{result.images:,} images of split {split}", f"{images:,}", task)
    if isinstance(result, ValidationResult) and result.images_sha256 not in (
        None,
        store.sources_sha256("test"),
    ):
        raise _of_others(path, f"{images:,} images of other files", "files of its own", task)
    labels = task.labels("test")
    for k, name in enumerate(task.findings):
        area = result.auroc.get(name)
        own = (int((labels[:, k] == 1).sum()), int((labels[:, k] >= 0).sum()))
        if area is not None and (area.positives, area.images) != own:
            raise _of_others(
                path,
                f"{area.images:,} labels of {name}, {area.positives:,} of them positive",
                f"{own[1]:,} and {own[0]:,}",
                task,
            )


def _of_others(path: Path, of: str, own: str, task: _Task) -> DataError:
    return DataError(
        "baseline-against",
        f"{path} is of {of}, the test split of {task.store.path} has {own}; validate the network "
        "on that store, or give its predictions as CSV",
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
