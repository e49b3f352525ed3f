"""The command that reads whatever Thorax wrote and compares it with its digests."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from thorax.cli import console
from thorax.cli.options import Json

verify_app = typer.Typer()


@verify_app.command("verify", epilog="Example:  thorax verify nih.store")
def verify_command(
    path: Annotated[
        Path,
        Argument(
            help="A store, an interrupted import, an artifact, a checkpoint, a run, an archive, "
            "the state of simulated cards, a power log, or a document with a digest."
        ),
    ],
    json: Json = False,
) -> None:
    """Read everything of a path and compare it with its digests. Exit status 3 or 4 on damage."""
    from thorax.cli.verification import verify
    from thorax.report.data import verification_table

    with console.progress("reading", None) as ticker:
        result = verify(path, lambda done, total: ticker.advance(1))
    console.answer(result, json, lambda: [verification_table(result)])
    result.require_sound()
