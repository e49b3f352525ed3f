"""The AUROC of ranks is that of one process; test_parallel trains with it on two and three."""

import numpy as np

from thorax.metrics import auroc
from thorax.training.loop import merge_scores


def test_scores_of_ranks_merge_to_those_of_one_process_whatever_was_padded() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (11, 3)).astype(np.int8)
    scores = rng.random((11, 3)).astype(np.float32)
    # A padding sampler gives three ranks four images each: the first comes twice.
    parts = [np.array([0, 3, 6, 9]), np.array([1, 4, 7, 10]), np.array([2, 5, 8, 0])]
    indices, merged = merge_scores([(part, scores[part]) for part in parts])
    assert indices.tolist() == list(range(11))
    np.testing.assert_array_equal(auroc(labels, merged), auroc(labels, scores))
