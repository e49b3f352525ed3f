"""SVG files of their own: plain colours that any program draws, and a browser's dark ones on top.

A colour is an attribute of what has it, as `fill="#0072b2"`. Rules that name attributes replace
it where a reader prefers the dark; programs without such rules draw what the attributes say.
"""

import re
from pathlib import Path
from typing import Final

from thorax.errors import UsageError
from thorax.files.atomic import write_text
from thorax.report.series import COLOURS, INK

PAPER: Final = "#ffffff"
DARK: Final = "#333333"
"""Of text and axes on paper."""

SOFT: Final = "#5b6470"
"""Of small print on paper."""

SCHEME: Final = {
    PAPER: "#14181d",
    DARK: "#e6e9ed",
    SOFT: "#a3acb8",
    INK: "#a3acb8",
    **dict(
        zip(
            COLOURS,
            ("#56b4e9", "#e094bf", "#f08a4b", "#2cc397", "#f0c04a", "#b9c2cc"),
            strict=True,
        )
    ),
}
"""What each colour of a picture is in the dark; those of `page.html`."""

_PAINTS: Final = ("fill", "stroke")


def picture(drawn: str) -> str:
    """Return an `<svg>` element, of a page or of matplotlib, as the text of a file of its own."""
    begin = drawn.index("<svg")
    plain = re.sub(r"var\(--s\d, (#[0-9a-f]{6})\)", r"\1", drawn[begin:])
    plain = plain.replace("currentColor", DARK)
    plain = re.sub(r' style="([^"]*)"', _with_paint_apart, plain)
    head = f'{_rules()}<rect width="100%" height="100%" fill="{PAPER}"/>'
    return re.sub(r"(<svg [^>]*>)", rf"\1{head}", plain, count=1).strip() + "\n"


def write_picture(drawn: str, path: Path) -> None:
    """Write an `<svg>` element as a file of its own, whose colours follow the reader's.

    Raises:
        UsageError: as `require_svg`.
    """
    require_svg(path)
    write_text(path, picture(drawn))


def require_svg(path: Path) -> None:
    """Refuse a file that no drawing can be written to.

    Raises:
        UsageError: `plot-format` for a name that does not end in .svg, `output-unwritable` when
            it is a folder.
    """
    if path.suffix.lower() != ".svg":
        raise UsageError("plot-format", f"{str(path)!r} is no name of a drawing; end it in .svg")
    if path.is_dir():
        raise UsageError(
            "output-unwritable",
            f"{str(path)!r} is a folder; name the drawing, e.g. {path / 'partition.svg'}",
        )


def _with_paint_apart(style: re.Match[str]) -> str:
    """Return a style as attributes of paint, which a rule may replace, and what is left of it."""
    parts = [part.strip() for part in style[1].split(";") if part.strip()]
    paints = {
        name: value.strip()
        for name, _, value in (part.partition(":") for part in parts)
        if name in _PAINTS
    }
    rest = "; ".join(part for part in parts if part.partition(":")[0] not in _PAINTS)
    attributes = "".join(f' {name}="{value}"' for name, value in paints.items())
    return attributes + (f' style="{rest}"' if rest else "")


def _rules() -> str:
    dark = "".join(
        f'[{paint}="{colour}"]{{{paint}:{other}}}'
        for colour, other in SCHEME.items()
        for paint in _PAINTS
    )
    return (
        "<style>*{stroke-linejoin:round}"
        f"@media(prefers-color-scheme:dark){{svg{{color-scheme:dark}}{dark}}}</style>"
    )
