"""Claim: how near models of clusters with one or two fitted numbers come to other published rows.

All rows were known when the models were written, and those that plans use were chosen with them in
view, whatever the name of the claim says. Beside the errors on these rows stand those of
`benchmarks.subjects.left_out`, where what ranks lose comes from systems on other machines.

    python -m benchmarks.cluster_predictions
    python -m benchmarks.cluster_predictions --measure

Every system says which numbers are fitted to which of its rows; links are those of data sheets, all
other constants stand in its file with their sources. The first model of a system is the one that
plans use; variants tell what another assumption would have given, `choices` what was decided with
all rows known, and the naive baseline what adding up ranks from the first fitted row on gives.
Nothing is timed, so the result does not depend on the machine: a test computes it again.

With `--measure`, ranks of this machine are measured too (`thorax doctor cluster`, about three
minutes on two idle cores): two are measured, and modelled from one rank alone, with nothing taken
from the run of two but the link.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.harness.result import parse_args, table, write
from benchmarks.record.tables import left_out as left_out_table
from benchmarks.subjects.left_out import leave_one_out
from thorax.files.atomic import write_text
from thorax.plan.published import compare_rows, ready, solve
from thorax.plan.system_files import find_system, list_systems, read_doctor
from thorax.plan.training_time import all_reduce_s, update, workload

GOAL: Final = 0.1
"""Error of a row that is not fitted that is aimed at."""


def comparisons() -> dict[str, Any]:
    """Return every row of every system by every model of it, and how many meet the goal."""
    rows, solved = [], []
    for name in list_systems():
        system = find_system(name)
        for place, model in enumerate(system.models):
            found = solve(system, model)
            solved.append(
                {
                    "system": name,
                    "model": model.name,
                    "plans_use_it": place == 0,
                    "note": model.note,
                    "choices": list(model.choices),
                    "free_numbers": {
                        fit.field: {"value": _short(getattr(found, fit.field)), "row": fit.row}
                        for fit in model.fits
                    },
                }
            )
            for one in compare_rows(system, model):
                row = one.model_dump()
                rows.append(
                    {
                        **row,
                        "modelled": _short(one.modelled),
                        "error": round(one.error, 5),
                        "linear": _short(one.linear),
                        "linear_error": round(row["linear_error"], 5) + 0.0,
                    }
                )
    apart = left_out(rows)
    return {
        "goal": GOAL,
        "sources": {name: list(find_system(name).sources) for name in list_systems()},
        "models": solved,
        "rows": rows,
        "summary": _summary(solved, rows),
        "left_out": apart,
        "left_out_in_all": _in_all(apart),
        "all_reduces": all_reduces(),
    }


def left_out(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a system each: errors of its model beside those with other systems' losses."""
    plans = {name: find_system(name).models[0].name for name in list_systems() if
             find_system(name).models}  # fmt: skip
    found = []
    for one in leave_one_out():
        inside = {
            row["row"]: row["error"]
            for row in rows
            if (row["system"], row["model"]) == (one.system, plans[one.system])
            and row["how"] in ("chosen", "known")
        }
        found.append(
            {
                "system": one.system,
                "losses_of": one.donor,
                "in_sample": _spread(inside),
                "left_out": _spread(one.errors),
                "unmoved": {name: round(error, 5) for name, error in one.unmoved.items()},
            }
        )
    return found


def _spread(errors: dict[str, float]) -> dict[str, Any]:
    sizes = [abs(error) for error in errors.values()]
    return {
        "errors": {name: round(error, 5) for name, error in errors.items()},
        "rows": len(sizes),
        "within_goal": sum(size <= GOAL for size in sizes),
        "median": round(statistics.median(sizes), 5) if sizes else None,
        "worst": round(max(sizes), 5) if sizes else None,
    }


def _in_all(apart: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of all systems left out, and the range of those that have rows to count."""
    parts = [one["left_out"] for one in apart if one["left_out"]["rows"]]
    medians = [part["median"] for part in parts]
    return {
        "rows": sum(part["rows"] for part in parts),
        "within_goal": sum(part["within_goal"] for part in parts),
        "unmoved": sum(len(one["unmoved"]) for one in apart),
        "least_median": min(medians),
        "most_median": max(medians),
        "worst": max(part["worst"] for part in parts),
    }


def all_reduces() -> list[dict[str, Any]]:
    """Return what summing all gradients takes by each algorithm on the nodes of zenith, modelled.

    Exposed is what of the exchange does not hide behind the backward pass, by buckets.
    """
    system = ready(find_system("zenith"))
    rows = []
    for topology in ("resnet50", "vgg16-classic"):
        size = workload(system, topology).gradient_bytes
        for ranks in (4, 64, 512, 1024):
            for name in ("ring", "halving-doubling", "hierarchical"):
                other = system.model_copy(update={"algorithm": name})
                one = update(other, topology, ranks=ranks, images=16)
                rows.append(
                    {
                        "topology": topology,
                        "gradient_bytes": size,
                        "ranks": ranks,
                        "algorithm": name,
                        "all_reduce_s": _short(all_reduce_s(other, ranks, size)),
                        "exposed_s": _short(one.communication_s - system.update_s),
                    }
                )
    return rows


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _summary(solved: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    plans = {one["system"]: one["model"] for one in solved if one["plans_use_it"]}
    kept = []
    for one in solved:
        met = [
            row
            for row in rows
            if (row["system"], row["model"]) == (one["system"], one["model"])
            and row["how"] in ("chosen", "known")
        ]
        errors = [abs(row["error"]) for row in met]
        linear = [abs(row["linear_error"]) for row in met]
        kept.append(
            {
                "system": one["system"],
                "model": one["model"],
                "free_numbers": len(one["free_numbers"]),
                "choices": len(one["choices"]),
                "linear_within_goal": sum(error <= GOAL for error in linear),
                "tested": len(errors),
                "within_goal": sum(error <= GOAL for error in errors),
                "worst": max(errors, default=None),
                "moved": _moved(one, met, rows, plans[one["system"]]),
                "median": statistics.median(errors) if errors else None,
            }
        )
    return kept


def _moved(
    model: dict[str, Any], met: list[dict[str, Any]], rows: list[dict[str, Any]], plan: str
) -> float | None:
    """Return by how much a variant moves an error of the model that plans use, at most."""
    own = {
        row["row"]: row["error"]
        for row in rows
        if (row["system"], row["model"]) == (model["system"], plan)
    }
    if not model["model"].startswith("variant"):
        return None
    return max((round(abs(row["error"] - own[row["row"]]), 5) for row in met), default=None)


def markdown(document: dict[str, Any]) -> list[str]:
    """Return the lines of the table of docs/planning.md: the models that plans use, and those told.

    A row a published figure, with the error of each model of its system that has no `variant:`.
    """
    plans = {one["system"]: one["model"] for one in document["models"] if one["plans_use_it"]}
    plain = {
        row["system"]: [
            one["model"]
            for one in document["models"]
            if one["system"] == row["system"]
            and not one["plans_use_it"]
            and not one["model"].startswith("variant")
        ]
        for row in document["rows"]
    }
    errors = {(row["system"], row["model"], row["row"]): row for row in document["rows"]}
    choices = {one["system"]: len(one["choices"]) for one in document["models"]
               if one["plans_use_it"]}  # fmt: skip
    lines = []
    for row in document["rows"]:
        if row["model"] != plans[row["system"]]:
            continue
        others = [errors[row["system"], model, row["row"]] for model in plain[row["system"]]]
        first = "; ".join(f"{_error(one)} ({one['free_numbers']})" for one in others)
        batch = f"{row['batch']:,}{'*' if row['batch_assumed'] else ''}"
        lines.append(
            f"| {row['system']} | {row['topology']} | {row['workers']:,} | {batch} "
            f"| {row['published']:,.6g} {_UNITS[row['quantity']]} | {_figure(row['modelled'])} "
            f"| {_error(row)} ({row['free_numbers']}+{choices[row['system']]}) "
            f"| {row['linear_error']:+.1%} | {first} |"
        )
    return lines


def all_reduce_markdown(document: dict[str, Any]) -> list[str]:
    """Return the lines of the table of all-reduces of docs/planning.md."""
    found = defaultdict(list)
    for row in document["all_reduces"]:
        key = (row["topology"], row["gradient_bytes"], row["ranks"])
        found[key].append(f"{row['all_reduce_s'] * 1e3:.1f} ({row['exposed_s'] * 1e3:.1f})")
    return [
        f"| {topology} | {size / 1e6:.1f} | {ranks:,} | {' | '.join(cells)} |"
        for (topology, size, ranks), cells in found.items()
    ]


_UNITS: Final = {
    "time_to_train_s": "s", "epoch_s": "s/epoch", "images_per_s": "images/s",
    "efficiency": "of perfect", "energy_kwh": "kWh",
}  # fmt: skip


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _error(row: dict[str, Any]) -> str:
    if row["how"] == "calibrated":
        return "fitted"
    return f"{row['error']:+.1%}" + (" (identity)" if row["how"] == "identity" else "")


def show(document: dict[str, Any]) -> None:
    """Print a table a model, then the summary."""
    apart = defaultdict(list)
    for row in document["rows"]:
        apart[row["system"], row["model"]].append(row)
    for (system, model), rows in apart.items():
        free = rows[0]["free_numbers"]
        table(
            f"\n{system}: {model} ({free} free)",
            ("row", "published", "modelled", "error", "how"),
            [
                (
                    row["row"] + (" *" if row["batch_assumed"] else ""),
                    f"{row['published']:,.6g}",
                    f"{row['modelled']:,.6g}",
                    f"{row['error']:+.1%}",
                    row["how"],
                )
                for row in rows
            ],
        )
    table(
        "\nRows that are neither fitted nor follow from another (* batch assumed)",
        ("system and model", "free", "rows", "within 10 %", "worst"),
        [
            (
                f"{one['system']}: {one['model']}",
                str(one["free_numbers"]),
                str(one["tested"]),
                str(one["within_goal"]),
                "" if one["worst"] is None else f"{one['worst']:.1%}",
            )
            for one in document["summary"]
        ],
    )


def measure(duration_s: float, images: int, side: int, turns: int) -> dict[str, Any]:
    """Return one and two ranks, measured by turns, and two modelled from one.

    Args:
        duration_s: of each run of the doctor.
        images: of a pass.
        side: of the images, pixels.
        turns: how often one and two are measured.
    """
    errors, seen = [], []
    with TemporaryDirectory() as folder:
        for turn in range(turns):
            runs = [
                _doctor(count, Path(folder) / f"{turn}-{count}.json", duration_s, images, side)
                for count in (1, 2)
            ]
            alone, both = runs
            step = {
                **both["step"],
                **{key: alone["step"][key] for key in ("forward_s", "backward_s")},
            }
            path = Path(folder) / "joined.json"
            # What is joined is no document of the doctor, and has no digest.
            joined = {**both, "step": {**step, "jitter": 0.0}, "sha256": ""}
            write_text(path, json.dumps(joined))
            system = read_doctor(path)
            modelled = update(system, both["topology"], ranks=2, images=float(images)).whole_s
            errors.append(modelled / both["step_s"] - 1)
            seen.append({"measured_step_s": both["step_s"], "modelled_step_s": modelled})
    table(
        "\nTwo ranks of this machine, modelled from one",
        ("turn", "measured s", "modelled s", "error"),
        [
            (
                str(turn),
                f"{one['measured_step_s']:.3f}",
                f"{one['modelled_step_s']:.3f}",
                f"{error:+.1%}",
            )
            for turn, (one, error) in enumerate(zip(seen, errors, strict=True), start=1)
        ],
    )
    error = statistics.median(errors)
    print(f"median error {error:+.1%}")
    return {"turns": seen, "error": error, "images": images, "side": side}


def _doctor(ranks: int, path: Path, duration_s: float, images: int, side: int) -> dict[str, Any]:
    """Run the doctor with so many ranks of one thread, and return its document."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = ["doctor", "cluster", "--images", images, "--side", side, "--duration", duration_s]
    done = subprocess.run(
        [*launch, "--nproc-per-node", str(ranks), "-m", "thorax", *map(str, words), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=True,
    )
    path.write_text(done.stdout, "utf-8")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def main() -> None:
    """Write and print the table; measure this machine if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--turns", type=int, default=3)
    given = parse_args(parser)
    if given.measure:
        found = measure(given.duration, given.images, given.side, given.turns)
        path = write("cluster_model_measured", found, rehearsal=given.rehearsal)
        print(f"written: {path}")
        return
    document = comparisons()
    show(document)
    print(left_out_table(document))
    path = write("cluster_predictions", document, rehearsal=given.rehearsal, modelled=True)
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
