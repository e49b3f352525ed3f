"""One phantom: a pure function of (seed, index), whose labels are its signs and nothing else."""

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from thorax.errors import DataError, UsageError
from thorax.labels import NIH14
from thorax.phantoms import sampling
from thorax.phantoms.phantom import draw, expose


def test_the_same_arguments_give_the_same_phantom() -> None:
    for index in range(4):
        one, two = draw(7, index, side=128), draw(7, index, side=128)
        assert np.array_equal(one.pixels, two.pixels)
        assert replace(one, pixels=two.pixels) == two
    assert not np.array_equal(draw(7, 0, side=128).pixels, draw(8, 0, side=128).pixels)


def test_a_phantom_does_not_depend_on_what_was_drawn_before() -> None:
    alone = draw(3, 9, side=64).pixels
    for index in range(5):
        draw(3, index, side=96)
    assert np.array_equal(draw(3, 9, side=64).pixels, alone)


@pytest.mark.parametrize("side", [16, 64, 100, 300])
def test_any_side_is_a_square_of_bytes(side: int) -> None:
    pixels = draw(1, 1, side=side).pixels
    assert pixels.shape == (side, side)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_every_side_shows_the_same_picture_and_the_same_boxes() -> None:
    for index in range(8):
        large, small = draw(5, index, side=512), draw(5, index, side=256)
        assert (large.patient, large.view, large.findings) == (
            small.patient,
            small.view,
            small.findings,
        )
        for big, little in zip(large.boxes, small.boxes, strict=True):
            assert big.finding == little.finding
            assert np.allclose(
                (big.x, big.y, big.width, big.height),
                2 * np.array((little.x, little.y, little.width, little.height)),
            )
        halved = cv2.resize(large.pixels, (256, 256), interpolation=cv2.INTER_AREA)
        smooth = [
            cv2.GaussianBlur(p.astype(np.float32), (0, 0), 1.5) for p in (halved, small.pixels)
        ]
        assert np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1] > 0.997
        names = large.findings
        fine, coarse = (expose(5, index, names, side=side).density for side in (512, 256))
        halved = cv2.resize(fine, (256, 256), interpolation=cv2.INTER_AREA)
        gap = np.abs(cv2.GaussianBlur(halved - coarse, (0, 0), 1.5))
        # Edges are drawn to about half a pixel, and a pixel is twice as wide at half the side.
        assert gap.mean() < 2 / 255
        assert np.percentile(gap, 99) < 14 / 255


def test_every_finding_has_boxes_inside_the_image_and_no_other_finding_has() -> None:
    for index in range(60):
        phantom = draw(2, index, side=128)
        assert {box.finding for box in phantom.boxes} == set(phantom.findings)
        for box in phantom.boxes:
            assert 0 <= box.x < box.x + box.width <= 128 + 1e-6
            assert 0 <= box.y < box.y + box.height <= 128 + 1e-6


def test_findings_are_as_frequent_as_the_plan_says() -> None:
    drawn = [sampling.choose(4, index) for index in range(4000)]
    count = Counter(name for names in drawn for name in names)
    for name in NIH14.findings:
        assert 0.08 <= count[name] / len(drawn) <= 0.20, name
    assert 0.28 <= sum(not names for names in drawn) / len(drawn) <= 0.40
    assert max(len(names) for names in drawn) >= 3


def test_patients_have_one_to_three_images_of_one_anatomy() -> None:
    phantoms = [draw(6, index, side=64) for index in range(60)]
    images = Counter(p.patient for p in phantoms)
    assert set(images.values()) == {1, 2, 3}
    order = [p.patient for p in phantoms]
    assert order == sorted(order), "a patient's images follow each other"
    assert {p.view for p in phantoms} == {"PA", "AP"}


def test_numbers_out_of_range_are_refused() -> None:
    for bad, code in (((-1, 0, 64), "phantom-seed"), ((0, 0, 8), "phantom-side")):
        with pytest.raises(UsageError) as error:
            draw(bad[0], bad[1], side=bad[2])
        assert error.value.code == code
    with pytest.raises(DataError):
        draw(0, 0, side=64, findings=["Gout"])
