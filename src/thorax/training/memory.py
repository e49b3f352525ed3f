"""Memory that training asks for and the machine does not give, as an error of one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from thorax.errors import UsageError

_REFUSED: Final = re.compile(
    r"[Cc]an't allocate memory|[Ff]ailed to allocate|[Uu]nable to allocate|bad_alloc"
    r"|out of memory|Storage size calculation overflowed|could not create a memory object"
)
"""What PyTorch's allocators, NumPy's and oneDNN's say; PyTorch says it as a RuntimeError."""
_BYTES: Final = re.compile(r"allocate (\d+) bytes")


@contextmanager
def required(what: str, remedy: str) -> Iterator[None]:
    """Say in our words that an allocation within the block was refused.

    It names what needs the memory, in the plural, and the remedy: what to make smaller.

    Raises:
        UsageError: `training-memory`.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_refusal(error):
            raise
        match = _BYTES.search(str(error))
        size = f" ({int(match[1]) / 2**30:,.1f} GiB at once)" if match else ""
        raise UsageError(
            "training-memory",
            f"{what} need more memory than this machine gives{size}; {remedy}",
        ) from error


def is_refusal(error: Exception) -> bool:
    """Return whether an error says that memory was asked for in vain."""
    return isinstance(error, MemoryError) or _REFUSED.search(str(error)) is not None
