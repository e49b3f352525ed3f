"""Commands of Thorax, run in a process of their own, and what they answer."""

import json
import subprocess
import sys
from typing import Any


def thorax(*words: object, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run one command and return its JSON document."""
    command = [sys.executable, "-m", "thorax", *map(str, words), "--json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if run.returncode not in allowed:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")
    return dict(json.loads(run.stdout))
