"""Commands that classify radiographs and list devices."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer import Argument, Option
from typer.core import TyperCommand

from thorax.cli import console
from thorax.cli.options import Device, Extensions, Json, Model, one_by_one
from thorax.errors import UsageError, printable
from thorax.files import atomic

if TYPE_CHECKING:
    from thorax.results.findings import ClassifyResult

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


@dataclass(frozen=True, slots=True)
class Classification:
    """How radiographs are classified."""

    device: Device = "CPU"
    counters: Annotated[
        str | None,
        Option(
            "-pc",
            metavar="[layers|lines]",
            help="Print what every layer cost; -pc layers: of a card too; -pc lines: as in 2018.",
        ),
    ] = None
    heatmaps: Annotated[Path | None, Option(help="Folder for pictures of the evidence.")] = None
    colours: Annotated[str, Option(help="Heat-map colours: inferno or viridis.")] = "inferno"
    csv: Annotated[Path | None, Option(help="Also write the findings as a CSV.")] = None
    requests: Annotated[
        int | None,
        Option(
            "--async",
            min=1,
            metavar="N",
            help="Keep N requests in flight, as classification_sample_async; same answers.",
        ),
    ] = None
    out: Annotated[
        Path | None,
        Option(help="Folder to write the answers to, shard by shard: the same again goes on."),
    ] = None
    cluster: Annotated[
        str | None,
        Option(
            metavar="auto|HOST:PORT",
            help="Answer on actors of Ray, on this machine or a cluster; needs --out.",
        ),
    ] = None
    actors: Annotated[
        int | None, Option(min=1, help="Actors of --cluster; as many as there is room for.")
    ] = None
    threads_per_actor: Annotated[
        int | None, Option(min=1, help="Processors of each actor of --cluster, 1.")
    ] = None
    shard_size: Annotated[int | None, Option(min=1, help="Images of a shard of --out, 256.")] = None
    tuned: Annotated[
        bool | None,
        Option(
            "--tuned/--no-tuned",
            help="Use the setting that thorax tune stored; with --out and --async no one is.",
            show_default="tuned",
        ),
    ] = None
    identities: Annotated[
        bool, Option("--identities", help="Tell patients by name, number, sex, age and birth date.")
    ] = False
    follow_links: Annotated[
        bool, Option("--follow-links", help="Go into folders that are linked to.")
    ] = False
    extension: Extensions = None

    def require_consistent(self) -> None:
        """Refuse options that do not go together, or not without another.

        Raises:
            UsageError: `option-choice`, `option-together`, `option-apart`.
        """
        if self.counters is not None and self.counters not in _COUNTED:
            allowed = ", ".join(_COUNTED[1:])
            raise UsageError(
                "option-choice", f"-pc is {self.counters!r}; allowed are {allowed}, or nothing"
            )
        _require_together(
            "--out", {"--cluster": self.cluster, "--shard-size": self.shard_size}, self.out
        )
        _require_together(
            "--cluster",
            {"--actors": self.actors, "--threads-per-actor": self.threads_per_actor},
            self.cluster,
        )
        if self.out is not None:
            _require_apart(
                "--out",
                {
                    "-pc": self.counters,
                    "--heatmaps": self.heatmaps,
                    "--async": self.requests,
                    "--identities": self.identities or None,
                },
            )
        tuned = self.tuned or None
        _require_apart("--tuned", {"--out": self.out and tuned, "--async": self.requests and tuned})

    def run(
        self, model: Path, inputs: list[Path], on_progress: Callable[[int], None], *, keep_all: bool
    ) -> "ClassifyResult":
        """Classify radiographs: those of an archive shard by shard."""
        if self.out is not None:
            from thorax.inference.archive import ArchiveOptions, classify_archive

            archive = ArchiveOptions(
                device=self.device,
                cluster=self.cluster,
                actors=self.actors,
                threads=self.threads_per_actor,
                shard_size=self.shard_size or 256,
                extensions=tuple(self.extension or ()),
                csv=self.csv,
                keep_all=keep_all,
                follow_links=self.follow_links,
            )
            return classify_archive(model, inputs, self.out, archive, on_progress=on_progress)
        from thorax.inference.classify import ClassifyOptions
        from thorax.inference.classify import classify as run

        options = ClassifyOptions(
            device=self.device,
            counters=self.counters is not None,
            layers=self.counters == "layers",
            heatmaps=self.heatmaps,
            colours=self.colours,
            csv=self.csv,
            requests=self.requests,
            tuned=self.tuned is not False,
            keep_all=keep_all,
            identities=self.identities,
            follow_links=self.follow_links,
        )
        return run(model, inputs, options, on_progress=on_progress)


@classify_app.command(
    cls=_Counted,
    epilog="Example:  thorax classify model-int8 chest.png scans/ --heatmaps maps --csv all.csv",
)
@one_by_one
def classify(
    model: Model,
    inputs: Annotated[
        list[Path],
        Argument(help="Pictures, DICOM files, ZIPs or folders of them, stores; - is stdin."),
    ],
    options: Classification,
    json: Json = False,
) -> None:
    """Find the findings in radiographs. Exit status 3 if any file could not be read."""
    from thorax.devices.extensions import add_extensions

    options.require_consistent()
    # A table on stdout is the command's answer: what else there is to see goes to stderr.
    csv_on_stdout = options.csv is not None and atomic.is_stdout(options.csv)
    if csv_on_stdout and json:
        _require_apart("--csv on stdout", {"--json": json})
    add_extensions(options.extension or ())
    with console.progress("classifying", None) as ticker:
        result = options.run(model, inputs, ticker.advance, keep_all=json)

    def show() -> None:
        from thorax.report.counters import cost_lines
        from thorax.report.findings import findings_tables

        screen = sys.stderr if csv_on_stdout else sys.stdout
        lines = options.counters == "lines"
        console.show(*findings_tables(result, counters=not lines), file=screen)
        if lines:
            print(*map(printable, cost_lines(result.counters)), sep="\n", file=screen)

    console.emit(result, as_json=json, show=show)
    if result.failed:
        raise typer.Exit(3)


def _require_together(needed: str, given: Mapping[str, object], present: object) -> None:
    """Refuse options that say something of another one that is not given."""
    for name, value in given.items():
        if value is not None and present is None:
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
    from thorax.devices.core import list_devices
    from thorax.report.findings import devices_table
    from thorax.results.findings import DeviceList

    devices = DeviceList(tuple(list_devices()))
    console.emit(
        devices.model_dump(mode="json"),
        as_json=json,
        show=lambda: console.show(devices_table(devices)),
    )
