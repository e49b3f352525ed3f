"""Tables of `thorax optimize`, `thorax mo` and `thorax compare`."""

from collections.abc import Sequence
from typing import Final

from thorax.labels import plain_name
from thorax.report.accuracy import FlipRow, flips_of
from thorax.report.parts import Section
from thorax.report.table import Table, table_of
from thorax.report.text import interval_text, name_text, number_text, scaled_text
from thorax.results.optimize import CompareResult, ConvertResult, OptimizeResult, Trial
from thorax.results.shared import Interval

TOP: Final = 20
"""Layers that the table of a comparison shows unless all are asked for."""


def optimize_tables(result: OptimizeResult) -> list[Table | None]:
    """Return what `optimize` made, what it costs and what was tried."""
    return [
        artifact_table([result]),
        drop_table(result),
        flip_table([result]),
        tried_table([result]),
    ]


def artifact_table(results: Sequence[OptimizeResult | ConvertResult]) -> Table:
    """Return size, work and cost in AUROC, one row an artifact."""
    notes = [
        "With cam: the work of the same network with heat maps of that kind."
        if any(_cam_macs(result) is not None for result in results)
        else "",
        "AUROC drop: FP32 minus the artifact, validation split."
        if any(result.auroc_drop is not None for result in results)
        else "",
    ]
    return table_of(
        "Artifacts",
        results,
        {
            "Precision": lambda result: result.precision.upper(),
            "Size MB": lambda result: scaled_text(result.size_bytes, 1e6, ".1f"),
            "Parameters 10⁶": lambda result: scaled_text(result.parameters, 1e6, ".2f"),
            "MACs 10⁹ / image": lambda result: scaled_text(result.macs, 1e9, ".3f"),
            "with cam": lambda result: scaled_text(_cam_macs(result), 1e9, ".3f"),
            "Heat maps": lambda result: (
                (result.heatmap_kind or "") if isinstance(result, OptimizeResult) else ""
            ),
            "AUROC drop": lambda result: number_text(result.auroc_drop, "+.4f"),
        },
        note=" ".join(filter(None, notes)),
    )


def _cam_macs(result: OptimizeResult | ConvertResult) -> int | None:
    """Return the work with `cam` maps of what has others; None where not known."""
    if not isinstance(result, OptimizeResult) or result.heatmap_kind in (None, "cam"):
        return None
    return result.rewritten.cam_macs if result.rewritten else None


def ports_table(result: ConvertResult) -> Table:
    """Return the inputs and outputs of the graph that `mo` wrote."""
    note = (
        "Not compared with the source: an open shape left nothing to run."
        if result.difference is None
        else f"Differs from the source by {result.difference:.1e} of an output's largest value; "
        f"computed by {result.compared_with}."
        + (" Weights have 16 bits." if result.precision == "fp16" else "")
    )
    return table_of(
        f"IR of a {result.framework} model, {result.layers} layers",
        [*(("in", port) for port in result.inputs), *(("out", port) for port in result.outputs)],
        {
            "Port": lambda row: f"{row[0]} {row[1].name}",
            "Shape": lambda row: (
                f"[{','.join('?' if axis < 0 else str(axis) for axis in row[1].shape)}]"
            ),
            "Type": lambda row: row[1].type,
            "Layout": lambda row: row[1].layout or "",
            "Done to it first": lambda row: row[1].preprocessing or "",
        },
        note=note,
    )


def optimize_hint(result: ConvertResult) -> str:
    """Return the options that make `thorax optimize` feed an IR of `mo` what it expects."""
    port = result.inputs[0]
    layout, steps = port.layout or "", port.preprocessing or ""
    channels = port.shape[layout.index("C")] if "C" in layout else 0
    # A graph that subtracts its own mean takes 0-255, which is 0-1 divided by 1/255.
    if channels > 0 and ("minus" in steps or "divided" in steps):
        means, scales = ",".join(["0"] * channels), ",".join(["0.00392157"] * channels)
        return f"--labels ... --mean {means} --std {scales}"
    return "--labels ... --mean ... --std ..."


def drop_table(result: OptimizeResult) -> Table | None:
    """Return what each finding lost of its AUROC, or None where that was not judged."""
    if not result.auroc_drop_by_finding or result.precision == "fp32":
        return None
    rows = [
        (plain_name(name), interval_text(drop, "+.4f"))
        for name, drop in result.auroc_drop_by_finding.items()
    ]
    rows.append(("Mean", interval_text(result.auroc_drop_interval, "+.4f")))
    return Table(
        f"AUROC drop: AUROC of FP32 minus AUROC of {result.precision.upper()}, validation split",
        ("Finding", "Drop"),
        tuple(rows),
        note="In brackets: 95% interval, patients resampled, both graphs by the same.",
    )


def flip_table(results: Sequence[OptimizeResult]) -> Table | None:
    """Return what artifacts call otherwise than FP32 at operating points, or None."""
    rows = [
        FlipRow(
            f"{result.precision.upper()} {result.model}".strip(),
            result.flips.reference,
            result.flips,
        )
        for result in results
        if result.flips is not None
    ]
    images = " / ".join(dict.fromkeys(f"{row.flips.images:,}" for row in rows))
    return flips_of(
        rows,
        f"{images} images, split val",
        note="Counted on the images that chose the operating points of both: `thorax validate` "
        "counts on others.",
    )


def tried_table(results: Sequence[OptimizeResult]) -> Table | None:
    """Return what was judged before each artifact was chosen, or None."""
    trials = [trial for result in results for trial in result.tried]
    if not trials:
        return None
    notes = dict.fromkeys(result.why for result in results if result.why)
    note = (
        "Kept: layers left in floating point. AUROC drop: FP32 minus the trial, validation split. "
        "× FP32: images per second, timed in turns."
    )
    return table_of(
        "Tried",
        trials,
        {
            "Precision": lambda trial: trial.precision.upper(),
            "Kept": lambda trial: number_text(len(trial.kept) or None, "d"),
            "AUROC drop": _drop_text,
            "× FP32": lambda trial: number_text(trial.speed, ".2f"),
            "Size MB": lambda trial: scaled_text(trial.size_bytes, 1e6, ".1f"),
            "Why": lambda trial: f"{'chosen: ' * trial.chosen}{trial.reason}",
        },
        note=" ".join((*notes, note)),
    )


def _drop_text(trial: Trial) -> str:
    low, high = trial.auroc_drop_interval or (None, None)
    return interval_text(Interval(value=trial.auroc_drop, low=low, high=high), "+.4f")


def compare_tables(result: CompareResult, *, top: int | None = TOP) -> list[Table]:
    """Return what `thorax compare` found: the `top` or all layers, noisiest first, and outputs."""
    layers = result.layers[:top]
    quieter = len(result.layers) - len(layers)
    note = [f"{quieter:,} quieter layers: --all."] if quieter else []
    note.append("SQNR: all noise up to the layer. Own: the noise that the layer itself adds.")
    if result.unmatched:
        note.append(f"{len(result.unmatched):,} layers of the first are not in the second.")
    return [
        table_of(
            f"{result.model} against {result.against.model}: layers, noisiest first",
            layers,
            {
                "Layer": lambda layer: name_text(layer.name, 44),
                "Type": lambda layer: layer.type,
                "SQNR dB": lambda layer: _decibels(layer.sqnr_db),
                "Own dB": lambda layer: _decibels(layer.own_sqnr_db),
                "Max error": lambda layer: f"{layer.max_error:.3g}",
            },
            note=" ".join(note),
        ),
        table_of(
            "Outputs",
            result.outputs,
            {
                "Output": lambda output: output.name,
                "SQNR dB": lambda output: _decibels(output.sqnr_db),
                "Max error": lambda output: f"{output.max_error:.3g}",
            },
        ),
    ]


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"


def compared_section(results: Sequence[CompareResult]) -> Section:
    """Return what each layer adds in noise, of `compare`."""
    tables = [table for result in results for table in compare_tables(result)]
    verdicts = tuple(result.verdict for result in results)
    return Section("compare", "Layer by layer", verdicts, tables=tuple(tables))
