"""Ray, in a process of its own: the only module that imports it.

`thorax.inference.ray_process` starts it and gives it a job on standard input. It answers on
standard output, one JSON object a line; what Ray itself prints goes to standard error. It ends when
its standard input closes, as it does when its parent dies, and takes down with it what it started.
"""

import _thread
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO, Any, Final

import ray
import ray.data
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from thorax.errors import PeerError, ThoraxError, last_line
from thorax.inference.archive_worker import Actor, Job, Report, Sight, look

_STORE_BYTES: Final = 80 << 20
"""Of a Ray started here. Numbers of shards are all that it holds."""

_LOOK_S: Final = 60.0
"""How long a machine may take to say what it has."""

_END_S: Final = 10.0
"""How long an orderly end may take once the parent is gone."""

Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """Run the job on standard input."""
    events = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()

    def tell(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    try:
        fields = request.pop("job")
        lists = ("extensions", "extension_digests")
        job = Job(**{**fields, **{name: tuple(fields[name]) for name in lists}})
        run(job, tell=tell, **request)
        tell({"event": "done"})
    except ThoraxError as error:
        tell({"event": "failed", "code": error.code, "message": error.message})
    except KeyboardInterrupt:
        return
    except Exception as error:
        logging.getLogger(__name__).exception("Ray")
        message = f"{type(error).__name__}: {last_line(error)}"
        tell({"event": "failed", "code": "cluster-failed", "message": message})


def run(
    job: Job,
    shards: Iterable[dict[str, Any]],
    *,
    address: str | None,
    actors: int | None,
    folder: str | None,
    tell: Tell,
) -> None:
    """Answer shards on actors of a cluster.

    Shards have the fields of `thorax.inference.archive_files.Shard`. Without an address a cluster
    is started on this machine for `actors` actors; on one that is there None takes as many as there
    is room for. The folder, empty, is of a cluster started here, and removed at the end. `tell` is
    told when the cluster is there, and of each shard.

    Raises:
        PeerError: `cluster-refused`, `cluster-version`, `cluster-folder`, `cluster-room`.
    """
    rows = list(shards)
    with _connected(address, job.threads * (actors or 1), folder):
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        room = sum(int(node["Resources"].get("CPU", 0)) // job.threads for node in nodes)
        if room < (actors or 1):
            raise PeerError(
                "cluster-room",
                f"the cluster has room for {room} actors of {job.threads} processors, not for "
                f"{actors or 1}; ask for fewer with --actors or --threads-per-actor",
            )
        count = min(actors or room, len(rows))
        for node in nodes:
            _require_same(job, _ask(job, node))
        where = ray.get_runtime_context().gcs_address
        tell({"event": "connected", "address": where, "nodes": len(nodes), "actors": count})
        # One row a block and one block an actor at a time: an actor that dies takes no shard with
        # it but the one that it was at.
        answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
            num_cpus=job.threads,
            fn_constructor_args=(job,),
            udf_modifying_row_count=False,
        )
        for row in answered.iter_rows():
            plain = {
                name: getattr(value, "item", lambda v=value: v)() for name, value in row.items()
            }
            tell({"event": "shard", **asdict(Report(**plain))})


@contextmanager
def _connected(address: str | None, processors: int, folder: str | None) -> Iterator[None]:
    """Join a cluster, or start one on this machine alone and take it down again."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            # By this the parent knows all that was started, should this process be killed.
            os.environ["THORAX_RAY"] = str(folder)
            ray.init(
                address="local",
                num_cpus=processors,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _temp_dir=folder,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (RuntimeError, ConnectionError, ValueError, RayError) as error:
        code = "cluster-version" if "ersion mismatch" in str(error) else "cluster-refused"
        message = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        if address is not None and code == "cluster-refused":
            message += "; a cluster with tokens wants RAY_AUTH_MODE=token and its token in ~/.ray"
        raise PeerError(code, f"{address or 'Ray on this machine'}: {message}") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _ask(job: Job, node: dict[str, Any]) -> Sight:
    where = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
    answer = ray.remote(look).options(num_cpus=0, scheduling_strategy=where).remote(job)
    try:
        sight = ray.get(answer, timeout=_LOOK_S)
    except RayError as error:
        raise PeerError(
            "cluster-version",
            f"{node['NodeManagerAddress']} does not say which Thorax it has: {last_line(error)}; "
            "install the same one there",
        ) from error
    assert isinstance(sight, Sight)
    return sight


def _require_same(job: Job, sight: Sight) -> None:
    if (sight.thorax, sight.openvino) != (job.thorax, job.openvino):
        raise PeerError(
            "cluster-version",
            f"{sight.host} has Thorax {sight.thorax} with OpenVINO {sight.openvino}, here are "
            f"{job.thorax} and {job.openvino}; install the same on all machines",
        )
    if sight.plan != job.plan:
        raise PeerError(
            "cluster-folder",
            f"{sight.host} does not see {job.out} as it is here; --out, model and inputs must lie "
            "on a file system that all machines share, under the same names",
        )


def _end_with(parent: IO[str]) -> None:
    """End when the parent is gone: in good order, or else at once."""
    parent.read()
    threading.Timer(_END_S, lambda: os._exit(1)).start()
    _thread.interrupt_main()


if __name__ == "__main__":
    main()
