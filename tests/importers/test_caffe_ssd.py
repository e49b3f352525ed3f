"""A detector's last layers, against its equations written out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.importers import caffe_files as files

from thorax.errors import ModelError
from thorax.importers.caffe import read
from thorax.importers.options import ImportOptions

Array = npt.NDArray[np.float32]
RANDOM = np.random.default_rng(6)
CLASSES, PRIORS = 3, 2 * 3 * 5

PRIOR = """
    min_size: 4 min_size: 8 max_size: 6 max_size: 12 aspect_ratio: 2 aspect_ratio: 0.5
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2
"""


def priors(*, step: tuple[float, float], clip: bool) -> Array:
    """Return [8 * 2 * 3, 4], corner by corner as the loops of prior_box_layer.cpp make them."""
    boxes = []
    for row in range(2):
        for column in range(3):
            x, y = (column + 0.5) * step[1], (row + 0.5) * step[0]
            for small, large in ((4, 6), (8, 12)):
                sides = [(small, small), (np.sqrt(small * large),) * 2]
                sides += [(small * np.sqrt(r), small / np.sqrt(r)) for r in (2, 0.5)]
                boxes += [
                    [(x - w / 2) / 36, (y - h / 2) / 20, (x + w / 2) / 36, (y + h / 2) / 20]
                    for w, h in sides
                ]
    found = np.array(boxes, np.float32)
    return found.clip(0, 1) if clip else found


@pytest.mark.parametrize(
    ("body", "step", "clip"),
    [
        ("", (10, 12), False),
        ("clip: true step: 8", (8, 8), True),
        ("step_h: 9 step_w: 7", (9, 7), False),
    ],
)
def test_boxes_stand_around_every_cell(
    tmp_path: Path, body: str, step: tuple[float, float], clip: bool
) -> None:
    text = f"""
    input: "cells" input_shape {{ dim: 1 dim: 4 dim: 2 dim: 3 }}
    input: "image" input_shape {{ dim: 1 dim: 3 dim: 20 dim: 36 }}
    layer {{ name: "p" type: "PriorBox" bottom: "cells" bottom: "image" top: "p"
      prior_box_param {{ {PRIOR} {body} }} }}
    layer {{ name: "n" type: "AbsVal" bottom: "cells" top: "n" }}
    """
    model = read(files.write(tmp_path, text, {}), ImportOptions()).model
    found = files.run(model, np.zeros((1, 4, 2, 3), np.float32))["p"]
    assert found.shape == (1, 2, 8 * 2 * 3 * 4)
    np.testing.assert_allclose(found[0, 0].reshape(-1, 4), priors(step=step, clip=clip), atol=1e-6)
    assert found[0, 1].reshape(-1, 4).tolist() == [pytest.approx([0.1, 0.1, 0.2, 0.2])] * 48


def overlap(one: Array, other: Array) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = np.prod(np.maximum(high - low, 0))
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return float(common / (sum(areas) - common))


def detect(places: Array, scores: Array, boxes: Array) -> list[list[float]]:
    """Return label, score and corners after non-maximum suppression, best first (section 2.2)."""
    size, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    middle = centre + 0.1 * places[:, :2] * size
    half = np.exp(0.2 * places[:, 2:]) * size / 2
    decoded = np.concatenate([middle - half, middle + half], 1)
    found = []
    for label in range(1, CLASSES):
        kept: list[int] = []
        order = [index for index in np.argsort(-scores[:, label]) if scores[index, label] > 0.1]
        for index in order[:20]:
            if all(overlap(decoded[index], decoded[other]) <= 0.45 for other in kept):
                kept.append(int(index))
        found += [[label, scores[index, label], *decoded[index]] for index in kept]
    return sorted(found, key=lambda row: -row[1])[:10]


def test_detections_are_those_of_the_equations(tmp_path: Path) -> None:
    boxes = priors(step=(10, 12), clip=False)
    count = len(boxes)
    text = f"""
    input: "loc" input_shape {{ dim: 1 dim: {count * 4} }}
    input: "conf" input_shape {{ dim: 1 dim: {count * CLASSES} }}
    layer {{ name: "cells" type: "DummyData" top: "cells"
      dummy_data_param {{ shape {{ dim: 1 dim: 4 dim: 2 dim: 3 }} }} }}
    layer {{ name: "image" type: "DummyData" top: "image"
      dummy_data_param {{ shape {{ dim: 1 dim: 3 dim: 20 dim: 36 }} }} }}
    layer {{ name: "p" type: "PriorBox" bottom: "cells" bottom: "image" top: "p"
      prior_box_param {{ {PRIOR} }} }}
    layer {{ name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "p" top: "out"
      detection_output_param {{ num_classes: {CLASSES} code_type: CENTER_SIZE keep_top_k: 10
        confidence_threshold: 0.1 nms_param {{ nms_threshold: 0.45 top_k: 20 }}
        save_output_param {{ output_directory: "x" }} }} }}
    """
    model = read(files.write(tmp_path, text, {}), ImportOptions()).model
    places = RANDOM.normal(size=(count, 4)).astype(np.float32)
    scores = RANDOM.dirichlet(np.ones(CLASSES), count).astype(np.float32)
    (found,) = files.run(model, places.reshape(1, -1), scores.reshape(1, -1)).values()
    rows = found[0, 0]
    rows = rows[rows[:, 0] == 0]
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    wanted = np.array(detect(places, scores, boxes), np.float32)
    np.testing.assert_allclose(rows[:, 1:], wanted, atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        'type: "PriorBox" bottom: "a" bottom: "a"',
        'type: "PriorBox" bottom: "a" bottom: "a" prior_box_param { min_size: 2 max_size: [3, 4] }',
        'type: "PriorBox" bottom: "a" bottom: "a" prior_box_param { min_size: 1 aspect_ratio: 0 }',
        'type: "PriorBox" bottom: "a" bottom: "a" prior_box_param { min_size: 1 variance: [1, 2] }',
        'type: "DetectionOutput" bottom: "a" bottom: "a" bottom: "a" '
        "detection_output_param { num_classes: 2 keep_top_k: 5 }",
    ],
)
def test_detectors_that_cannot_be_are_refused(tmp_path: Path, body: str) -> None:
    text = f'input: "a" input_shape {{ dim: [1, 2, 4, 4] }} layer {{ name: "x" {body} top: "y" }}'
    with pytest.raises(ModelError) as caught:
        read(files.write(tmp_path, text, {}), ImportOptions())
    assert caught.value.code == "model-layer"
