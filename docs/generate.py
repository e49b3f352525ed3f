"""Write what the documents take from the program and from result files.

    .venv/bin/python docs/generate.py            write all of it, then check
    .venv/bin/python docs/generate.py --check    say what differs, and what is bound to nothing

cli.md, results.md, errors.md and benchmarks.md are written whole; README.md and the other documents
have blocks between two comments, and figures within their text that docs/figures.toml binds. Tests
fail while anything differs.
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import thorax
from thorax import errors
from thorax.cli.app import app
from thorax.images.error_codes import REFUSALS, WARNINGS
from thorax.results.read import RESULTS, json_schema

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from benchmarks.record import documents  # noqa: E402
from benchmarks.record.bindings import Register  # noqa: E402
from benchmarks.record.evidence import Evidence, EvidenceError  # noqa: E402

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
        "what to do`; `--debug`, anywhere, adds the traceback. [results.md](results.md) lists "
        "the keys of the documents, [errors.md](errors.md) the codes.\n",
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
    lines += [
        "\n## Warnings\n",
        "What is doubtful about an image that was read. It is answered, with these in `warnings`; "
        "the exit status stays 0.\n",
        "| code | means |",
        "|---|---|",
        *(f"| `{code}` | {meaning} |" for code, meaning in WARNINGS.items()),
    ]
    return "\n".join(lines) + "\n"


def results_page() -> str:
    """Return the keys of every result."""
    parts = [
        "# Results\n",
        "<!-- Written by docs/generate.py; do not edit. -->\n",
        "What a command prints with `--json`. `a.b` is the key `b` of the object `a`, `a[]` an "
        "entry of the array `a`, `a.*` whatever is named there; `or null` where a figure is not "
        "known, `absent` where a key may be missing. Times are in seconds, sizes in bytes and "
        "shares from 0 to 1, where a key does not say otherwise. `thorax schema COMMAND` prints "
        "the same as a JSON Schema.\n",
    ]
    for command in sorted(RESULTS):
        schema = json_schema(command)
        parts.append(f"## thorax {command}\n\n{' '.join(schema['description'].split())}\n")
        rows = "".join(
            f"| `{key}` | {kind} | {meaning} |\n" for key, kind, meaning in _keys(schema, schema)
        )
        parts.append(f"| key | type | meaning |\n|---|---|---|\n{rows}".replace("|  |", "||"))
    return "\n".join(parts)


def _keys(
    part: dict[str, Any], schema: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield every key of an object with its type and its meaning, those within it after it."""
    required = part.get("required", ())
    for name, described in part["properties"].items():
        kinds, inner = _kinds(described, schema)
        optional = name not in required and "const" not in described
        text = described.get("description") or _meaning(described, schema)
        meaning = " ".join(text.split()).replace("|", "\\|")
        yield f"{prefix}{name}", " or ".join(kinds) + (", absent" if optional else ""), meaning
        for suffix, within in inner:
            yield from _keys(within, schema, f"{prefix}{name}{suffix}.")


def _meaning(described: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return what the objects are that a key without a meaning of its own holds."""
    reference = described.get("$ref") or described.get("items", {}).get("$ref", "")
    part = schema["$defs"].get(reference.rpartition("/")[2], {}) if reference else {}
    return str(part.get("description", ""))


def _kinds(
    described: dict[str, Any], schema: dict[str, Any]
) -> tuple[list[str], list[tuple[str, dict[str, Any]]]]:
    """Return the types of a value in words, and the objects in it, with what leads to them."""
    if "$ref" in described:
        return _kinds(schema["$defs"][described["$ref"].rpartition("/")[2]], schema)
    choices = described.get("anyOf") or described.get("oneOf")
    if choices:
        found = [_kinds(choice, schema) for choice in choices]
        kinds = dict.fromkeys(kind for some, _ in found for kind in some)
        return list(kinds), [within for _, inner in found for within in inner]
    if "const" in described or "enum" in described:
        words = described.get("enum") or [described["const"]]
        return [f"`{json.dumps(word)}`" for word in words], []
    kind = described.get("type", "any")
    if kind == "array":
        items = described.get("items") or (described.get("prefixItems") or [{}])[0]
        kinds, inner = _kinds(items, schema)
        what = " or ".join(kinds)
        size = f"{described['minItems']} " if "prefixItems" in described else ""
        return [f"array of {size}{what}"], [(f"[]{suffix}", within) for suffix, within in inner]
    if "properties" in described:
        return ["object"], [("", described)]
    values = described.get("additionalProperties")
    if kind == "object" and isinstance(values, dict):
        kinds, inner = _kinds(values, schema)
        return [f"object of {' or '.join(kinds)}"], [
            (f".*{suffix}", part) for suffix, part in inner
        ]
    return [kind], []


PAGES = {"cli.md": cli, "results.md": results_page, "errors.md": errors_page}


def main() -> int:
    """Write everything unless only asked to check, say what differs; return the exit status."""
    try:
        evidence = Evidence()
    except EvidenceError as error:
        print(f"benchmarks/results: {error}; mend or remove it")  # noqa: T201
        return 1
    for name, why in evidence.passed_over.items():
        print(f"benchmarks/results: {name} is passed over: {why}")  # noqa: T201
    register = Register.read(evidence=evidence)
    pages = {f"docs/{name}": page() for name, page in PAGES.items()}
    if "--check" not in sys.argv[1:]:
        for name, text in (pages | documents.written(evidence, register)).items():
            (DOCS.parent / name).write_text(text, "utf-8")
    lines = documents.complaints(evidence, register)
    lines += [
        f"{name} is not what the program says: run docs/generate.py"
        for name, text in pages.items()
        if (DOCS.parent / name).read_text("utf-8") != text
    ]
    for line in lines:
        print(line)  # noqa: T201
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
