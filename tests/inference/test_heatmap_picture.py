"""Heat maps: peaks between cells, points back on the source, and a picture that does not lie."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as some

from thorax.artifact import HeatmapGrid
from thorax.images.preprocess import letterbox, placement
from thorax.inference.heatmap_picture import COLOUR_MAPS, overlay, peak, to_source

GRID = HeatmapGrid(stride=16, offset=7.5)


def logits(rows: int, columns: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 3, (rows, columns)).astype(np.float32)


@given(some.integers(1, 6), some.integers(1, 6), some.integers(0, 99))
def test_a_peak_is_within_half_a_cell_of_the_largest(rows: int, columns: int, seed: int) -> None:
    cells = logits(rows, columns, seed)
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    x, y = peak(cells, GRID)
    assert abs(x - (7.5 + 16 * column)) <= 8
    assert abs(y - (7.5 + 16 * row)) <= 8


@given(some.floats(1.5, 4.4), some.floats(1.5, 4.4))
def test_the_top_of_a_parabola_is_found_between_the_cells(column: float, row: float) -> None:
    rows, columns = np.mgrid[0:7, 0:7]
    cells = (-((rows - row) ** 2) - 2 * (columns - column) ** 2).astype(np.float32)
    assert peak(cells, GRID) == pytest.approx((7.5 + 16 * column, 7.5 + 16 * row), abs=0.01)


def test_a_flat_map_and_a_ridge_have_a_peak_all_the_same() -> None:
    assert peak(np.zeros((3, 3), np.float32), GRID) == (7.5, 7.5)
    ridge = np.array([[0, 1, 1, 0]] * 3, np.float32)
    x, y = peak(ridge, GRID)
    assert (x, y) == (7.5 + 16 * 1.5, 7.5)
    assert peak(np.ones((1, 1), np.float32), GRID) == (7.5, 7.5)


@given(
    some.integers(1, 600),
    some.integers(1, 600),
    some.integers(16, 300),
    some.floats(0, 1),
    some.floats(0, 1),
)
def test_a_point_goes_to_the_square_and_back(
    height: int, width: int, side: int, across: float, down: float
) -> None:
    x, y = across * (width - 1), down * (height - 1)
    place = placement(height, width, side)
    square = (
        place.left + (x + 0.5) * place.width / width - 0.5,
        place.top + (y + 0.5) * place.height / height - 0.5,
    )
    assert to_source(square, height, width, side) == pytest.approx((x, y), abs=1e-6)


@pytest.mark.parametrize("shape", [(128, 128), (200, 100), (90, 300)])
@pytest.mark.parametrize("side", [32, 48])
def test_the_centre_of_a_bright_spot_is_found_again_on_the_source(
    shape: tuple[int, int], side: int
) -> None:
    height, width = shape
    image = np.zeros(shape, np.uint8)
    y, x = height * 5 // 8, width * 3 // 8
    reach = max(2, min(shape) // 12)
    image[y - reach : y + reach + 1, x - reach : x + reach + 1] = 255
    square = letterbox(image, side)[0].astype(np.float64)
    rows, columns = np.mgrid[0:side, 0:side]
    centre = ((columns * square).sum() / square.sum(), (rows * square).sum() / square.sum())
    tolerance = 0.6 * max(shape) / side
    assert to_source(centre, *shape, side) == pytest.approx((x, y), abs=tolerance)


def test_a_point_on_the_black_border_is_moved_to_the_edge_of_the_source() -> None:
    assert to_source((0, -5), 100, 50, 64) == (0, 0)
    assert to_source((63, 80), 100, 50, 64) == (49, 99)


def panel(
    cells: npt.NDArray[np.float32], grid: HeatmapGrid, side: int, **options: object
) -> npt.NDArray[np.uint8]:
    """Return the coloured panel of the picture of a black image, uint8 [H,H,3]."""
    height = int(str(options.setdefault("height", 512)))
    picture = overlay(np.zeros((side, side), np.uint8), cells, grid, title="t", **options)  # type: ignore[arg-type]
    return picture[34 : 34 + height, height + 8 : 2 * height + 8]


@pytest.mark.parametrize(
    ("side", "shape", "grid"),
    [
        (48, (3, 3), HeatmapGrid(stride=16, offset=0.5)),
        (48, (2, 2), HeatmapGrid(stride=32, offset=0.5)),
        (128, (4, 4), HeatmapGrid(stride=32, offset=15.5)),
        (100, (7, 7), HeatmapGrid(stride=16, offset=-3)),
    ],
)
@pytest.mark.parametrize("colours", COLOUR_MAPS)
def test_a_tile_is_where_its_receptive_field_is_the_nearest(
    side: int, shape: tuple[int, int], grid: HeatmapGrid, colours: str
) -> None:
    cells = np.linspace(-4, 4, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    drawn = panel(cells, grid, side, colours=colours).astype(int)
    at = (np.arange(512) + 0.5) * side / 512 - 0.5
    nearest = []
    clear = np.ones(512, bool)
    for count in shape:
        away = np.abs(at[:, None] - (grid.offset + grid.stride * np.arange(count)))
        order = np.sort(away, axis=1)
        # Lines between the tiles are darkened: they are a pixel wide, half way between centres.
        clear &= order[:, 1] - order[:, 0] > 2.1 * side / 512
        nearest.append(away.argmin(axis=1))
    scale = {"inferno": cv2.COLORMAP_INFERNO, "viridis": cv2.COLORMAP_VIRIDIS}[colours]
    level = np.rint(255 * (cells.astype(np.float64) - cells.min()) / np.ptp(cells)).astype(np.uint8)
    colour = cv2.applyColorMap(level, scale).reshape(*shape, 3).astype(float) * 0.45
    wanted = colour[np.ix_(*nearest)]
    assert np.abs(drawn - wanted)[np.ix_(clear, clear)].max() <= 1
    assert clear.mean() > 0.9


def test_lines_are_drawn_half_way_between_the_centres_and_nowhere_else() -> None:
    grid = HeatmapGrid(stride=16, offset=0.5)
    drawn = panel(np.full((3, 3), 3, np.float32), grid, 48).astype(int).sum(axis=2)
    usual = np.median(drawn)
    columns = np.flatnonzero(np.median(drawn, axis=0) < usual)
    half_way = (np.array([0.5 + 8, 0.5 + 24]) + 0.5) * 512 / 48
    assert columns == pytest.approx(half_way, abs=1)
    assert np.flatnonzero(np.median(drawn, axis=1) < usual).tolist() == columns.tolist()


def test_the_left_half_is_the_radiograph_untinted() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    picture = overlay(
        image, logits(2, 2), HeatmapGrid(stride=32, offset=15.5), title="t", height=64
    )
    left = picture[34 : 34 + 64, :64]
    assert np.array_equal(left, np.repeat(image[:, :, None], 3, axis=2))


def test_colours_span_the_map_and_the_scale_names_its_ends() -> None:
    grid = HeatmapGrid(stride=24, offset=11.5)
    weak = np.array([[-5, -4], [-3, -5]], np.float32)
    strong = 10 * weak
    one, two = (
        overlay(np.zeros((48, 48), np.uint8), cells, grid, title="") for cells in (weak, strong)
    )
    assert np.array_equal(one[:, :1042], two[:, :1042])
    assert not np.array_equal(one[:, 1042:], two[:, 1042:])


def test_a_map_without_any_difference_is_drawn_at_the_low_end() -> None:
    grid = HeatmapGrid(stride=24, offset=11.5)
    drawn = panel(np.full((2, 2), 2000, np.float32), grid, 48)
    low = panel(np.array([[0, 1], [1, 1]], np.float32), grid, 48)
    assert np.array_equal(drawn[:200, :200], low[:200, :200])
    assert np.array_equal(drawn[300:, 300:], drawn[:212, :212])


def test_the_picture_says_what_it_is_not() -> None:
    blank = overlay(np.zeros((48, 48), np.uint8), logits(3, 3), GRID, title="")
    titled = overlay(np.zeros((48, 48), np.uint8), logits(3, 3), GRID, title="Mass  0.93")
    assert (blank[-28:] > 100).any()
    assert not (blank[:34] > 100).any()
    assert (titled[:34] > 100).any()
    assert np.array_equal(blank[34:], titled[34:])
