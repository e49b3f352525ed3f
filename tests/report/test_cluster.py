"""The tables of `thorax doctor cluster`."""

import io

import pytest
from rich.console import Console
from tests.cluster.documents import diagnosis

from thorax.report.cluster import cluster_tables
from thorax.report.table import Table, rich_table


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
