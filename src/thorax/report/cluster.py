"""What `thorax doctor cluster` shows: ranks, messages, links, and what a model makes of them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from thorax.report.tables import Document, Table

_MOST: Final = 16
"""Ranks or links of which all are shown; of more, the slowest."""


def cluster_tables(document: Document) -> list[Table]:
    """Return the tables of a document of `doctor cluster`; those of one rank alone are fewer."""
    return [
        _ranks(document),
        *([_messages(document), _links(document)] if document["all_reduce"] else []),
        _expected(document),
    ]


def _ranks(document: Document) -> Table:
    ranks = document["ranks"]
    best = max(rank["images_per_s"] for rank in ranks)
    shown, note = _slowest(ranks, "images_per_s", "ranks")
    return Table(
        f"Ranks: {document['topology']}, {document['images']} images of {document['side']} px in "
        f"{document['precision']} a pass",
        ("Rank", "Host", "Processors", "NUMA", "Threads", "Images/s", "Of best", "Waits", ""),
        tuple(
            (
                str(rank["rank"]),
                str(rank["host"])[:24],
                str(rank["cpus"])[:16],
                str(rank["numa"])[:7],
                str(rank["threads"]),
                _three(rank["images_per_s"]),
                f"{rank['images_per_s'] / best:.0%}",
                f"{rank['wait']:.0%}",
                "slow" if rank["slow"] else "",
            )
            for rank in shown
        ),
        note=f"{note}Waits: share of the time spent on waiting for the slowest.",
    )


def _messages(document: Document) -> Table:
    alpha, beta = document["alpha_s"], document["beta_bytes_per_s"]
    return Table(
        f"All-reduce over {len(document['ranks'])} ranks, {document['backend']}",
        ("Size", "Time, ms", "Algorithm, MB/s", "Bus, MB/s"),
        tuple(
            (
                _size(one["bytes"]),
                f"{one['latency_s'] * 1e3:.3f}",
                _three(one["algorithm_bytes_per_s"] / 1e6),
                _three(one["bus_bytes_per_s"] / 1e6),
            )
            for one in document["all_reduce"]
        ),
        note=f"As a ring: {alpha * 1e6:.1f} us a message and {beta / 1e9:.3g} GB/s a link.",
    )


def _links(document: Document) -> Table:
    shown, note = _slowest(document["links"], "bytes_per_s", "links")
    return Table(
        "Links between neighbours, one way",
        ("Ranks", "Hosts", "Latency, us", "GB/s", ""),
        tuple(
            (
                "-".join(map(str, one["ranks"])),
                " - ".join(dict.fromkeys(str(host)[:24] for host in one["hosts"])),
                f"{one['latency_s'] * 1e6:.1f}",
                f"{one['bytes_per_s'] / 1e9:.3f}",
                "slow" if one["slow"] else "",
            )
            for one in shown
        ),
        note=note,
    )


def _expected(document: Document) -> Table:
    measured, modelled = document["step_s"], document["modelled_step_s"]
    rows = document["expected"]
    return Table(
        "Expected (model, not measured)",
        ("Ranks", "Batch", "Step, ms", "Images/s", "Efficiency"),
        tuple(
            (
                f"{one['ranks']:,}",
                f"{one['batch']:,}",
                f"{one['step_s'] * 1e3:,.1f}",
                _three(one["images_per_s"]),
                f"{one['efficiency']:.1%}",
            )
            for one in rows
        ),
        tuple(True for _ in rows),
        f"Gradients of {document['gradient_bytes'] / 1e6:.1f} MB, hosts and links as measured "
        f"here. An update of {document['images']} images a rank took {measured * 1e3:,.1f} ms; "
        f"the model says {modelled * 1e3:,.1f} ms.",
    )


def _slowest(
    rows: Iterable[Mapping[str, Any]], key: str, what: str
) -> tuple[list[Mapping[str, Any]], str]:
    every = list(rows)
    if len(every) <= _MOST:
        return every, ""
    slowest = sorted(every, key=lambda row: float(row[key]))[:_MOST]
    return slowest, f"The slowest {_MOST} of {len(every):,} {what}. "


def _three(value: float) -> str:
    """Return three digits of a rate, none of them after the point from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"
