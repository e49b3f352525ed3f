"""A file of finding names: a name a line, or JSON as other projects write it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from thorax.errors import UsageError
from thorax.files.documents import parse_json, read_limited
from thorax.labels import LabelSet, set_of

_MOST_BYTES: Final = 1 << 20
_MAPPINGS: Final = ("id2label", "label2id", "class_indices")


def read_labels(path: Path) -> LabelSet:
    """Return the finding names of a file, in its order.

    A .json holds a list of names, a mapping of numbers from 0 to names or of names to numbers, or
    a mapping under `id2label`, `label2id` or `class_indices`, as a config.json of Transformers.
    Any other file holds a name a line; empty lines are passed over.

    Raises:
        UsageError: `labels-file`.
    """
    try:
        text = read_limited(path, _MOST_BYTES).decode("utf-8-sig")
        is_json = path.suffix.lower() == ".json"
        names = _names(parse_json(text)) if is_json else text.splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(
            "labels-file",
            f"--labels {path} {error}; give a name a line, or JSON: a list of names or id2label",
        ) from error
    findings = tuple(name.strip() for name in names if name.strip())
    if not findings:
        raise UsageError("labels-file", f"--labels {path} holds no name; give a name a line")
    return set_of(findings)


def _names(content: object) -> list[str]:
    if isinstance(content, Mapping):
        content = next((content[key] for key in _MAPPINGS if key in content), content)
    if isinstance(content, Mapping):
        pairs = [
            (str(value), str(key)) if isinstance(value, int) else (str(key), str(value))
            for key, value in content.items()
        ]
        ranked = {int(number): name for number, name in pairs if number.isdecimal()}
        if sorted(ranked) != list(range(len(pairs))):
            raise ValueError(f"numbers its names {', '.join(number for number, _ in pairs[:9])}")
        return [ranked[number] for number in range(len(pairs))]
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"holds a {type(content).__name__}, not names")
    return content
