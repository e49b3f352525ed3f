"""What a benchmark leaves behind: a table for people and a JSON file that another can repeat.

A result for the record is of committed code alone; `--rehearsal FOLDER` is the way round, into a
file that says that it is none.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from benchmarks.harness.processors import Processors
from thorax.files.atomic import write_text

RESULTS: Final = Path(__file__).parents[1] / "results"
PACKAGES: Final = ("thorax", "openvino", "numpy", "opencv-python-headless", "kornia-rs")
_INSTRUCTIONS: Final = (
    "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "amx_bf16",
)  # fmt: skip
_CODE: Final = ("--", ".", ":!benchmarks/results", ":!docs", ":!README.md")
"""Of a tree, all but what is written after a measurement."""
_SUFFIXES: Final = (".py", ".c", ".toml")
"""Of what decides a figure where it lies in the tree: code, recipes, architectures, plans."""
_TREE: Final = Path(__file__).resolve().parents[2]
_TIMES: Final = ("%H%M", "%H%M%S", "%H%M%S%f")
"""Of a file's name: the first that no earlier file has."""


def hardware(root: Path = Path("/")) -> dict[str, Any]:
    """Return what speed depends on: processor, how many, instructions, caches, memory, governor.

    A fact is None where Linux does not show it, as the governor of the clock in most virtual
    machines. Caches are in bytes, by level and kind ("L1d", "L2"), each as one processor sees it.

    Args:
        root: folder with `proc` and `sys`.
    """
    facts = (root / "proc/cpuinfo").read_text("utf-8")
    processor = root / "sys/devices/system/cpu/cpu0"

    def fact(name: str) -> str | None:
        match = re.search(rf"^{name}[ \t]*:[ \t]*(\S.*)$", facts, re.MULTILINE)
        return match.group(1).strip() if match else None

    def number(name: str) -> int | None:
        text = fact(name)
        return int(text) if text and text.isdigit() else None

    known = (fact("flags") or "").split()
    return {
        "cpu": fact("model name") or platform.machine(),
        "vendor": fact("vendor_id"),
        "family": number("cpu family"),
        "model": number("model"),
        "stepping": number("stepping"),
        "processors": len(os.sched_getaffinity(0)),
        "threads_per_core": _siblings(_told(processor / "topology/thread_siblings_list")),
        "instructions": [name for name in _INSTRUCTIONS if name in known],
        "caches_bytes": _caches(processor / "cache"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "governor": _told(processor / "cpufreq/scaling_governor"),
    }


def _told(path: Path) -> str | None:
    """Return what a file of the kernel says, None where there is none or nothing in it."""
    try:
        return path.read_text("ascii").strip() or None
    except OSError:
        return None


def _siblings(listed: str | None) -> int | None:
    """Return how many processors a list has: "0-1,4" has three."""
    if listed is None:
        return None
    borders = [[int(number) for number in part.split("-")] for part in listed.split(",")]
    return sum(border[-1] - border[0] + 1 for border in borders)


def _caches(folder: Path) -> dict[str, int] | None:
    """Return the sizes of the caches of a processor, bytes."""
    sizes = {}
    for index in sorted(folder.glob("index*")):
        level, kind, size = (_told(index / name) for name in ("level", "type", "size"))
        match = re.fullmatch(r"(\d+)([KMG]?)", size or "")
        if level and kind and match:
            letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
            sizes[f"L{level}{letter}"] = int(match[1]) << 10 * " KMG".index(match[2] or " ")
    return sizes or None


def changes(tree: Path = _TREE) -> list[str]:
    """Return the files of code that are not as committed, unknown ones among them.

    Results and documents are none: they are written after a measurement.
    """
    changed = _git(tree, "diff", "--name-only", "HEAD", *_CODE).splitlines()
    unknown = _git(tree, "ls-files", "--others", "--exclude-standard", *_CODE).splitlines()
    return changed + [name for name in unknown if name.endswith(_SUFFIXES)]


@cache
def commit(tree: Path = _TREE) -> str:
    """Return what git calls a checkout; "-dirty" where its code is not as committed.

    It is what it was when first asked: a process goes on with the code that it began with.
    """
    described = _git(tree, "describe", "--always", "--abbrev=12")
    return f"{described}-dirty" if changes(tree) else described


def require_committed() -> None:
    """Refuse a result for the record of code that is not committed.

    Raises:
        SystemExit: it is not.
    """
    changed = changes()
    commit()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise SystemExit(
            f"{changed[0]}{more} is not as committed; commit it, or --rehearsal FOLDER for a "
            "result that is not for the record"
        )


def add_rehearsal(parser: argparse.ArgumentParser) -> None:
    """Add `--rehearsal FOLDER`."""
    parser.add_argument(
        "--rehearsal", type=Path, help="folder for a result that is not for the record"
    )


def parse_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return argv of a script that writes a result, with `rehearsal`, and make its folder `work`.

    Code that is not committed is refused now, and not after what is measured, but of a rehearsal.
    """
    add_rehearsal(parser)
    chosen = parser.parse_args()
    if chosen.rehearsal is None:
        require_committed()
    elif chosen.rehearsal.resolve() == RESULTS.resolve():
        parser.error("--rehearsal is the folder of the record; name another")
    make_folder(parser, getattr(chosen, "work", None))
    make_folder(parser, chosen.rehearsal)
    return chosen


def make_folder(parser: argparse.ArgumentParser, folder: Path | None) -> None:
    """Make the folder that an option names, or end as argparse does where it cannot be made."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"the folder {folder} cannot be made: {error.strerror}")


def figures_folder(rehearsal: Path | None) -> Path:
    """Return the folder of the figures of the documents; those of a rehearsal lie in its own."""
    return rehearsal or _TREE / "docs/figures"


def filled_folder(text: str) -> Path:
    """Return a folder that has something in it: the `type` of an argument.

    Raises:
        argparse.ArgumentTypeError: there is none, or nothing in it.
    """
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{folder} is no folder; give one with data")
    if not any(folder.iterdir()):
        raise argparse.ArgumentTypeError(f"{folder} is empty; give a folder with data")
    return folder


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
    rehearsal: Path | None = None,
    modelled: bool = False,
) -> Path:
    """Write a result with hardware, commit and versions into a file of its own, and return it.

    It is `benchmarks/results/<claim>_<hardware>_<date>T<time>.json`, the time that of UTC; `model`
    stands for the hardware of a result that is computed alone.

    Args:
        claim: what is measured.
        document: all that is said of it.
        packages: whose versions are told.
        rehearsal: folder for a result that is not for the record.
        modelled: whether all of it is computed and the same on every machine; hardware and load
            are then no part of it.

    Raises:
        SystemExit: the code is not committed; what was measured is then left in a temporary folder,
            not for the record.
    """
    if rehearsal is None:
        try:
            require_committed()
        except SystemExit as refusal:
            folder = Path(tempfile.mkdtemp(prefix="thorax-benchmarks-"))
            kept = write(claim, document, packages=packages, rehearsal=folder, modelled=modelled)
            raise SystemExit(f"{claim}: {refusal}; what was measured is in {kept}") from None
    now = datetime.now(UTC)
    name, circumstances = ("model", {"modelled": True}) if modelled else _machine()
    whole = {
        "claim": claim,
        "date": f"{now:%Y-%m-%d}",
        "time_utc": f"{now:%H:%M:%S}",
        "commit": commit(),
        **({} if rehearsal is None else {"for_record": False}),
        **circumstances,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        **document,
    }
    path = _new(rehearsal or RESULTS, f"{claim}_{name}_{now:%Y-%m-%d}T", now)
    write_text(path, json.dumps(whole, indent=2, allow_nan=False) + "\n")
    return path


def _machine() -> tuple[str, dict[str, Any]]:
    """Return what a file of this machine is called by, and what it says of hardware and load."""
    machine = hardware()
    words = re.findall(r"[A-Za-z0-9.]+", machine["cpu"])
    kind = Processors.of(machine["instructions"])
    name = f"{'-'.join(words)}-{machine['processors']}-cores-{kind.name}".lower()
    return name, {"hardware": machine, "load_average": round(os.getloadavg()[0], 2)}


def _new(folder: Path, beginning: str, now: datetime) -> Path:
    """Return a path of a folder, which is made, that no file has."""
    folder.mkdir(exist_ok=True, parents=True)
    paths = (folder / f"{beginning}{now.strftime(form)}.json" for form in _TIMES)
    return next(path for path in paths if not path.exists())


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their header, the first column to the left and the rest to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(title)
    for row in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join((row[0].ljust(widths[0]), *cells)))
