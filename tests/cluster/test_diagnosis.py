"""Whether `thorax doctor cluster` finds what is wrong, and models what it says it models."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.cluster import diagnosis
from thorax.cluster.bench import SIZES, Work, rounds
from thorax.cluster.collectives import Link
from thorax.cluster.link_model import (
    expect,
    fit_link,
    slow_links,
    slow_ranks,
    step_s,
)
from thorax.errors import PeerError, UsageError
from thorax.results.cluster import Rank, StepParts
from thorax.training.parallel import Parallel, Ranks
from thorax.training.prepare import require_same

RECIPE = """
[network]
topology = "resnet18"
width = 0.125

[training]
epochs = 1
batch = 8
threads = 1

[optimizer]
kind = "sgd"

[schedule]
kind = "cosine"
peak = 0.1
"""


def torchrun(
    *words: object, ranks: int = 2, options: tuple[str, ...] = ("-m", "thorax")
) -> "subprocess.CompletedProcess[str]":
    """Start ranks on this host and return what came of them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*command, "--nproc-per-node", str(ranks), *options, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, "utf-8")
    return path


# The model.


@given(
    st.integers(2, 512),
    st.floats(1e-7, 1e-2),
    st.floats(1e6, 1e12),
)
def test_a_link_is_found_from_the_times_it_gives(ranks: int, alpha: float, beta: float) -> None:
    link = Link(alpha, beta)
    found = fit_link(ranks, SIZES, [link.ring_s(ranks, size) for size in SIZES])
    assert found.alpha_s == pytest.approx(alpha, rel=1e-6)
    assert found.beta_bytes_per_s == pytest.approx(beta, rel=1e-5)


def test_a_latency_is_never_below_zero() -> None:
    assert fit_link(2, [10, 20, 30], [1.0, 2.5, 4.0]).alpha_s == 0


def test_times_that_fall_with_size_are_refused() -> None:
    with pytest.raises(PeerError, match="something else uses the network") as caught:
        fit_link(4, [4, 4096, 1 << 20], [3e-3, 2e-3, 1e-3])
    assert caught.value.code == "network-erratic"


STEP = StepParts(
    forward_s=0.01, backward_s=0.02, jitter=0.0, images=None, gradient_bytes=100_000_000, buckets=4
)
FREE = Link(0.0, math.inf)
WORLDS = [1, 2, 4, 8, 512]


def test_free_messages_and_equal_ranks_scale_perfectly() -> None:
    for batch in (None, 8192):
        for one in expect(STEP, FREE, WORLDS, images=4, batch=batch):
            assert one.efficiency == pytest.approx(1)
            assert one.modelled


def test_messages_hide_behind_the_backward_pass_until_they_are_longer() -> None:
    # 100 ms of messages in 4 buckets, of which the last cannot be hidden.
    link = Link(0.0, 2 * (2 - 1) / 2 * 100e6 / 0.1)
    assert step_s(STEP, link, ranks=2, images=100) == pytest.approx(1.0 + 2.0 + 0.025)
    assert step_s(STEP, link, ranks=2, images=1) == pytest.approx(0.01 + 0.005 + 0.1)


def test_gradients_are_added_up_over_passes_and_sent_once() -> None:
    link = Link(0.0, 1e9)
    small = StepParts(
        forward_s=0.01,
        backward_s=0.02,
        jitter=0.0,
        images=10,
        gradient_bytes=100_000_000,
        buckets=4,
    )
    apart = step_s(small, link, ranks=2, images=40)
    assert apart == pytest.approx(3 * 0.3 + step_s(STEP, link, ranks=2, images=10))


def test_more_ranks_wait_longer_for_the_slowest() -> None:
    noisy = StepParts(
        forward_s=0.01, backward_s=0.02, jitter=0.1, images=None, gradient_bytes=1, buckets=1
    )
    late = [step_s(noisy, FREE, ranks=ranks, images=4) for ranks in WORLDS]
    assert late == sorted(late)
    assert late[0] == pytest.approx(0.12)


def test_a_global_batch_is_shared_by_the_ranks_that_divide_it() -> None:
    rows = expect(STEP, Link(1e-5, 1e9), [1, 2, 3, 4, 512], images=4, batch=64)
    assert [(row.ranks, row.batch) for row in rows] == [(1, 64), (2, 64), (4, 64)]
    falling = [row.efficiency for row in rows]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    ("rates", "slow"),
    [
        ([5.0], []),
        ([5.0, 5.0], []),
        ([5.0, 4.6], []),
        ([4.4, 5.0], [0]),
        ([5.0, 5.1, 4.9, 2.0], [3]),
        ([9.0, 5.0, 5.0, 5.0], []),
        ([1.0, 5.0, 1.0, 5.0], [0, 2]),
    ],
)
def test_a_rank_below_nine_tenths_of_the_median_is_slow(
    rates: list[float], slow: list[int]
) -> None:
    assert slow_ranks(rates) == slow


def test_a_link_is_compared_with_its_kind_only() -> None:
    inside, between = 9e9, 1e9
    rates = [inside, inside, between, inside, between, between, 0.3e9]
    kinds = [rate > 5e9 for rate in rates]
    assert slow_links(rates, kinds) == [6]
    assert slow_links([9e9, 1e9], [True, True]) == []


@pytest.mark.parametrize("world", range(2, 10))
def test_every_two_neighbours_meet_once_and_nobody_is_in_two_pairs_at_a_time(world: int) -> None:
    meetings = rounds(world)
    for low_ranks in meetings:
        busy = [rank for low in low_ranks for rank in (low, (low + 1) % world)]
        assert len(busy) == len(set(busy))
    assert sorted(low for low_ranks in meetings for low in low_ranks) == list(
        range(world if world > 2 else 1)
    )


# What is told.


def test_ranks_that_differ_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"thorax": "1", "torch": "2.13.0"}

    def gather(_: Ranks, value: Any) -> list[Any]:  # noqa: ANN401 - of any type
        if isinstance(value, tuple):
            return [value, ("node-7", {**known, "torch": "2.12.1"})]
        return [value, None]

    monkeypatch.setattr(Ranks, "gather", gather)
    with pytest.raises(PeerError, match=r"rank 1 on node-7 has torch 2\.12\.1") as caught:
        require_same(Ranks(world=2), known)
    assert (caught.value.code, caught.value.exit_code) == ("ranks-differ", 6)


def test_a_recipe_and_a_store_are_told_apart_by_content(recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(RECIPE, "utf-8")
    assert diagnosis.facts(recipe, None) == diagnosis.facts(other, None)
    other.write_text(RECIPE + "\n", "utf-8")
    assert diagnosis.facts(recipe, None) != diagnosis.facts(other, None)


def test_one_process_measures_itself_and_models_no_other() -> None:
    work = Work(topology="resnet18", width=0.125, images=2, side=32)
    found = diagnosis.diagnose(work, Ranks(), duration_s=0.0)
    document = found.document()
    assert document["turns"] == 3
    assert [rank["rank"] for rank in document["ranks"]] == [0]
    assert document["ranks"][0]["images_per_s"] > 0
    assert (document["all_reduce"], document["links"]) == ([], [])
    assert (document["alpha_s"], document["beta_bytes_per_s"]) == (None, None)
    assert [(one["ranks"], one["modelled"]) for one in document["expected"]] == [(1, True)]
    assert document["warnings"] == []
    json.dumps(document, allow_nan=False)


def test_savings_that_are_not_modelled_are_told() -> None:
    def rank(number: int) -> Rank:
        place = {"rank": number, "host": "node", "cpus": "0", "numa": "0", "threads": 1}
        measured = {"images_per_s": 5.0, "wait": 0.0, "interface": None, "mtu": None}
        return Rank.model_validate({**place, **measured, "slow": False})

    work = Work(parallel=Parallel(compression="powersgd", powersgd_start=50))
    both = (rank(0), rank(1))
    [told] = diagnosis._warnings(work, both, (), 0.0)
    assert "before parallel.powersgd_start (50)" in told
    assert not list(diagnosis._warnings(work, both[:1], (), 0.0))
    assert not list(diagnosis._warnings(Work(), both, (), 0.0))


def test_a_topology_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="allowed are resnet18"):
        diagnosis.diagnose(Work(topology="alexnet"), Ranks())


# With real ranks.


VIRTUAL = """
import os
from types import SimpleNamespace

import torch.distributed as dist

from thorax.cli.app import main
from thorax.cluster import bench
from thorax.training.parallel import Ranks

now = [0.0]
# Others take three quarters of the processor of the last rank.
share = 0.25 if os.environ["RANK"] == "1" else 1.0


def spend(seconds):
    now[0] += seconds


def after(act, seconds):
    def timed(*given, **named):
        answer = act(*given, **named)
        spend(seconds(*given))
        return answer
    return timed


def loss(*given, real=bench.masked_bce):
    spend(0.01 / share)
    answer = real(*given)
    answer.register_hook(lambda gradient: spend(0.02 / share))
    return answer


def barrier(self, real=Ranks.barrier):
    # All leave when the last has come.
    real(self)
    now[0] = max(self.gather(now[0]))


def carried(tensor, *rest):
    return 1e-5 + tensor.numel() * 4 / 1e9


bench.time = SimpleNamespace(perf_counter=lambda: now[0])
bench.masked_bce = loss
Ranks.barrier = barrier
bench.dist = SimpleNamespace(
    **{name: after(getattr(dist, name), carried) for name in ("all_reduce", "send", "recv")}
)
main()
"""
"""A command in a time of its own: of computing, of waiting and of messages, as they are counted."""


@pytest.mark.slow
def test_a_rank_whose_processor_is_taken_is_found(recipe: Path, tmp_path: Path) -> None:
    script = tmp_path / "virtual.py"
    script.write_text(VIRTUAL, "utf-8")
    done = torchrun(
        script, "doctor", "cluster", "--recipe", recipe, "--images", 2, "--side", 32,
        "--duration", 0, "--json", options=(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["slow_ranks"] == [1]
    assert "rank 1 on" in document["warnings"][0]
    first, second = document["ranks"]
    # Two images a pass of 30 ms, and of four times that.
    assert (first["images_per_s"], second["images_per_s"]) == pytest.approx((2 / 0.03, 2 / 0.12))
    assert (first["wait"], second["wait"]) == pytest.approx((0.75, 0.0))
    assert [one["bytes"] for one in document["all_reduce"]] == list(SIZES)
    assert [one["ranks"] for one in document["links"]] == [[0, 1]]
    assert document["beta_bytes_per_s"] == pytest.approx(1e9, rel=1e-3)
    # A batch of 8 in shares of one image at least.
    assert [(one["ranks"], one["batch"]) for one in document["expected"]] == [
        (1, 8), (2, 8), (4, 8), (8, 8),
    ]  # fmt: skip


@pytest.mark.slow
def test_ranks_with_different_recipes_do_not_start(recipe: Path) -> None:
    recipe.with_name("recipe0.toml").write_text(RECIPE, "utf-8")
    recipe.with_name("recipe1.toml").write_text(RECIPE.replace("0.1", "0.2"), "utf-8")
    command = f"{sys.executable} -m thorax doctor cluster --recipe {recipe.parent}/recipe$RANK.toml"
    done = torchrun("bash", "-c", command, options=("--no-python",))
    assert re.search(r"thorax: ranks-differ: rank 1 on \S+ has recipe \w{16}, rank 0", done.stderr)
    assert re.search(r"exitcode *: 6", done.stderr)
    assert done.stdout == ""


@pytest.mark.slow
def test_a_rank_that_joins_and_says_nothing_is_named(recipe: Path, tmp_path: Path) -> None:
    script = tmp_path / "silent.py"
    script.write_text(
        "import os, signal, sys\n"
        "from thorax.cli.app import main\n"
        "from thorax.training import parallel\n"
        "if os.environ['RANK'] == '1':\n"
        "    with parallel.join('cpu'):\n"
        "        signal.pause()\n"
        "main()\n",
        "utf-8",
    )
    words = ("doctor", "cluster", "--recipe", recipe, "--timeout", 5)
    done = torchrun(script, *words, options=())
    assert re.search(r"thorax: rank-late: .*\b1\b.*--timeout", done.stderr), done.stderr
    assert re.search(r"exitcode *: 6", done.stderr)
