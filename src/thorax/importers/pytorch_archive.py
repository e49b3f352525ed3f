"""Content of a file of PyTorch, read without running any of it."""

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final, Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from thorax.errors import ModelError
from thorax.files.documents import parse_json
from thorax.importers import pytorch_operators, pytorch_source
from thorax.importers.options import damaged, require_file, unconvertible, unsafe
from thorax.training import weights_file, weights_pickle
from thorax.training.weights_file import Weights

Kind = Literal["state dict", "TorchScript", "exported program"]

_ZIP: Final = b"PK\x03\x04"
_GROWTH, _GROWTH_BYTES = 4, 16 << 20
"""An archive may hold this many times its size, and so many bytes more. PyTorch compresses source
code alone; what claims more is made to fill a disk or memory."""

_MOST_TENSORS: Final = 100_000
_LONGEST_ENTRY: Final = 400
"""Bytes that describe a tensor in a header, its name among them."""

_NEEDED: Final = re.compile(
    r"data\.pkl|constants\.pkl|version|\.data/version|byteorder|(data|constants)/\d+"
    r"|code/(\w+/)*\w+\.py",
    re.ASCII,
)
"""Records that PyTorch makes a network of; others are extra files, traces and notes for people."""
_NETWORK: Final = re.compile(r"__torch__\.(?!torch\.classes\b)[\w.]+|torch\.jit\._pickle\.\w+")
"""What pickles of TorchScript name besides: classes of its own source code, and typed lists."""

_HARMLESS: Final = re.compile(
    r"collections\.OrderedDict|torch\.(\w+Storage|Size|device|\w*float\d+|u?int\d+|bool)"
    r"|torch\.storage\.\w+Storage|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild\w+"
    r"|torch\.nn\.parameter\.(Parameter|Buffer)|_codecs\.encode"
)
"""What a pickle of tensors names."""
_PICKLES: Final = 4
"""So many in a row begin a file of PyTorch before 1.6."""

_INSTEAD: Final = (
    "save model.state_dict(), or the model as TorchScript (torch.jit.save) or with "
    "torch.export.save"
)


def kind(path: Path) -> Kind:
    """Return what a file holds.

    Raises:
        ModelError: `model-unreadable` for a folder, an empty file, or an archive that is damaged or
            claims more than it can hold.
    """
    require_file(path)
    with path.open("rb") as stream:
        start = stream.read(4)
    if path.suffix.lower() == ".safetensors" or start != _ZIP:
        return "state dict"
    records = open_archive(path).get_all_records()
    if "archive_format" in records or "serialized_exported_program.json" in records:
        return "exported program"
    if any(record.startswith("code/") for record in records):
        return "TorchScript"
    return "state dict"


def open_archive(path: Path) -> "torch._C.PyTorchFileReader":
    """Return PyTorch's own reader of an archive, so that no other can see other records in it.

    Raises:
        ModelError: `model-unreadable`.
    """
    try:
        reader = torch._C.PyTorchFileReader(str(path))
        held = sum(reader.get_record_size(record) for record in reader.get_all_records())
    except RuntimeError as error:
        raise damaged(path, "is a damaged or cut off archive; copy it again") from error
    size = path.stat().st_size
    if held > _GROWTH * size + _GROWTH_BYTES:
        raise damaged(path, f"has {size} bytes and claims to hold {held}; no model is packed so")
    return reader


def state_dict(path: Path) -> Weights:
    """Return the tensors of a state dict, out of what they are wrapped in.

    Raises:
        ModelError: `model-unsafe` for a pickle that asks for code, `model-unreadable`.
    """
    try:
        weights = weights_file.find(_read(path))
    except weights_file.NotWeightsError as error:
        raise damaged(path, f"is no state dict: {error}") from error
    _require_held(path, weights.tensors.values())
    return weights


def _require_held(path: Path, tensors: Iterable[Tensor]) -> None:
    """Refuse weights that repeat one number without end (stride 0): a network is built of them."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if claimed > _GROWTH * path.stat().st_size + _GROWTH_BYTES:
        raise damaged(path, f"has {path.stat().st_size} bytes and claims weights of {claimed}")


def _read(path: Path) -> object:
    try:
        if path.suffix.lower() == ".safetensors":
            _require_header(path)
            return safetensors.torch.load_file(path)
        # PyTorch warns of pickles that it then refuses.
        with warnings.catch_warnings(action="ignore"), weights_pickle.stand_ins():
            return torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except SafetensorError as error:
        raise damaged(path, f"is no safetensors file, or is cut off: {error}") from error
    except Exception as error:
        # A damaged or hostile pickle may raise anything at all.
        code = _foreign_code(path)
        if code is not None or ".tar format" in str(error):
            name = f" ({code})" if code else ""
            raise unsafe(
                path, f"is a pickle that asks for code{name}, which is not run; {_INSTEAD}"
            ) from error
        # What PyTorch says here is how to run the file.
        raise damaged(
            path, f"is no file of PyTorch, or is damaged or cut off; copy it again, or {_INSTEAD}"
        ) from error


def _require_header(path: Path) -> None:
    """Refuse a description of tensors that is made to take time rather than to say something."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if size > path.stat().st_size:
            raise SafetensorError(f"it says a header of {size} bytes")
        if size > _MOST_TENSORS * _LONGEST_ENTRY:
            raise _too_many(path, size // _LONGEST_ENTRY)
        header = parse_json(file.read(size))
    if isinstance(header, dict) and len(header) > _MOST_TENSORS:
        raise _too_many(path, len(header))


def _too_many(path: Path, count: int) -> ModelError:
    return damaged(
        path, f"holds {count} tensors; {_MOST_TENSORS} are the most: save the weights alone"
    )


def _foreign_code(path: Path) -> str | None:
    """Return the first thing that a pickle names beyond tensors and what they lie in.

    Nothing is run: the instructions are listed, of a damaged pickle as far as they go.
    """
    with path.open("rb") as file:
        stream: IO[bytes] = file
        begins_as_pickle = file.read(1) == pickle.PROTO
        file.seek(0)
        if path.suffix.lower() != ".safetensors" and file.read(4) == _ZIP:
            stream, begins_as_pickle = io.BytesIO(_pickle_of(path)), True
        stream.seek(0)
        for _ in range(_PICKLES):
            named, ended = _globals(stream)
            foreign = [
                name
                for name in named
                if _HARMLESS.fullmatch(name) is None and name not in weights_pickle.NAMES
            ]
            if foreign and (begins_as_pickle or ended):
                return foreign[0]
            if not ended:
                break
    return None


def _pickle_of(path: Path) -> bytes:
    reader = open_archive(path)
    return reader.get_record("data.pkl") if "data.pkl" in reader.get_all_records() else b""


def _globals(stream: IO[bytes]) -> tuple[list[str], bool]:
    """Return what a pickle names, and whether it comes to its end."""
    named: list[str] = []
    texts: list[str] = []
    try:
        for instruction, value, _ in pickletools.genops(stream):
            if instruction.name in ("GLOBAL", "INST"):
                named.append(str(value).replace(" ", "."))
            elif instruction.name == "STACK_GLOBAL":
                named.append(".".join(texts[-2:]))
            elif isinstance(value, str):
                texts.append(value)
    # A damaged or hostile pickle may raise anything at all.
    except Exception:
        return named, False
    return named, True


def load_script(path: Path, custom: frozenset[str]) -> torch.jit.ScriptModule:
    """Return a network of TorchScript of which nothing has run and nothing can but arithmetic.

    What PyTorch is given is another archive, of those records alone that a network needs, with
    source code that was parsed and judged. Then every function that it made of it is judged. Custom
    operators are those that the user's own extensions compute.

    Raises:
        ModelError: `model-unsafe`, `model-layer` or `model-unreadable`.
    """
    # What `torch.jit.load` calls; its own stubs describe it otherwise.
    library: Any = torch._C
    try:
        archive = _needed_records(path, custom)
        unit = library.CompilationUnit()
        module = library.import_ir_module_from_buffer(unit, archive, torch.device("cpu"), {}, False)
        del archive
        pytorch_operators.require_computation(unit.get_functions(), custom)
    except pytorch_operators.NotComputationError as error:
        raise _not_computation(path, error) from error
    network: torch.jit.ScriptModule = torch.jit._recursive.wrap_cpp_module(  # type: ignore[no-untyped-call]
        module
    )
    _require_held(path, network.state_dict().values())
    return network


def _needed_records(path: Path, custom: frozenset[str]) -> bytes:
    reader = open_archive(path)
    records = reader.get_all_records()
    registered = pytorch_operators.registered()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for record in sorted(set(records)):
            if _NEEDED.fullmatch(record) is None:
                continue
            content = reader.get_record(record)
            if record.endswith(".py"):
                content = pytorch_source.canonical(content, custom, registered)
            elif record.endswith(".pkl"):
                _require_networks(content)
            archive.writestr(f"archive/{record}", content)
    return written.getvalue()


def _require_networks(content: bytes) -> None:
    """Refuse a pickle that names objects of C++, or is none to its end."""
    named, ended = _globals(io.BytesIO(content))
    for name in named:
        if _HARMLESS.fullmatch(name) is None and _NETWORK.fullmatch(name) is None:
            raise pytorch_operators.NotComputationError(f"{name} in a pickle")
    if not ended:
        raise pytorch_operators.NotComputationError("a pickle without an end")


def _not_computation(path: Path, error: pytorch_operators.NotComputationError) -> ModelError:
    if error.is_layer:
        return unconvertible(path, error.what)
    return unsafe(
        path,
        f"holds TorchScript that does more than compute ({error.what}), which is not "
        "run; save the float model's state_dict(), or torch.export it",
    )
