"""Folders of 1024x1024 radiographs of any length, out of few: what speed is measured on."""

from pathlib import Path

from thorax.inference.sources import find_files
from thorax.phantoms import dataset

PHANTOMS = 64


def folder_of(count: int, out: Path, images: Path | None) -> Path:
    """Return a new folder `out` of `count` links to radiographs, by turns.

    Args:
        count: links.
        out: the folder to make.
        images: radiographs to link to; None draws phantoms at 1024 pixels beside `out`.
    """
    if images is None:
        images = out.parent / "phantoms-1024"
        if not (images / "labels.csv").exists():
            dataset.write(images, count=PHANTOMS, side=1024, seed=1)
    files = list(find_files([images.resolve()]))
    out.mkdir(parents=True)
    for number in range(count):
        source = files[number % len(files)]
        (out / f"{number:06d}{source.suffix}").symlink_to(source)
    return out
