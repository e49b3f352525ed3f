"""Tables of `thorax doctor cluster`: ranks, messages, links, and a model of more ranks."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from thorax.report.parts import Section
from thorax.report.table import Table, table_of
from thorax.report.text import rate_text, whole_bytes_text
from thorax.results.cluster import ClusterDiagnosis

_MOST: Final = 16
"""Ranks or links of which all are shown; of more, the slowest."""


def cluster_tables(diagnosis: ClusterDiagnosis) -> list[Table]:
    """Return the tables of a diagnosis; those of one rank alone are fewer."""
    tables = [_ranks(diagnosis), _expected(diagnosis)]
    if diagnosis.alpha_s is not None and diagnosis.beta_bytes_per_s is not None:
        messages = _messages(diagnosis, diagnosis.alpha_s, diagnosis.beta_bytes_per_s)
        tables[1:1] = [messages, _links(diagnosis)]
    return tables


def _ranks(diagnosis: ClusterDiagnosis) -> Table:
    ranks = diagnosis.ranks
    best = max(rank.images_per_s for rank in ranks)
    shown, note = _slowest(ranks, lambda rank: rank.images_per_s, "ranks")
    return table_of(
        f"Ranks: {diagnosis.topology}, {diagnosis.images} images of {diagnosis.side} px in "
        f"{diagnosis.precision} a pass",
        shown,
        {
            "Rank": lambda rank: str(rank.rank),
            "Host": lambda rank: rank.host[:24],
            "Processors": lambda rank: rank.cpus[:16],
            "NUMA": lambda rank: rank.numa[:7],
            "Threads": lambda rank: str(rank.threads),
            "Images/s": lambda rank: rate_text(rank.images_per_s),
            "Of best": lambda rank: f"{rank.images_per_s / best:.0%}",
            "Waits": lambda rank: f"{rank.wait:.0%}",
            "": lambda rank: "slow" * rank.slow,
        },
        note=f"{note}Waits: share of the time spent on waiting for the slowest.",
    )


def _messages(diagnosis: ClusterDiagnosis, alpha: float, beta: float) -> Table:
    return table_of(
        f"All-reduce over {len(diagnosis.ranks)} ranks, {diagnosis.backend}",
        diagnosis.all_reduce,
        {
            "Size": lambda message: whole_bytes_text(message.bytes),
            "Time, ms": lambda message: f"{message.latency_s * 1e3:.3f}",
            "Algorithm, MB/s": lambda message: rate_text(message.algorithm_bytes_per_s / 1e6),
            "Bus, MB/s": lambda message: rate_text(message.bus_bytes_per_s / 1e6),
        },
        note=f"As a ring: {alpha * 1e6:.1f} us a message and {beta / 1e9:.3g} GB/s a link.",
    )


def _links(diagnosis: ClusterDiagnosis) -> Table:
    shown, note = _slowest(diagnosis.links, lambda link: link.bytes_per_s, "links")
    return table_of(
        "Links between neighbours, one way",
        shown,
        {
            "Ranks": lambda link: "-".join(map(str, link.ranks)),
            "Hosts": lambda link: " - ".join(dict.fromkeys(host[:24] for host in link.hosts)),
            "Latency, us": lambda link: f"{link.latency_s * 1e6:.1f}",
            "GB/s": lambda link: f"{link.bytes_per_s / 1e9:.3f}",
            "": lambda link: "slow" * link.slow,
        },
        note=note,
    )


def _expected(diagnosis: ClusterDiagnosis) -> Table:
    measured, modelled = diagnosis.step_s, diagnosis.modelled_step_s
    return table_of(
        "Expected (model, not measured)",
        diagnosis.expected,
        {
            "Ranks": lambda world: f"{world.ranks:,}",
            "Batch": lambda world: f"{world.batch:,}",
            "Step, ms": lambda world: f"{world.step_s * 1e3:,.1f}",
            "Images/s": lambda world: rate_text(world.images_per_s),
            "Efficiency": lambda world: f"{world.efficiency:.1%}",
        },
        note=f"Gradients of {diagnosis.gradient_bytes / 1e6:.1f} MB, hosts and links as measured "
        f"here. An update of {diagnosis.images} images a rank took {measured * 1e3:,.1f} ms; "
        f"the model says {modelled * 1e3:,.1f} ms.",
        simulated=lambda _: True,
    )


PartT = TypeVar("PartT")


def _slowest(
    rows: Sequence[PartT], rate: Callable[[PartT], float], what: str
) -> tuple[Sequence[PartT], str]:
    if len(rows) <= _MOST:
        return rows, ""
    return sorted(rows, key=rate)[:_MOST], f"The slowest {_MOST} of {len(rows):,} {what}. "


def section(diagnoses: Sequence[ClusterDiagnosis]) -> Section:
    """Return ranks, messages and links."""
    tables = [table for diagnosis in diagnoses for table in cluster_tables(diagnosis)]
    return Section("cluster", "Cluster", tables=tuple(tables))
