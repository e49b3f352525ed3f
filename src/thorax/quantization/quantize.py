"""INT8 by calibration on radiographs."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.data.store import Store
from thorax.devices.engine import PROBABILITY
from thorax.errors import UsageError

if TYPE_CHECKING:
    import nncf

CALIBRATION_IMAGES: Final = 300
"""NNCF's own default for statistics of convolutional networks."""

_RANKING_IMAGES: Final = 100
"""By how many images accuracy control ranks layers; NNCF's default is 300."""

_HEAD: Final = ["head/linear", "head/logits", "head/cells", "heatmap", "embedding"]


def calibration_images(store: Store, *, count: int = CALIBRATION_IMAGES) -> npt.NDArray[np.int64]:
    """Return which images of the train split calibrate, int64, ascending, the same each time.

    They are stratified: half of them are shared out evenly to the findings that occur and to no
    finding, the rarest first and each as far as it has images; the others are evenly spaced over
    the split, as common findings are in it. No patient comes twice while there are others.

    Raises:
        UsageError: `calibration-empty` when the store has no training images.
    """
    train = store.select("train")
    if not len(train):
        raise UsageError(
            "calibration-empty", "the store has no images in its train split to calibrate INT8 with"
        )
    if len(train) <= count:
        return train
    positive = store.labels[train] == 1
    columns = np.column_stack([positive, ~positive.any(axis=1)])
    strata = sorted((train[column] for column in columns.T if column.any()), key=len)
    share = max(1, count // (2 * len(strata)))
    taken: set[int] = set()
    for members in strata:
        more = min(share - len(taken.intersection(members.tolist())), count - len(taken))
        taken |= _spread(store, members, more, taken)
    taken |= _spread(store, train, count - len(taken), taken)
    return np.array(sorted(taken), np.int64)


def _spread(store: Store, members: npt.NDArray[np.int64], count: int, taken: set[int]) -> set[int]:
    """Return `count` more of the members, evenly spaced; of new patients while there are any."""
    seen = {store.patients[index] for index in taken}
    fresh: dict[str, int] = {}
    for index in members.tolist():
        if store.patients[index] not in seen:
            fresh.setdefault(store.patients[index], index)
    chosen = _evenly(list(fresh.values()), count)
    remaining = [index for index in members.tolist() if index not in taken | chosen]
    return chosen | _evenly(remaining, count - len(chosen))


def _evenly(of: list[int], count: int) -> set[int]:
    spread = np.linspace(0, len(of) - 1, max(0, min(count, len(of)))).astype(np.int64)
    return {of[index] for index in spread}


def quantize(model: ov.Model, store: Store, *, kept: Sequence[str] = ()) -> ov.Model:
    """Return the graph with 8-bit convolutions; the tiny linear head stays in floating point.

    The float graph takes uint8 [1,1,S,S], the train split of the store calibrates, further layers
    that are kept stay in floating point. Weights use half the INT8 range where sums could saturate
    16 bits, so that the artifact is right on CPUs without VNNI too (NNCF: overflow fix). Biases are
    corrected layer by layer on what the layers before them really answer; NNCF's quicker estimate
    costs AUROC, see docs/decisions/0001.
    """
    import nncf  # noqa: PLC0415

    with _quiet():
        return nncf.quantize(
            # NNCF also walks to nodes that only the source graph, still in memory, has.
            model.clone(),
            advanced_parameters=_advanced(),
            **_calibration(model, store, kept),
        )


def restore_accuracy(
    model: ov.Model,
    store: Store,
    *,
    kept: Sequence[str],
    indices: npt.NDArray[np.int64],
    mean_auroc: Callable[[npt.NDArray[np.float32]], float],
    max_drop: float,
    most: int,
) -> ov.Model:
    """Return the graph in INT8 with as few layers turned back as NNCF's accuracy control finds.

    It ranks the layers by what the outputs change when each is turned back, and turns them back one
    by one, `most` at most, while the drop is too large. Whether it is small enough in the end is
    the caller's to measure. Graph, store and kept layers are as `quantize` takes them; the images
    `indices` judge, by the mean AUROC of their probabilities float32 [N,K].
    """
    import nncf  # noqa: PLC0415

    def validate(
        compiled: ov.CompiledModel, items: Iterable[np.int64]
    ) -> tuple[float | None, None]:
        # NNCF itself compiles for this in FP32, and collects outputs to rank the layers by.
        scores = [
            np.array(compiled(store.images[index][None, None])[PROBABILITY]) for index in items
        ]
        # It asks for one image first to see what comes back; a number would mean that each image
        # has a metric of its own.
        whole = len(scores) == len(indices)
        # A Python float: NNCF does not take NumPy's.
        return (float(mean_auroc(np.concatenate(scores))) if whole else None), None

    with _quiet():
        return nncf.quantize_with_accuracy_control(
            model.clone(),
            validation_dataset=_images(store, indices),
            validation_fn=validate,
            max_drop=max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_quantization_parameters=_advanced(),
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                max_num_iterations=most, ranking_subset_size=min(_RANKING_IMAGES, len(indices))
            ),
            **_calibration(model, store, kept),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF from drawing on standard output, which belongs to the caller's result."""
    # NNCF takes seconds to import, and most artifacts are not INT8.
    import nncf  # noqa: PLC0415

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _images(store: Store, indices: npt.NDArray[np.int64]) -> "nncf.Dataset":
    import nncf  # noqa: PLC0415

    return nncf.Dataset(indices, lambda index: store.images[index][None, None])


def _calibration(model: ov.Model, store: Store, kept: Sequence[str]) -> dict[str, Any]:
    import nncf  # noqa: PLC0415

    chosen = calibration_images(store)
    names = {node.get_friendly_name() for node in model.get_ordered_ops()}
    ignored = [name for name in (*_HEAD, *kept) if name in names]
    return {
        "calibration_dataset": _images(store, chosen),
        "subset_size": len(chosen),
        "fast_bias_correction": False,
        "ignored_scope": nncf.IgnoredScope(names=ignored, validate=False),
        "target_device": nncf.TargetDevice.CPU,
        # What stands between layers of attention stays in floating point.
        "model_type": nncf.ModelType.TRANSFORMER if has_attention(model) else None,
    }


def has_attention(model: ov.Model) -> bool:
    """Return whether a graph weighs values by a softmax of products of what it computed."""
    computed = {
        node.get_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and all(_is_computed(value.get_node()) for value in node.input_values())
    }
    return any(
        node.get_type_name() == "ScaledDotProductAttention"
        or (node.get_type_name() == "Softmax" and _near(node, computed))
        for node in model.get_ordered_ops()
    )


def _is_computed(node: ov.Node) -> bool:
    """Return whether a node is no weight, be it stored in other bits."""
    while node.get_type_name() in ("Convert", "Reshape", "Transpose", "FakeQuantize"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() != "Constant")


def _near(softmax: ov.Node, products: set[str]) -> bool:
    """Return whether a softmax comes from a product and goes into another, scaling between."""
    between = ("Multiply", "Divide", "Add", "Reshape", "Transpose", "Convert")
    before = [value.get_node() for value in softmax.input_values()[:1]]
    while before[-1].get_type_name() in between:
        before.append(before[-1].input_value(0).get_node())
    after = [softmax]
    while after[-1] is softmax or after[-1].get_type_name() in between:
        users = after[-1].output(0).get_target_inputs()
        if not users:
            break
        after.append(next(iter(users)).get_node())
    return {before[-1].get_name(), after[-1].get_name()} <= products


def _advanced() -> "nncf.AdvancedQuantizationParameters":
    import nncf  # noqa: PLC0415

    return nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE,
        # On a small ViT it cost 14 dB.
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
    )
