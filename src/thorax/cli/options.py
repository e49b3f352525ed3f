"""Options that several commands take, and values made of many options."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

from typer import Argument, Option

from thorax.errors import UsageError

if TYPE_CHECKING:
    from thorax.data.samples import ReadOptions


def spelled_device(device: str | None) -> str | None:
    """Return a device as OpenVINO spells it: in capitals, without blanks."""
    return None if device is None else "".join(device.split()).upper()


device_option = functools.partial(Option, "-d", "--device", callback=spelled_device)
"""An option that names a device; it takes its `help`."""

Json = Annotated[bool, Option("--json", help="Print one JSON document on stdout.")]
Out = Annotated[Path, Option("--out", help="Where to write.")]
StorePath = Annotated[Path, Argument(help="Store that `thorax data import` wrote.")]
Size = Annotated[int, Option("--size", min=16, max=2048, help="Side of the stored square, pixels.")]
Boxes = Annotated[Path | None, Option(help="CSV of lesion boxes.")]
Extensions = Annotated[
    list[str] | None,
    Option("--extension", help="Custom layers: a library, module:Class or file.py:Class."),
]
Device = Annotated[
    str,
    device_option(
        help="CPU, GPU, AUTO, HETERO:FPGA,CPU, MULTI:FPGA.0,FPGA.1,CPU; see `thorax devices`.",
    ),
]
Model = Annotated[Path, Argument(help="Artifact folder that `thorax optimize` wrote.")]
Uncertain = Annotated[
    str, Option(help="What an uncertain label (-1) becomes: ones, zeros, or ignore (unknown).")
]
Blank = Annotated[
    str | None,
    Option(help="What a blank label is: negative, unknown; default: as the tables' authors say."),
]
Findings = Annotated[
    str | None,
    Option(
        help="Label set: nih14, chexpert, mimic, padchest, xrv18, or findings joined by commas; "
        "default: what the tables have."
    ),
]
Views = Annotated[str, Option(help="Views to take: frontal (PA, AP, or not said) or all.")]
Samples = Annotated[
    int, Option("--samples", min=100, max=1_000_000, help="Bootstrap resamples of patients.")
]
Workers = Annotated[int | None, Option(min=1, help="Decoding threads; default: one a processor.")]


WordT = TypeVar("WordT", bound=str)


def one_of(option: str, word: str, allowed: Iterable[WordT]) -> WordT:
    """Return the word of a set that an option names, in whatever case.

    Raises:
        UsageError: `option-choice` for one that is not in it.
    """
    words = list(allowed)
    for known in words:
        if word.lower() == known.lower():
            return known
    raise UsageError("option-choice", f"{option} is {word!r}; allowed are {', '.join(words)}")


def read_options(
    *,
    findings: str | None = None,
    uncertain: str = "ignore",
    blank: str | None = None,
    views: str = "frontal",
) -> "ReadOptions":
    """Return how labels are read, of words as they were typed.

    Raises:
        UsageError: `option-choice`, or `label-set`.
    """
    from thorax.data.samples import Blank, ReadOptions, Uncertain, Views
    from thorax.labels import named_set

    return ReadOptions(
        findings=None if findings is None else named_set(findings),
        uncertain=one_of("--uncertain", uncertain, get_args(Uncertain)),
        blank=None if blank is None else one_of("--blank", blank, get_args(Blank)),
        views=one_of("--views", views, get_args(Views)),
    )


def one_by_one(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose parameters of a dataclass are given field by field, as options.

    Typer reads the options of a command from its parameters. A command that takes many takes them
    as one value: each field of the dataclass, annotated as a parameter would be, becomes an option
    at the place of that parameter.

    Raises:
        TypeError: a field has a default factory, or two parameters or fields have one name.

    Example:
        >>> @dataclass(frozen=True)
        ... class Traffic:
        ...     duration: Annotated[float, Option(help="Seconds.")] = 10.0
        >>> @app.command()
        ... @one_by_one
        ... def benchmark(model: Model, traffic: Traffic, json: Json = False) -> None: ...
    """
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    values: dict[str, Any] = {
        name: hint
        for name, hint in hints.items()
        if name in signature.parameters and is_dataclass(hint)
    }

    @functools.wraps(command)
    def typed(**given: Any) -> None:  # noqa: ANN401 - as they were typed
        for name, kind in values.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    flat: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.parameters.items():
        alone = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for option in _fields(values[name]) if name in values else [alone]:
            if option.name in flat:
                raise TypeError(f"two options of {command.__name__} are named {option.name}")
            flat[option.name] = option
    parameters = list(flat.values())
    typed.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    typed.__annotations__ = {name: flat[name].annotation for name in flat} | {"return": None}
    return typed


def _fields(kind: Any) -> Iterator[inspect.Parameter]:  # noqa: ANN401 - a dataclass
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if field.default_factory is not MISSING:
            raise TypeError(f"{kind.__name__}.{field.name} has a factory; give a plain default")
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=hints[field.name],
        )
