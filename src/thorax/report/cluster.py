"""Tables of `thorax doctor cluster`: ranks, messages, links, and a model of more ranks."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from thorax.report.parts import Section
from thorax.report.table import Table
from thorax.report.text import rate_text, whole_bytes_text
from thorax.results.cluster import ClusterDiagnosis

_MOST: Final = 16
"""Ranks or links of which all are shown; of more, the slowest."""


def cluster_tables(diagnosis: ClusterDiagnosis) -> list[Table]:
    """Return the tables of a diagnosis; those of one rank alone are fewer."""
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
                rate_text(rank.images_per_s),
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
                whole_bytes_text(message.bytes),
                f"{message.latency_s * 1e3:.3f}",
                rate_text(message.algorithm_bytes_per_s / 1e6),
                rate_text(message.bus_bytes_per_s / 1e6),
            )
            for message in diagnosis.all_reduce
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
                "-".join(map(str, link.ranks)),
                " - ".join(dict.fromkeys(str(host)[:24] for host in link.hosts)),
                f"{link.latency_s * 1e6:.1f}",
                f"{link.bytes_per_s / 1e9:.3f}",
                "slow" if link.slow else "",
            )
            for link in shown
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
                f"{world.ranks:,}",
                f"{world.batch:,}",
                f"{world.step_s * 1e3:,.1f}",
                rate_text(world.images_per_s),
                f"{world.efficiency:.1%}",
            )
            for world in rows
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


def section(diagnoses: Sequence[ClusterDiagnosis]) -> Section | None:
    """Return ranks, messages and links."""
    if not diagnoses:
        return None
    tables = [table for diagnosis in diagnoses for table in cluster_tables(diagnosis)]
    return Section("cluster", "Cluster", tables=tuple(tables))
