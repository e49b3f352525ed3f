"""Objects that checkpoints hold beside weights, as stand-ins that do nothing.

A training loop saves its best accuracy, its options and its paths next to the weights. PyTorch's
restricted reader refuses a file for any of them. Here each name of a short list stands for an
object of this module instead: nothing of the library that it names is imported or run, and what it
was given is dropped. NumPy's arrays and scalars alone become tensors, made from their bytes.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor

_TYPES: Final[Mapping[str, torch.dtype]] = {
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "i1": torch.int8,
    "i2": torch.int16, "i4": torch.int32, "i8": torch.int64, "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip
"""NumPy's type codes that a weight or counter has."""


class Inert:
    """An object of which only its presence is known."""

    def __new__(cls, *_: object) -> "Inert":
        """Make one; what the pickle gives it is dropped."""
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _Type(Inert):
    """A `numpy.dtype`: its code, such as f4, and its order of bytes."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.order = str(state[1])


class _Array(Inert):
    """A `numpy.ndarray`: what the pickle says of it."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def as_tensor(value: object) -> object:
    """Return an array as the tensor of its bytes; anything else, or a damaged one, as it is."""
    if not isinstance(value, _Array) or not isinstance(value.state, tuple):
        return value
    match value.state:
        case (_, tuple(shape), _Type() as kind, fortran, bytes(content)):
            tensor = _tensor(kind, content, shape[::-1] if fortran else shape)
            if tensor is None:
                return value
            return tensor.permute(*range(tensor.ndim)[::-1]) if fortran else tensor
    return value


def _tensor(kind: _Type, content: bytes, shape: Sequence[object]) -> Tensor | None:
    element = _TYPES.get(kind.code)
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    if element is None or kind.order not in "<|=" or len(sizes) != len(shape):
        return None
    if math.prod(sizes) * element.itemsize != len(content):
        return None
    if not content:
        return torch.zeros(sizes, dtype=element)
    return torch.frombuffer(bytearray(content), dtype=element).reshape(sizes)


def _scalar(kind: object, content: object = b"") -> object:
    """Stand for `numpy.core.multiarray.scalar`."""
    if isinstance(content, str):
        content = content.encode("latin-1")
    tensor = (
        _tensor(kind, content, ())
        if isinstance(kind, _Type) and isinstance(content, bytes)
        else None
    )
    return Inert() if tensor is None else tensor.item()


def _empty_array(*_: object) -> _Array:
    return _Array()


def _no_bytes(*_: object) -> bytes:
    return b""


def _mapping(*_: object) -> dict[Any, Any]:
    return {}


_CORES: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
_ATTRIBUTE_DICTS: Final = (
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "easydict.EasyDict",
    "yacs.config.CfgNode",
)
_INERT: Final = (
    *("argparse.Namespace", "types.SimpleNamespace", "typing.Any"),
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath")),
    *(f"pathlib._local.{name}" for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *("uuid.UUID", "decimal.Decimal", "fractions.Fraction"),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__")
      for name in ("int", "float", "str", "bool", "list", "dict", "tuple", "slice", "range",
                   "complex")),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *(f"omegaconf.base.{name}" for name in ("Metadata", "ContainerMetadata")),
    *(f"omegaconf.nodes.{name}" for name in ("AnyNode", "StringNode", "IntegerNode", "FloatNode",
                                             "BooleanNode", "PathNode", "EnumNode")),
    *(f"numpy.random._pickle.{name}" for name in (
        "__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor")),
)  # fmt: skip

_STAND_INS: Final[tuple[tuple[Any, str], ...]] = (
    *((_scalar, f"{core}.scalar") for core in _CORES),
    *((_empty_array, f"{core}._reconstruct") for core in _CORES),
    (_Array, "numpy.ndarray"),
    *((_no_bytes, f"{module}.bytes") for module in ("builtins", "__builtin__")),
    (_Type, "numpy.dtype"),
    (_mapping, "collections.defaultdict"),
    *((dict, name) for name in _ATTRIBUTE_DICTS),
    *((Inert, name) for name in _INERT),
)

NAMES: Final = frozenset(name for _, name in _STAND_INS)
"""What a pickle may name beside tensors."""


def stand_ins() -> AbstractContextManager[None]:
    """Return a context in which PyTorch's restricted reader makes stand-ins of `NAMES`."""
    return torch.serialization.safe_globals(list(_STAND_INS))
