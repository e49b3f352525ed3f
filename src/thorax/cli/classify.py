"""The commands of the reading room: findings in radiographs, and what devices there are."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer import Argument, Option
from typer.core import TyperCommand

from thorax.cli import console
from thorax.cli.options import Device, Extensions, Json, Model
from thorax.errors import UsageError, printable
from thorax.files import atomic

classify_app = typer.Typer()


_COUNTED: Final = ("", "layers", "lines")
"""What may follow `-pc`."""


class _Counted(TyperCommand):
    """A command with a `-pc` that stands alone, as in 2018, or has a word after it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own
        """Tie the word to its option: what else follows `-pc` is a file."""
        tied: list[str] = []
        words = iter(args)
        for word in words:
            if word == "--":
                tied += [word, *words]
            elif tied and tied[-1] == "-pc=" and word in _COUNTED[1:]:
                tied[-1] += word
            else:
                tied.append("-pc=" if word == "-pc" else word)
        return super().parse_args(ctx, tied)


@classify_app.command(
    cls=_Counted,
    epilog="Example:  thorax classify model-int8 chest.png scans/ --heatmaps maps --csv all.csv",
)
def classify(
    model: Model,
    inputs: Annotated[
        list[Path], Argument(help="PNG, JPEG or DICOM files, folders of them, or stores.")
    ],
    device: Device = "CPU",
    counters: Annotated[
        str | None,
        Option(
            "-pc",
            metavar="[layers|lines]",
            help="Print what every layer cost; -pc layers: of a card too; -pc lines: as in 2018.",
        ),
    ] = None,
    heatmaps: Annotated[Path | None, Option(help="Folder for pictures of the evidence.")] = None,
    colours: Annotated[str, Option(help="Heat-map colours: inferno or viridis.")] = "inferno",
    csv: Annotated[Path | None, Option(help="Also write the findings as a CSV.")] = None,
    requests: Annotated[
        int | None,
        Option(
            "--async",
            min=1,
            metavar="N",
            help="Keep N requests in flight, as classification_sample_async; same answers.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="Folder to write the answers to, shard by shard: the same again goes on."),
    ] = None,
    cluster: Annotated[
        str | None,
        Option(
            metavar="auto|HOST:PORT",
            help="Answer on actors of Ray, on this machine or a cluster; needs --out.",
        ),
    ] = None,
    actors: Annotated[
        int | None, Option(min=1, help="Actors of --cluster; as many as there is room for.")
    ] = None,
    threads_per_actor: Annotated[
        int | None, Option(min=1, help="Processors of each actor of --cluster, 1.")
    ] = None,
    shard_size: Annotated[
        int | None, Option(min=1, help="Images of a shard of --out, 256.")
    ] = None,
    tuned: Annotated[
        bool | None,
        Option(
            "--tuned/--no-tuned",
            help="Use the setting that benchmark --tune stored; with --out and --async no one is.",
            show_default="tuned",
        ),
    ] = None,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """Find the findings in radiographs. Exit status 3 if any file could not be read."""
    from thorax.devices.extensions import add_extensions
    from thorax.inference import classify as run

    if counters is not None and counters not in _COUNTED:
        allowed = ", ".join(_COUNTED[1:])
        raise UsageError("option-choice", f"-pc is {counters!r}; allowed are {allowed}, or nothing")
    _require_together("--out", {"--cluster": cluster, "--shard-size": shard_size}, out)
    _require_together(
        "--cluster", {"--actors": actors, "--threads-per-actor": threads_per_actor}, cluster
    )
    if out is not None:
        _require_apart("--out", {"-pc": counters, "--heatmaps": heatmaps, "--async": requests})
    asked = tuned or None
    _require_apart("--tuned", {"--out": out and asked, "--async": requests and asked})
    # A table on stdout is the command's answer: what else there is to see goes to stderr.
    taken = csv is not None and atomic.is_stdout(csv)
    if taken and json:
        _require_apart("--csv on stdout", {"--json": json})
    add_extensions(extension or ())
    with console.progress("classifying", None) as ticker:
        if out is not None:
            from thorax.inference.archive import classify_archive

            result = classify_archive(
                model,
                inputs,
                out,
                device=device,
                cluster=cluster,
                actors=actors,
                threads=threads_per_actor,
                shard_size=shard_size or 256,
                extensions=extension or (),
                csv_path=csv,
                keep_all=json,
                on_progress=ticker.advance,
            )
        else:
            result = run.classify(
                model,
                inputs,
                device=device,
                counters=counters is not None,
                layers=counters == "layers",
                heatmaps=heatmaps,
                colours=colours,
                csv_path=csv,
                requests=requests,
                tuned=tuned is not False,
                keep_all=json,
                on_progress=ticker.advance,
            )

    document = result.document()

    def show() -> None:
        from thorax.report.findings import findings_tables

        screen = sys.stderr if taken else sys.stdout
        console.show(*findings_tables(document, counters=counters != "lines"), file=screen)
        if counters == "lines":
            print(*map(printable, result.lines()), sep="\n", file=screen)

    console.emit(document, as_json=json, show=show)
    if result.failed:
        raise typer.Exit(3)


def _require_together(needed: str, given: Mapping[str, object], there: object) -> None:
    """Refuse options that say something of another one that is not given."""
    for name, value in given.items():
        if value is not None and there is None:
            raise UsageError("option-together", f"{name} needs {needed}; give both or neither")


def _require_apart(chosen: str, given: Mapping[str, object]) -> None:
    """Refuse options that another one does not follow."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                "option-apart", f"{chosen} and {name} do not go together; give one of them"
            )


@classify_app.command(epilog="Example:  thorax devices --json")
def devices(json: Json = False) -> None:
    """What is here and what it can do."""
    from dataclasses import asdict

    from thorax.devices.core import list_devices
    from thorax.report.table import Table

    found = list_devices()
    document = [asdict(device) for device in found]
    table = Table(
        "Devices",
        ("Name", "Hardware", "Computes natively"),
        tuple(
            (
                device.name,
                device.full_name,
                device.arithmetic or ("" if device.simulated else ", ".join(device.precisions)),
            )
            for device in found
        ),
        simulated=tuple(device.simulated for device in found),
    )
    console.emit(document, as_json=json, show=lambda: console.show(table))
