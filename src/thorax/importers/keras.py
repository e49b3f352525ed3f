"""Keras networks, .keras and .h5: by Keras 3, which traces them in PyTorch, else by tf_keras.

tf_keras, with TensorFlow, reads the networks of Keras 2 that Keras 3 cannot.
"""

import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino.frontend import FrontEndManager
from openvino.passes import ConstantFolding, Manager

from thorax.errors import ModelError, UsageError
from thorax.files.atomic import temporary_folder
from thorax.importers.keras_2 import modern
from thorax.importers.keras_file import (
    TENSORFLOW_CALLS,
    KerasFile,
    as_inspected,
    inspect,
    layout_of,
    objects,
    weights_within,
)
from thorax.importers.keras_resizing import same_resizing
from thorax.importers.layers import CONVOLUTIONS
from thorax.importers.options import (
    UNREADABLE,
    Imported,
    ImportOptions,
    Layout,
    close,
    translated,
    unreadable,
)
from thorax.importers.tensorflow import Kernel, name_kernels

_BACKEND: Final = "torch"
_LAYER: Final = "thorax_keras_layer"
_SCOPE: Final = re.compile(r"__module\.(?P<layer>.+)/(?:aten|prim|ov_ext)::\w+/\w+")

_KERNELS: Final = (*CONVOLUTIONS, "MatMul", "MaxPool", "AvgPool", "BatchNormInference")
_PLUMBING: Final = (
    "Transpose", "Convert", "Reshape", "ShapeOf", "Concat", "Gather", "Unsqueeze", "Squeeze",
    "Broadcast", "Slice", "Split", "VariadicSplit", "StridedSlice", "ConvertLike",
)  # fmt: skip


@translated
def read(path: Path, options: ImportOptions) -> Imported:
    """Read a whole Keras network; nothing in the file is run.

    A file of Keras 2 that Keras 3 cannot read is read by tf_keras, and the framework says so.

    Raises:
        ModelError: `model-unreadable`, `model-unsafe`, `model-layer` or `model-input`.
        UsageError: `model-undescribed` where an axis is open that nobody closed, or
            `keras-backend`.
    """
    file = inspect(path)
    rewritten = modern(file)
    if (reason := why_legacy(rewritten)) is not None:
        return _read_legacy(file, options, reason)
    if file.is_keras_2 and find_spec("torch") is None and find_spec("tf_keras") is not None:
        return _read_legacy(file, options, "asks for PyTorch")
    keras = import_keras()
    try:
        network = _load(keras, rewritten)
    except ModelError as error:
        if not file.is_keras_2:
            raise
        return _read_legacy(file, options, f"is not read ({error.message})")
    inputs = [(tensor.name, tuple(tensor.shape)) for tensor in network.inputs]
    if options.side is not None:
        inputs = [(name, _square(shape, options.side, layout_of(file))) for name, shape in inputs]
    shapes = input_shapes(path, inputs, options.shapes)
    try:
        model = _trace(keras, network, [tuple(max(1, n) for n in shape) for shape in shapes])
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    _name_layers(model)
    for port, (name, _), shape in zip(model.inputs, inputs, shapes, strict=True):
        port.get_node().set_friendly_name(name)
        port.get_tensor().set_names({name})
        port.get_node().set_partial_shape(ov.PartialShape(list(shape)))
    model.validate_nodes_and_infer_types()
    _sink_transposes(model)
    # A sequential network has no names of outputs; its one output is its last layer's.
    names = getattr(network, "output_names", None) or [network.layers[-1].name]
    uses: Counter[str] = Counter()
    for port, name in zip(model.outputs, names, strict=True):
        port.get_tensor().set_names({_numbered(name, uses)})

    def run(images: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            outputs = _call(keras, network, [torch.from_numpy(np.asarray(x)) for x in images])
        return [np.asarray(output.numpy(), np.float32) for output in outputs]

    return Imported(model, f"keras {keras.__version__}", layout_of(file), (path,), run)


def input_shapes(
    path: Path,
    inputs: Sequence[tuple[str, tuple[int | None, ...]]],
    shape_options: Mapping[str, tuple[int, ...]],
) -> list[tuple[int, ...]]:
    """Return the shape of each input, open axes closed by the options.

    Inputs come as name and shape, None an open axis, and the options as `ImportOptions.shapes`. In
    what is returned only the first axis, of images, may be open: -1.

    Raises:
        ModelError: `model-input`.
        UsageError: `model-undescribed`.
    """
    shapes = []
    for name, shape in inputs:
        option = shape_options.get(name, shape_options.get("", ()) if len(inputs) == 1 else ())
        misfit = ModelError("model-input", f"{path.name} takes {list(shape)}, not {list(option)}")
        if option and len(option) != len(shape):
            raise misfit
        closed = []
        for axis, length in enumerate(shape):
            size = option[axis] if option else -1
            if length is None and size < 0 and axis > 0:
                raise UsageError(
                    "model-undescribed",
                    f"{path.name} leaves input {name!r} open as {list(shape)}; say --side, "
                    "or --input_shape of `thorax mo`",
                )
            if length is not None and size >= 0 and size != length:
                raise misfit
            closed.append(size if length is None else length)
        shapes.append(tuple(closed))
    return shapes


def _square(shape: tuple[int | None, ...], side: int, layout: Layout) -> tuple[int | None, ...]:
    if len(shape) != 4:
        return shape
    sides = (2, 3) if layout == "NCHW" else (1, 2)
    return tuple(
        side if axis in sides and length is None else length for axis, length in enumerate(shape)
    )


def import_keras() -> ModuleType:
    """Return Keras, imported as files are read: on PyTorch, without a person's settings.

    Raises:
        UsageError: `keras-backend` when it is already imported with another backend.
    """
    if "keras" not in sys.modules:
        # Keras reads these once, when it is imported: a person's keras.json would change what a
        # file means, and a place where no folder can be keeps Keras from writing one.
        os.environ["KERAS_BACKEND"] = _BACKEND
        os.environ["KERAS_HOME"] = f"{os.devnull}/keras"
    import keras  # noqa: PLC0415

    if keras.backend.backend() != _BACKEND:
        raise UsageError(
            "keras-backend",
            f"keras is already imported with the backend {keras.backend.backend()}; set "
            f"KERAS_BACKEND={_BACKEND} before it is imported",
        )
    return keras  # type: ignore[no-any-return]


def _load(keras: ModuleType, file: KerasFile) -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        # Networks of old files give their first layer the shape of the input.
        warnings.filterwarnings("ignore", "Do not pass an `input_shape`", UserWarning)
        network = _built(file, "Keras", keras.Layer, keras.saving.load_model)
    for _, layer in _layers(network):
        if (call := same_pooling(layer) or same_resizing(layer)) is not None:
            # Past `Layer.__setattr__`, which would track it.
            layer.__dict__["call"] = call
    network.eval()
    return network


def _built(file: KerasFile, library: str, layer: Any, load: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Return the network that a library builds from an inspected file by its `load_model`."""
    try:
        with temporary_folder() as folder, weights_within(layer, file):
            network = load(as_inspected(file, folder), compile=False, safe_mode=True)
        # A network that was never built has no inputs.
        network.inputs[0], network.outputs[0]
    except ModelError:
        raise
    # A library raises what its layers raise.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            "model-unreadable", f"{file.path.name}: {library} says {lines[0][:200]}"
        ) from error
    return network


def _call(keras: ModuleType, network: Any, images: Sequence[Any]) -> list[Any]:  # noqa: ANN401
    fed = images[0] if len(images) == 1 else list(images)
    return list(keras.tree.flatten(network(fed, training=False)))


def _trace(keras: ModuleType, network: Any, shapes: list[tuple[int, ...]]) -> ov.Model:  # noqa: ANN401
    """Convert by tracing in PyTorch, every operation within the scope of its layer."""
    import torch  # noqa: PLC0415
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415

    def forward(*images: torch.Tensor) -> Any:  # noqa: ANN401
        outputs = _call(keras, network, images)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    examples = tuple(
        torch.zeros(shape, dtype=getattr(torch, str(tensor.dtype)))
        for shape, tensor in zip(shapes, network.inputs, strict=True)
    )
    for parameter in network.parameters():
        # A trace of a function holds weights as constants, which have no gradient.
        parameter.requires_grad_(False)
    with warnings.catch_warnings(), torch.no_grad(), _scopes(keras, network):
        # OpenVINO's PyTorch frontend traces; torch 2.13 calls tracing deprecated, not wrong. What
        # a trace makes constant is shapes, which are given.
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit._trace.TracerWarning)
        traced = torch.jit.trace(forward, examples, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)
    frontend = FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))


@contextmanager
def _scopes(keras: ModuleType, network: Any) -> Iterator[None]:  # noqa: ANN401
    """Let what a layer computes be traced under the layer's name."""
    import torch  # noqa: PLC0415

    def within(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*values: Any, **named: Any) -> Any:  # noqa: ANN401
            tracing = torch._C._get_tracing_state()
            if tracing is None:
                return call(*values, **named)
            tracing.push_scope(f"__module.{name}")
            try:
                return call(*values, **named)
            finally:
                tracing.pop_scope()

        return run

    layers = list({id(layer): (name, layer) for name, layer in _layers(network)}.values())
    before = [layer.__dict__.get("call") for _, layer in layers]
    for name, layer in layers:
        call = layer.call
        if isinstance(layer, keras.layers.BatchNormalization) and layer.compute_dtype == "float32":
            call = _batch_normalization(layer)
        layer.__dict__["call"] = within(name, call)
    try:
        yield
    finally:
        for (_, layer), call in zip(layers, before, strict=True):
            layer.__dict__.pop("call", None)
            if call is not None:
                layer.__dict__["call"] = call


def _batch_normalization(layer: Any) -> Callable[..., Any]:  # noqa: ANN401
    """Return what a layer does as one operation, where Keras subtracts, multiplies and adds."""
    from torch.nn.functional import batch_norm  # noqa: PLC0415

    weights = (layer.moving_mean, layer.moving_variance, layer.gamma, layer.beta)
    mean, variance, scale, shift = (None if weight is None else weight.value for weight in weights)

    def run(values: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ANN401
        first = values.movedim(layer.axis, 1)
        scaled = batch_norm(first, mean, variance, scale, shift, False, 0.0, layer.epsilon)
        return scaled.movedim(1, layer.axis)

    return run


def _layers(network: Any, within: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield each layer once by its name, those of a network in a network as `outer.inner`."""
    # A functional network has operations, layers among them; a sequential one has layers.
    for layer in getattr(network, "operations", None) or network.layers:
        yield f"{within}{layer.name}", layer
        if hasattr(layer, "operations") or hasattr(layer, "layers"):
            yield from _layers(layer, f"{within}{layer.name}.")


def _name_layers(model: ov.Model) -> None:
    """Name the main operation of each layer after it, the others `layer/operation`."""
    members: dict[str, list[ov.Node]] = {}
    for node in model.get_ordered_ops():
        match = _SCOPE.match(node.get_friendly_name())
        if match is not None and node.get_type_name() != "Constant":
            members.setdefault(match["layer"], []).append(node)
    taken: Counter[str] = Counter()
    for layer, nodes in members.items():
        working = [node for node in nodes if node.get_type_name() not in _PLUMBING] or nodes
        kernels = [node for node in working if node.get_type_name() in _KERNELS]
        head = kernels[0] if kernels else working[-1]
        for node in nodes:
            name = layer if node is head else f"{layer}/{node.get_type_name().lower()}"
            name = _numbered(name, taken)
            node.set_friendly_name(name)
            node.get_rt_info()[_LAYER] = name


def _sink_transposes(model: ov.Model) -> None:
    """Cancel the transposes that stand before and after each layer of an NHWC network."""
    for node in model.get_ordered_ops():
        # Keras casts what it is given, most often to what it is already.
        if node.get_type_name() == "Convert":
            source = node.input_value(0)
            if source.get_element_type() == node.get_output_element_type(0):
                for user in node.output(0).get_target_inputs():
                    user.replace_source_output(source)
    # What a trace computes of shapes and kernels is constant now.
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    # TensorFlow's frontend has the pass that does it; it is asked for that alone.
    FrontEndManager().load_by_framework("tf").normalize(model)
    for node in model.get_ordered_ops():
        tags = node.get_rt_info()
        if _LAYER in tags:
            node.set_friendly_name(tags[_LAYER].astype(str))
            del tags[_LAYER]


def _numbered(name: str, uses: Counter[str]) -> str:
    """Return a name, from its second use on with a number."""
    uses[name] += 1
    return name if uses[name] == 1 else f"{name}_{uses[name]}"


def same_pooling(layer: Any) -> Callable[..., Any] | None:  # noqa: ANN401
    """Return the call of a pooling layer of Keras with padding "same"; None for any other layer.

    Padding counts for nothing: a mean is over the cells of the image alone (TensorFlow,
    tf.nn.avg_pool). On PyTorch, Keras 3.15 repeats the edge where one side is padded more than
    the other, and counts it; the network was trained without. Its padding is no number either
    while a network is traced, which OpenVINO does not convert.
    """
    if getattr(layer, "padding", None) != "same" or not hasattr(layer, "pool_size"):
        return None
    largest = "Max" in type(layer).__name__

    def run(values: Any, training: bool | None = None) -> Any:  # noqa: ANN401
        first = layer.data_format == "channels_first"
        moved = values if first else values.movedim(-1, 1)
        axes = moved.ndim - 2
        sizes, strides = (
            (each,) * axes if isinstance(each, int) else tuple(each)
            for each in (layer.pool_size, layer.strides or layer.pool_size)
        )
        pooled = _pool(moved, sizes, strides, largest=largest)
        return pooled if first else pooled.movedim(1, -1)

    return run


def _pool(values: Any, sizes: tuple[int, ...], strides: tuple[int, ...], *, largest: bool) -> Any:  # noqa: ANN401
    import torch  # noqa: PLC0415
    from torch.nn import functional  # noqa: PLC0415

    # A traced length is a tensor; the operation takes a number.
    lengths = [int(length) for length in values.shape[2:]]
    pads = [
        _same(length, size, stride)
        for length, size, stride in zip(lengths, sizes, strides, strict=True)
    ]
    kind = f"{'max' if largest else 'avg'}_pool{len(sizes)}d"
    pool = getattr(functional, kind)
    if all(before == after for before, after in pads):
        padding = tuple(before for before, _ in pads)
        more = {} if largest else {"count_include_pad": False}
        return pool(values, sizes, strides, padding, **more)
    flat = [pad for both in reversed(pads) for pad in both]
    if largest:
        # The edge is in every window that reaches beyond it.
        return pool(functional.pad(values, flat, mode="replicate"), sizes, strides)
    # Through NumPy, so that a trace takes it for the constant that it is.
    correction = np.ones((1, 1), np.float32)
    for length, size, stride, (before, _) in zip(lengths, sizes, strides, pads, strict=True):
        starts = np.arange(-before, length - before, stride)
        inside = np.minimum(starts + size, length) - np.maximum(starts, 0)
        correction = correction[..., None] * (size / inside).astype(np.float32)
    return pool(functional.pad(values, flat), sizes, strides) * torch.from_numpy(correction)


def _same(length: int, size: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after an axis (TensorFlow, padding "SAME")."""
    total = max(0, (-(-length // stride) - 1) * stride + size - length)
    return total // 2, total - total // 2


def why_legacy(file: KerasFile) -> str | None:
    """Return why Keras 3 cannot read a file of Keras 2, None where nothing is known against it."""
    if not file.is_keras_2:
        return None
    calls = any(named["class_name"] in TENSORFLOW_CALLS for named in objects(file.config))
    return "calls TensorFlow by name" if calls else None


def _read_legacy(file: KerasFile, options: ImportOptions, reason: str) -> Imported:
    """Read a file with tf_keras, as Keras 3 cannot for a reason that is a predicate of it."""
    path = file.path
    # TensorFlow tells at length what the processor could do.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow  # noqa: PLC0415
        import tf_keras  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            "extra-missing",
            f"{path.name} of Keras {file.version} {reason}, which Keras 3 cannot read; "
            "tf_keras can: pip install 'thorax[legacy-keras]', in an environment of its own",
        ) from error
    network = _built(file, "tf_keras", tf_keras.layers.Layer, tf_keras.models.load_model)
    try:
        model = _freeze(tensorflow, network)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    close(model, options.shapes, path)

    def run(images: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        inputs = list(images)
        outputs = network(inputs[0] if len(inputs) == 1 else inputs, training=False)
        return [np.asarray(output, np.float32) for output in tensorflow.nest.flatten(outputs)]

    return Imported(model, f"tf_keras {tf_keras.__version__}", layout_of(file), (path,), run)


def _freeze(tensorflow: ModuleType, network: Any) -> ov.Model:  # noqa: ANN401
    """Freeze a network and convert the graph, inputs and outputs under the network's names."""
    from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415
        convert_variables_to_constants_v2,
    )

    inputs = [
        tensorflow.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name.split(":")[0])
        for tensor in network.inputs
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
    for layer in network.submodules:
        kernel = getattr(layer, "kernel", getattr(layer, "depthwise_kernel", None))
        if kernel is not None and hasattr(kernel, "numpy"):
            yield layer.name, kernel.numpy()
