"""Several finished stores read as one: a data set larger than one import, or than one disk.

The pixels stay where they are; only the tables are joined. Image i of the second store is image
N1 + i of the whole, so the order of the stores is part of a run's identity.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thorax.data.samples import Images
from thorax.data.store import Store, open_store
from thorax.errors import DataError


class ShardedImages:
    """The images of several stores in a row, uint8 [N,S,S], read where they lie."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self._parts = tuple(parts)
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S)."""
        return (len(self), *self._parts[0].shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return sum(part.nbytes for part in self._parts)

    def locate(self, row: int) -> tuple[Images, int]:
        """Return the images of the shard that holds a row, and which of them it is.

        Raises:
            IndexError: unless row is 0 to N - 1.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} images")
        number = bisect_right(self._ends, row)
        return self._parts[number], row - (self._ends[number - 1] if number else 0)

    def __getitem__(self, rows: Any, /) -> npt.NDArray[np.uint8]:  # noqa: ANN401
        if isinstance(rows, int | np.integer):
            part, place = self.locate(int(rows))
            return part[place]
        return np.stack([self[row] for row in np.asarray(rows, np.int64)])

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        for part in self._parts:
            yield from part

    def __len__(self) -> int:
        return self._ends[-1]


def open_stores(paths: Sequence[Path]) -> Store:
    """Open finished stores as one; a single path is that store and nothing else.

    Raises:
        DataError: as `open_store`; `shard-side` or `shard-labels` for stores that differ,
            `shard-twice` for an image name or source file in two of them, `shard-leak` for a
            patient in two splits.
    """
    stores = [open_store(path) for path in paths]
    first = stores[0]
    if len(stores) == 1:
        return first
    for other in stores[1:]:
        _require_alike(first, other)
    _require_once(stores)
    _require_no_leak(stores)
    return Store(
        path=Path(" + ".join(map(str, paths))),
        images=ShardedImages([store.images for store in stores]),
        labels=np.concatenate([store.labels for store in stores]),
        names=tuple(name for store in stores for name in store.names),
        patients=tuple(patient for store in stores for patient in store.patients),
        splits=tuple(split for store in stores for split in store.splits),
        views=tuple(view for store in stores for view in store.views),
        ages=tuple(age for store in stores for age in store.ages),
        sexes=tuple(sex for store in stores for sex in store.sexes),
        digests=tuple(digest for store in stores for digest in store.digests),
        boxes=tuple(boxes for store in stores for boxes in store.boxes),
        label_set=first.label_set,
        source=" + ".join(dict.fromkeys(store.source for store in stores)),
        warnings=tuple(codes for store in stores for codes in store.warnings),
    )


def _require_alike(first: Store, other: Store) -> None:
    if first.side != other.side:
        raise DataError(
            "shard-side",
            f"{first.path} holds {first.side}-pixel images and {other.path} {other.side}-pixel "
            "ones; import both with the same --size",
        )
    if first.label_set != other.label_set:
        raise DataError(
            "shard-labels",
            f"{first.path} is labelled {first.label_set.name} "
            f"({', '.join(first.label_set.findings)}) and {other.path} {other.label_set.name} "
            f"({', '.join(other.label_set.findings)}); import both with the same labels",
        )


def _require_once(stores: Sequence[Store]) -> None:
    """Refuse what two stores hold; copies within one are for `data check`."""
    for what, columns in (
        ("an image named", [store.names for store in stores]),
        ("a file of SHA-256", [store.digests for store in stores]),
    ):
        where: dict[str, Store] = {}
        for store, column in zip(stores, columns, strict=True):
            for value in column:
                if where.setdefault(value, store) is not store:
                    raise DataError(
                        "shard-twice",
                        f"{where[value].path} and {store.path} both hold {what} {value}; "
                        "leave one of the stores out, or import it without that image",
                    )


def _require_no_leak(stores: Sequence[Store]) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for store in stores:
        for patient, split in zip(store.patients, store.splits, strict=True):
            before, path = seen.setdefault(patient, (split, store.path))
            if before != split:
                raise DataError(
                    "shard-leak",
                    f"patient {patient} is in the {before} split of {path} and in the {split} "
                    f"split of {store.path}; import with one list of splits, or with identifiers "
                    "that tell patients of different sources apart",
                )
