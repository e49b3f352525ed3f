"""Files of a source: what lies below its folder, and which of them the rows of its tables mean."""

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from thorax.data.names import NameIndex
from thorax.data.samples import Sample, Skipped, Views
from thorax.errors import DataError
from thorax.files.atomic import is_ours
from thorax.images.kinds import ENDINGS

logger = logging.getLogger(__name__)

_HIDDEN: Final = "names that begin with a point are hidden and not looked at; rename it"
FRONTAL: Final = ("PA", "AP")
"""View Position (0018,5101) of frontal views."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is below a folder; names that begin with a dot are left out.

    Attributes:
        root: the folder.
        files: what is an image by its name, sorted.
        others: all other files, sorted.
        closed: folders that are not searched, with the reason: `folder-unreadable`, or
            `folder-linked` for a link to a folder, which may lead anywhere, back to here too.
    """

    root: Path
    files: tuple[Path, ...]
    others: tuple[Path, ...]
    closed: tuple[Skipped, ...]

    def without_row(
        self, used: Collection[Path], labels: Path, *others: Path | None
    ) -> list[Skipped]:
        """Return the images that no row of a table names, and what no row can be of."""
        return [
            *(
                Skipped(
                    path.relative_to(self.root).as_posix(),
                    "label-missing",
                    f"{labels.name} has no row",
                )
                for path in self.files
                if path not in used
            ),
            *self.left_out(used, labels, *others),
        ]

    def left_out(self, used: Collection[Path], *tables: Path | None) -> list[Skipped]:
        """Return what no row can be of: `closed`, and `file-unsupported` for the other files.

        Files in `used` are rows by whatever name; tables that describe the source are no images.
        """
        known = {os.path.realpath(table) for table in tables if table is not None}
        reason = f"by its name it is no image ({', '.join(sorted(ENDINGS))})"
        return [
            *self.closed,
            *(
                Skipped(path.relative_to(self.root).as_posix(), "file-unsupported", reason)
                for path in self.others
                if path not in used and os.path.realpath(path) not in known
            ),
        ]


def search(folder: Path) -> Search:
    """Return what is below a folder, and which parts of it cannot be looked into.

    Raises:
        DataError: `folder-missing`, for a folder that cannot be read too.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where it may not look
        raise DataError("folder-missing", f"{folder} is no folder; give the folder of the images")
    files: list[Path] = []
    others: list[Path] = []
    closed: list[Skipped] = []

    def tell(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DataError(
                "folder-missing",
                f"{folder} cannot be read: {error.strerror}; give a folder that can",
            ) from error
        name = Path(error.filename).relative_to(folder).as_posix()
        closed.append(Skipped(name, "folder-unreadable", f"it cannot be read: {error.strerror}"))

    for base, folders, names in os.walk(folder, onerror=tell):
        images = [name for name in names if Path(name).suffix.lower() in ENDINGS]
        for name in (*folders, *images):
            if name.startswith(".") and not is_ours(name):
                hidden = Path(base, name).relative_to(folder).as_posix()
                closed.append(Skipped(hidden, "name-hidden", _HIDDEN))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(base, name) for name in folders):
            # Path.is_symlink raises where it may not look.
            if os.path.islink(path):  # noqa: PTH114
                reason = "links to folders are not followed; give the folder itself too"
                closed.append(Skipped(path.relative_to(folder).as_posix(), "folder-linked", reason))
        for path in (Path(base, name) for name in names if not name.startswith(".")):
            (files if path.suffix.lower() in ENDINGS else others).append(path)
    closed.sort(key=lambda skip: skip.image)
    return Search(folder, tuple(sorted(files)), tuple(sorted(others)), tuple(closed))


def _missing(name: str, listing: Search, images: Path) -> Skipped:
    """Say why there is no file for a row: for all that can be known, it may not be readable."""
    unreadable = [skip for skip in listing.closed if skip.code == "folder-unreadable"]
    path = Path(os.path.normpath(name))
    for skip in unreadable:
        if any(
            part.is_relative_to(skip.image) for part in (path, Path(*path.parts[1:])) if part.parts
        ):
            return Skipped(name, "folder-unreadable", f"its folder {skip.image}: {skip.message}")
    note = f", of which {len(unreadable)} folders cannot be read" if unreadable else ""
    return Skipped(name, "image-missing", f"{name} is not in {images.name}{note}")


class _Finder:
    """Files below one folder, by whatever a table calls them; see `NameIndex`."""

    def __init__(self, listing: Search, tables: Iterable[Path]) -> None:
        self.root = Path(os.path.normpath(listing.root))
        self._beside = dict.fromkeys(Path(os.path.normpath(table.parent)) for table in tables)
        self._files = frozenset((*listing.files, *listing.others))
        self._listing = listing

    @cached_property
    def _groups(self) -> list[tuple[Sequence[Path], NameIndex]]:
        """Images, then other files; not made where a table has every path as it is."""
        return [
            (files, NameIndex([path.relative_to(self._listing.root).as_posix() for path in files]))
            for files in (self._listing.files, self._listing.others)
        ]

    def path(self, name: str) -> Path | None:
        """Return the file that a table means, which lies inside the folder, or None.

        Raises:
            DataError: `path-outside`, or `image-ambiguous`.
        """
        if not name or "\0" in name:
            raise self._outside(name)
        plain = name.replace("\\", "/")
        # A path may begin at the folder of the images, or, as spreadsheets do, at the table.
        within = [
            path.relative_to(self.root)
            for path in (
                Path(os.path.normpath(base / plain)) for base in (self.root, *self._beside)
            )
            if path.is_relative_to(self.root) and path != self.root
        ]
        for relative in within:
            # Path.is_file raises for a name that is too long, or where it may not look.
            candidate = self._listing.root / relative
            if candidate in self._files or os.path.isfile(candidate):  # noqa: PTH113
                return candidate
        if not within and (".." in plain.split("/") or plain in (".", "./")):
            raise self._outside(name)
        for files, index in self._groups:
            matches = index.find(name)
            if len(matches) > 1:
                raise self._ambiguous(name, [files[row] for row in matches])
            if matches:
                return files[matches[0]]
        if not within and os.path.lexists(plain):
            raise self._outside(name)
        return None

    def _outside(self, name: str) -> DataError:
        return DataError(
            "path-outside",
            f"the table names {name!r}, which is not a file inside {self.root}; "
            "write paths relative to the folder of the images",
        )

    def _ambiguous(self, name: str, paths: Sequence[Path]) -> DataError:
        first, second = (path.relative_to(self._listing.root) for path in paths[:2])
        return DataError(
            "image-ambiguous",
            f"{name!r} is several files under {self.root}, among them {first} and {second}; "
            "write its path or give the folder that holds one of them",
        )


@dataclass(frozen=True, slots=True)
class Located:
    """Rows of tables whose files are there, and what was left out."""

    rows: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]


def locate(
    rows: Iterable[Sample | Skipped],
    listing: Search,
    labels: Path,
    *,
    others: Sequence[Path | None] = (),
    views: Views = "frontal",
) -> Located:
    """Return rows with the files that their names mean.

    Args:
        rows: as tables describe them, with those that are left out for what they say; the paths
            are not looked at.
        listing: of the folder of the images.
        labels: the table that names the images.
        others: further tables, which are no images.
        views: which are taken of those that a table calls by another name than PA or AP.

    Raises:
        DataError: `label-twice` for a file that two rows mean, `path-outside`, `image-ambiguous`,
            or `source-empty`.
    """
    finder = _Finder(listing, [labels, *(table for table in others if table is not None)])
    seen: dict[Path, str] = {}
    outcomes = list(_outcomes(rows, finder, listing, labels, seen, views))
    skipped = [skip for skip in outcomes if isinstance(skip, Skipped)]
    skipped += listing.without_row(seen, labels, *others)
    located = tuple(row for row in outcomes if isinstance(row, Sample))
    require_rows(located, skipped, listing.root, labels)
    return Located(located, tuple(skipped))


def _outcomes(
    rows: Iterable[Sample | Skipped],
    finder: _Finder,
    listing: Search,
    labels: Path,
    seen: dict[Path, str],
    views: Views,
) -> Iterator[Sample | Skipped]:
    """Yield what becomes of each row of a table; the files that rows name are added to `seen`."""
    for row in rows:
        path = finder.path(row.image)
        if isinstance(row, Skipped):
            seen.update({} if path is None else {path: row.image})
            yield row
            continue
        if path is None:
            yield _missing(row.image, listing, listing.root)
            continue
        if path in seen:
            both = {row.image, seen[path]}
            raise DataError(
                "label-twice",
                f"{labels.name} has {' and '.join(map(repr, sorted(both)))} "
                f"{'twice' if len(both) == 1 else 'for one file'}; keep one row an image",
            )
        seen[path] = row.image
        if views == "frontal" and row.view is not None and row.view not in FRONTAL:
            yield not_frontal(row.image, f"its table calls it {row.view}")
            continue
        yield replace(row, path=path, frontal=views == "frontal")


def not_frontal(image: str, why: str) -> Skipped:
    """Return why an image of another view is left out."""
    message = f"{why}; only frontal views (PA, AP) are learned from, --views all takes every one"
    return Skipped(image, "view-not-frontal", message)


def report(
    skipped: Sequence[Skipped], images: Path, on_skip: Callable[[Skipped], None] | None
) -> None:
    """Report what a source left out; without a listener it is counted in the log."""
    if on_skip is not None:
        for skip in skipped:
            on_skip(skip)
    elif skipped:
        logger.warning("left out of %s: %d files", images.name, len(skipped))


def require_rows(
    rows: Sequence[Sample], skipped: Sequence[Skipped], images: Path, labels: Path
) -> None:
    """Refuse a source of which no image is left.

    Raises:
        DataError: `source-empty`.
    """
    if rows:
        return
    first = f"; the first is {skipped[0].image}: {skipped[0].message}" if skipped else ""
    raise DataError(
        "source-empty",
        f"no image under {images} has a row in {labels.name}; "
        f"{len(skipped)} were left out; check that the two belong together{first}",
    )
