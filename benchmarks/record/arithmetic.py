"""Arithmetic of the register of figures: `{claim: path | max} / 2 ** 10 < 3`, worked out.

References stand in braces, and whoever asks says what they are. The rest is numbers, `+ - * / %`,
`**`, brackets, comparisons, and sqrt, log, log2, exp, erf, abs, min, max and round.
"""

import ast
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
        ValueError: it is a number alone, which follows from nothing, or no arithmetic.
    """
    return float(_worked_out(expression, look_up))


def holds(expression: str, look_up: Callable[[str], float]) -> bool:
    """Return whether a comparison holds.

    Raises:
        ValueError: it compares nothing.
    """
    value = _worked_out(expression, look_up)
    if not isinstance(value, bool):
        raise ValueError(f"{expression} compares nothing")
    return value


def _worked_out(expression: str, look_up: Callable[[str], float]) -> Any:  # noqa: ANN401
    references = _REFERENCE.findall(expression)
    names = {f"_{place}": look_up(name.strip()) for place, name in enumerate(references)}
    places = iter(names)
    try:
        tree = ast.parse(_REFERENCE.sub(lambda _: next(places), expression).strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{expression} is no expression") from error
    if not names and not any(isinstance(part, ast.BinOp) for part in ast.walk(tree)):
        raise ValueError(f"{expression} follows from nothing: say what it is worked out from")
    return _value(tree.body, names)


def _value(node: ast.expr, names: Mapping[str, float]) -> Any:  # noqa: ANN401
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
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
