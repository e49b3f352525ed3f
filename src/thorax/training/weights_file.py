"""Weights as others save them, to the plain tensors that they hold."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

import safetensors.torch
import torch
from torch import Tensor

from thorax.errors import last_line
from thorax.files.documents import parse_json
from thorax.training import memory, weights_pickle

NAME: Final = "weights.safetensors"
"""Of the file that a child answers with."""
PLACE: Final = "place"
"""Entry of its header: where the tensors lay."""

_LONGEST_HEADER: Final = 8 << 20
"""Bytes; that of a DenseNet-121 with its optimizer has 0.3 MB."""
MOST_TENSORS: Final = 20_000
"""A DenseNet-121 with its optimizer and an average has 3,000."""
_WRAPPERS: Final = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights",
    "state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "shadow", "module",
)  # fmt: skip
"""Under which others keep a state dict among other things; the first that is there counts."""
_DEEPEST: Final = 4
"""State dicts lie in a mapping within a mapping, as `ema` with its `shadow`."""
_GROWTH, _GROWTH_BYTES = 4, 16 << 20
"""Files may be packed, and tensors share what they hold; more is none of a network's."""
_BEGINNINGS: Final = (b"PK", b"\x80")
"""Of a file of `torch.save`: an archive, and a pickle before PyTorch 1.6."""
_CODE: Final = re.compile(r"GLOBAL ([\w.]+)")
_PICKLE: Final = re.compile(r"WeightsUnpickler error:\s*([^\n]+)")
_SHOWN: Final = 200
_LISTED: Final = 4


class NotWeightsError(Exception):
    """A content that holds no weights; the message says why."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A state dict, and where in its file it lay: "" for all of it, else as "ema.shadow"."""

    tensors: Mapping[str, Tensor]
    place: str = ""


def convert(path: Path, out: Path) -> str | None:
    """Write the tensors of a state dict as safetensors, where they lay in `PLACE` of its header.

    The file is one of `torch.save` (pickle, of which no code is run) or .safetensors. Return why
    they cannot be read; None when they are written.
    """
    try:
        weights = find(_read(path))
        tensors = _plain(weights.tensors, path.stat().st_size)
        safetensors.torch.save_file(tensors, out, {PLACE: weights.place[:_SHOWN]})
    except NotWeightsError as error:
        return str(error)
    except OSError as error:
        return error.strerror or last_line(error)[:_SHOWN]
    # A damaged or hostile file may raise anything at all, within its library or beneath.
    except Exception as error:
        if memory.is_refusal(error):
            return "it needs more memory than a file of its size may take"
        return _why(path, error)
    return None


def _why(path: Path, error: Exception) -> str:
    text = str(error)
    if match := _CODE.search(text):
        code = match[1][:_SHOWN]
        return f"it asks for code ({code}), which is not run; save a plain state dict"
    if match := _PICKLE.search(text):
        # What PyTorch says before is advice to run the code.
        return f"its pickle is not one of weights: {match[1][:_SHOWN]}; save a plain state dict"
    if path.suffix == ".safetensors":
        return last_line(error)[:_SHOWN]
    first = text.splitlines()[0] if text else "damaged"
    return f"{type(error).__name__}: {first[:_SHOWN]}"


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        require_header(path)
        return safetensors.torch.load_file(path)
    with path.open("rb") as file:
        if not file.read(len(max(_BEGINNINGS, key=len))).startswith(_BEGINNINGS):
            raise NotWeightsError("it does not begin as a file of torch.save does")
    with weights_pickle.stand_ins():
        return torch.load(path, map_location="cpu", weights_only=True)


def find(content: object) -> Weights:
    """Return the tensors of what a file holds, out of what they are wrapped in.

    Raises:
        NotWeightsError: there are none, too many, or what is no plain tensor among them.
    """
    found = _search(content)
    if found is None:
        raise NotWeightsError(_lacking(content))
    content, within, others = found
    if len(content) > MOST_TENSORS:
        raise NotWeightsError(f"it names {len(content)} tensors; {MOST_TENSORS} are the most")
    tensors = {}
    for name, value in content.items():
        tensor = weights_pickle.as_tensor(value)
        if isinstance(name, str) and is_plain(tensor):
            tensors[name] = tensor
        # A loop keeps its epoch and best accuracy beside the weights.
        elif not isinstance(name, str) or not isinstance(value, int | float | str | None):
            raise NotWeightsError(_unplain(name, value))
    beside = f", not of {' or '.join(others)}" if others else ""
    return Weights(tensors, f"{'.'.join(within)}{beside}")


_Found = tuple[Mapping[Any, Any], tuple[str, ...], tuple[str, ...]]
"""A mapping that holds tensors, the names that lead to it, and names beside it that hold some."""


def _search(content: object, deepest: int = _DEEPEST) -> _Found | None:
    """Return the mapping that holds tensors: of a known name, this one, or the only one in it."""
    if not isinstance(content, Mapping) or not deepest:
        return None
    within = {
        name: found
        for name in _WRAPPERS
        if (found := _search(content.get(name), deepest - 1)) is not None
    }
    if not within:
        if any(isinstance(weights_pickle.as_tensor(value), Tensor) for value in content.values()):
            return content, (), ()
        within = {
            name: found
            for name, value in content.items()
            if isinstance(name, str) and (found := _search(value, deepest - 1)) is not None
        }
        if len(within) != 1:
            return None
    name, *others = within
    mapping, path, beside = within[name]
    return mapping, (name, *path), (*others, *beside)


def _lacking(content: object) -> str:
    if not isinstance(content, Mapping) or not content:
        return f"it holds a {type(content).__name__}, not a state dict"
    if len(content) > MOST_TENSORS:
        return f"it names {len(content)} tensors; {MOST_TENSORS} are the most"
    several = [
        str(name)[:_SHOWN]
        for name, value in content.items()
        if _search(value, _DEEPEST - 1) is not None
    ]
    if several:
        return (
            f"it holds {len(several)} state dicts ({', '.join(several[:_LISTED])}) whose names do "
            "not say which is meant; save one of them alone"
        )
    name, value = next(iter(content.items()))
    return _unplain(name, value)


def _unplain(name: object, value: object) -> str:
    return f"{str(name)[:_SHOWN]!r} is a {type(value).__name__}, not a plain tensor"


def is_plain(value: object) -> TypeGuard[Tensor]:
    """Return whether a value is a tensor of numbers that lie in memory as they are."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_quantized or value.is_meta)
    )


def _plain(tensors: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Return tensors each of which has its own memory, whole.

    One number may be spread over a shape of any size by strides of 0.
    """
    held = sum(value.numel() * value.element_size() for value in tensors.values())
    if held > _GROWTH * size + _GROWTH_BYTES:
        raise NotWeightsError(f"its tensors have {held:,} bytes where the file has {size:,}")
    return {
        name: value.detach().resolve_conj().resolve_neg().clone(
            memory_format=torch.contiguous_format
        )
        for name, value in tensors.items()
    }  # fmt: skip


def require_header(path: Path) -> Mapping[str, Any]:
    """Return the header of a safetensors file; refuse one that no network of ours would have.

    The library takes half a minute for one that names a million empty tensors.

    Raises:
        ValueError: with what is wrong.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise ValueError("it is no safetensors file, or is cut off")
        (length,) = struct.unpack("<Q", start)
        if length > _LONGEST_HEADER:
            raise ValueError(
                f"its header claims {length} bytes; {_LONGEST_HEADER} are the most that is read"
            )
        text = file.read(length)
    if len(text) < length:
        raise ValueError("it is cut off within its header")
    header = parse_json(text)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"it names {len(header)} tensors; {MOST_TENSORS} are the most")
    return header
