"""A table with a row a box, reader or mask is told by its columns, and this is said."""

from pathlib import Path

import pytest
from tests.data import test_chexpert, test_rsna, test_siim, test_vindr
from tests.data.tables import save, touch

from thorax.data import released
from thorax.data.names import without_ending


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("chexpert", test_chexpert.TRAIN),
        ("rsna", test_rsna.LABELS),
        ("vindr", test_vindr.BOXES),
        ("vindr", test_vindr.LABELS),
        ("siim", test_siim.LABELS),
    ],
)
def test_a_released_table_is_read_as_its_data_set(
    tmp_path: Path, name: str, lines: tuple[str, ...]
) -> None:
    touch(
        tmp_path / "images",
        *{without_ending(line.partition(",")[0]) + ".dcm" for line in lines[1:]},
    )
    read = released.read(tmp_path / "images", labels=save(tmp_path / "t.csv", *lines))
    assert read.name == name
    assert f"`data import {name}`" in read.conventions[0]


def test_any_other_table_is_one_of_a_row_an_image(tmp_path: Path) -> None:
    touch(tmp_path / "images", "a.png")
    table = save(tmp_path / "t.csv", "image,patient,Target", "a,1,1")
    read = released.read(tmp_path / "images", labels=table)
    assert (read.name, read.label_set.findings) == ("folder", ("Target",))
