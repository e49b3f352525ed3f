"""A file of finding names: a name a line, or JSON as other projects write it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from thorax.errors import UsageError
from thorax.files.documents import parse_json, read_limited
from thorax.labels import LabelSet, set_of

_MOST_BYTES: Final = 1 << 20
_PLACES: Final = ("id2label", "label2id", "class_indices", "labels", "classes", "names")
_NUMBERED: Final = re.compile(r"(\d{1,6})\s+(\S.*)")
"""A line of Teachable Machine's labels.txt: `0 Cardiomegaly`."""


def read_labels(path: Path) -> LabelSet:
    """Return the finding names of a file, in its order.

    A .json holds a list of names, a mapping of numbers from 0 to names or of names to numbers, or
    one of them under `id2label`, `label2id`, `class_indices`, `labels`, `classes` or `names`, as a
    config.json of Transformers. Any other file holds a name a line, numbered from 0 or not, or all
    in one line, joined by commas; empty lines are passed over.

    Raises:
        UsageError: `labels-file`; `label-set` for a name that is empty or there twice.
    """
    try:
        text = read_limited(path, _MOST_BYTES).decode("utf-8-sig")
        is_json = path.suffix.lower() == ".json"
        names = _names(parse_json(text)) if is_json else _lines(text)
    except UnicodeDecodeError as error:
        raise _unreadable(path, "is no text in UTF-8") from error
    except json.JSONDecodeError as error:
        raise _unreadable(path, f"is no JSON: {error}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not names:
        raise _unreadable(path, "holds no name")
    return set_of(tuple(name.strip() for name in names))


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(
        "labels-file",
        f"--labels {path} {why}; give a name a line, or JSON: a list of names or id2label",
    )


def _lines(text: str) -> Sequence[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        return lines[0].split(",")
    if table := next((line for line in lines if re.search(r"[,;\t]", line)), None):
        raise ValueError(f"has several columns in the line {table[:80]!r}")
    numbered = [match for line in lines if (match := _NUMBERED.fullmatch(line))]
    if [int(match[1]) for match in numbered] == list(range(len(lines))):
        return [match[2] for match in numbered]
    return lines


def _names(content: object) -> Sequence[str]:
    if isinstance(content, Mapping):
        content = next((content[key] for key in _PLACES if key in content), content)
    if isinstance(content, Mapping):
        pairs = [
            (str(value), str(key)) if type(value) is int else (str(key), value)
            for key, value in content.items()
        ]
        ranked = {int(number): name for number, name in pairs if number.isdecimal()}
        if sorted(ranked) != list(range(len(pairs))):
            keys = ", ".join(str(key) for key in list(content)[:9])
            raise ValueError(f"holds {keys}, which are not names with numbers from 0")
        content = [ranked[number] for number in range(len(pairs))]
    if not isinstance(content, list):
        raise ValueError(f"holds a {type(content).__name__}, not names")
    if others := [name for name in content if not isinstance(name, str)]:
        raise ValueError(f"holds {json.dumps(others[0])[:80]} where a name belongs")
    return content
