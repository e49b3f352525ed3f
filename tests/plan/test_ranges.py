"""Numbers of plans that no machine has are refused with what is allowed, and no plan holds one."""

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.cli import app
from thorax.config import check
from thorax.errors import UsageError
from thorax.files.documents import parse_json
from thorax.plan.cluster_plan import ClusterQuestion, plan_cluster, workers_in
from thorax.plan.inputs import changed
from thorax.plan.latency import simulate_load
from thorax.plan.ranges import computing, require_finite
from thorax.plan.server import find_preset
from thorax.plan.server_plan import ServerQuestion, plan_server
from thorax.plan.systems import System, change
from thorax.results.plan import Arrivals, CpuRole
from thorax.results.schema import Result

SERVER = (
    "max_cards", "base_w", "host_threads", "speedup.ratio", "speedup.cards", "cpu.images_per_s",
    "cpu.streams", "cpu.cores", "cpu.power_w", "cpu.idle_w", "card.batch", "card.max_delay_s",
    "card.requests", "card.power_w", "card.idle_w",
)  # fmt: skip
CLUSTER = (
    "ranks_per_node", "images_per_s", "fixed_s", "update_s", "jitter", "forward_share",
    "within.alpha_s", "within.beta_bytes_per_s", "between.alpha_s", "between.beta_bytes_per_s",
    "bucket_mb", "gradient_bytes", "images_per_pass", "input_images_per_s", "batch_per_worker",
    "images", "evaluation_images", "epochs", "epochs_batch", "start_up_s", "node_power_w",
    "rates.resnet50",
)  # fmt: skip
EXTREME = (
    "1e308", "-1e308", "1e-300", "-0.0", "nan", "inf", "-inf", "1e-9", "1e9", "1e15", "0", "-1",
    "1", "1" + "0" * 30, "1" + "0" * 400, "true", "''", "[]", "{}",
)  # fmt: skip

TINY = """
name = "mine"
title = "a cluster of the test"
reference = "resnet50"
ranks_per_node = 4
images_per_s = 100.0
[within]
alpha_s = 1e-6
beta_bytes_per_s = 1e10
[between]
alpha_s = 1e-5
beta_bytes_per_s = 1e9
"""


Described = TypeVar("Described")

PRESET = find_preset("r740")


def tiny() -> System:
    link = {"alpha_s": 1e-5, "beta_bytes_per_s": 1e9}
    table = {
        "name": "mine", "title": "a cluster of the test", "reference": "resnet50",
        "ranks_per_node": 4, "images_per_s": 100.0, "within": link, "between": link,
    }  # fmt: skip
    return check(table, System, "test")


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part)


def typed(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = app._run([str(word) for word in words], debug=False)
    return status, *capfd.readouterr()


def settings_of(keys: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    pair = st.tuples(st.sampled_from(keys), st.sampled_from(EXTREME))
    return st.lists(pair.map("=".join), min_size=1, max_size=5)


def plan_of(
    described: Callable[[], Described], plan: Callable[[Described], Result]
) -> dict[str, Any] | str:
    """Return a plan, or the code that it is refused with."""
    try:
        subject = described()
        with computing("it"):
            document = plan(subject).document()
        require_finite(document, "it")
    except UsageError as error:
        return error.code
    return document


@given(settings_of(SERVER), st.sampled_from(get_args(Arrivals)))
@settings(max_examples=100)
def test_a_server_of_extremes_is_refused_or_its_plan_is_of_numbers(
    changes: list[str], arrivals: Arrivals
) -> None:
    question = ServerQuestion((0, 1, 4), arrivals=arrivals, images=50, runs=1)
    plan = plan_of(
        lambda: changed(PRESET, changes),
        lambda server: plan_server(server, question),
    )
    if isinstance(plan, str):
        assert plan.startswith(("config-", "plan-"))
    else:
        assert all(map(math.isfinite, numbers(parse_json(json.dumps(plan)))))


@given(settings_of(CLUSTER), st.sampled_from([None, 1.0, 1e9]))
@settings(max_examples=150)
def test_a_cluster_of_extremes_is_refused_or_its_plan_is_of_numbers(
    changes: list[str], batch: float | None
) -> None:
    request = ClusterQuestion("resnet50", (1, 2, 3, 512), batch=batch, price_per_node_hour=1e9)
    plan = plan_of(lambda: change(tiny(), changes), lambda system: plan_cluster(system, request))
    if isinstance(plan, str):
        assert plan.startswith(("config-", "plan-"))
    else:
        assert all(map(math.isfinite, numbers(parse_json(json.dumps(plan)))))


@pytest.mark.parametrize(
    "words",
    [
        ("server", "--set", "card.power_w=1e308"),
        ("server", "--set", "speedup.ratio=1e308"),
        ("server", "--set", "cpu.power_w=inf"),
        ("server", "--images", "9" * 21),
        ("server", "--images", "-1"),
        ("server", "--seed", "1" + "0" * 40),
        ("server", "--set", "sources=5"),
        ("server", "--cards", "1,99999999999999999999"),
        ("cluster", "--set", "images_per_s=1e-300"),
        ("cluster", "--set", "sources=5"),
        ("cluster", "--set", "choices=[]"),
        ("cluster", "--images", "9" * 21),
        ("cluster", "--workers", "9" * 5000),
        ("cluster", "--workers", "٠..4"),
        ("cluster", "--set", "bucket_mb=1e-300"),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_slip_of_the_keyboard_is_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    name, *rest = words
    own = ("--system", tmp_path / "tiny.toml") if name == "cluster" else ("--images", 1000)
    status, out, err = typed(capfd, "plan", name, *own, *rest, "--json")
    assert (status, out) == (2, "")
    assert err.startswith("thorax: ")
    assert not err.startswith("thorax: bug")
    assert err.count("\n") == 1


def test_a_gradient_in_more_buckets_than_are_computed_is_refused_with_what_is_allowed() -> None:
    small = change(tiny(), ["bucket_mb=1e-6"])
    with pytest.raises(UsageError, match=r"^plan-value: .* give bucket_mb from 0\.008979 on"):
        plan_cluster(small, ClusterQuestion("resnet50", (2,)))
    enough = change(tiny(), ["bucket_mb=0.009"])
    assert plan_cluster(enough, ClusterQuestion("resnet50", (2,))).rows


def test_images_that_leave_all_at_once_have_no_rate() -> None:
    server = changed(find_preset("r740"), ["card.batch=4096"])
    with pytest.raises(UsageError, match=r"plan-value: .* all at once"):
        simulate_load(server, 1, CpuRole.OFFLOAD, 0.0, arrivals="saturated", images=1000)


def test_more_images_on_their_way_than_are_simulated_are_refused() -> None:
    server = changed(find_preset("r740"), ["card.batch=65536", "card.requests=65536"])
    with pytest.raises(UsageError, match=r"plan-value: .* 4,294,967,296 images on their way"):
        simulate_load(server, 1, CpuRole.OFFLOAD, 0.0, arrivals="saturated", images=1000)


def test_numbers_of_workers_are_read_as_they_are_meant() -> None:
    assert workers_in("0064, 1..4") == (1, 2, 4, 64)
    for text in ("0", "00", "", "1..", "-1", "1e3", "٣", "16777217", "99999999..1"):
        with pytest.raises(UsageError, match="plan-workers"):
            workers_in(text)


@pytest.mark.parametrize("option", ["--file", "--measured", "--system", "--calibrate"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "zero", "deep", "large number", "loop"])
def test_what_is_no_document_is_refused_without_waiting(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, option: str, kind: str
) -> None:
    path = tmp_path / f"given{'.toml' if option in ('--file', '--system') else '.json'}"
    toml = path.suffix == ".toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "deep":
        path.write_text(("a = " if toml else "") + "[" * 100_000)
    elif kind == "large number":
        path.write_text(f"a = {'9' * 5000}" if toml else f'{{"a": {"9" * 5000}}}')
    else:
        path.symlink_to(path)
    command = "server" if option in ("--file", "--measured") else "cluster"
    status, out, err = typed(capfd, "plan", command, option, path, "--json")
    assert status in (2, 3)
    assert out == ""
    assert err.startswith("thorax: ")
    assert not err.startswith("thorax: bug")
    assert err.count("\n") == 1
