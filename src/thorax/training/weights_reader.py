"""The child that reads a stranger's weights; `thorax.training.pretrained` asks it.

It gives up network, other processes and all files but that one before it opens it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thorax.isolation import child, confinement


def _answer(head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Sequence[memoryview]]:
    """Write the tensors of a file into the folder, or say why they are none."""
    assert not data
    sys.path += [place for place in head["path_of_python"] if place not in sys.path]
    confinement.limit(data_bytes=head["data_bytes"], file_bytes=head["file_bytes"])
    path, folder = Path(head["path"]), Path(head["folder"])
    confinement.isolate(readable=map(Path, head["readable"]), writable=[folder])
    # Imported here: on a busy machine it takes longer than a child may take to start.
    from thorax.training import weights_file  # noqa: PLC0415

    refusal = weights_file.convert(path, folder / weights_file.NAME)
    return ({} if refusal is None else {"refusal": refusal}), []


def main() -> None:
    """Be the child."""
    child.answer(_answer)
