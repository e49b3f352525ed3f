"""The comparison that stands before everything that is written."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.analysis.difference import largest_difference, require_equal
from thorax.analysis.inputs import probe_images
from thorax.devices.engine import PROBABILITY
from thorax.errors import ModelError

SIDE = 16
MEAN = np.array([0.4], np.float32)
STD = np.array([0.3], np.float32)


def graph(offset: float) -> ov.Model:
    """Return sigmoid of the mean of the normalised image, plus an offset."""
    image = ops.parameter([1, 1, SIDE, SIDE], np.uint8)
    grey = ops.multiply(ops.convert(image, np.float32), ops.constant(np.float32(1 / 255)))
    normal = ops.divide(ops.subtract(grey, ops.constant(MEAN[0])), ops.constant(STD[0]))
    mean = ops.reduce_mean(normal, ops.constant(np.array([2, 3])), keep_dims=False)
    score = ops.add(ops.sigmoid(mean), ops.constant(np.float32(offset)))
    score.output(0).set_names({PROBABILITY})
    return ov.Model([score], [image])


def reference(images: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-images.mean(axis=(2, 3))[0])), np.float32)


def test_equal_graphs_do_not_differ_and_an_offset_is_found_to_its_size() -> None:
    assert largest_difference(graph(0), reference, mean=MEAN, std=STD) < 1e-6
    found = largest_difference(graph(0.01), reference, mean=MEAN, std=STD)
    assert found == pytest.approx(0.01, abs=1e-5)


def test_probes_are_fixed_bytes_that_reach_both_ends() -> None:
    images = probe_images(SIDE, count=6)
    assert images.shape == (6, 1, SIDE, SIDE)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert len({image.tobytes() for image in images}) == 6
    assert np.array_equal(images, probe_images(SIDE, count=6))


@pytest.mark.parametrize("difference", [0.2, float("nan"), float("inf")])
def test_what_strays_is_refused(difference: float) -> None:
    with pytest.raises(ModelError) as refused:
        require_equal(difference, tolerance=0.1, what="fp32 graph")
    assert refused.value.code == "model-differs"
    assert "0.1" in refused.value.message


def test_a_graph_that_answers_nan_is_refused() -> None:
    difference = largest_difference(graph(float("nan")), reference, mean=MEAN, std=STD)
    with pytest.raises(ModelError):
        require_equal(difference, tolerance=1, what="fp32 graph")


def test_what_is_within_the_tolerance_passes() -> None:
    require_equal(0.1, tolerance=0.1, what="fp32 graph")


def test_a_flat_image_says_nothing_of_a_network_that_divides_by_its_deviation() -> None:
    """Whatever rounding leaves of a flat image is all that such a network sees of it."""

    def standardised(images: np.ndarray) -> np.ndarray:
        deviation = images - images.mean()
        with np.errstate(invalid="ignore"):
            bright = deviation / np.sqrt((deviation**2).mean())
        return np.asarray([bright[..., 0].mean()], np.float32)

    image = ops.parameter([1, 1, SIDE, SIDE], np.uint8)
    grey = ops.multiply(ops.convert(image, np.float32), ops.constant(np.float32(1 / 255)))
    normal = ops.mvn(grey, np.array([1, 2, 3]), True, 1e-9, "inside_sqrt")
    column = ops.gather(normal, np.array([0]), np.array(3))
    score = ops.reduce_mean(column, np.array([2, 3]), keep_dims=False)
    score.output(0).set_names({PROBABILITY})
    graph = ov.Model([score], [image])
    assert largest_difference(graph, standardised, mean=MEAN, std=STD) < 1e-4
