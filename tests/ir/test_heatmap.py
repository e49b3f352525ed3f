"""Heat maps that say what is above the usual."""

from pathlib import Path

import numpy as np
import pytest

from thorax.artifact import Artifact, Precision
from thorax.data.store import Store
from thorax.devices.engine import compile
from thorax.errors import UsageError
from thorax.quantization.optimize import OptimizeOptions, optimize

RELATIVE = OptimizeOptions(heatmap="relative")


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_a_relative_map_is_the_map_minus_its_mean_over_the_train_split(
    tiny_run: Path,
    tiny_fp32: Artifact,
    tiny_store: Store,
    tmp_path: Path,
    precision: Precision,
) -> None:
    made = optimize(tiny_run, tmp_path / "r", precision, store=tiny_store, options=RELATIVE)
    train = tiny_store.select("train")
    plain, relative = (
        compile(artifact).infer_many(tiny_store.images, train)
        for artifact in (tiny_fp32, made.artifact)
    )
    assert plain.heatmap is not None
    assert relative.heatmap is not None
    wanted = plain.heatmap - plain.heatmap.mean(axis=0)
    loose = 1e-4 if precision is Precision.FP32 else 2e-2
    np.testing.assert_allclose(relative.heatmap, wanted, atol=loose * np.abs(plain.heatmap).max())
    np.testing.assert_allclose(relative.probability, plain.probability, atol=loose)
    card = made.artifact.card
    assert (card.heatmap, card.heatmap_kind) == (tiny_fp32.card.heatmap, "relative")
    assert tiny_fp32.card.heatmap_kind == "cam"
    assert (made.result.heatmap_kind, made.result.macs) == ("relative", card.macs)
    assert made.result.rewritten is not None
    assert made.result.rewritten.cam_macs == tiny_fp32.card.macs


def test_without_images_nothing_is_usual(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="heatmap-data"):
        optimize(tiny_run, tmp_path / "r", Precision.FP32, options=RELATIVE)
