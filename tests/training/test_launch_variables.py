"""Launchers: what their variables say is checked by name, and strangers' ranks are refused."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.errors import UsageError
from thorax.training.launch import Launched, read_launcher, require_interfaces

WHOLE = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        read_launcher(environment)
    assert caught.value.code == "launcher"
    return caught.value.message


def test_what_torchrun_sets_is_read() -> None:
    told = {**WHOLE, "TORCHELASTIC_RUN_ID": "job-7", "TORCHELASTIC_RESTART_COUNT": "2"}
    assert read_launcher(told) == Launched(1, 4, 1, 2, 29500, 2, "job-7")
    assert read_launcher(WHOLE) == Launched(1, 4, 1, 2, 29500, 0, None)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_missing_is_named(name: str, value: str | None) -> None:
    given = {key: text for key, text in WHOLE.items() if key != name}
    if value is not None:
        given[name] = value
    assert name in refusal(given)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "MASTER_ADDR"])
@pytest.mark.parametrize("value", ["one", "-1", "1.0", "1e9", "9" * 5000, "0x1", "٣", "99999999"])
def test_what_is_no_number_in_range_is_named(name: str, value: str) -> None:
    assert f"{name} is " in refusal({**WHOLE, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("RANK", "4"), ("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "5"), ("WORLD_SIZE", "0")],
)
def test_a_rank_beyond_its_world_is_named(name: str, value: str) -> None:
    assert f"{name} is '{value}'" in refusal({**WHOLE, name: value})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, ("srun", "SLURM_NTASKS", "torchrun")),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "1"}, ("srun",)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, ("mpirun", "OMPI_")),
        ({"PMI_RANK": "0", "PMI_SIZE": "8"}, ("mpirun", "PMI_RANK")),
        ({"PMIX_RANK": "0", "PMI_SIZE": "8"}, ("mpirun", "PMIX_RANK")),
        ({"PMIX_RANK": "3"}, ("mpirun", "PMIX_RANK")),
        ({"PMIX_RANK": "0"}, ("mpirun", "PMIX_RANK")),
        ({"SLURM_PROCID": "5"}, ("srun", "SLURM_PROCID")),
    ],
)
def test_ranks_of_another_launcher_are_refused_by_name(
    given: dict[str, str], words: tuple[str, ...]
) -> None:
    message = refusal(given)
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "16"},
        {"SLURM_NTASKS": "16"},
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
        {"SLURM_PROCID": "0"},
        {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMIX_RANK": "0"},
    ],
)
def test_one_process_of_another_launcher_trains_alone(given: dict[str, str]) -> None:
    assert read_launcher(given) is None


def test_torchrun_below_srun_and_mpirun_is_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**WHOLE, "SLURM_PROCID": "0", "SLURM_NTASKS": "2", "PMIX_RANK": "1"}
    assert read_launcher(given) is not None


@pytest.mark.parametrize("name", ["^lo", "=lo", "eth99", "lo,eth99", "l"])
def test_an_interface_that_gloo_has_not_is_named(name: str) -> None:
    with pytest.raises(UsageError, match="NCCL's") as caught:
        require_interfaces("gloo", {"GLOO_SOCKET_IFNAME": name})
    assert name in caught.value.message
    assert " lo" in caught.value.message


@pytest.mark.parametrize("name", ["", "lo", "lo,lo"])
def test_an_interface_that_gloo_has_is_taken(name: str) -> None:
    require_interfaces("gloo", {"GLOO_SOCKET_IFNAME": name})


def test_nccl_takes_beginnings_and_its_own_forms() -> None:
    for name in ("lo", "l", "=lo", "^eth99", "eth99,lo"):
        require_interfaces("nccl", {"NCCL_SOCKET_IFNAME": name})
    every = ",".join(name for _, name in socket.if_nameindex())
    for name in ("eth99", "=l", f"^{every}"):
        with pytest.raises(UsageError, match="NCCL_SOCKET_IFNAME"):
            require_interfaces("nccl", {"NCCL_SOCKET_IFNAME": name})


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        script = "from thorax.training import parallel\nwith parallel.join('cpu'):\n    pass\n"
        told = {
            "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **told},
            capture_output=True,
            text=True,
        )
    assert f"port {port} is in use" in done.stderr
    assert "launcher" in done.stderr
