"""The command line: each command calls one public function and shows what it answers.

The only reader of argv and the only place that configures logging. Heavy libraries are imported
by the command that needs them, so that `thorax --help` answers at once.
"""

import errno
import io
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from typer import Argument, Option
from typer.core import TyperCommand

from thorax import __version__
from thorax.cli import console
from thorax.cli.benchmark import measure_app
from thorax.cli.data import (
    Device,
    Extensions,
    Json,
    Model,
    Out,
    Size,
    Workers,
    data_app,
    verify_app,
)
from thorax.cli.fpga import fpga_app, partition_app
from thorax.cli.optimize import optimizer_app
from thorax.cli.plan import plan_app
from thorax.cli.power import power_app
from thorax.cli.train import training_app
from thorax.errors import ThoraxError, UsageError, printable
from thorax.files import atomic

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Train a chest X-ray classifier, compile it, run it anywhere, and know its speed and what "
    "it cost in AUROC. Research software, not a medical device.\n\n"
    "Every command takes --json (one JSON document on stdout) and --debug (traceback on error).\n\n"
    "Try first:  thorax demo",
)
app.add_typer(data_app, name="data")
app.add_typer(verify_app)
app.add_typer(training_app)
app.add_typer(optimizer_app)
app.add_typer(fpga_app, name="fpga")
app.add_typer(partition_app)
app.add_typer(measure_app)
app.add_typer(power_app, name="power")
app.add_typer(plan_app, name="plan")

_EXTRAS: Final = {
    "torch": "train",
    "safetensors": "train",
    "scipy": "train",
    "nncf": "optimize",
    "keras": "optimize",
    "h5py": "optimize",
    "matplotlib": "measure",
    "jinja2": "measure",
    "mlperf_loadgen": "measure",
    "pynvml": "measure",
    "httpcore": "measure",
    "ray": "cluster",
}
"""Packages that only some commands need, and the extra that brings each."""

_COUNTED: Final = ("", "layers", "lines")
"""What may follow `-pc`."""

_CONVERTER: Final = "openvino.tools.ovc"
"""OpenVINO's own converter, which importing OpenVINO imports and no command needs: 0.15 s."""

_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells say it."""

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end; whoever needs it for something else sets a handler of its own."""


class _EndedError(BaseException):
    """A signal that ends this process once what is half written has been removed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end(number: int, _: object) -> NoReturn:
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    raise _EndedError(number)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"thorax {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        Option("--version", help="Print the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    pass


@app.command(epilog="Example:  thorax phantom phantoms --count 2000 --size 256 --seed 1")
def phantom(
    out: Annotated[Path, Argument(help="Folder to write images, labels.csv and boxes.csv to.")],
    count: Annotated[int, Option(min=1, help="How many radiographs.")] = 100,
    size: Size = 256,
    seed: Annotated[int, Option(min=0, help="Same seed, same images.")] = 0,
    dicom: Annotated[bool, Option("--dicom", help="DX DICOM in place of PNG.")] = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Draw labelled synthetic radiographs with lesion boxes."""
    from thorax.phantoms import dataset as source

    with console.steps("drawing", count) as tell:
        images = source.write(
            out,
            count=count,
            side=size,
            seed=seed,
            dicom=dicom,
            workers=workers,
            on_progress=tell,
        )
    labels = str(out / "labels.csv")
    console.emit(
        {"command": "phantom", "images": images, "labels": labels, "boxes": str(out / "boxes.csv")},
        as_json=json,
        show=lambda: print(
            f"{images:,} radiographs in {out}\n"
            f"next: thorax data import folder {out} --labels {labels} "
            f"--boxes {out / 'boxes.csv'} --size {size} --out {out}.store"
        ),
    )


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


@app.command(
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


@app.command(epilog="Example:  thorax devices --json")
def devices(json: Json = False) -> None:
    """What is here and what it can do."""
    from dataclasses import asdict

    from thorax.devices.core import list_devices
    from thorax.report.tables import Table

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


@app.command(epilog="Example:  thorax demo --out demo")
def demo(
    out: Out = Path("demo"),
    seed: Annotated[int, Option(min=0, help="Of phantoms and training.")] = 0,
    json: Json = False,
) -> None:
    """Phantoms -> train -> fp32, bf16, int8 -> validate -> classify -> benchmark -> report."""
    from thorax.cli import demo as story

    result = story.make(out, seed=seed)
    console.emit(result.document(), as_json=json, show=lambda: print(result.summary()))


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    sys.modules.setdefault(_CONVERTER, None)  # type: ignore[arg-type]
    console.open_standard_streams()
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may hold bytes that no encoding has, a terminal may have no umlauts.
            stream.reconfigure(errors="backslashreplace")
    log = console.Harmless(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="thorax: %(message)s", stream=log)
    for number in _ENDING:
        # Under nohup a terminal that closes ends nothing.
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    sys.exit(_run(arguments, debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        status = app(arguments, prog_name="thorax", standalone_mode=False)
    except ThoraxError as error:
        return _fail(error.code, error.message, error.exit_code, debug=debug)
    except typer.Exit as error:
        status = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    except _EndedError as error:
        name = signal.Signals(error.number).name
        status = 128 + error.number
        return _fail(
            "ended", f"stopped by {name}; no file is left half written", status, debug=debug
        )
    except SystemExit:
        # Click's answer to a reader of stdout that has left, as `head` does.
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRAS:
            return _bug(error, debug=debug)
        return _fail(
            "extra-missing",
            f"this command needs {package}; install it: pip install 'thorax[{_EXTRAS[package]}]'",
            2,
            debug=debug,
        )
    except OSError as error:
        where = f" ({str(error.filename)!r})" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "make room, or name another place" if full else "name a place that can be used"
        what = f"{error.strerror or error}{where}; {remedy}"
        return _fail("system-refused", what, 2, debug=debug)
    except Exception as error:
        if hasattr(error, "format_message"):
            what, hint = error.format_message().rstrip("."), "see `thorax --help`"
            return _fail("usage", f"{what}; {hint}", 2, debug=debug)
        return _bug(error, debug=debug)
    if status == _INTERRUPTED:
        # Typer answers Ctrl-C within a command by returning this status.
        return _fail("interrupted", "stopped; no file is left half written", status, debug=False)
    return int(status or 0)


def _bug(error: Exception, *, debug: bool) -> int:
    return _fail(
        "bug",
        f"{type(error).__name__}: {error}; please report it with what --debug prints",
        1,
        debug=debug,
    )


def _fail(code: str, message: str, status: int, *, debug: bool) -> int:
    if debug:
        console.say_traceback()
    console.say(f"thorax: {code}: {' '.join(message.split())}")
    return status
