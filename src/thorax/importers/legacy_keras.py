"""Networks of Keras 2 that Keras 3 cannot read, by tf_keras, which needs TensorFlow."""

import os
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino.frontend import FrontEndManager

from thorax.errors import ModelError, UsageError
from thorax.files.atomic import temporary_folder
from thorax.importers.frontends_names import Kernel, name_kernels
from thorax.importers.keras_file import KerasFile, as_inspected, layout_of, objects
from thorax.importers.keras_weights import weights_within
from thorax.importers.options import UNREADABLE, Imported, ImportOptions, close, unreadable

_NETWORKS: Final = ("Functional", "Sequential", "Model")
_TF_CALLS: Final = ("TFOpLambda", "SlicingOpLambda")


def needed(found: KerasFile) -> str | None:
    """Return why Keras 3 cannot read a file of Keras 2, None where nothing is known against it."""
    if not found.is_keras_2:
        return None
    for depth, named in enumerate(objects(found.config)):
        kind, settings = named["class_name"], named.get("config")
        if depth and kind in _NETWORKS:
            return "holds a network in a network"
        if kind in _TF_CALLS:
            return "calls TensorFlow by name"
        if kind.startswith("DepthwiseConv") and isinstance(settings, dict) and "groups" in settings:
            return f"says groups of its {kind}"
    return None


def read(found: KerasFile, asked: ImportOptions, reason: str) -> Imported:
    """Read an inspected file with tf_keras and convert the frozen graph.

    Args:
        found: what `keras_file.inspect` let through.
        asked: shapes of inputs that are open.
        reason: why Keras 3 does not do it, as a predicate of the file.

    Raises:
        ModelError: `model-unreadable` or `model-input`.
        UsageError: `extra-missing`.
    """
    path = found.path
    tensorflow, tf_keras = _libraries(found, reason)
    try:
        with temporary_folder() as folder:
            whole = as_inspected(found, folder)
            with weights_within(tf_keras.layers.Layer, found):
                network = tf_keras.models.load_model(whole, compile=False, safe_mode=True)
    except ModelError:
        raise
    # tf_keras raises what its layers raise.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            "model-unreadable", f"{path.name}: tf_keras says {lines[0][:200]}"
        ) from error
    try:
        model = _convert(tensorflow, network)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    close(model, asked.shapes, path)

    def run(images: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        fed = list(images)
        outputs = network(fed[0] if len(fed) == 1 else fed, training=False)
        return [np.asarray(one, np.float32) for one in tensorflow.nest.flatten(outputs)]

    return Imported(model, f"tf_keras {tf_keras.__version__}", layout_of(found), (path,), run)


def _libraries(found: KerasFile, reason: str) -> tuple[ModuleType, ModuleType]:
    # TensorFlow tells at length what the processor could do.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow  # noqa: PLC0415
        import tf_keras  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            "extra-missing",
            f"{found.path.name} of Keras {found.version} {reason}, which Keras 3 cannot read; "
            "tf_keras can: pip install 'thorax[legacy-keras]', in an environment of its own",
        ) from error
    return tensorflow, tf_keras


def _convert(tensorflow: ModuleType, network: Any) -> ov.Model:  # noqa: ANN401
    """Freeze a network and convert the graph, inputs and outputs under the network's names."""
    from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415
        convert_variables_to_constants_v2,
    )

    inputs = [
        tensorflow.TensorSpec(one.shape, one.dtype, name=one.name.split(":")[0])
        for one in network.inputs
    ]

    def forward(*images: Any) -> Any:  # noqa: ANN401
        return network(images[0] if len(images) == 1 else list(images), training=False)

    concrete = tensorflow.function(forward).get_concrete_function(*inputs)
    graph = convert_variables_to_constants_v2(concrete).graph.as_graph_def()
    with temporary_folder() as folder:
        frozen = folder / "frozen.pb"
        frozen.write_bytes(graph.SerializeToString())
        frontend = FrontEndManager().load_by_framework("tf")
        model = frontend.convert(frontend.load(str(frozen)))
        # Weights may lie in the file until they are copied.
        model = model.clone()
    name_kernels(model, _kernels(network))
    for port, spec in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({spec.name})
        port.get_node().set_friendly_name(spec.name)
    for port, name in zip(model.outputs, network.output_names, strict=True):
        port.get_tensor().set_names({name})
    return model


def _kernels(network: Any) -> Iterator[Kernel]:  # noqa: ANN401
    """Yield the kernel of each layer that has one, under the layer's name."""
    for layer in network.submodules:
        kernel = getattr(layer, "kernel", getattr(layer, "depthwise_kernel", None))
        if kernel is not None and hasattr(kernel, "numpy"):
            yield layer.name, kernel.numpy()
