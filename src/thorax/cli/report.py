"""The command that makes one page of results."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from thorax.cli import console
from thorax.cli.options import Json, Out
from thorax.errors import UsageError

report_app = typer.Typer()


@report_app.command(epilog="Example:  thorax report validate.json benchmark.json --out report.html")
def report(
    documents: Annotated[
        list[Path], Argument(help="JSON documents, folders of them, and training runs.")
    ],
    out: Out,
    title: Annotated[str, Option(help="Heading of the page.")] = "Thorax report",
    json: Json = False,
) -> None:
    """One self-contained page with tables and plots."""
    from thorax.files.atomic import is_stdout
    from thorax.inference.findings import require_apart
    from thorax.report.documents import load
    from thorax.report.page import require_page, write_report

    require_page(out)
    folders = [path for path in documents if path.is_dir()]
    read = [*documents, *(one for folder in folders for one in folder.glob("*.json"))]
    require_apart(out, read, ())
    taken = is_stdout(out)
    if taken and json:
        raise UsageError(
            "option-together", "--out on stdout and --json would both be the answer; name a file"
        )
    written = write_report(load(documents), out, title=title)
    if taken:
        return
    console.emit(
        {"command": "report", "report": str(written)},
        as_json=json,
        show=lambda: print(f"report: {written}"),
    )
