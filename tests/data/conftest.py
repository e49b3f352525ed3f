"""Small stores made of images that a test draws itself."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from thorax.data.samples import Sample
from thorax.data.store import Store, open_store, write
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14

Image = npt.NDArray[np.uint8]
MakeRows = Callable[..., list[Sample]]
MakeStore = Callable[..., Store]


@pytest.fixture
def noise() -> Callable[[int, int], list[Image]]:
    """Return a maker of `count` different images of a side."""

    def make(count: int, side: int = 32) -> list[Image]:
        rng = np.random.default_rng(7)
        return list(rng.integers(0, 256, (count, side, side), dtype=np.uint8))

    return make


@pytest.fixture
def make_rows(tmp_path: Path) -> MakeRows:
    """Return a maker of rows whose files are PNGs, or whatever bytes a test wants them to be."""

    def make(
        images: Sequence[Image | bytes],
        *,
        patients: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
    ) -> list[Sample]:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        rows = []
        for number, image in enumerate(images):
            path = folder / f"{number:04d}.png"
            content = (
                image if isinstance(image, bytes) else cv2.imencode(".png", image)[1].tobytes()
            )
            path.write_bytes(content)
            labels = np.zeros(len(NIH14), np.int8)
            labels[number % len(NIH14)] = 1
            labels[(number + 1) % len(NIH14)] = -1
            rows.append(
                Sample(
                    image=path.name,
                    path=path,
                    patient=patients[number] if patients else f"p{number}",
                    labels=labels,
                    split=splits[number] if splits else None,
                    view=("PA", "AP", None)[number % 3],
                )
            )
        return rows

    return make


@pytest.fixture
def make_store(tmp_path: Path, make_rows: MakeRows) -> MakeStore:
    """Return a maker of stores at the side of the images."""

    def make(images: Sequence[Image], **rows: Sequence[str]) -> Store:
        out = tmp_path / "store"
        write(make_rows(images, **rows), out, InputSpec(len(images[0])), NIH14)
        return open_store(out)

    return make
