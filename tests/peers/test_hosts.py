"""Several hosts on one machine: network namespaces joined by a bridge, a launcher in each.

Every namespace is a host with a network, a name and a launcher of its own; they share processors
and, as a cluster does, the file system. Needs root and iproute2.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from thorax.data.store import Store

PORT = 29400
RECIPE = """
[network]
topology = "resnet18"
width = 0.125

[training]
epochs = 3
batch = 8
threads = 1
workers = 1
keep = "last"
checkpoint_steps = 1

[parallel]
timeout_s = 4.0

[optimizer]
kind = "sgd"

[schedule]
kind = "cosine"
peak = 0.05
warmup_epochs = 0.5
"""


@dataclass
class Network:
    """Hosts 10.77.0.1 and up, each a namespace, on a bridge in a namespace of its own."""

    count: int
    name: str = field(default_factory=lambda: f"thorax{os.getpid()}")
    launchers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __enter__(self) -> "Network":
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        return self

    def _make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.name, "link", "set", "bridge", "up")
        for host in range(self.count):
            space = self.space(host)
            _ip("netns", "add", space)
            _ip("-n", self.name, "link", "add", f"port{host}", "type", "veth",
                "peer", "name", "eth0", "netns", space)  # fmt: skip
            _ip("-n", self.name, "link", "set", f"port{host}", "master", "bridge", "up")
            _ip("-n", space, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")

    def __exit__(self, *_: object) -> None:
        for host in range(self.count):
            self.power_off(host)
        for launcher in self.launchers:
            launcher.wait()
        for space in (*map(self.space, range(self.count)), self.name):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)

    def space(self, host: int) -> str:
        """Return the namespace of a host."""
        return f"{self.name}-{host}"

    def address(self, host: int) -> str:
        """Return the address of a host."""
        return f"10.77.0.{host + 1}"

    def power_off(self, host: int) -> None:
        """End all that runs on a host, without a word."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.space(host)], capture_output=True, text=True, check=False
        )
        for process in map(int, listed.stdout.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def cut(self, host: int) -> None:
        """Pull the cable: nothing arrives any more, and nobody is told."""
        _ip("-n", self.name, "link", "set", f"port{host}", "down")

    def mend(self, host: int) -> None:
        """Put it in again."""
        _ip("-n", self.name, "link", "set", f"port{host}", "up")

    def launch(self, folder: Path, *words: object) -> None:
        """Run `thorax` on every host, one rank each, output in `host-N.log`."""
        for host in range(self.count):
            torchrun = [
                sys.executable, "-m", "torch.distributed.run",
                "--nnodes", str(self.count), "--nproc-per-node", "1", "--max-restarts", "3",
                "--rdzv-backend", "c10d", "--rdzv-id", folder.name,
                "--rdzv-endpoint", f"{self.address(0)}:{PORT}",
                # All namespaces answer to the machine's name: which of them is meant is said.
                "--rdzv-conf", f"is_host={int(host == 0)},join_timeout=120,read_timeout=120",
                "--local-addr", self.address(host), "--monitor-interval", "0.5",
                "-m", "thorax", *map(str, words),
            ]  # fmt: skip
            named = ["unshare", "--uts", "sh", "-c", f'hostname host-{host}; exec "$@"', "sh"]
            with (folder / f"host-{host}.log").open("wb") as log:
                launcher = subprocess.Popen(
                    ["ip", "netns", "exec", self.space(host), *named, *torchrun],
                    env={**os.environ, "GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": "1"},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.launchers.append(launcher)

    def join(self) -> list[int]:
        """Wait for the launchers and return how they ended."""
        statuses = [launcher.wait(timeout=200) for launcher in self.launchers]
        self.launchers.clear()
        return statuses


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("iproute2 is absent: tests/install-peers installs it")
    with Network(2) as made:
        yield made


def wait_for(condition: Callable[[], bool], folder: Path, *, seconds: float = 120) -> None:
    """Wait until something holds; show the logs if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, logs(folder)
        time.sleep(0.02)


def logs(folder: Path) -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("host-*.log")))


def entries(run: Path, event: str) -> list[dict[str, Any]]:
    """Return the entries of a kind in the log of a run."""
    log = run / "train.jsonl"
    lines = log.read_text("utf-8").splitlines(keepends=True) if log.is_file() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [entry for entry in found if entry["event"] == event]


def weights(run: Path) -> bytes:
    kept = str(entries(run, "end")[-1]["kept"])
    return (run / kept / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_over_two_hosts_outlives_the_loss_of_one(
    network: Network, tiny_store: Store, tmp_path: Path
) -> None:
    ended = {}
    for name in ("whole", "cut"):
        folder = tmp_path / name
        folder.mkdir()
        recipe, run = folder / "recipe.toml", folder / "run"
        recipe.write_text(RECIPE, "utf-8")
        network.launch(folder, "train", recipe, "--data", tiny_store.path, "--out", run)
        if name == "cut":
            wait_for(lambda run=run: len(entries(run, "epoch")) > 0, folder)  # type: ignore[misc]
            network.cut(1)
            host_0 = folder / "host-0.log"
            wait_for(lambda log=host_0: b"rank-lost" in log.read_bytes(), folder)  # type: ignore[misc]
            network.mend(1)
        assert network.join() == [0, 0], logs(folder)
        ended[name] = run
    assert weights(ended["cut"]) == weights(ended["whole"])
    assert [entry["ranks"] for entry in entries(ended["cut"], "start")] == [2, 2]
    assert [entry["ranks"] for entry in entries(ended["whole"], "start")] == [2]


@pytest.mark.slow
def test_the_doctor_tells_hosts_apart(network: Network, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE, "utf-8")
    network.launch(
        tmp_path, "doctor", "cluster", "--recipe", recipe, "--images", 2, "--side", 32,
        "--duration", 0, "--json",
    )  # fmt: skip
    assert network.join() == [0, 0], logs(tmp_path)
    text = (tmp_path / "host-0.log").read_text("utf-8")
    document = json.loads(text[text.index("{") :])
    assert [rank["host"] for rank in document["ranks"]] == ["host-0", "host-1"]
    assert [rank["interface"] for rank in document["ranks"]] == ["eth0", "eth0"]
    assert [rank["mtu"] for rank in document["ranks"]] == [1500, 1500]
    assert document["links"][0]["hosts"] == ["host-0", "host-1"]
