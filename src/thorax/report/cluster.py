"""What `thorax doctor cluster` shows: ranks, messages, links, and what a model makes of them."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from thorax.report.table import Table
from thorax.results.cluster import ClusterDiagnosis

_MOST: Final = 16
"""Ranks or links of which all are shown; of more, the slowest."""


def cluster_tables(diagnosis: ClusterDiagnosis) -> list[Table]:
    """Return the tables of a document of `doctor cluster`; those of one rank alone are fewer."""
    return [
        _ranks(diagnosis),
        *_between(diagnosis),
        _expected(diagnosis),
    ]


def _ranks(diagnosis: ClusterDiagnosis) -> Table:
    ranks = diagnosis.ranks
    best = max(rank.images_per_s for rank in ranks)
    shown, note = _slowest(ranks, lambda rank: rank.images_per_s, "ranks")
    return Table(
        f"Ranks: {diagnosis.topology}, {diagnosis.images} images of {diagnosis.side} px in "
        f"{diagnosis.precision} a pass",
        ("Rank", "Host", "Processors", "NUMA", "Threads", "Images/s", "Of best", "Waits", ""),
        tuple(
            (
                str(rank.rank),
                str(rank.host)[:24],
                str(rank.cpus)[:16],
                str(rank.numa)[:7],
                str(rank.threads),
                _three(rank.images_per_s),
                f"{rank.images_per_s / best:.0%}",
                f"{rank.wait:.0%}",
                "slow" if rank.slow else "",
            )
            for rank in shown
        ),
        note=f"{note}Waits: share of the time spent on waiting for the slowest.",
    )


def _between(diagnosis: ClusterDiagnosis) -> list[Table]:
    """Return what is between ranks, where there are several."""
    if diagnosis.alpha_s is None or diagnosis.beta_bytes_per_s is None:
        return []
    messages = _messages(diagnosis, diagnosis.alpha_s, diagnosis.beta_bytes_per_s)
    return [messages, _links(diagnosis)]


def _messages(diagnosis: ClusterDiagnosis, alpha: float, beta: float) -> Table:
    return Table(
        f"All-reduce over {len(diagnosis.ranks)} ranks, {diagnosis.backend}",
        ("Size", "Time, ms", "Algorithm, MB/s", "Bus, MB/s"),
        tuple(
            (
                _size(one.bytes),
                f"{one.latency_s * 1e3:.3f}",
                _three(one.algorithm_bytes_per_s / 1e6),
                _three(one.bus_bytes_per_s / 1e6),
            )
            for one in diagnosis.all_reduce
        ),
        note=f"As a ring: {alpha * 1e6:.1f} us a message and {beta / 1e9:.3g} GB/s a link.",
    )


def _links(diagnosis: ClusterDiagnosis) -> Table:
    shown, note = _slowest(diagnosis.links, lambda link: link.bytes_per_s, "links")
    return Table(
        "Links between neighbours, one way",
        ("Ranks", "Hosts", "Latency, us", "GB/s", ""),
        tuple(
            (
                "-".join(map(str, one.ranks)),
                " - ".join(dict.fromkeys(str(host)[:24] for host in one.hosts)),
                f"{one.latency_s * 1e6:.1f}",
                f"{one.bytes_per_s / 1e9:.3f}",
                "slow" if one.slow else "",
            )
            for one in shown
        ),
        note=note,
    )


def _expected(diagnosis: ClusterDiagnosis) -> Table:
    measured, modelled = diagnosis.step_s, diagnosis.modelled_step_s
    rows = diagnosis.expected
    return Table(
        "Expected (model, not measured)",
        ("Ranks", "Batch", "Step, ms", "Images/s", "Efficiency"),
        tuple(
            (
                f"{one.ranks:,}",
                f"{one.batch:,}",
                f"{one.step_s * 1e3:,.1f}",
                _three(one.images_per_s),
                f"{one.efficiency:.1%}",
            )
            for one in rows
        ),
        tuple(True for _ in rows),
        f"Gradients of {diagnosis.gradient_bytes / 1e6:.1f} MB, hosts and links as measured "
        f"here. An update of {diagnosis.images} images a rank took {measured * 1e3:,.1f} ms; "
        f"the model says {modelled * 1e3:,.1f} ms.",
    )


PartT = TypeVar("PartT")


def _slowest(
    rows: Sequence[PartT], rate: Callable[[PartT], float], what: str
) -> tuple[Sequence[PartT], str]:
    if len(rows) <= _MOST:
        return rows, ""
    return sorted(rows, key=rate)[:_MOST], f"The slowest {_MOST} of {len(rows):,} {what}. "


def _three(value: float) -> str:
    """Return three digits of a rate, none of them after the point from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"
