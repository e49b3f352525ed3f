"""Weights as others save them, to the plain tensors that they hold."""

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeGuard

import safetensors.torch
import torch
from torch import Tensor

from thorax.errors import last_line
from thorax.files.documents import parse_json
from thorax.training import memory

NAME: Final = "weights.safetensors"
"""Of the file that a child answers with."""

_LONGEST_HEADER: Final = 8 << 20
"""Bytes; that of a DenseNet-121 with its optimizer has 0.3 MB."""
MOST_TENSORS: Final = 20_000
"""A DenseNet-121 with its optimizer and an average has 3,000."""
_WRAPPERS: Final = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
"""Under which others keep a state dict among other things; the first that is there counts."""
_PREFIXES: Final = ("module.", "_orig_mod.", "model.")
"""Before every name: of data parallelism and averages, of torch.compile, of Lightning."""
_GROWTH, _GROWTH_BYTES = 4, 16 << 20
"""Files may be packed, and tensors share what they hold; more is none of a network's."""
_BEGINNINGS: Final = (b"PK", b"\x80")
"""Of a file of `torch.save`: an archive, and a pickle before PyTorch 1.6."""
_CODE: Final = re.compile(r"GLOBAL ([\w.]+)")
_PICKLE: Final = re.compile(r"WeightsUnpickler error:\s*([^\n]+)")
_SHOWN: Final = 200


class _RefusedError(Exception):
    """A file that holds no weights; the message says why."""


def convert(path: Path, out: Path) -> str | None:
    """Write the tensors of a state dict as safetensors, without what stands before their names.

    The file is a .pth or .pt (pickle, of which no code is run) or .safetensors. Return why they
    cannot be read; None when they are written.
    """
    try:
        tensors = _plain(_state_dict(_read(path)), path.stat().st_size)
        safetensors.torch.save_file(tensors, out)
    except _RefusedError as error:
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
            raise _RefusedError("it does not begin as a file of torch.save does")
    return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict(content: object) -> dict[str, Tensor]:
    """Return the tensors of a file, out of what they are wrapped in."""
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        raise _RefusedError(f"it holds a {type(content).__name__}, not a state dict")
    if len(content) > MOST_TENSORS:
        raise _RefusedError(f"it names {len(content)} tensors; {MOST_TENSORS} are the most")
    for name, value in content.items():
        if not isinstance(name, str) or not is_plain(value):
            kind = type(value).__name__
            raise _RefusedError(f"{str(name)[:_SHOWN]!r} is a {kind}, not a plain tensor")
    return without_prefixes(content)


def without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without what stands before every one of their names."""
    named = dict(tensors)
    assert named
    while prefix := next((one for one in _PREFIXES if all(n.startswith(one) for n in named)), None):
        named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


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
        raise _RefusedError(f"its tensors have {held:,} bytes where the file has {size:,}")
    return {
        name: value.detach().resolve_conj().resolve_neg().clone(
            memory_format=torch.contiguous_format
        )
        for name, value in tensors.items()
    }  # fmt: skip


def require_header(path: Path) -> None:
    """Refuse a safetensors file whose header no network of ours would have.

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
