"""Servers whose constants were published, each in a TOML file that names every source."""

import difflib
from pathlib import Path
from typing import Final

from thorax.config import load
from thorax.errors import UsageError
from thorax.plan.server import Server

PRESETS: Final = ("r740", "r640", "r740-2019")

_FOLDER: Final = Path(__file__).parent / "servers"


def find_preset(name: str) -> Server:
    """Return a server by name.

    Raises:
        UsageError: `plan-preset` for a name that is none, with the nearest.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UsageError(
            "plan-preset",
            f"preset is {name!r}; the nearest is {near}; allowed are {', '.join(PRESETS)}",
        )
    return load(_FOLDER / f"{name}.toml", Server)
