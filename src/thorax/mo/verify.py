"""A conversion verified: its answers against those of the source itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.devices.process_core import open_core
from thorax.errors import ModelError
from thorax.importers.options import Run, compile_here, unrunnable
from thorax.ir.corrections import correct
from thorax.ir.reference import source_tolerance
from thorax.mo.preprocessing import Steps

_TRY_SMALLER: Final = ("model-unrunnable", "model-memory")
"""Of these a smaller size may be the cure."""

_SIDES: Final = (224, 64, 32, 8, 1)
"""Sizes tried of an axis that is to stay open."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The source itself, run as it is by `who`.

    `run` takes and answers arrays in the framework's layout; it and `shapes`, one an input that it
    was tried with, are None where no size could be run. Where it is `one_by_one` it takes one
    image, so that a batch is fed in turn. `tolerance` is the largest difference, relative to an
    output's largest value, that its arithmetic explains.
    """

    who: str
    run: Run | None
    shapes: tuple[tuple[int, ...], ...] | None
    one_by_one: bool
    tolerance: float

    @classmethod
    def of(
        cls,
        model: ov.Model,
        shapes: Sequence[ov.PartialShape],
        run: Run | None,
        compile_model: Callable[[ov.Model], Run] = compile_here,
    ) -> "Reference":
        """Return the reference of a graph that nothing has been done to, nor is.

        Shapes are those that its inputs are to have, `run` is the framework's own execution, where
        there is one; for `compile_model` see `Imported.compile`.

        Raises:
            ModelError: `model-unrunnable` where shapes leave nothing else to try.
        """
        one_by_one = _one_by_one([port.get_partial_shape() for port in model.inputs], shapes)
        sizes: tuple[tuple[int, ...], ...] | None = None
        by_openvino: Run | None = None
        for side in _SIDES:
            tried = tuple(_concrete(shape, side) for shape in shapes)
            try:
                by_openvino = _tried(model, tried, compile_model, one_by_one=one_by_one)
            except (RuntimeError, ModelError) as error:
                final = isinstance(error, ModelError) and error.code not in _TRY_SMALLER
                if final or all(shape.is_static for shape in shapes):
                    if isinstance(error, ModelError):
                        raise
                    raise unrunnable(model.get_friendly_name(), error) from error
                continue
            sizes = tried
            break
        if run is None:
            who, run = "OpenVINO, before any rewriting", by_openvino
        else:
            who = "the framework's own execution"
        return cls(who, run, sizes, one_by_one, source_tolerance(model))

    def __call__(self, values: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Return the outputs for arrays in the framework's layout."""
        assert self.run is not None
        if not self.one_by_one:
            return self.run(values)
        rows = [
            self.run([array[index : index + 1] if array.ndim else array for array in values])
            for index in range(max(len(array) for array in values if array.ndim))
        ]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def _tried(
    model: ov.Model,
    shapes: Sequence[tuple[int, ...]],
    compile_model: Callable[[ov.Model], Run],
    *,
    one_by_one: bool,
) -> Run:
    """Return a graph as OpenVINO runs it with these shapes, having run it once."""
    fed = [(1, *shape[1:]) if one_by_one and shape else shape for shape in shapes]
    untouched = model.clone()
    untouched.reshape({index: list(shape) for index, shape in enumerate(fed)})
    correct(untouched)
    run = compile_model(untouched)
    run([np.zeros(shape, _kind(port)) for shape, port in zip(fed, untouched.inputs, strict=True)])
    return run


def compare(
    model: ov.Model | Path,
    reference: Reference,
    steps: Sequence[Steps],
    orders: Sequence[Sequence[int]],
) -> float | None:
    """Return the largest difference of an output, relative to that output's largest value.

    The converted graph, or its .xml, is fed noise, and then white, whose borders show; the
    reference gets the same after the steps by NumPy. Each output answers its axes in an order, ()
    as the source does. None where no size of an open shape could be run.
    """
    if reference.shapes is None:
        return None
    core = open_core()
    read = core.read_model(model) if isinstance(model, Path) else model
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    worst = np.float64(0)
    random = np.random.Generator(np.random.Philox(key=2018))
    for white in (False, True):
        fed = [
            _probe(random, port, shape, each, white=white)
            for port, shape, each in zip(compiled.inputs, reference.shapes, steps, strict=True)
        ]
        answers = compiled(fed)
        truths = reference([each.apply(values) for each, values in zip(steps, fed, strict=True)])
        for port, values, order in zip(compiled.outputs, truths, orders, strict=True):
            truth = np.asarray(values, np.float64)
            truth = truth.transpose(order) if order else truth
            # Not Python's max, which passes over what is not a number.
            worst = np.maximum(worst, _difference(np.asarray(answers[port], np.float64), truth))
    return float(worst)


def _difference(answer: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> np.float64:
    """Return the largest difference over the largest value; infinite for another shape."""
    if answer.shape != truth.shape:
        return np.float64(np.inf)
    if not truth.size:
        return np.float64(0)
    largest = np.abs(truth).max()
    return np.float64(np.abs(answer - truth).max() / (largest if largest > 0 else 1))


def _kind(port: ov.Output) -> np.dtype[Any]:
    kind: np.dtype[Any] = port.get_element_type().to_dtype()
    return kind


def _probe(
    random: np.random.Generator,
    port: ov.Output,
    inner: tuple[int, ...],
    steps: Steps,
    *,
    white: bool,
) -> npt.NDArray[Any]:
    """Return noise or white for an input whose network takes the shape `inner`."""
    kind, pixels = port.get_element_type(), bool(steps.mean or steps.scale)
    order = steps.order
    shape = tuple(inner[order.index(axis)] for axis in range(len(inner))) if order else inner
    if kind == ov.Type.u8 and pixels:
        return np.full(shape, 255, np.uint8) if white else random.integers(0, 256, shape, np.uint8)
    if not kind.is_real():
        return random.integers(0, 2, shape).astype(_kind(port))
    if white:
        return np.full(shape, 255 if pixels else 1, _kind(port))
    noise = random.uniform(0, 255, shape) if pixels else random.standard_normal(shape)
    return noise.astype(_kind(port))


def _concrete(shape: ov.PartialShape, side: int) -> tuple[int, ...]:
    return tuple(
        axis.get_length() if axis.is_static else (1 if index == 0 else side)
        for index, axis in enumerate(shape)
    )


def _one_by_one(own: Sequence[ov.PartialShape], shapes: Sequence[ov.PartialShape]) -> bool:
    """Return whether several images are asked for where the source takes one, or any number."""
    pairs = [
        (before[0], after[0])
        for before, after in zip(own, shapes, strict=True)
        if before.rank.is_static and len(before) > 1
    ]
    if len(pairs) != len(own) or len({str(after) for _, after in pairs}) != 1:
        return False
    return all(
        after.is_static
        and after.get_length() > 1
        and (before.is_dynamic or before.get_length() == 1)
        for before, after in pairs
    )
