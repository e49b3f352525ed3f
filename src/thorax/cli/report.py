"""The commands about results: one page of them, and the JSON Schema of each."""

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
    from thorax.files.outputs import require_apart
    from thorax.report.page import require_page, write_report
    from thorax.results.demo import ReportResult
    from thorax.results.files import read_results

    require_page(out)
    folders = [path for path in documents if path.is_dir()]
    sources = [*documents, *(file for folder in folders for file in folder.glob("*.json"))]
    require_apart(out, sources, ())
    to_stdout = is_stdout(out)
    if to_stdout and json:
        raise UsageError(
            "option-together", "--out on stdout and --json would both be the answer; name a file"
        )
    written = write_report(read_results(documents), out, title=title)
    if to_stdout:
        return
    console.answer(ReportResult(report=str(written)), json, lambda: (), f"report: {written}")


@report_app.command(epilog="Example:  thorax schema plan server")
def schema(
    command: Annotated[
        list[str] | None, Argument(help="Words of a command; without it, all that have a schema.")
    ] = None,
    json: Json = False,
) -> None:
    """JSON Schema of what a command prints with --json: keys, types, units and meanings."""
    from thorax.results.demo import SchemaList
    from thorax.results.read import RESULTS, json_schema

    if command:
        console.emit(json_schema(" ".join(command)), as_json=True, show=lambda: None)
        return
    names = tuple(sorted(RESULTS))
    console.answer(SchemaList(commands=names), json, lambda: (), *names)
