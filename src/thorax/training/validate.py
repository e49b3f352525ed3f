"""AUROC of a network in training, exact on any number of ranks.

Scores are gathered by image and every image counts once; nothing is averaged over ranks.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from thorax.data.loader import BatchOrder, batches
from thorax.metrics import auroc
from thorax.training.prepare import TrainingRun
from thorax.training.step import Trainer


def validate(run: TrainingRun, trainer: Trainer) -> npt.NDArray[np.float64] | None:
    """Return the AUROC of the validation split, float64 [K], the same on every rank.

    Each rank scores its own groups of the split, cut as one process would cut it; NaN stands where
    the split lacks a class. None is returned, on every rank, when one was asked to stop.
    """
    trainer.network.eval()
    size, ranks = run.micro_batch, run.ranks
    groups = [run.val[first : first + size] for first in range(0, len(run.val), size)]
    own = np.concatenate([run.val[:0], *groups[ranks.rank :: ranks.world]])
    scores = []
    with torch.inference_mode():
        for batch in batches(
            run.store, own, BatchOrder(batch=size), workers=run.recipe.training.workers
        ):
            logits = trainer.logits(torch.from_numpy(batch.images).to(run.device))
            scores.append(logits.float().cpu().numpy())
            if trainer.stop.reason is not None:
                break
    empty = np.empty((0, len(run.store.label_set)), np.float32)
    told = np.concatenate([empty, *scores])
    parts = ranks.gather((own, told, len(told) < len(own)))
    if any(part[2] for part in parts):
        return None
    indices, gathered = merge_scores([part[:2] for part in parts])
    if not np.array_equal(indices, np.sort(run.val)):
        raise AssertionError("the ranks together scored every validation image")
    return auroc(run.store.labels[indices], gathered)


def merge_scores(
    parts: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return what ranks scored as one process would have: every image once, ascending.

    Args:
        parts: of each rank the images, int64 [n], and their scores, float32 [n,K]; an image that
            several ranks scored, as a padding sampler makes them, counts once.
    """
    indices = np.concatenate([part[0] for part in parts])
    unique, first = np.unique(indices, return_index=True)
    return unique, np.concatenate([part[1] for part in parts])[first]
