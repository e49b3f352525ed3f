"""What a launcher says of this process: the variables of torchrun, looked at before torch is.

torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Processes
that srun or mpirun started without it do not know each other: each would train alone, into the
same folder.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from thorax.errors import UsageError

_NUMBERS: Final = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_PLACE: Final = ("MASTER_ADDR", "MASTER_PORT")
_DIGITS: Final = re.compile(r"[0-9]{1,8}")
_MOST_RANKS: Final = 1 << 20
_STRANGERS: Final = (
    ("srun", ("SLURM_PROCID",), ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS")),
    ("mpirun", ("OMPI_COMM_WORLD_RANK",), ("OMPI_COMM_WORLD_SIZE",)),
    (
        "mpirun",
        ("PMIX_RANK", "PMI_RANK"),
        ("PMI_SIZE", "PMIX_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
    ),
    ("mpirun", ("MV2_COMM_WORLD_RANK",), ("MV2_COMM_WORLD_SIZE",)),
)
"""Launchers of others, the variables that number a process and those that count them."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What the launcher says of this process; other fields as of `thorax.training.parallel.Ranks`.

    Attributes:
        port: of the lead, where the ranks meet.
        job: a name for the job, None where the launcher has none.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    port: int
    restarts: int
    job: str | None


def read_launcher(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """Return what a launcher says of this process, None for one that nobody launched.

    Raises:
        UsageError: `launcher`, naming the variable that is missing or cannot be.
    """
    present = [name for name in _NUMBERS if name in environment]
    if not present:
        _refuse_strangers(environment)
        return None
    missing = [name for name in (*_NUMBERS, *_PLACE) if not environment.get(name, "").strip()]
    if missing:
        raise UsageError(
            "launcher",
            f"{present[0]} is {environment[present[0]]!r}, but there is no {', '.join(missing)}; "
            f"start ranks by torchrun, which sets all of them, or unset {', '.join(present)}",
        )
    world = _number(environment, "WORLD_SIZE", 1, _MOST_RANKS)
    local_world = _number(environment, "LOCAL_WORLD_SIZE", 1, world)
    job = environment.get("TORCHELASTIC_RUN_ID", "none")
    restarts = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Launched(
        rank=_number(environment, "RANK", 0, world - 1),
        world=world,
        local_rank=_number(environment, "LOCAL_RANK", 0, local_world - 1),
        local_world=local_world,
        port=_number(environment, "MASTER_PORT", 1, 65535),
        restarts=int(restarts) if _DIGITS.fullmatch(restarts) else 0,
        job=None if job == "none" else job,
    )


def require_interfaces(backend: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a network interface that this host has not.

    Of "gloo" GLOO_SOCKET_IFNAME is looked at, which takes names; of "nccl" NCCL_SOCKET_IFNAME,
    which takes beginnings of names and the forms ^NAME (all but) and =NAME (exactly).

    Raises:
        UsageError: `launcher`.
    """
    variable = "NCCL_SOCKET_IFNAME" if backend == "nccl" else "GLOO_SOCKET_IFNAME"
    given = environment.get(variable, "")
    if not given:
        return
    here = [name for _, name in socket.if_nameindex()]
    if backend == "nccl":
        exact, names = given.startswith("="), given.lstrip("^=").split(",")
        known = [
            one
            for one in here
            if any(one == name if exact else one.startswith(name) for name in names)
        ]
        usable = len(known) < len(here) if given.startswith("^") else bool(known)
        forms = "NAME as a beginning, =NAME or ^NAME"
    else:
        usable = all(name in here for name in given.split(","))
        forms = "names with commas between them; ^NAME and =NAME are forms of NCCL's"
    if usable:
        return
    raise UsageError(
        "launcher",
        f"{variable} is {given!r}, which is no interface of this host; there are "
        f"{', '.join(here)}; it takes {forms}",
    )


def _refuse_strangers(environment: Mapping[str, str]) -> None:
    for launcher, numbers, counts in _STRANGERS:
        number = next((name for name in numbers if name in environment), None)
        count = next((name for name in counts if name in environment), None)
        if number is None:
            continue
        rank, world = environment[number].strip(), environment.get(count or "", "").strip()
        # The first of a number that is not said may be alone; mpirun always says it.
        if rank in ("", "0") and (world == "1" or (not world and launcher == "srun")):
            continue
        among = f" and {count} is {world!r}" if count else ""
        raise UsageError(
            "launcher",
            f"{number} is {rank!r}{among}: {launcher} started processes that do not know each "
            "other; let it start one a host, which is `torchrun --nproc-per-node RANKS -m thorax "
            f"train ...` (see recipes/launch), or unset {number} to train in one process",
        )


def _number(environment: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = environment[name].strip()
    if _DIGITS.fullmatch(text) and least <= int(text) <= most:
        return int(text)
    raise UsageError(
        "launcher",
        f"{name} is {text[:40]!r}; allowed is a whole number from {least} to {most}; start ranks "
        "by torchrun, which sets it",
    )
