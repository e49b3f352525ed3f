"""Judgement of the source code in a TorchScript archive, before PyTorch compiles any of it.

Compiling runs code: default values of parameters, fields and constants are evaluated, and objects
with `__setstate__` are given their state. So the text is parsed here, every construct and name in
it must be known, and PyTorch is given what was parsed, written out anew: no comment, line end or
letter that two parsers read differently is left in it.
"""

import ast
import functools
from dataclasses import dataclass
from typing import Final

from thorax.importers.pytorch_operators import NotComputationError, require_operator

_ALLOWED: Final = (
    ast.Module, ast.ClassDef,
    ast.AnnAssign, ast.Assign, ast.Expr, ast.For, ast.FunctionDef, ast.If, ast.Pass, ast.Return,
    ast.While,
    ast.Attribute, ast.Call, ast.Constant, ast.Dict, ast.List, ast.Name, ast.Slice, ast.Subscript,
    ast.Tuple, ast.UnaryOp, ast.USub, ast.arg, ast.arguments, ast.expr_context, ast.keyword,
)  # fmt: skip
"""All that TorchScript is written with when it is saved: anything else has become calls by then."""

_BASES: Final = frozenset({"Module", "NamedTuple", "Enum", "Interface", "ModuleInterface"})
_ROOTS: Final = frozenset({"torch", "ops", "CONSTANTS", "__torch__"})
_FUNCTIONS: Final = frozenset(
    """
    annotate unchecked_cast uninitialized getattr hasattr isinstance range len int float bool str
    complex list tuple min max abs round
    """.split()  # noqa: SIM905
)
_VALUES: Final = frozenset({"inf", "nan", "__annotations__"})
_TYPES: Final = frozenset(
    """
    Tensor NoneType Optional List Dict Tuple Union Final Any int float bool str complex number
    Device Layout ScalarType MemoryFormat QScheme Function
    """.split()  # noqa: SIM905
)
_RESERVED: Final = _ROOTS | {"annotate", "getattr", "hasattr", "inf", "nan"}
_CLASSES: Final = "__torch__.torch.classes"
"""Objects of C++ that are made from bytes by code of their own."""
_OWN_METHODS: Final = frozenset({"__init__", "__len__", "__contains__", "__getitem__", "__call__"})
_HEADER: Final = "op_version_set"
_MOST_BYTES: Final = 16 << 20


def canonical(source: bytes, custom: frozenset[str], registered: frozenset[str]) -> bytes:
    """Return source code that does nothing but define networks, written out anew for the CPU.

    Custom operators are those that the user's own extensions compute, as `name space::name`; for
    those registered see `pytorch_operators.registered`.

    Raises:
        NotComputationError: it does something else, or cannot be understood.
    """
    if len(source) > _MOST_BYTES:
        raise NotComputationError(f"source code of {len(source):,} bytes")
    try:
        tree = ast.parse(source.decode("ascii"))
        _put_on_cpu(tree)
        _Judge(tree, custom, registered).judge()
        return (ast.unparse(tree) + "\n").encode("ascii")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, NotComputationError):
            raise
        raise NotComputationError("source code that cannot be understood") from error


def _put_on_cpu(tree: ast.Module) -> None:
    """Name the CPU wherever a network names the device that it was traced on; in place."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if _dotted(node.func) == "torch.device":
            node.args = [ast.Constant("cpu")]
        elif _dotted(node.func) in ("torch.cuda", "torch.cpu") and not node.keywords:
            # Of a tensor there already it is the tensor itself; OpenVINO converts neither.
            node.func = ast.Attribute(ast.Name("torch", ast.Load()), "contiguous", ast.Load())


@dataclass(frozen=True)
class _Judge:
    """What one text defines, and whether all that it names is known."""

    tree: ast.Module
    custom: frozenset[str]
    registered: frozenset[str]

    @functools.cached_property
    def _defined(self) -> set[str]:
        return _defined(self.tree)

    def judge(self) -> None:
        """Refuse what is not known by a `NotComputationError`."""
        for node in ast.walk(self.tree):
            if not isinstance(node, _ALLOWED):
                raise NotComputationError(f"a {type(node).__name__}")
        for statement in self.tree.body:
            if isinstance(statement, ast.ClassDef):
                self._require_class(statement)
            elif isinstance(statement, ast.FunctionDef):
                self._require_function(statement)
            elif not _is_header(statement):
                raise NotComputationError(f"code outside of functions, {_excerpt(statement)}")
        self._require_names()

    def _require_class(self, definition: ast.ClassDef) -> None:
        bases = [base.id if isinstance(base, ast.Name) else "" for base in definition.bases]
        if definition.decorator_list or definition.keywords or not _BASES.issuperset(bases):
            raise NotComputationError(f"a class {definition.name} of an unknown kind")
        for statement in definition.body:
            if isinstance(statement, ast.FunctionDef):
                self._require_function(statement)
            elif isinstance(statement, ast.AnnAssign | ast.Assign):
                self._require_plain(statement.value)
            elif not isinstance(statement, ast.Pass):
                raise NotComputationError(f"code outside of functions, {_excerpt(statement)}")

    def _require_function(self, function: ast.FunctionDef) -> None:
        if function.name.startswith("__") and function.name not in _OWN_METHODS:
            raise NotComputationError(f"{function.name}")
        for name in _defined(function) & _RESERVED:
            raise NotComputationError(f"another meaning of {name}")
        arguments = function.args
        if function.decorator_list or arguments.vararg or arguments.kwarg:
            raise NotComputationError(f"a function {function.name} of an unknown kind")
        for default in (*arguments.defaults, *arguments.kw_defaults):
            self._require_plain(default)
        for statement in ast.walk(function):
            if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement is not function:
                raise NotComputationError(f"{statement.name} inside of {function.name}")

    def _require_plain(self, value: ast.expr | None) -> None:
        """Refuse a value that PyTorch evaluates while it reads, unless it is written out."""
        if value is None or isinstance(value, ast.Constant):
            return
        if isinstance(value, ast.UnaryOp):
            self._require_plain(value.operand)
        elif isinstance(value, ast.Tuple | ast.List):
            for element in value.elts:
                self._require_plain(element)
        elif isinstance(value, ast.Dict):
            for item in (*value.keys, *value.values):
                self._require_plain(item)
        elif isinstance(value, ast.Call):
            if _dotted(value.func) not in ("annotate", "torch.device") or value.keywords:
                raise NotComputationError(f"a call as a default, {_excerpt(value)}")
            for argument in value.args[1 if _dotted(value.func) == "annotate" else 0 :]:
                self._require_plain(argument)
        elif not (
            (dotted := _dotted(value)) in _VALUES
            or dotted in _TYPES
            or dotted.partition(".")[0] in ("CONSTANTS", "__torch__")
            or isinstance(value, ast.Subscript)
        ):
            raise NotComputationError(f"a computed default, {_excerpt(value)}")
        if isinstance(value, ast.Subscript) and not _is_type(value):
            raise NotComputationError(f"a computed default, {_excerpt(value)}")

    def _require_names(self) -> None:
        inner = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and id(node) not in inner:
                self._require_attribute(node)
                # The parts of a dotted name are judged with the whole.
                part: ast.expr = node
                while isinstance(part, ast.Attribute):
                    part = part.value
                    inner.add(id(part))
            elif isinstance(node, ast.Name) and id(node) not in inner:
                self._require_name(node)
            elif isinstance(node, ast.Call) and _dotted(node.func) in ("getattr", "hasattr"):
                self._require_literal_attribute(node)

    def _require_attribute(self, node: ast.Attribute) -> None:
        dotted = _dotted(node)
        parts = dotted.split(".") if dotted else []
        root = parts[0] if parts else ""
        if root == "torch":
            if len(parts) != 2:
                raise NotComputationError(dotted)
            require_operator(f"aten::{parts[1]}", self.custom)
        elif root == "ops":
            if len(parts) != 3:
                raise NotComputationError(dotted)
            require_operator(f"{parts[1]}::{parts[2]}", self.custom)
        elif root == "__torch__":
            if f"{dotted}.".startswith(f"{_CLASSES}."):
                raise NotComputationError(f"an object of C++, {dotted}")
        elif root == "CONSTANTS":
            if len(parts) != 2 or not parts[1].startswith("c"):
                raise NotComputationError(dotted)
        else:
            self._require_members(node)

    def _require_members(self, node: ast.expr) -> None:
        while isinstance(node, ast.Attribute):
            self._require_member(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            self._require_name(node)

    def _require_member(self, name: str) -> None:
        """Refuse a member of a value that is an operator: `x.save(...)` is `torch.save(x, ...)`."""
        if name in self.registered:
            try:
                require_operator(f"aten::{name}", self.custom)
            except NotComputationError as error:
                # A layer may be called after arithmetic; what is called at all, the graph says.
                if not error.is_layer:
                    raise
        elif name.startswith("__") and name not in _OWN_METHODS:
            raise NotComputationError(name)

    def _require_name(self, node: ast.Name) -> None:
        names = _FUNCTIONS | _VALUES | _TYPES | _BASES | {_HEADER}
        if node.id not in self._defined and node.id not in names:
            raise NotComputationError(node.id)

    def _require_literal_attribute(self, call: ast.Call) -> None:
        name = call.args[1] if len(call.args) > 1 else None
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            raise NotComputationError(_excerpt(call))
        self._require_member(name.value)


def _defined(tree: ast.AST) -> set[str]:
    """Return the names of parameters and of what is assigned to."""
    return {
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }


def _is_header(statement: ast.stmt) -> bool:
    """Return whether it is the version that PyTorch wrote before 1.5, `op_version_set = 1`."""
    return (
        isinstance(statement, ast.Assign)
        and [_dotted(target) for target in statement.targets] == [_HEADER]
        and isinstance(statement.value, ast.Constant)
    )


def _is_type(value: ast.expr) -> bool:
    if isinstance(value, ast.Subscript):
        return _dotted(value.value) in _TYPES and _is_type(value.slice)
    if isinstance(value, ast.Tuple):
        return all(map(_is_type, value.elts))
    return _dotted(value) in _TYPES or _dotted(value).startswith("__torch__.")


def _dotted(node: ast.expr) -> str:
    """Return a name with its dots, "" of anything that is computed."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def _excerpt(node: ast.AST) -> str:
    return ast.unparse(node)[:60]
