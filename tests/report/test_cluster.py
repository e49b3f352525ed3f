"""The tables of `thorax doctor cluster`."""

import io

import pytest
from rich.console import Console

from thorax.report.cluster import cluster_tables
from thorax.report.table import Table, rich_table
from thorax.results.cluster import ClusterDiagnosis

STEP = {"forward_s": 0.1, "backward_s": 0.2, "jitter": 0.0, "images": None}
STEP |= {"gradient_bytes": 27_800_000, "buckets": 2}


def diagnosis(ranks: int) -> ClusterDiagnosis:
    """Return what the command answers for so many ranks, each slower than the one before."""
    document = {
        "command": "doctor cluster",
        "topology": "densenet121",
        "images": 4,
        "side": 224,
        "precision": "fp32",
        "device": "cpu",
        "compression": "none",
        "software": {"thorax": "1", "torch": "2"},
        "turns": 3,
        "slow_ranks": [rank for rank in range(ranks) if rank > 1],
        "slow_links": [],
        "step": STEP,
        "batch": None,
        "clock_spread_s": 0.0,
        "warnings": [],
        "backend": "gloo" if ranks > 1 else None,
        "gradient_bytes": 27_800_000,
        "ranks": [
            {
                "rank": rank,
                "host": f"a-host-with-a-name-{rank:04d}.of.a.large.hospital.example",
                "cpus": "0-27,56-83,112-139",
                "numa": "0,2,4,6,8,10",
                "threads": 56,
                "interface": None,
                "mtu": None,
                "images_per_s": 20_000.0 / (1 + rank),
                "wait": 0.5,
                "slow": rank > 1,
            }
            for rank in range(ranks)
        ],
        "all_reduce": [
            {
                "bytes": size,
                "latency_s": 1e-3,
                "algorithm_bytes_per_s": size / 1e-3,
                "bus_bytes_per_s": size / 1e-3,
            }
            for size in ((4, 4096, 64 << 20) if ranks > 1 else ())
        ],
        "links": [
            {
                "ranks": [rank, (rank + 1) % ranks],
                "hosts": [f"a-host-with-a-name-{rank:04d}", f"another-host-{rank + 1:04d}"],
                "latency_s": 1e-5,
                "bytes_per_s": 1e10 / (1 + rank),
                "slow": False,
            }
            for rank in range(ranks if ranks > 1 else 0)
        ],
        "alpha_s": 1e-5 if ranks > 1 else None,
        "beta_bytes_per_s": 1e10 if ranks > 1 else None,
        "step_s": 0.5,
        "modelled_step_s": 0.4,
        "expected": [
            {"ranks": 1, "batch": 4, "step_s": 0.3, "images_per_s": 13.3, "efficiency": 1.0}
        ],
    }
    return ClusterDiagnosis.read(document)


def drawn(table: Table) -> str:
    screen = Console(file=io.StringIO(), width=100)
    screen.print(rich_table(table))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("ranks", [1, 2, 512])
def test_the_tables_fit_100_columns_and_lose_no_figure(ranks: int) -> None:
    for table in cluster_tables(diagnosis(ranks)):
        text = drawn(table)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 100
        for row in table.rows:
            for cell in row[1:]:
                assert cell in text


def test_of_many_ranks_the_slowest_are_shown_and_the_rest_counted() -> None:
    ranks, _, links, _ = cluster_tables(diagnosis(512))
    assert [row[0] for row in ranks.rows[:2]] == ["511", "510"]
    assert len(ranks.rows) == len(links.rows) == 16
    assert "slowest 16 of 512 ranks" in ranks.note


def test_what_a_model_says_is_called_so_in_every_row() -> None:
    expected = cluster_tables(diagnosis(2))[-1]
    assert "model, not measured" in expected.title
    assert expected.simulated == (True,) * len(expected.rows)


def test_one_rank_has_no_messages() -> None:
    assert len(cluster_tables(diagnosis(1))) == 2
