"""A graph and its weights: two files beside others that are replaced together.

Two names cannot change in one step. So that a graph never stands beside the weights of another,
and a kill never loses the old pair, the old graph's name is taken away first and both old files
are kept under hidden names until both new ones are there; `recover` puts them back.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from thorax.files import atomic
from thorax.files.places import require_regular, take_mode_and_owner

_ENDINGS: Final = (".bin", ".xml")
"""In the order in which they take their places: the graph is there only with its weights."""


@contextmanager
def new_pair(xml: Path) -> Iterator[Path]:
    """Yield a .xml to write, which with its .bin takes its place only when the block succeeds.

    Raises:
        LockedError: another process replaces the same pair.
        OSError: the disk refuses.
    """
    for ending in _ENDINGS:
        require_regular(xml.with_suffix(ending))
    with atomic.locked(xml):
        recover(xml)
        stem = f".{xml.stem}.{os.getpid()}.{secrets.token_hex(8)}"
        staged, retired = xml.with_name(f"{stem}.partial.xml"), xml.with_name(f"{stem}.old.xml")
        try:
            yield staged
            for ending in _ENDINGS:
                take_mode_and_owner(staged.with_suffix(ending), xml.with_suffix(ending))
                atomic.sync(staged.with_suffix(ending))
            _take_place(staged, xml, retired)
        finally:
            # Without a graph in its place, the old pair is still to be put back.
            for path in (staged, retired) if xml.exists() else (staged,):
                for ending in _ENDINGS:
                    path.with_suffix(ending).unlink(missing_ok=True)


def recover(xml: Path) -> None:
    """Put back a pair that a kill left under hidden names, and remove what is half written.

    Raises:
        OSError: the disk refuses.
    """
    pattern = re.compile(rf"\.{re.escape(xml.stem)}\.\d+\.[0-9a-f]{{16}}\.(partial|old)\.(xml|bin)")
    try:
        left = sorted(one for one in xml.parent.iterdir() if pattern.fullmatch(one.name))
    except FileNotFoundError:
        return
    for path in left:
        # The weights first: until the graph is back, there is no pair.
        if path.name.endswith(".old.xml") and not xml.exists():
            weights = path.with_suffix(".bin")
            if weights.exists():
                weights.replace(xml.with_suffix(".bin"))
            path.replace(xml)
    for path in left:
        path.unlink(missing_ok=True)


def _take_place(staged: Path, xml: Path, retired: Path) -> None:
    there = [ending for ending in _ENDINGS if xml.with_suffix(ending).exists()]
    try:
        for ending in there:
            os.link(xml.with_suffix(ending), retired.with_suffix(ending))
        atomic.sync(xml.parent)
        xml.unlink(missing_ok=True)
        for ending in _ENDINGS:
            staged.with_suffix(ending).replace(xml.with_suffix(ending))
    except BaseException:
        # Ctrl-C and SIGTERM come between any two calls too; `recover` does what is left.
        with contextlib.suppress(OSError):
            for ending in there:
                retired.with_suffix(ending).replace(xml.with_suffix(ending))
        raise
    atomic.sync(xml.parent)
