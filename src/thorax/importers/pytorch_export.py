"""Exported programs of PyTorch (.pt2), read so that nothing in them is executed.

`torch.export.load` trusts its file: it unpickles weights, constants and example inputs that ask for
it, evaluates expressions of sizes with SymPy, compiles guards and names into Python source, calls
whatever function of PyTorch a node names, imports modules that a tree of inputs names, and loads
shared libraries. So the archive is read here record by record, everything but plain tensors and
plain operations is refused, and the rest goes to PyTorch's own deserialiser.
"""

import re
from pathlib import Path
from typing import Any, Final

import torch
from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose
from torch._export.serde import schema
from torch._export.serde.serialize import ExportedProgramDeserializer, _dict_to_dataclass
from torch.export.decomp_utils import CustomDecompTable
from torch.export.pt2_archive import _package
from torch.fx import GraphModule

from thorax.errors import ModelError
from thorax.files.documents import parse_json
from thorax.importers import pytorch_archive
from thorax.importers.options import damaged, unconvertible, unsafe
from thorax.importers.pytorch_operators import NotComputationError, require_operator

_CONFIGS: Final = (
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
)

_IDENTIFIER: Final = re.compile(r"(?:[A-Za-z_]\w*)?", re.ASCII)
_WORD: Final = re.compile(r"[\w.:+/@ -]*", re.ASCII)
_STACK: Final = re.compile(r"[\w.,;@ \[\]()-]*", re.ASCII)
_TARGET: Final = re.compile(
    r"torch\.ops\.aten\.(?P<operator>\w+)\.\w+"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_|pow)"
    r"|math\.(?:ceil|floor|trunc|sqrt)"
    r"|torch\.sym_(?:int|float|max|min|not|ite|sqrt|sum)"
    # A part of the program under no_grad or autocast, which decomposition puts into the whole.
    r"|torch\.ops\.higher_order\.wrap_with_(?:set_grad_enabled|autocast)",
    re.ASCII,
)
_EXPRESSION: Final = re.compile(
    # Sizes: symbols s0, u1, ..., whole numbers, arithmetic, and PyTorch's own functions of sizes.
    r"(?:\s|[-+*/(),<>=]|\d{1,18}|[suzf]{1,3}\d+|FloorDiv|CeilDiv|ModularIndexing|PythonMod|Mod"
    r"|Symbol\('[suzf]{1,3}\d+'(?:, (?:positive|integer|nonnegative)=True)*\)"
    r"|Integer\(-?\d{1,18}\)|Float\('-?\d{1,18}(?:\.\d{1,18})?', precision=53\)|Mul|Add"
    # A power is small, and of nothing that is a power.
    r"|Pow\((?:Symbol\('[suzf]{1,3}\d+'(?:, \w+=True)*\)|Integer\(\d{1,3}\)), Integer\(-?\d\)\)"
    r"|CleanDiv|Max|Min|Where|IntTrueDiv|FloatTrueDiv|ToFloat|TruncToInt|FloorToInt|CeilToInt"
    r"|RoundToInt|True|False)*",
    re.ASCII,
)
_CARRIERS: Final = ("as_custom_obj", "as_operator", "as_optional_operator")
"""Arguments that are code rather than values; a graph in a graph is looked through as the whole."""


def load(path: Path) -> GraphModule:
    """Return the program as a module, decomposed as far as OpenVINO needs it.

    Raises:
        ModelError: `model-unsafe` for what could run code, `model-unreadable`.
    """
    reader = pytorch_archive.open_archive(path)
    records = set(reader.get_all_records())
    if "archive_format" not in records:
        raise damaged(
            path, "was exported by PyTorch 2.7 or older; export it again, or save it as TorchScript"
        )
    pickled = {"data/weights/model.pt", "data/constants/model.pt"}
    if any(record.startswith("data/aotinductor/") for record in records) or records & pickled:
        raise _unsafe(path, "machine code or pickled weights")
    try:
        program = _plain(parse_json(reader.get_record("models/model.json")), path)
        for name in _CONFIGS:
            _require_raw(parse_json(reader.get_record(name)), reader, Path(name).parent, path)
        with _package.PT2ArchiveReader(str(path)) as archive:
            weights = _package._load_state_dict(archive, "model")
            constants = _package._load_constants(archive, "model")
        exported = ExportedProgramDeserializer().deserialize(
            _dict_to_dataclass(schema.ExportedProgram, program),  # type: ignore[no-untyped-call]
            weights,
            constants,
        )
        table = CustomDecompTable()  # type: ignore[no-untyped-call]
        for operation in ops_to_not_decompose():
            if operation in table:
                table.pop(operation)  # type: ignore[no-untyped-call]
        module = exported.run_decompositions(table).module(check_guards=False)
    except ModelError:
        raise
    except Exception as error:
        # A damaged program may raise anything at all.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise damaged(
            path,
            f"is damaged, or was exported by a PyTorch unlike {torch.__version__}: "
            f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}",
        ) from error
    assert isinstance(module, GraphModule)
    return module


def _unsafe(path: Path, what: str) -> ModelError:
    return unsafe(
        path,
        f"asks for code ({what}), which is not run; export the plain float model with "
        "torch.export.save, or save it as TorchScript",
    )


def _plain(value: Any, path: Path, key: str = "") -> Any:  # noqa: ANN401
    """Return a JSON value of the program without what is not needed, every word of it looked at."""
    if isinstance(value, dict):
        return {
            name: _plain_member(name, member, path)
            for name, member in value.items()
            if _matches(_WORD, name, path)
        }
    if isinstance(value, list):
        return [_plain(part, path, key) for part in value]
    if isinstance(value, str):
        pattern = {"name": _IDENTIFIER, "target": _TARGET, "expr_str": _EXPRESSION}.get(key, _WORD)
        # Powers of powers would be worked out, digit by digit.
        if not _matches(pattern, value, path) or (key == "expr_str" and "**" in value):
            raise _unsafe(path, repr(value[:60]))
        if key == "target":
            _require_listed(value, path)
    return value


def _require_listed(target: str, path: Path) -> None:
    match = _TARGET.fullmatch(target)
    if match is None or match["operator"] is None:
        return
    try:
        require_operator(f"aten::{match['operator']}", frozenset())
    except NotComputationError as error:
        if not error.is_layer:
            raise _unsafe(path, target) from error
        raise unconvertible(path, error.what, extensible=False) from error


def _matches(pattern: re.Pattern[str], text: str, path: Path) -> bool:
    if pattern.fullmatch(text) is None:
        raise _unsafe(path, repr(text[:60]))
    return True


def _plain_member(name: str, value: Any, path: Path) -> Any:  # noqa: ANN401
    if name == "metadata":
        stack = value.get("nn_module_stack", "") if isinstance(value, dict) else ""
        named = isinstance(stack, str) and stack and _STACK.fullmatch(stack)
        return {"nn_module_stack": stack} if named else {}
    if name == "guards_code":
        return []
    if name in ("treespec_namedtuple_fields", "custom_obj_values") and value:
        raise _unsafe(path, name)
    if name in _CARRIERS:
        raise _unsafe(path, name)
    if name in ("in_spec", "out_spec") and isinstance(value, str):
        if value:
            _require_tree(parse_json(value), path)
        return value
    return _plain(value, path, name)


def _require_tree(value: Any, path: Path) -> None:  # noqa: ANN401
    """Refuse a tree of inputs that is more than tuples, lists and dicts of tensors."""
    for tree in value if isinstance(value, list) else [value]:
        if isinstance(tree, int):
            continue
        if (
            not isinstance(tree, dict)
            or set(tree) != {"type", "context", "children_spec"}
            or tree["type"] not in ("builtins.tuple", "builtins.list", "builtins.dict", None)
        ):
            kind = tree.get("type") if isinstance(tree, dict) else repr(tree)
            raise _unsafe(path, f"a tree of {kind}")
        context = tree["context"]
        keys = parse_json(context) if isinstance(context, str) else context
        for key in keys or []:
            _matches(_IDENTIFIER, key if isinstance(key, str) else repr(key), path)
        _require_tree(tree["children_spec"], path)


def _require_raw(
    config: Any,  # noqa: ANN401
    reader: "torch._C.PyTorchFileReader",
    folder: Path,
    path: Path,
) -> None:
    """Refuse tensors that are pickled, or empty of bytes but not of numbers."""
    for name, meta in config["config"].items():
        if meta["use_pickle"] is not False or not re.fullmatch(
            r"(?:weight|tensor)_\d+", meta["path_name"]
        ):
            raise _unsafe(path, f"{name} is pickled")
        sizes = [size.get("as_int") for size in meta["tensor_meta"]["sizes"]]
        held = reader.get_record_size((folder / meta["path_name"]).as_posix())
        if not held and 0 not in sizes:
            raise damaged(path, f"holds no bytes of {name} {sizes}")
