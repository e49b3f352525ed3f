"""Arithmetic of the register of figures: `{claim: path | max} / 2 ** 10 < 3`, worked out.

References stand in braces, and whoever asks says what they are. The rest is numbers, `+ - * / %`,
`**`, brackets, comparisons, and sqrt, log, log2, exp, erf, abs, min, max and round.

What follows from nothing is refused. A comparison needs a reference. A value needs one, or two
numbers that make a difference: 0 in a sum and 1 in a product make none. A reference that is
multiplied by 0, or raised to it, is refused too, and so is one whose value makes no difference, as
in `{a} - {a} + 43`.
"""

import ast
import itertools
import math
import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

_REFERENCE: Final = re.compile(r"\{([^{}]+)\}")
_OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.Mod: operator.mod,
        ast.Pow: operator.pow,
        ast.USub: operator.neg,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
        ast.Eq: operator.eq,
    }
)
_NEUTRAL_BEFORE: Final[Mapping[type[ast.AST], int]] = MappingProxyType(
    {ast.Add: 0, ast.Sub: 0, ast.Mult: 1}
)
_NEUTRAL_BEHIND: Final[Mapping[type[ast.AST], int]] = MappingProxyType(
    {ast.Add: 0, ast.Sub: 0, ast.Mult: 1, ast.Div: 1, ast.Pow: 1}
)
"""Numbers that change nothing as the first and as the second operand."""

_FUNCTIONS: Final[Mapping[str, Callable[..., float]]] = MappingProxyType(
    {
        "sqrt": math.sqrt,
        "log": math.log,
        "log2": math.log2,
        "exp": math.exp,
        "erf": math.erf,
        "abs": abs,
        "min": min,
        "max": max,
        "round": round,
    }
)


def value_of(expression: str, look_up: Callable[[str], float]) -> float:
    """Return what an expression comes to.

    Raises:
        ValueError: it follows from nothing, or is no arithmetic.
    """
    tree, names = _parsed(expression, look_up)
    value = _value(tree, names)
    if names and not _matters(tree, names, expression):
        raise ValueError(f"{expression} follows from nothing: no reference makes a difference")
    if not names and _operands(tree) < 2:
        raise ValueError(f"{expression} follows from nothing: say what it is worked out from")
    return float(value)


def holds(expression: str, look_up: Callable[[str], float]) -> bool:
    """Return whether a comparison holds.

    Raises:
        ValueError: it compares nothing, or numbers alone.
    """
    tree, names = _parsed(expression, look_up)
    value = _value(tree, names)
    if not isinstance(value, bool):
        raise ValueError(f"{expression} compares nothing")
    if not names:
        raise ValueError(f"{expression} follows from nothing: compare what a reference says")
    for compared in (node for node in ast.walk(tree) if isinstance(node, ast.Compare)):
        sides = [compared.left, *compared.comparators]
        for left, right in itertools.pairwise(sides):
            apart = ast.BinOp(left, ast.Sub(), right)
            if not _matters(apart, names, expression):
                raise ValueError(f"{expression} follows from nothing: both sides move together")
    return value


def _parsed(
    expression: str, look_up: Callable[[str], float]
) -> tuple[ast.expr, Mapping[str, float]]:
    """Return an expression with names in place of its references, and the value of each name."""
    references = _REFERENCE.findall(expression)
    names = {f"_{place}": look_up(name.strip()) for place, name in enumerate(references)}
    places = iter(names)
    try:
        tree = ast.parse(_REFERENCE.sub(lambda _: next(places), expression).strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{expression} is no expression") from error
    return tree.body, names


def _matters(tree: ast.expr, names: Mapping[str, float], expression: str) -> bool:
    """Return whether an expression comes to something else where a reference does."""
    references = [name.strip() for name in _REFERENCE.findall(expression)]
    value = _value(tree, names)
    for changed in dict.fromkeys(references):
        for factor, plus in ((2.0, 1.0), (1 / 3, 0.0)):
            others = {
                name: factor * old + plus if reference == changed else old
                for (name, old), reference in zip(names.items(), references, strict=True)
            }
            try:
                if not math.isclose(_value(tree, others), value, rel_tol=1e-12, abs_tol=1e-300):
                    return True
            except (ArithmeticError, ValueError):
                return True
    return False


def _value(node: ast.expr, names: Mapping[str, float]) -> Any:  # noqa: ANN401
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _require_weight(node, names)
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(one, names) for one in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            return all(_OPERATORS[type(op)](first, second) for op, first, second in pairs)
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(one, names) for one in arguments))
    raise ValueError(f"{ast.unparse(node)} is no arithmetic")


def _require_weight(node: ast.BinOp, names: Mapping[str, float]) -> None:
    """Refuse a product in which numbers alone make 0 of a reference."""
    left, right = _refers(node.left), _refers(node.right)
    number = node.left if right else node.right
    product = isinstance(node.op, (ast.Mult, ast.Div, ast.Mod, ast.Pow))
    if product and left is not right and _value(number, names) == 0:
        raise ValueError(f"{ast.unparse(node)} follows from nothing: 0 leaves nothing of it")


def _refers(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id not in _FUNCTIONS for part in ast.walk(node))


def _operands(node: ast.expr) -> int:
    """Return how many numbers make a difference to an expression without references."""
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            values = _value(left, {}), _value(right, {})
            first = 0 if values[0] == _NEUTRAL_BEFORE.get(type(op)) else _operands(left)
            second = 0 if values[1] == _NEUTRAL_BEHIND.get(type(op)) else _operands(right)
            if isinstance(op, ast.Mod) and values[0] < values[1]:
                second = 0
            return first + second
        case ast.UnaryOp(operand=operand):
            return _operands(operand)
        case ast.Call(args=arguments):
            return max(map(_operands, arguments))
        case _:
            return 1
