"""The launchers of recipes/launch: shells parse them, schemas have their fields, options exist."""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]
from torch.distributed.run import get_args_parser

from thorax.cli.app import app
from thorax.data.store import Store

LAUNCH = Path(__file__).resolve().parents[2] / "recipes" / "launch"
SHELL = (LAUNCH / "hosts.sh", LAUNCH / "slurm.sbatch")
MANIFESTS = (LAUNCH / "pytorchjob.yaml", LAUNCH / "trainjob.yaml")
RENDEZVOUS = {
    "join_timeout", "last_call_timeout", "close_timeout", "heartbeat_timeout", "read_timeout",
    "keep_alive_interval", "keep_alive_max_attempt", "is_host", "store_type", "timeout",
}  # fmt: skip
"""What torch 2.13 reads of --rdzv-conf (c10d_rendezvous_backend, dynamic_rendezvous)."""

POD: dict[str, Any] = {
    "restartPolicy": str,
    "containers": [
        {
            "name": str,
            "image": str,
            "command": [str],
            "env": [{"name": str, "value": str}],
            "resources": {"requests": dict, "limits": dict},
            "volumeMounts": [{"name": str, "mountPath": str}],
        }
    ],
    "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
}
"""The part of a core/v1 PodSpec that is used here."""

SCHEMAS: dict[tuple[str, str], dict[str, Any]] = {
    ("kubeflow.org/v1", "PyTorchJob"): {
        "runPolicy": {
            "cleanPodPolicy": str,
            "ttlSecondsAfterFinished": int,
            "activeDeadlineSeconds": int,
            "backoffLimit": int,
        },
        "elasticPolicy": {
            "minReplicas": int,
            "maxReplicas": int,
            "rdzvBackend": str,
            "rdzvPort": int,
            "rdzvHost": str,
            "rdzvId": str,
            "rdzvConf": [{"key": str, "value": str}],
            "standalone": bool,
            "maxRestarts": int,
        },
        "pytorchReplicaSpecs": {
            kind: {"replicas": int, "restartPolicy": str, "template": {"spec": POD}}
            for kind in ("Master", "Worker")
        },
        "nprocPerNode": str,
    },
    ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"): {
        "mlPolicy": {"numNodes": int, "torch": dict},
        "template": {
            "spec": {
                "failurePolicy": {"maxRestarts": int},
                "replicatedJobs": [
                    {
                        "name": str,
                        "template": {
                            "metadata": {"labels": dict},
                            "spec": {"backoffLimit": int, "template": {"spec": POD}},
                        },
                    }
                ],
            }
        },
    },
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"): {
        "runtimeRef": {"name": str, "apiGroup": str, "kind": str},
        "trainer": {
            "image": str,
            "command": [str],
            "args": [str],
            "env": [{"name": str, "value": str}],
            "numNodes": int,
            "numProcPerNode": int,
            "resourcesPerNode": {"requests": dict, "limits": dict},
        },
        "suspend": bool,
    },
}
"""Fields and types of the published custom resource definitions: training operator 1.9, trainer
2.0 to 2.2. What only one of the trainer's releases has is not in it, and not to be used."""


def documents(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = list(yaml.safe_load_all(path.read_text("utf-8")))
    return found


def matches(value: object, schema: object, where: str) -> None:
    """Check that a value has no field that its schema has not, and the types it has."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        for key, inner in value.items():
            assert key in schema, f"{where}.{key}"
            matches(inner, schema[key], f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for number, inner in enumerate(value):
            matches(inner, schema[0], f"{where}[{number}]")
    else:
        assert isinstance(schema, type)
        assert type(value) is schema, where


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_has_the_fields_of_its_resource_only(path: Path) -> None:
    for document in documents(path):
        assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
        kind = (document["apiVersion"], document["kind"])
        matches(document["spec"], SCHEMAS[kind], document["kind"])
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])


def test_a_job_of_the_operator_has_as_many_pods_as_it_waits_for() -> None:
    [job] = documents(LAUNCH / "pytorchjob.yaml")
    worker, policy = job["spec"]["pytorchReplicaSpecs"]["Worker"], job["spec"]["elasticPolicy"]
    assert policy["minReplicas"] == policy["maxReplicas"] == worker["replicas"]
    # The operator sets up the container of this name alone.
    assert [one["name"] for one in worker["template"]["spec"]["containers"]] == ["pytorch"]
    assert {one["key"] for one in policy["rdzvConf"]} <= RENDEZVOUS


def test_a_job_of_the_trainer_finds_its_runtime_and_its_container() -> None:
    runtime, job = documents(LAUNCH / "trainjob.yaml")
    reference = job["spec"]["runtimeRef"]
    assert (reference["kind"], reference["name"]) == (runtime["kind"], runtime["metadata"]["name"])
    [node] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    labels = node["template"]["metadata"]["labels"]
    assert labels == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    [container] = node["template"]["spec"]["template"]["spec"]["containers"]
    assert (node["name"], container["name"]) == ("node", "node")
    command = " ".join(job["spec"]["trainer"]["command"])
    assert f"--nnodes {job['spec']['trainer']['numNodes']} " in command
    assert f"--nproc-per-node {job['spec']['trainer']['numProcPerNode']} " in command


def scripts(path: Path) -> Iterator[str]:
    """Yield the shell scripts in a launcher."""
    if path.suffix != ".yaml":
        yield path.read_text("utf-8")
        return
    for document in documents(path):
        trainer = document["spec"].get("trainer", {})
        replicas = document["spec"].get("pytorchReplicaSpecs", {}).values()
        pods = [one["template"]["spec"]["containers"][0] for one in replicas]
        for holder in (trainer, *pods):
            if "command" in holder:
                assert holder["command"][:2] == ["bash", "-euc"]
                yield holder["command"][2]


ALL = (*SHELL, *MANIFESTS)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_bash_understands_every_script(path: Path) -> None:
    for script in scripts(path):
        subprocess.run(["bash", "-n", "-c", script], check=True)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path, tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is absent: tests/install-peers installs it")
    for script in scripts(path):
        copy = tmp_path / "script.sh"
        copy.write_text(script, "utf-8")
        # $resume is one word or none, which is what leaving it bare is for.
        words = ["shellcheck", "--shell", "bash", "--exclude", "SC2086", str(copy)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {word for action in parser._actions for word in action.option_strings}


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:  # noqa: ANN401
    """Yield every command by its words, with its options."""
    yield path, {word for one in command.params for word in one.opts}
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{path} {name}".strip())


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_launcher_names_options_that_torchrun_and_thorax_have(path: Path) -> None:
    thorax = dict(leaves(typer.main.get_command(app)))
    text = path.read_text("utf-8").replace("\\\n", " ")
    text = re.sub(r"^( *)# ?", r"\1", text, flags=re.MULTILINE)
    started = re.findall(r"(?:torchrun|\$launcher\"?) (.*?)-m thorax", text, re.DOTALL)
    assert started
    for words in started:
        asked = re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", words)
        ours = {"--nproc-per-node", "--parse"} if path.name == "hosts.sh" else set()
        assert set(asked) <= options(get_args_parser()) | ours
        for settings in re.findall(r"--rdzv-conf \"?([\w=$,]+)", words):
            assert {one.split("=")[0] for one in settings.split(",")} <= RENDEZVOUS
    called = re.findall(r"(?:thorax|launch|hosts\.sh \S+) (train|doctor cluster) ([^&;\n]*)", text)
    assert {command for command, _ in called} >= {"train"}
    for command, words in called:
        asked = re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", words)
        assert set(asked) <= thorax[command], (command, words)


def test_hosts_sh_says_how_it_is_used() -> None:
    done = subprocess.run([LAUNCH / "hosts.sh"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "hosts.sh node1,node2 train RECIPE.toml --data STORE --out RUN" in done.stderr
    assert "set -euo" not in done.stderr


def test_the_slurm_script_says_what_it_lacks() -> None:
    words = ["bash", str(LAUNCH / "slurm.sbatch"), "recipe.toml"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert "give RECIPE.toml STORE RUN" in done.stderr


@pytest.fixture
def reach(tmp_path: Path) -> dict[str, str]:
    """Reach this machine as if it were several; `calls` keeps who was called with what."""
    script = tmp_path / "reach"
    script.write_text(
        f'#!/bin/sh\necho "$*" >>{shlex.quote(str(tmp_path / "calls"))}\n'
        f'if [ "$1" = {shlex.quote(str(tmp_path / "deaf"))} ]; then exit 255; fi\n'
        'exec bash -c "$2"\n',
        "utf-8",
    )
    script.chmod(0o755)
    return {**os.environ, "SSH": str(script), "PAUSE_S": "0"}


def hosts_sh(*words: object, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [str(LAUNCH / "hosts.sh"), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_hosts_sh_calls_each_host_with_its_part(tmp_path: Path, reach: dict[str, str]) -> None:
    told = tmp_path / "launcher"
    told.write_text('#!/bin/sh\nprintf "%s\\n" "$*" "$GLOO_SOCKET_IFNAME"\n', "utf-8")
    told.chmod(0o755)
    environment = {**reach, "LAUNCHER": str(told), "GLOO_SOCKET_IFNAME": "ib0", "RANKS": "2"}
    done = hosts_sh("a,b", "train", "my recipe.toml", "--data", "s", environment=environment)
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines(), key=lambda line: "--local-addr b" in line)
    lines = [line for line in lines if line != "ib0"]
    assert done.stdout.splitlines().count("ib0") == 2
    for line, host, leads in zip(lines, ("a", "b"), (1, 0), strict=True):
        assert "--nnodes 2 " in line
        assert "--rdzv-endpoint a:29400 " in line
        assert f"--rdzv-conf is_host={leads}," in line
        assert f"--local-addr {host} " in line
        assert "--nproc-per-node 2 -m thorax train my recipe.toml --data s" in line


def test_hosts_sh_gives_the_user_of_a_host_to_ssh_alone(
    tmp_path: Path, reach: dict[str, str]
) -> None:
    environment = {**reach, "LAUNCHER": "echo", "RANKS": "1"}
    done = hosts_sh("root@node1,me@node2", "train", environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--rdzv-endpoint node1:29400 ") == 2
    assert "--local-addr node1 " in done.stdout
    assert "--local-addr node2 " in done.stdout
    assert "@" not in done.stdout
    called = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert sorted(line.split()[0] for line in called) == ["me@node2", "root@node1"]


def test_hosts_sh_counts_sockets_on_the_host(tmp_path: Path, reach: dict[str, str]) -> None:
    environment = {name: value for name, value in reach.items() if name != "RANKS"}
    done = hosts_sh("a", "train", environment={**environment, "LAUNCHER": "echo"})
    assert re.search(r"--nproc-per-node [1-9]\d* -m thorax train", done.stdout)


def test_hosts_sh_calls_again_and_gives_up_with_the_status_of_ssh(
    tmp_path: Path, reach: dict[str, str]
) -> None:
    environment = {**reach, "LAUNCHER": "echo", "CALLS": "3", "RANKS": "1"}
    done = hosts_sh(tmp_path / "deaf", "train", environment=environment)
    assert done.returncode == 255
    assert len((tmp_path / "calls").read_text("utf-8").splitlines()) == 3


def test_hosts_sh_stops_the_others_when_one_fails(tmp_path: Path, reach: dict[str, str]) -> None:
    launcher = tmp_path / "launcher"
    launcher.write_text(
        '#!/bin/sh\ncase "$*" in *is_host=1*) exit 6;; esac\nexec sleep 600\n', "utf-8"
    )
    launcher.chmod(0o755)
    environment = {**reach, "LAUNCHER": str(launcher), "RANKS": "1"}
    assert hosts_sh("a,b", "train", environment=environment).returncode == 6


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """Be a cluster of one host: srun runs what it is given, scontrol notes what it is asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    python = shlex.quote(sys.executable)
    asked = shlex.quote(str(tmp_path / "asked"))
    scripts = {
        "srun": 'while [ "$1" != torchrun ]; do shift; done\nexec "$@"',
        "torchrun": f'exec {python} -m torch.distributed.run "$@"',
        "scontrol": f'if [ "$1" = show ]; then echo 127.0.0.1; else echo "$*" >>{asked}; fi',
    }
    for name, script in scripts.items():
        (tools / name).write_text(f"#!/bin/bash\n{script}\n", "utf-8")
        (tools / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(free_port()),
        "SLURM_JOB_NODELIST": "here",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_ON_NODE": "2",
        "RANKS": "2",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }


@pytest.mark.slow
def test_a_warned_slurm_job_writes_a_checkpoint_asks_for_another_turn_and_goes_on(
    tmp_path: Path, slurm: dict[str, str], tiny_store: Store
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[network]\ntopology = "resnet18"\nwidth = 0.125\n[training]\nepochs = 30\nbatch = 8\n'
        'threads = 1\nworkers = 1\n[optimizer]\nkind = "sgd"\n'
        '[schedule]\nkind = "cosine"\npeak = 0.01\n',
        "utf-8",
    )
    run = tmp_path / "run"
    command = ["bash", str(LAUNCH / "slurm.sbatch"), str(recipe), str(tiny_store.path), str(run)]
    with subprocess.Popen(command, env=slurm, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr is not None
        told = []
        for line in job.stderr:
            told.append(line)
            if line.startswith("epoch 1 of 30: "):
                job.send_signal(signal.SIGUSR1)
                break
        told += job.stderr.readlines()
    assert any("thorax: preempted: stopped after update" in line for line in told), told
    assert (tmp_path / "asked").read_text("utf-8") == f"requeue {slurm['SLURM_JOB_ID']}\n"
    assert not (run / "train.json").exists()
    done = subprocess.run(command, env=slurm, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "going on after update" in done.stderr
    assert (run / "train.json").exists()


@pytest.mark.parametrize(
    ("ends", "asks"),
    [
        ("exit 0", False),
        ("mkdir -p $run/epoch-0001; touch $run/epoch-0001/checkpoint.json; exit 0", False),
        ("exit 1", False),
        ("mkdir -p $run/epoch-0001; touch $run/epoch-0001/checkpoint.json; exit 1", True),
    ],
)
def test_a_warned_job_asks_for_another_turn_only_where_it_has_something_to_go_on_from(
    tmp_path: Path, slurm: dict[str, str], ends: str, asks: bool
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "tools/torchrun").write_text(
        f"#!/bin/bash\nrun={run}\ntrap 'sleep 0.1; {ends}' USR1\necho ready >&2\n"
        "while :; do sleep 0.05; done\n"
    )
    command = ["bash", str(LAUNCH / "slurm.sbatch"), "recipe.toml", "store", str(run)]
    with subprocess.Popen(command, env=slurm, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr is not None
        assert job.stderr.readline() == "ready\n"
        job.send_signal(signal.SIGUSR1)
        job.stderr.read()
    assert job.returncode == int(ends[-1])
    assert (tmp_path / "asked").exists() == asks


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.slow
def test_hosts_sh_starts_ranks_that_find_each_other(tmp_path: Path, reach: dict[str, str]) -> None:
    launcher = tmp_path / "torchrun"
    launcher.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m torch.distributed.run "$@"\n', "utf-8"
    )
    launcher.chmod(0o755)
    environment = {
        **reach, "LAUNCHER": str(launcher), "RANKS": "1", "GLOO_SOCKET_IFNAME": "lo",
        "PORT": str(free_port()), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = hosts_sh(
        "127.0.0.1,localhost", "doctor", "cluster", "--topology", "resnet18", "--side", 32,
        "--images", 2, "--duration", 0, "--json", environment=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [rank["rank"] for rank in document["ranks"]] == [0, 1]
