"""Ranks: as one process to the rounding of sums, and whole again when one of them is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.ranks_agree import furthest, weights
from benchmarks.record.evidence import Evidence

from thorax.errors import PeerError, UsageError
from thorax.training import parallel
from thorax.training.card import read_card, resolve
from thorax.training.parallel import Parallel, Ranks

SCRIPT = Path(__file__).with_name("ranks.py")
ROOT = Path(__file__).resolve().parents[2]


def torchrun(task: str, folder: Path, *, count: int, restarts: int = 0) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += [f"--nproc-per-node={count}", f"--max-restarts={restarts}", "--monitor-interval=0.1"]
    done = subprocess.run(
        [*words, str(SCRIPT), task, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def digests(folder: Path) -> tuple[str, str]:
    card = read_card(resolve(folder))
    return card.weights_sha256, card.optimizer_sha256


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every variant trained by one process, by two ranks and by three."""
    folder = tmp_path_factory.mktemp("trained")
    for count in (1, 2, 3):
        torchrun("everything", folder, count=count)
    return folder


@pytest.mark.parametrize("name", ["plain", "sam", "averaged", "lars"])
@pytest.mark.parametrize("count", [2, 3])
def test_ranks_give_the_weights_of_one_process_to_float_rounding(
    trained: Path, name: str, count: int
) -> None:
    one, many = trained / f"{name}-1", trained / f"{name}-{count}"
    # Ten times what benchmarks/results/ranks_agree_*.json has, as processors add in other orders.
    assert furthest(weights(one), weights(many)) < 2.5e-5
    alone, together = (read_card(resolve(run)) for run in (one, many))
    assert (alone.ranks, together.ranks) == (1, count)
    assert alone.metrics["auroc"] == together.metrics["auroc"]
    losses = [[entry["loss"] for entry in card.history] for card in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_give_the_weights_of_one_process_after_one_update_of_a_resnet(
    trained: Path, count: int
) -> None:
    alone, together = (weights(trained / f"resnet18-{ranks}") for ranks in (1, count))
    # Three times what benchmarks/results/ranks_agree_*.json has.
    assert 0 < furthest(alone, together) < 4e-6


def test_the_page_tells_what_was_measured_of_ranks() -> None:
    document = Evidence().newest("ranks_agree").document
    assert document["worst"] == {
        "one_update": max(document["differences"]["resnet18"].values()),
        "four_updates": max(
            value
            for name, row in document["differences"].items()
            if name != "resnet18"
            for value in row.values()
        ),
    }
    page = " ".join((ROOT / "docs" / "training.md").read_text("utf-8").split())
    two, three = (document["differences"]["resnet18"][count] for count in ("2", "3"))
    assert f"{two:.1e}".replace("e-0", "e-") in page
    assert f"{three:.1e}".replace("e-0", "e-") in page
    assert f"{document['worst']['four_updates']:.1e}".replace("e-0", "e-") in page


@pytest.mark.parametrize(("name", "apart"), [("bf16", 0.1), ("fp16", 0.02), ("powersgd", 1.0)])
def test_compressed_gradients_train_nearly_the_same_weights(
    trained: Path, name: str, apart: float
) -> None:
    found = furthest(weights(trained / "plain-2"), weights(trained / f"{name}-2"))
    assert 0 < found < apart


def test_one_process_compresses_nothing(trained: Path) -> None:
    assert digests(trained / "plain-1")[0] == digests(trained / "bf16-1")[0]


def test_collectives_answer_every_rank(trained: Path) -> None:
    answers = json.loads((trained / "answers.json").read_text())
    assert answers["average"] == [1.0] * 3
    assert answers["broadcast"] == "lead"
    assert answers["refusals"] == [
        ["test-refusal", "rank-refused"],
        ["rank-refused", "rank-refused"],
        ["rank-refused", "test-refusal"],
    ]
    assert any("rank 2 on" in line for line in answers["messages"])
    assert any("fp16 over 3 ranks" in line for line in answers["messages"])
    assert any("powersgd changes" in line for line in answers["messages"])


def test_a_killed_rank_is_started_anew_and_the_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    for task in ("straight", "killed"):
        (tmp_path / task).mkdir()
        torchrun(task, tmp_path / task, count=3, restarts=1)
    assert (tmp_path / "killed/restarts").read_text() == "1"
    assert digests(tmp_path / "killed/run") == digests(tmp_path / "straight/run")


def test_one_warned_rank_stops_all_after_one_update_and_they_end_in_the_same_bits(
    tmp_path: Path,
) -> None:
    torchrun("warned", tmp_path, count=2)
    assert digests(tmp_path / "run") == digests(tmp_path / "straight")


def test_ranks_that_would_train_differently_are_refused_and_one_speaks_for_all(
    tmp_path: Path,
) -> None:
    torchrun("unlike", tmp_path, count=2)
    told = json.loads((tmp_path / "codes.json").read_text())
    assert told == [["ranks-differ", "training-diverged"], ["rank-refused", "rank-refused"]]
    assert not (tmp_path / "unlike").exists()


def test_powersgd_within_the_warm_up_is_refused_and_one_that_never_begins_is_told() -> None:
    settings = Parallel(compression="powersgd", powersgd_start=50)
    with pytest.raises(UsageError, match="warm-up of 60") as caught:
        parallel.check(settings, Ranks(world=2), warmup_steps=60, steps=500)
    assert caught.value.code == "powersgd-start"
    told = parallel.check(settings, Ranks(world=2), warmup_steps=10, steps=50)
    assert "never begins" in told[-1]
    assert parallel.check(settings, Ranks(), warmup_steps=60, steps=50) == []


def test_fp16_says_what_it_drops_at_the_size_of_the_world() -> None:
    told = parallel.check(Parallel(compression="fp16"), Ranks(world=512), warmup_steps=1, steps=9)
    assert "0.03 coarsely" in told[0]
    assert "3e-05" in told[0]


def test_half_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(UsageError, match="LOCAL_RANK, LOCAL_WORLD_SIZE") as caught,
        parallel.join("cpu"),
    ):
        pass
    assert caught.value.code == "launcher"


def test_a_lost_rank_is_told_in_our_words_and_other_errors_stay() -> None:
    gloo = "[../third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [::1]:9"
    with (
        pytest.raises(PeerError, match=r"others: Connection closed by peer") as caught,
        parallel.watched(Ranks(rank=1, world=2)),
    ):
        raise RuntimeError(gloo)
    assert caught.value.code == "rank-lost"
    with pytest.raises(RuntimeError, match="shapes"), parallel.watched(Ranks()):
        raise RuntimeError("shapes do not fit")


def test_one_process_needs_no_group() -> None:
    ranks = Ranks()
    tensor = torch.ones(2)
    ranks.average([tensor])
    ranks.barrier()
    assert (ranks.gather(1), ranks.broadcast(2), ranks.agree(lambda: 3)) == ([1], 2, 3)
    assert tensor.tolist() == [1.0, 1.0]
