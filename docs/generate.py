"""Write docs/cli.md and docs/errors.md from the program: `.venv/bin/python docs/generate.py`.

A test fails while they differ from what this writes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import thorax
from thorax import errors
from thorax.cli.app import app
from thorax.images.error_codes import REFUSALS

DOCS = Path(__file__).parent
SOURCE = Path(thorax.__file__).parent
KINDS = {kind.__name__: kind for kind in errors.ThoraxError.__subclasses__()}
NOT_RAISED = {
    "Skipped": "listed, not fatal",
    "_fail": "told by the command line",
}


def commands(command: Any, path: str = "thorax") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield every command that does something by the words that run it."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")
    else:
        yield path, command


def cli() -> str:
    """Return the reference of the command line."""
    root = typer.main.get_command(app)
    parts = [
        "# The command line\n",
        "<!-- Written by docs/generate.py; do not edit. -->\n",
        "Every command takes `--json`: stdout then holds exactly one JSON document and nothing "
        "else. Errors are one line on stderr, `thorax: <code>: what, the value, what is allowed, "
        "what to do`; `--debug`, anywhere, adds the traceback. [errors.md](errors.md) lists the "
        "codes.\n",
        "| status | means |\n|---|---|\n| 0 | done |\n| 1 | a bug in Thorax |\n"
        "| 2 | usage or configuration |\n| 3 | a bad image or bad data; the rest is done |\n"
        "| 4 | a bad artifact or model |\n| 5 | a device or an unsupported layer |\n"
        "| 6 | a peer or the network |\n"
        "| 75 | stopped by SIGTERM or SIGUSR1 with a checkpoint: go on with --resume |\n"
        "| 130 | stopped by Ctrl-C |\n",
    ]
    for path, command in commands(root):
        parts.append(f"## {path}\n\n{command.help}\n")
        parts.append(f"    {str(command.epilog).removeprefix('Example:').strip()}\n")
        parts.append("| | | default |\n|---|---|---|\n" + "".join(map(_row, command.params)))
    return "\n".join(parts)


def _row(parameter: Any) -> str:  # noqa: ANN401
    option = parameter.opts[0].startswith("-")
    name = ", ".join(parameter.opts) if option else parameter.name.upper()
    if not option and parameter.nargs == -1:
        name += "..."
    default = parameter.default
    if parameter.required:
        shown = "required"
    elif default is None or default is False or callable(default):
        shown = ""
    else:
        shown = f"`{default}`"
    return f"| `{name}` | {' '.join(parameter.help.split())} | {shown} |\n".replace("| |", "||")


def codes() -> dict[str, tuple[tuple[str, ...], str]]:
    """Return the kinds and a message of every code in the source; `…` stands for a value."""
    found = {code: (("ImageError",), text) for code, text in REFUSALS.items()}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            kind = ast.unparse(node.func).split(".")[-1]
            first = 1 if kind == "Skipped" else 0
            if (kind in KINDS or kind in NOT_RAISED) and len(node.args) > first + 1:
                code = node.args[first]
                if isinstance(code, ast.Constant):
                    message = _message(node.args[first + 1])
                    kinds, known = found.get(str(code.value), ((), message))
                    found[str(code.value)] = (tuple(sorted({*kinds, kind})), known)
    return dict(sorted(found.items()))


def _message(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
        return "".join(parts)
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def errors_page() -> str:
    """Return the table of codes."""
    lines = [
        "# Error codes\n",
        "<!-- Written by docs/generate.py; do not edit. -->\n",
        "Codes are stable: scripts may match on them. `…` stands for a value.\n",
        "| code | status | kind | message |",
        "|---|---|---|---|",
    ]
    for code, (kinds, message) in codes().items():
        status = ", ".join(str(KINDS[kind].exit_code) for kind in kinds if kind in KINDS)
        what = ", ".join(NOT_RAISED.get(kind, kind) for kind in kinds)
        text = message.replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| `{code}` | {status} | {what} | {text} |")
    return "\n".join(lines) + "\n"


PAGES = {"cli.md": cli, "errors.md": errors_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
