"""What a benchmark leaves behind: a table for people and a JSON file that another can repeat."""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from thorax.files.atomic import write_text

RESULTS: Final = Path(__file__).parent / "results"
PACKAGES: Final = ("thorax", "openvino", "numpy", "opencv-python-headless", "kornia-rs")
_INSTRUCTIONS: Final = (
    "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "amx_bf16",
)  # fmt: skip
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_NO_RESULTS: Final = ":!benchmarks/results"
_TREE: Final = Path(__file__).resolve().parents[1]


def hardware() -> dict[str, Any]:
    """Return what speed depends on: processor, how many, instructions, memory in bytes, governor.

    The governor of the clock is None where Linux does not show it, as in most virtual machines.
    """
    facts = Path("/proc/cpuinfo").read_text("utf-8")
    model = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", facts, re.MULTILINE)
    known = flags.group(1).split() if flags else []
    return {
        "cpu": model.group(1).strip() if model else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "instructions": [name for name in _INSTRUCTIONS if name in known],
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "governor": _GOVERNOR.read_text("ascii").strip() if _GOVERNOR.exists() else None,
    }


def commit(tree: Path = _TREE) -> str:
    """Return what git calls a checkout; "-dirty" where more than results is not as committed."""
    described = _git(tree, "describe", "--always", "--abbrev=12")
    changed = _git(tree, "status", "--porcelain", "--untracked-files=no", "--", ".", _NO_RESULTS)
    return f"{described}-dirty" if changed else described


def _git(tree: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=tree, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def timed(
    command: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[float, float]:
    """Return wall clock and processor time, s, of a process that must succeed, and its children.

    Python may keep its byte code, as that of an installed program does.

    Args:
        command: what is run.
        environment: variables that it has beside those of this process.
    """
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**kept, **environment},
    )
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    elapsed_s = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command[1:])} ended with {process.returncode}: {said.decode()}"
        )
    return elapsed_s, used.ru_utime + used.ru_stime


def write(
    claim: str,
    document: Mapping[str, Any],
    *,
    packages: Sequence[str] = PACKAGES,
    folder: Path = RESULTS,
) -> Path:
    """Write `results/<claim>_<hardware>_<date>.json`, with hardware and versions, and return it.

    A second run of a day on the same hardware takes the place of the first.

    Args:
        claim: what is measured.
        document: all that is said of it.
        packages: whose versions are told.
        folder: that the file is written into.
    """
    machine, now = hardware(), datetime.now(UTC)
    words = re.findall(r"[A-Za-z0-9.]+", machine["cpu"])
    name = f"{'-'.join(words)}-{machine['processors']}-cores-{_features(machine)}".lower()
    path = folder / f"{claim}_{name}_{now:%Y-%m-%d}.json"
    path.parent.mkdir(exist_ok=True, parents=True)
    whole = {
        "claim": claim,
        "date": f"{now:%Y-%m-%d}",
        "commit": commit(),
        "hardware": machine,
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        **document,
    }
    write_text(path, json.dumps(whole, indent=2, allow_nan=False) + "\n")
    return path


def _features(machine: Mapping[str, Any]) -> str:
    """Return what of its instructions tells a machine from others of its name."""
    known = machine["instructions"]
    for name, words in (("amx", "amx"), ("bf16", "bf16"), ("vnni", "vnni")):
        if any(words in instruction for instruction in known):
            return name
    return "avx2"


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their header, the first column to the left and the rest to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(title)
    for row in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join((row[0].ljust(widths[0]), *cells)))
