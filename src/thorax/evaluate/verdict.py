"""What a network's AUROC on a test split is to be judged by: facts, which `report` phrases."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from thorax import metrics
from thorax.results.accuracy import BaselineVerdict, PatientCounts, ShallowModel, Suspicion
from thorax.results.shared import Interval

EASY: Final = 0.9
"""AUROC of shallow models from which a network's says little beyond (a convention)."""

LEAK: Final = 0.6
"""AUROC of what should not tell a finding from which it is worth a look (a convention)."""

FEWEST: Final = 10
"""Patients with a finding, and without it, below which neither interval nor verdict is given;
patients with boxes of a finding, below which the mean of the pointing game has no interval."""

_WHOLE: Final = ("block_means", "block_deviations", "statistics")
"""Shallow models that see the whole image, by name."""

_SUSPECTS: Final = ("border", "order", "facts")
"""Shallow models that should tell no finding."""


def patient_counts(
    findings: Sequence[str], labels: npt.NDArray[np.int8], patients: Sequence[str]
) -> dict[str, PatientCounts]:
    """Return the patients with and without each finding, of labels int8 [N,K] of their images."""
    owners = np.array(patients)
    return {
        name: PatientCounts(
            positive=len(np.unique(owners[labels[:, k] == 1])),
            negative=len(np.unique(owners[labels[:, k] == 0])),
        )
        for k, name in enumerate(findings)
    }


def too_few(counts: PatientCounts) -> bool:
    """Return whether these say nothing sure of a finding: ten may be a chance of their own."""
    return min(counts.positive, counts.negative) < FEWEST


def judge(models: Sequence[ShallowModel], patients: Mapping[str, PatientCounts]) -> BaselineVerdict:
    """Return what a network is to be judged by, and what should not tell a finding and does.

    A finding is suspicious where an AUROC above `LEAK` differs from 0.5 beyond what is to be
    expected by chance of all pairs of finding and features that were tried.
    """
    by_name = {model.name: model for model in models}
    whole = [by_name[name] for name in _WHOLE]
    judged = [name for name, counts in patients.items() if not too_few(counts)]
    bar = {name: max(whole, key=lambda model: _value(model, name)).name for name in patients}
    tried = [
        (by_name[name], finding) for name in _SUSPECTS if name in by_name for finding in judged
    ]
    together = {
        (model.name, finding): _together(model, finding, patients[finding], len(tried))
        for model, finding in tried
    }
    return BaselineVerdict(
        whole=max(whole, key=lambda model: model.mean_auroc.value or 0.0).name,
        bar=bar,
        easy=tuple(name for name in judged if _value(by_name[bar[name]], name) >= EASY),
        suspicions=tuple(
            Suspicion(features=name, finding=finding, auroc=auroc)
            for (name, finding), auroc in together.items()
            if (auroc.value or 0.0) > LEAK and (auroc.low or 0.0) > 0.5
        ),
        tried=len(tried),
        too_few={name: counts for name, counts in patients.items() if name not in judged},
        fewest=FEWEST,
    )


def _value(model: ShallowModel, finding: str) -> float:
    return model.auroc[finding].value or 0.0


def _together(model: ShallowModel, finding: str, patients: PatientCounts, tried: int) -> Interval:
    """Return an AUROC with bounds that hold for all that were tried."""
    area = model.auroc[finding]
    if area.value is None or area.low is None or area.high is None:
        return Interval(value=area.value)
    bounds = metrics.simultaneous(
        metrics.Interval(area.value, area.low, area.high),
        tried,
        error=metrics.chance_error(patients.positive, patients.negative),
    )
    return Interval(value=bounds.value, low=max(0.0, bounds.low), high=min(1.0, bounds.high))
