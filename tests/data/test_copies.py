"""A changed copy of a radiograph is found; what only looks alike is not called a copy."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.data.chests import recompressed

from thorax.data.copies import correlation, find_copies
from thorax.phantoms.phantom import draw

Image = npt.NDArray[np.uint8]

SIDE = 128


@pytest.fixture(scope="module")
def chests() -> list[Image]:
    return [draw(1, index, side=SIDE).pixels for index in range(40)]


def brightened(image: Image) -> Image:
    return np.asarray(np.clip(image * 1.2 + 20.0, 0, 255), np.uint8)


def darkened(image: Image) -> Image:
    return np.asarray(255 * (image / 255.0) ** 1.6, np.uint8)


def trimmed(image: Image) -> Image:
    edge = round(0.015 * len(image))
    inner = image[edge:, : len(image) - edge]
    return np.asarray(cv2.resize(inner, image.shape), np.uint8)


@pytest.mark.parametrize("change", [recompressed, brightened, darkened, trimmed])
def test_a_changed_copy_is_found_among_chests(
    chests: list[Image], change: Callable[[Image], Image]
) -> None:
    images = np.stack([*chests, *(change(chests[index]) for index in (0, 7, 19))])
    groups = find_copies(images)
    assert [group.members for group in groups] == [(0, 40), (7, 41), (19, 42)]
    assert all(group.correlation > 0.8 for group in groups)


TURNS: dict[str, Callable[[Image], Image]] = {
    "mirrored": np.fliplr,
    "turned by 180 degrees": lambda image: np.rot90(image, 2),
    "turned clockwise": lambda image: np.rot90(image, -1),
    "turned anticlockwise": lambda image: np.rot90(image, 1),
    "inverted": lambda image: np.asarray(255 - image, np.uint8),
    "mirrored and inverted": lambda image: np.asarray(255 - np.fliplr(image), np.uint8),
}


@pytest.mark.parametrize("change", TURNS)
def test_a_turned_or_inverted_copy_is_found_and_told(chests: list[Image], change: str) -> None:
    copies = [recompressed(np.ascontiguousarray(TURNS[change](chests[n]))) for n in (0, 7, 19)]
    groups = find_copies(np.stack([*chests, *copies]))
    assert [group.members for group in groups] == [(0, 40), (7, 41), (19, 42)]
    # What is said is the way back: a quarter turn the other way.
    back = {"turned clockwise": "turned anticlockwise", "turned anticlockwise": "turned clockwise"}
    assert all(group.changes == ("", back.get(change, change)) for group in groups)


def test_a_group_of_several_turns_says_them_all(chests: list[Image]) -> None:
    images = [*chests, np.fliplr(chests[3]), np.asarray(255 - chests[3], np.uint8), chests[3]]
    (group,) = find_copies(np.stack(images), equal=[*range(42), 3])
    assert group.members == (3, 40, 41, 42)
    assert group.changes == ("", "mirrored", "inverted", "")


def test_chests_that_only_look_alike_are_no_copies(chests: list[Image]) -> None:
    assert find_copies(np.stack(chests)) == []


def test_a_copy_is_found_among_two_images(chests: list[Image]) -> None:
    images = np.stack([chests[0], recompressed(chests[0])])
    assert [group.members for group in find_copies(images)] == [(0, 1)]
    assert find_copies(np.stack(chests[:2])) == []
    assert find_copies(np.stack(chests[:1])) == []
    assert find_copies(np.empty((0, 64, 64), np.uint8)) == []


def test_correlation_is_one_with_itself_and_none_with_nothing(chests: list[Image]) -> None:
    blank = np.zeros((SIDE, SIDE), np.uint8)
    assert correlation(chests[0], chests[0]) == pytest.approx(1, abs=1e-3)
    assert correlation(chests[0], blank) == 0
    assert correlation(blank, blank + 9) == 0


def test_copies_of_copies_are_one_group(chests: list[Image]) -> None:
    images = [*chests, recompressed(chests[5]), brightened(chests[5]), chests[5]]
    groups = find_copies(np.stack(images), equal=[*range(42), 5])
    assert [group.members for group in groups] == [(5, 40, 41, 42)]
