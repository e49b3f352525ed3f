"""Text in the CSV files that people open in spreadsheets, where a cell may be taken for a formula.

OWASP, CSV Injection: a cell that begins with =, +, -, @, a tab or a line end gets an apostrophe in
front, which spreadsheets take for "this is text". Line ends and whatever else is no letter of a
line are written as escapes, so that a row is a line in every reader.
"""

import unicodedata
from typing import Final

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, in full width too, as spreadsheets of East Asia take it."""


def harmless(text: str) -> str:
    r"""Return text as a cell that no spreadsheet computes; what is harmless stays as it is.

    The same again changes nothing, so that names are compared by it: one that was read from such
    a file and one that was not.

    Example:
        >>> harmless("=1+1"), harmless("'=1+1"), harmless("a.png"), harmless("a\rb")
        ("'=1+1", "'=1+1", 'a.png', 'a\\rb')
    """
    plain = "".join(
        letter
        if letter.isprintable() or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
    # A spreadsheet that trims cells must not find a formula behind blanks.
    return f"'{plain}" if text.lstrip(" ").startswith(_FORMULAS) else plain
