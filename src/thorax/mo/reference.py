"""What a source answers, to be held against its conversion."""

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
from thorax.mo.preprocessing import Steps

_HINT: Final = {"INFERENCE_PRECISION_HINT": "f32"}

_TRY_SMALLER: Final = ("model-unrunnable", "model-memory")
"""Of these a smaller size may be the cure."""

_SIDES: Final = (224, 64, 32, 8, 1)
"""Sizes tried of an axis that is to stay open."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The source itself, run as it is.

    Attributes:
        who: computes it.
        run: arrays in the framework's layout -> the outputs, in its layout too; None where no
            size could be run.
        shapes: one an input that `run` was tried with; None where no size could be run.
        one_by_one: whether `run` takes one image, so that a batch is fed in turn.
    """

    who: str
    run: Run | None
    shapes: tuple[tuple[int, ...], ...] | None
    one_by_one: bool

    @classmethod
    def of(
        cls,
        model: ov.Model,
        shapes: Sequence[ov.PartialShape],
        run: Run | None,
        compile_model: Callable[[ov.Model], Run] = compile_here,
    ) -> "Reference":
        """Return the reference of a graph that nothing has been done to.

        Args:
            model: kept as it is.
            shapes: that its inputs are to have.
            run: the framework's own execution, where there is one.
            compile_model: see `Imported.compile`.

        Raises:
            ModelError: `model-unrunnable` where shapes leave nothing else to try.
        """
        own = [port.get_partial_shape() for port in model.inputs]
        one_by_one = _one_by_one(own, shapes)
        sizes = None
        by_openvino: Run | None = None
        for side in _SIDES:
            concrete = [_concrete(shape, side) for shape in shapes]
            fed = [(1, *shape[1:]) if one_by_one and shape else shape for shape in concrete]
            untouched = model.clone()
            try:
                untouched.reshape({index: list(shape) for index, shape in enumerate(fed)})
                correct(untouched)
                by_openvino = compile_model(untouched)
                by_openvino(
                    [
                        np.zeros(shape, _kind(port))
                        for shape, port in zip(fed, untouched.inputs, strict=True)
                    ]
                )
            except (RuntimeError, ModelError) as error:
                final = isinstance(error, ModelError) and error.code not in _TRY_SMALLER
                if final or all(shape.is_static for shape in shapes):
                    raise _translated(model, error) from error
                continue
            sizes = tuple(concrete)
            break

        if run is None:
            return cls("OpenVINO, before any rewriting", by_openvino, sizes, one_by_one)
        return cls("the framework's own execution", run, sizes, one_by_one)

    def __call__(self, values: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Return the outputs for arrays in the framework's layout."""
        assert self.run is not None
        if not self.one_by_one:
            return self.run(values)
        rows = [
            self.run([one[index : index + 1] if one.ndim else one for one in values])
            for index in range(max(len(one) for one in values if one.ndim))
        ]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def _translated(model: ov.Model, error: RuntimeError | ModelError) -> ModelError:
    if isinstance(error, ModelError):
        return error
    return unrunnable(model.get_friendly_name(), error)


def compare(
    model: ov.Model | Path,
    reference: Reference,
    steps: Sequence[Steps],
    turned: Sequence[Sequence[int]],
) -> float | None:
    """Return the largest difference of an output, relative to that output's largest value.

    The converted graph is fed noise, and then white, whose borders show; the reference gets the
    same after `steps` by NumPy.

    Args:
        model: converted, or the .xml of it.
        reference: of the source.
        steps: what the graph does to each of its inputs.
        turned: in which order each output answers its axes; () as the source does.

    Returns:
        None where no size of an open shape could be run.
    """
    if reference.shapes is None:
        return None
    core = open_core()
    read = core.read_model(model) if isinstance(model, Path) else model
    compiled = core.compile_model(read, "CPU", _HINT)
    worst = np.float64(0)
    random = np.random.Generator(np.random.Philox(key=2018))
    for white in (False, True):
        fed = []
        for port, shape, one in zip(compiled.inputs, reference.shapes, steps, strict=True):
            outer = (
                tuple(shape[one.order.index(axis)] for axis in range(len(shape)))
                if one.order
                else shape
            )
            fed.append(_probe(random, outer, port, pixels=bool(one.mean or one.scale), white=white))
        answers = compiled(fed)
        wanted = reference([one.apply(values) for one, values in zip(steps, fed, strict=True)])
        for port, right, order in zip(compiled.outputs, wanted, turned, strict=True):
            truth = np.asarray(right, np.float64)
            truth = truth.transpose(order) if len(order) else truth
            got = np.asarray(answers[port], np.float64)
            if got.shape != truth.shape:
                return float("inf")
            if not truth.size:
                continue
            largest = np.abs(truth).max()
            # Not Python's max, which passes over what is not a number.
            worst = np.maximum(worst, np.abs(got - truth).max() / (largest if largest > 0 else 1))
    return float(worst)


def _kind(port: ov.Output) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(port.get_element_type().to_dtype())
    return kind


def _probe(
    random: np.random.Generator,
    shape: tuple[int, ...],
    port: ov.Output,
    *,
    pixels: bool,
    white: bool,
) -> npt.NDArray[Any]:
    kind = port.get_element_type()
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
        axis.get_length() if axis.is_static else (1 if place == 0 else side)
        for place, axis in enumerate(shape)
    )


def _one_by_one(own: Sequence[ov.PartialShape], shapes: Sequence[ov.PartialShape]) -> bool:
    """Return whether several images are asked for where the source takes one, or any number."""
    pairs = [
        (mine, asked)
        for mine, asked in zip(own, shapes, strict=True)
        if mine.rank.is_static and len(mine) > 1
    ]
    batches = {str(asked[0]) for _, asked in pairs}
    if len(pairs) != len(own) or len(batches) != 1:
        return False
    return all(
        asked[0].is_static
        and asked[0].get_length() > 1
        and (mine[0].is_dynamic or mine[0].get_length() == 1)
        for mine, asked in pairs
    )
