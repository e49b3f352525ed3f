"""Find images that show the same exposure: recompressed, brightened, trimmed, mirrored or inverted.

All frontal chest films look alike, so this goes in two steps. A descriptor (low DCT frequencies of
the histogram-equalised 32 x 32 image, whitened over all images so that what chests have in common
weighs nothing) is compared between all pairs; the few pairs that come close are aligned by an
affine map (Evangelidis and Psarakis, TPAMI 2008) and their fine structure is correlated.

Calibrated on 1,285 images of ChestX-ray14, at sides of 64, 128 and 256: of pairs whose descriptors
come close, the most that two exposures of one patient correlate is 0.85, of two patients 0.65.
Of 150 copies each, found are: JPEG of quality 50 all, of quality 20 99 %; with other brightness or
contrast, clipping included, 95 %; gamma 0.5 and 2 96 %; up to 2 % trimmed off each edge 97 %, up to
3 % 60 %, up to 5 % one in ten.

What mirrors, turns or inverts an image changes signs and order of its DCT frequencies only. Pairs
whose magnitudes come close, with rows for columns or not, are looked at in each of the ways.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from thorax.data.samples import Images
from thorax.images.raster import turned
from thorax.processors import processors

CANDIDATE_COSINE: Final = 0.65
"""Descriptors closer than this are looked at; about 4 of a million pairs of patients are."""
COPY_CORRELATION: Final = 0.86
"""Fine structure that correlates more than this, once aligned, is one exposure."""

_FREQUENCIES: Final = 12
_PRIOR_IMAGES: Final = 50
_TILE: Final = 2048
_MOST_A_ROW: Final = 16
_ALIGN_SIDE: Final = 64
_DETAIL_SIDE: Final = 128
_STOP: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)

_ALIKE_COSINE: Final = 0.5
"""Magnitudes of frequencies closer than this are looked at in every way to turn an image."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Group:
    """Images of one exposure.

    Attributes:
        members: rows, ascending, two or more.
        correlation: the lowest that holds the group together; 1 where the pixels are equal.
        changes: how each is turned against the first, such as "mirrored"; "" where it is not.
    """

    members: tuple[int, ...]
    correlation: float
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """How an image was turned: rows for columns, columns in reverse, rows in reverse, inverted."""

    transposed: bool
    mirrored: bool
    flipped: bool
    inverted: bool

    def __str__(self) -> str:
        turns = {
            (False, True, False): "mirrored",
            (False, False, True): "flipped",
            (False, True, True): "turned by 180 degrees",
            (True, True, False): "turned clockwise",
            (True, False, True): "turned anticlockwise",
            (True, False, False): "transposed",
            (True, True, True): "transposed about the other diagonal",
        }
        words = [turns.get((self.transposed, self.mirrored, self.flipped), "")]
        words += ["inverted"] if self.inverted else []
        return " and ".join(filter(None, words))

    def of_image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return uint8 [S,S] turned so."""
        way = {"transposed": self.transposed, "mirrored": self.mirrored, "flipped": self.flipped}
        made = np.asarray(turned(np.asarray(image), **way), np.uint8)
        return ~made if self.inverted else made

    def of_descriptor(self, described: _Floats) -> _Floats:
        """Return float32 [N,143] as `_describe` gives it of images turned so."""
        low = np.pad(described, ((0, 0), (1, 0))).reshape(-1, _FREQUENCIES, _FREQUENCIES)
        low = low.transpose(0, 2, 1) if self.transposed else low
        odd = np.where(np.arange(_FREQUENCIES) % 2, -1, 1).astype(np.float32)
        low = low * odd if self.mirrored else low
        low = low * odd[:, None] if self.flipped else low
        low = -low if self.inverted else low
        return np.asarray(low.reshape(-1, _FREQUENCIES**2)[:, 1:], np.float32)


_CHANGES: Final = tuple(Change(*way) for way in itertools.product((False, True), repeat=4))[1:]
_TRANSPOSED: Final = Change(transposed=True, mirrored=False, flipped=False, inverted=False)


def find_copies(
    images: Images,
    *,
    equal: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Group]:
    """Return the groups of images that show one exposure, by their first member.

    Time grows with the square of N, at about 1e10 pairs a minute on two processors; memory with N.
    Images are uint8 [N,S,S]; of a memory map few are read at a time. `equal` has for each image the
    first that is known to have the same pixels, perhaps itself; only first ones are compared.
    Progress is (images described, images in all).
    """
    first = np.arange(len(images)) if equal is None else np.asarray(equal)
    distinct = np.flatnonzero(first == np.arange(len(images)))
    forest = _Forest(len(images))
    for row, head in enumerate(first.tolist()):
        if row != head:
            forest.join(row, head, 1.0)
    with ThreadPoolExecutor(processors(), thread_name_prefix="copies") as pool:
        described = np.zeros((len(distinct), _FREQUENCIES**2 - 1), np.float32)
        for start in range(0, len(distinct), _TILE):
            rows = distinct[start : start + _TILE].tolist()
            described[start : start + len(rows)] = list(
                pool.map(lambda row: _describe(images[row]), rows)
            )
            if on_progress is not None:
                on_progress(rows[-1] + 1, len(images))
        pairs = _pairs(described)
        for start in range(0, len(pairs), _TILE):
            # Strongest first, and pairs that are joined by then are not looked at: a clique of n
            # copies costs about n comparisons and not n * n.
            batch = [
                (int(distinct[a]), int(distinct[b]), change)
                for a, b, change in pairs[start : start + _TILE]
                if not forest.joined(int(distinct[a]), int(distinct[b]))
            ]
            values = pool.map(lambda pair: _correlated(images, *pair), batch)
            for (a, b, _), value in zip(batch, values, strict=True):
                if value > COPY_CORRELATION:
                    forest.join(a, b, value)
    rows = np.searchsorted(distinct, first)
    return [
        replace(group, changes=_changes(described[rows[list(group.members)]]))
        for group in forest.groups()
    ]


def _changes(described: _Floats) -> tuple[str, ...]:
    """Return how each of some copies is turned against the first of them."""
    ways = [described, *(change.of_descriptor(described) for change in _CHANGES)]
    alike = np.stack([way @ described[0] for way in ways])
    words = ["", *map(str, _CHANGES)]
    return tuple(words[number] for number in alike.argmax(0))


def _correlated(images: Images, first: int, second: int, change: Change | None) -> float:
    other = images[second] if change is None else change.of_image(images[second])
    return correlation(images[first], other)


def correlation(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """Return how far the fine structure of two uint8 [S,S] agrees once they are aligned, -1 to 1.

    Normalised correlation of locally normalised detail at 128 x 128, over what both show; 0 where
    they cannot be aligned or hardly overlap.
    """
    warp, everywhere = np.eye(2, 3, dtype=np.float32), np.ones((_ALIGN_SIDE,) * 2, np.uint8)
    coarse = [_detail(image, _ALIGN_SIDE, 4.0) for image in (first, second)]
    if not (coarse[0].any() and coarse[1].any()):
        return 0.0
    try:
        _, found = cv2.findTransformECC(
            coarse[0], coarse[1], warp, cv2.MOTION_AFFINE, _STOP, everywhere, 3
        )
    except cv2.error as error:
        if error.code == cv2.Error.StsNoConv:
            return 0.0
        raise
    matrix = _scaled(found.astype(np.float64), _DETAIL_SIDE / _ALIGN_SIDE)
    size, flags = (_DETAIL_SIDE, _DETAIL_SIDE), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fixed, moving = (_detail(image, _DETAIL_SIDE, 3.0) for image in (first, second))
    moved = cv2.warpAffine(moving, matrix, size, flags=flags)
    inside = np.zeros(size, np.float32)
    inside[4:-4, 4:-4] = 1.0
    both = (cv2.warpAffine(inside, matrix, size, flags=flags) > 0.99) & (inside > 0)
    if both.mean() < 0.6:
        return 0.0
    a, b = fixed[both].astype(np.float64), moved[both].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    # Not by BLAS, whose threads would wait for each other in every worker of the pool.
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _describe(image: npt.NDArray[np.uint8]) -> _Floats:
    """Return float32 [143]: DCT of the equalised 32 x 32 image without its mean."""
    small = cv2.resize(np.asarray(image), (32, 32), interpolation=cv2.INTER_AREA)
    flat = cv2.equalizeHist(small).astype(np.float32)
    flat -= flat.mean()
    flat /= max(float(flat.std()), 1e-6)
    low = cv2.dct(flat)[:_FREQUENCIES, :_FREQUENCIES]
    return np.asarray(low, np.float32).ravel()[1:]


class _Whitening:
    """The map after which all directions of descriptors vary alike over the images.

    Few images say little of how chests vary: 50 imagined ones of zero mean and a 1/f^2 spectrum,
    as natural images have, are counted with them.
    """

    def __init__(self, described: _Floats) -> None:
        values = described.astype(np.float64)
        steps = np.arange(_FREQUENCIES)
        prior = 1.0 / np.add.outer(steps, steps).ravel()[1:].astype(np.float64) ** 2
        prior *= max(float((values**2).sum()) / max(len(values), 1), 1e-12) / prior.sum()
        count = len(values) + _PRIOR_IMAGES
        self._mean = values.sum(0) / count
        values -= self._mean
        covariance = (values.T @ values + _PRIOR_IMAGES * np.diag(prior)) / count
        spread, axes = np.linalg.eigh(covariance)
        self._map = axes / np.sqrt(spread)

    def __call__(self, described: _Floats) -> _Floats:
        """Return float32 [N,D] of unit length."""
        white = (described.astype(np.float64) - self._mean) @ self._map
        white /= np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)
        return np.asarray(white, np.float32)


def _pairs(described: _Floats) -> list[tuple[int, int, Change | None]]:
    """Return pairs that come close, first < second, and how one has to be turned for it.

    Those that are not turned come first, and of each kind the closest.
    """
    whiten = _Whitening(described)
    white = whiten(described)
    plain = [(a, b, None) for a, b in _candidates(white, white, CANDIDATE_COSINE).tolist()]
    sizes = np.abs(described)
    whiten_sizes = _Whitening(sizes)
    white_sizes = whiten_sizes(sizes)
    transposed = whiten_sizes(_TRANSPOSED.of_descriptor(sizes))
    alike = np.concatenate(
        [_candidates(white_sizes, other, _ALIKE_COSINE) for other in (white_sizes, transposed)]
    )
    turned_pairs = []
    for change in _CHANGES:
        other = whiten(change.of_descriptor(described))
        for start in range(0, len(alike), _TILE):
            a, b = alike[start : start + _TILE].T
            cosine = np.einsum("nd,nd->n", white[a], other[b])
            turned_pairs += [
                (float(value), int(first), int(second), change)
                for value, first, second in zip(cosine, a, b, strict=True)
                if value > CANDIDATE_COSINE
            ]
    turned_pairs.sort(key=lambda pair: -pair[0])
    return plain + [pair[1:] for pair in turned_pairs]


def _candidates(white: _Floats, other: _Floats, least_cosine: float) -> npt.NDArray[np.int64]:
    """Return int64 [P,2], first < second, the closest first, of rows of the one and the other."""
    pairs = [np.empty((0, 2), np.int64)]
    cosines = [np.empty(0, np.float32)]
    for rows, columns, cosine in _tiles(white, other):
        near = cosine > least_cosine
        if not near.any():
            continue
        crowded = np.flatnonzero(near.sum(1) > _MOST_A_ROW)
        for row in crowded:
            least = np.partition(cosine[row], -_MOST_A_ROW)[-_MOST_A_ROW]
            near[row] &= cosine[row] >= least
        a, b = np.nonzero(near)
        pairs.append(np.stack([a + rows, b + columns], 1).astype(np.int64))
        cosines.append(cosine[near])
    order = np.argsort(-np.concatenate(cosines), kind="stable")
    return np.concatenate(pairs)[order]


def _tiles(white: _Floats, other: _Floats) -> Iterator[tuple[int, int, _Floats]]:
    """Yield the upper triangle of the cosine matrix in tiles, -1 on and under the diagonal."""
    for rows in range(0, len(white), _TILE):
        for columns in range(rows, len(white), _TILE):
            cosine = white[rows : rows + _TILE] @ other[columns : columns + _TILE].T
            if rows == columns:
                cosine[np.tril_indices(len(cosine))] = -1.0
            yield rows, columns, cosine


def _detail(image: npt.NDArray[np.uint8], side: int, sigma: float) -> _Floats:
    """Return float32 [side,side]: what is finer than sigma, at a contrast even over the image."""
    small = cv2.resize(np.asarray(image), (side, side), interpolation=cv2.INTER_AREA)
    # One pixel of blur: copies that were resampled or compressed differ in noise, not in anatomy.
    values = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 1.0)
    fine = values - cv2.GaussianBlur(values, (0, 0), sigma)
    # One grey level is added so that noise in flat black is not raised to the height of ribs.
    local = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 2 * sigma)) + 1.0
    return np.asarray(fine / local, np.float32)


def _scaled(matrix: npt.NDArray[np.float64], ratio: float) -> npt.NDArray[np.float64]:
    """Return an affine map between images as it is between the same images `ratio` times larger.

    Pixel centres: x in the small image is ratio * (x + 0.5) - 0.5 in the large.
    """
    offset = (ratio - 1) / 2
    scaled = matrix.copy()
    scaled[:, 2] = ratio * matrix[:, 2] + offset - matrix[:, :2] @ np.full(2, offset)
    return scaled


class _Forest:
    """Disjoint sets (Galler and Fischer, CACM 1964) that know their weakest link."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._weakest = [1.0] * count

    def _root(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = row = self._parent[self._parent[row]]
        return row

    def joined(self, first: int, second: int) -> bool:
        return self._root(first) == self._root(second)

    def join(self, first: int, second: int, link: float) -> None:
        a, b = sorted((self._root(first), self._root(second)))
        self._parent[b] = a
        self._weakest[a] = min(self._weakest[a], self._weakest[b], link)

    def groups(self) -> list[Group]:
        members: dict[int, list[int]] = {}
        for row in range(len(self._parent)):
            members.setdefault(self._root(row), []).append(row)
        return [
            Group(tuple(rows), self._weakest[root], ("",) * len(rows))
            for root, rows in members.items()
            if len(rows) > 1
        ]
