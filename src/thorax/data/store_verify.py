"""Whether a store, or an import that was interrupted, is still what was written, piece by piece."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from thorax.data.store_facts import (
    FACTS,
    HEADS,
    JOURNAL,
    PARTIAL,
    PIXELS,
    PLAN,
    read_facts,
    read_part,
    read_plan,
)
from thorax.data.store_pixels import (
    Decoded,
    find_damage,
    holds,
    open_pixels,
    opened_regular,
    read_journal,
)
from thorax.errors import DataError
from thorax.files.documents import Piece

_REPEAT: Final = "repeat the same import, which decodes anew what is damaged"

Progress = Callable[[int, int], None]


def is_import(path: Path) -> bool:
    """Return whether a folder is that of an import that was interrupted."""
    return path.name.endswith(PARTIAL) and any(
        (path / name).is_file() for name in (PLAN, JOURNAL, FACTS)
    )


def verify(
    path: Path, on_progress: Progress | None = None, *, exact: bool = True
) -> Iterator[Piece]:
    """Yield every file of a finished store, with what is wrong with it; all pixels are read.

    Progress is (images read, images in all). Where not `exact` images.u8 may be longer, before an
    import has cut it.
    """
    try:
        facts = read_facts(path)
    except DataError as error:
        yield Piece.of(path, FACTS, error.message)
        for name in (*HEADS, PIXELS):
            yield Piece.unknown(path, name, FACTS)
        return
    yield Piece.of(path, FACTS, None)
    index: list[list[str]] | None = None
    for name in HEADS:
        damage = None
        try:
            rows = read_part(path, facts, name)
            index = rows if name == "index.csv" else index
        except DataError as error:
            damage = error.message
        yield Piece.of(path, name, damage)
    if index is None:
        yield Piece.unknown(path, PIXELS, "index.csv")
        return
    names = [row[0] for row in index]
    try:
        images = open_pixels(path, facts, index, exact=exact)
        refusal = find_damage(path, images, names, on_progress)
    except DataError as error:
        refusal = error
    yield Piece.of(path, PIXELS, None if refusal is None else refusal.message)


def verify_import(path: Path, on_progress: Progress | None = None) -> Iterator[Piece]:
    """Yield every file of an interrupted import, with what is wrong with it.

    A last line of the journal that a kill cut off is not; neither are images without a line.
    """
    if (path / FACTS).is_file():
        yield from verify(path, on_progress, exact=False)
        return
    try:
        side = read_plan(path).side
    except DataError as error:
        for name in (PLAN, JOURNAL, PIXELS):
            yield Piece.of(path, name, error.message)
        return
    yield Piece.of(path, PLAN, None)
    if not (path / JOURNAL).exists():
        return
    try:
        told = read_journal(path / JOURNAL)
    except OSError as error:
        yield Piece.of(path, JOURNAL, f"it cannot be read: {error.strerror}; {_REPEAT}")
        return
    bad = told.bad - told.torn
    damage = f"{bad:,} lines are not what was written; {_REPEAT}" if bad > 0 else None
    yield Piece.of(path, JOURNAL, damage)
    yield Piece.of(path, PIXELS, _import_damage(path, side, told.done, on_progress))


def _import_damage(
    path: Path, side: int, done: dict[int, Decoded], on_progress: Progress | None
) -> str | None:
    bad = []
    try:
        with opened_regular(path / PIXELS) as pixels:
            for number, item in enumerate(done.values()):
                if not holds(pixels, item, side):
                    bad.append(item.number)
                if on_progress is not None:
                    on_progress(number + 1, len(done))
    except OSError as error:
        return f"it cannot be read: {error.strerror}; {_REPEAT}"
    if not bad:
        return None
    return f"{len(bad):,} of {len(done):,} images are not what was written; {_REPEAT}"
