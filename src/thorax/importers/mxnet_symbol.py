"""Reader of MXNet's `-symbol.json`: the layers, and what is written of each."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from thorax.errors import ModelError
from thorax.files.documents import read_limited

VARIABLE: Final = "null"
"""What MXNet calls the operator of an input or a parameter."""


class Node(BaseModel):
    """A layer, or a variable.

    Attributes:
        inputs: index of a node before this one, and which of its outputs.
    """

    op: str
    name: str
    attrs: dict[str, Any] = Field(default_factory=dict)
    attr: dict[str, Any] = Field(default_factory=dict)
    param: dict[str, Any] = Field(default_factory=dict)
    inputs: list[list[int]] = Field(default_factory=list)
    subgraphs: list[Any] = Field(default_factory=list)

    def words(self) -> dict[str, str]:
        """Return what is written of it; MXNet before 1.0 parted that in two."""
        return {
            key: str(value) for part in (self.attr, self.param, self.attrs)
            for key, value in part.items()
        }  # fmt: skip


class Symbol(BaseModel):
    """A network: nodes, each after those it takes, and which of their outputs are its own."""

    nodes: list[Node]
    heads: list[list[int]]


def read_symbol(path: Path) -> Symbol:
    """Read the layers of a network.

    Raises:
        ModelError: `model-unreadable`.
    """
    try:
        symbol = Symbol.model_validate_json(read_limited(path))
    except OSError as error:
        raise ModelError(
            "model-unreadable", f"{path.name} cannot be read: {error.strerror}"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            "model-unreadable", f"{path.name} is no MXNet symbol: {where} {first['msg']}"
        ) from error
    if not symbol.heads:
        raise ModelError("model-unreadable", f"{path.name} holds no network")
    links = [(index, link) for index, node in enumerate(symbol.nodes) for link in node.inputs]
    links += [(len(symbol.nodes), link) for link in symbol.heads]
    for index, link in links:
        if len(link) < 2 or not 0 <= link[0] < index or link[1] < 0:
            raise ModelError(
                "model-unreadable", f"{path.name}: node {index} takes {link}, which is not there"
            )
    return symbol


class Attributes:
    """What is written of one layer, as the types that MXNet reads them as."""

    def __init__(self, words: Mapping[str, str], layer: str, kind: str) -> None:
        self._words = words
        self._layer = layer
        self._kind = kind

    def unsupported(self, why: str) -> ModelError:
        """Return the error of a layer that is known but not in this form."""
        return ModelError(
            "model-layer",
            f"layer {self._layer} ({self._kind}) {why}; change the network, or convert it to ONNX",
        )

    def __contains__(self, key: str) -> bool:
        return self._words.get(key, "None") != "None"

    def word(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """Return a word out of several."""
        value = self._words[key] if key in self else default
        if value not in allowed:
            raise self.unsupported(f"has {key} {value!r}; known are {', '.join(allowed)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return a truth value."""
        if key not in self:
            return default
        word = self._words[key].strip().lower()
        if word not in ("true", "false", "1", "0"):
            raise self._wrong(key, "True or False")
        return word in ("true", "1")

    def number(self, key: str, default: float | None = None) -> float:
        """Return a real number, which must be there unless it has a default."""
        if key not in self and default is not None:
            return default
        try:
            value = float(self._words[key])
        except (KeyError, ValueError) as error:
            raise self._wrong(key, "a number") from error
        if not math.isfinite(value):
            raise self._wrong(key, "a finite number")
        return value

    def integer(self, key: str, default: int | None = None, *, least: int | None = None) -> int:
        """Return a whole number, which must be there unless it has a default."""
        if key not in self and default is not None:
            return default
        found = self.optional(key)
        if len(found) != 1 or found[0] is None or (least is not None and found[0] < least):
            wanted = "a whole number" + ("" if least is None else f" from {least} on")
            raise self._wrong(key, wanted)
        return found[0]

    def integers(
        self, key: str, default: tuple[int, ...] = (), *, least: int | None = None
    ) -> tuple[int, ...]:
        """Return whole numbers, `(3, 3)`, `[3, 3]` or `3`."""
        if key not in self:
            return default
        found = [value for value in self.optional(key) if value is not None]
        if len(found) != len(self.optional(key)) or (
            least is not None and min(found, default=least) < least
        ):
            wanted = "whole numbers" + ("" if least is None else f" from {least} on")
            raise self._wrong(key, wanted)
        return tuple(found) if found else default

    def optional(self, key: str) -> tuple[int | None, ...]:
        """Return whole numbers of which some may be None."""
        words = re.findall(r"[^\s,()\[\]]+", self._words.get(key, ""))
        values: list[int | None] = []
        for word in words:
            # Python 2 wrote long numbers so: 3L.
            match = re.fullmatch(r"([+-]?\d{1,18})(?:L|\.0*)?", word)
            if match is None and word != "None":
                raise self._wrong(key, "whole numbers")
            values.append(None if match is None else int(match[1]))
        return tuple(values)

    def _wrong(self, key: str, wanted: str) -> ModelError:
        return ModelError(
            "model-unreadable",
            f"layer {self._layer} ({self._kind}) has {key} {self._words.get(key)!r}; "
            f"that must be {wanted}",
        )
