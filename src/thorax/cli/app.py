"""The command line: each command calls one public function and shows what it answers.

The only reader of argv and the only place that configures logging. Heavy libraries are imported
by the command that needs them, so that `thorax --help` answers at once.
"""

import errno
import gc
import io
import logging
import signal
import sys
from typing import Annotated, Final, NoReturn

import typer
from typer import Option

from thorax import __version__
from thorax.cli import console
from thorax.cli.commands import Commands
from thorax.errors import ThoraxError

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Train a chest X-ray classifier, compile it, run it anywhere, and know its speed and what "
    "it cost in AUROC. Research software, not a medical device.\n\n"
    "Every command takes --json (one JSON document on stdout) and --debug (traceback on error).\n\n"
    "Try first:  thorax demo",
)

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
    "imagecodecs": "jpegxl",
}
"""Packages that only some commands need, and the extra that brings each."""


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
    for ending in _ENDING:
        signal.signal(ending, signal.SIG_IGN)
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


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    # Imports make a million objects and little garbage: looking for it takes 0.07 s of a command.
    gc.set_threshold(20_000, 20, 20)
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
