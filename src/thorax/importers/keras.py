"""Keras networks, .keras and .h5, without TensorFlow: Keras 3 traces them in PyTorch."""

import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from thorax.importers import legacy_keras
from thorax.importers.keras_file import KerasFile, as_inspected, inspect, layout_of
from thorax.importers.keras_pooling import same_pooling
from thorax.importers.keras_weights import weights_within
from thorax.importers.options import UNREADABLE, Imported, ImportOptions, Layout, unreadable
from thorax.importers.translation import translated

_BACKEND: Final = "torch"
_NOWHERE: Final = f"{os.devnull}/keras"
_LAYER: Final = "thorax_keras_layer"
_SCOPE: Final = re.compile(r"__module\.(?P<layer>.+)/(?:aten|prim|ov_ext)::\w+/\w+")

_KERNELS: Final = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
    "MatMul", "MaxPool", "AvgPool", "BatchNormInference",
)  # fmt: skip
_PLUMBING: Final = (
    "Transpose", "Convert", "Reshape", "ShapeOf", "Concat", "Gather", "Unsqueeze", "Squeeze",
    "Broadcast", "Slice", "Split", "VariadicSplit", "StridedSlice", "ConvertLike",
)  # fmt: skip


@translated
def read(path: Path, asked: ImportOptions) -> Imported:
    """Read a whole Keras network; nothing in the file is run.

    A file of Keras 2 that Keras 3 cannot read is read by tf_keras, and the framework says so.

    Raises:
        ModelError: `model-unreadable`, `model-unsafe`, `model-layer` or `model-input`.
        UsageError: `model-undescribed` where an axis is open that nobody closed, or
            `keras-backend`.
    """
    found = inspect(path)
    if (reason := legacy_keras.needed(found)) is not None:
        return legacy_keras.read(found, asked, reason)
    keras = _keras()
    try:
        network = _load(keras, found)
    except ModelError as error:
        if not found.is_keras_2:
            raise
        return legacy_keras.read(found, asked, f"is not read ({error.message})")
    inputs = [(one.name, tuple(one.shape)) for one in network.inputs]
    if asked.side is not None:
        inputs = [(name, _square(shape, asked.side, layout_of(found))) for name, shape in inputs]
    shapes = input_shapes(path, inputs, asked.shapes)
    try:
        model = _trace(keras, network, [tuple(max(1, n) for n in shape) for shape in shapes])
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    _name_layers(model)
    for port, inside, shape in zip(model.inputs, network.inputs, shapes, strict=True):
        port.get_node().set_friendly_name(inside.name)
        port.get_tensor().set_names({inside.name})
        port.get_node().set_partial_shape(ov.PartialShape(list(shape)))
    model.validate_nodes_and_infer_types()
    _sink_transposes(model)
    for port, name in zip(model.outputs, _unique(_output_names(network)), strict=True):
        port.get_tensor().set_names({name})

    def run(images: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            outputs = _call(keras, network, [torch.from_numpy(np.asarray(x)) for x in images])
        return [np.asarray(one.numpy(), np.float32) for one in outputs]

    return Imported(model, f"keras {keras.__version__}", layout_of(found), (path,), run)


def input_shapes(
    path: Path,
    inputs: Sequence[tuple[str, tuple[int | None, ...]]],
    asked: Mapping[str, tuple[int, ...]],
) -> list[tuple[int, ...]]:
    """Return the shape of each input, the axes that the file leaves open closed as asked.

    Args:
        path: of the file, for messages.
        inputs: name and shape of each; None is an open axis.
        asked: see `ImportOptions.shapes`.

    Returns:
        of each input; only the first axis, of images, may be open: -1.

    Raises:
        ModelError: `model-input`.
        UsageError: `model-undescribed`.
    """
    shapes = []
    for name, shape in inputs:
        wanted = asked.get(name, asked.get("", ()) if len(inputs) == 1 else ())
        if wanted and len(wanted) != len(shape):
            raise ModelError("model-input", f"{path.name} takes {list(shape)}, not {list(wanted)}")
        closed = []
        for axis, length in enumerate(shape):
            said = wanted[axis] if wanted else -1
            if length is None and said < 0 and axis > 0:
                raise UsageError(
                    "model-undescribed",
                    f"{path.name} leaves input {name!r} open as {list(shape)}; say --side, "
                    "or --input_shape of `thorax mo`",
                )
            if length is not None and said >= 0 and said != length:
                raise ModelError(
                    "model-input", f"{path.name} takes {list(shape)}, not {list(wanted)}"
                )
            closed.append(said if length is None else length)
        shapes.append(tuple(closed))
    return shapes


def _square(shape: tuple[int | None, ...], side: int, layout: Layout) -> tuple[int | None, ...]:
    """Close the sides of an image that are open."""
    if len(shape) != 4:
        return shape
    sides = (2, 3) if layout == "NCHW" else (1, 2)
    return tuple(
        side if axis in sides and length is None else length for axis, length in enumerate(shape)
    )


def _keras() -> ModuleType:
    """Import Keras on PyTorch.

    Raises:
        UsageError: `keras-backend`.
    """
    if "keras" not in sys.modules:
        # Keras reads these once, when it is imported: a person's keras.json would change what a
        # file means, and a place where no folder can be keeps Keras from writing one.
        os.environ["KERAS_BACKEND"] = _BACKEND
        os.environ["KERAS_HOME"] = _NOWHERE
    import keras  # noqa: PLC0415

    if keras.backend.backend() != _BACKEND:
        raise UsageError(
            "keras-backend",
            f"keras is already imported with the backend {keras.backend.backend()}; set "
            f"KERAS_BACKEND={_BACKEND} before it is imported",
        )
    return keras  # type: ignore[no-any-return]


def _load(keras: ModuleType, found: KerasFile) -> Any:  # noqa: ANN401
    path = found.path
    with temporary_folder() as folder, warnings.catch_warnings():
        # Networks of old files give their first layer the shape of the input.
        warnings.filterwarnings("ignore", "Do not pass an `input_shape`", UserWarning)
        whole = as_inspected(found, folder)
        try:
            with weights_within(keras.Layer, found):
                network = keras.saving.load_model(whole, compile=False, safe_mode=True)
            # A network that was never built has no inputs.
            network.inputs[0], network.outputs[0]
        except ModelError:
            raise
        # Keras raises what its layers raise.
        except Exception as error:
            raise ModelError(
                "model-unreadable", f"{path.name}: Keras says {_first_line(error)}"
            ) from error
    for _, layer in _layers(network):
        if (pool := same_pooling(layer)) is not None:
            # Past `Layer.__setattr__`, which would track it.
            layer.__dict__["call"] = pool
    network.eval()
    return network


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


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
        torch.zeros(shape, dtype=getattr(torch, str(one.dtype)))
        for shape, one in zip(shapes, network.inputs, strict=True)
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

    given = (layer.moving_mean, layer.moving_variance, layer.gamma, layer.beta)
    mean, variance, scale, shift = (None if one is None else one.value for one in given)

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
    """Call the operation that a layer is after the layer, its others `layer/operation`."""
    members: dict[str, list[ov.Node]] = {}
    for node in model.get_ordered_ops():
        found = _SCOPE.match(node.get_friendly_name())
        if found is not None and node.get_type_name() != "Constant":
            members.setdefault(found["layer"], []).append(node)
    taken: Counter[str] = Counter()
    for layer, nodes in members.items():
        working = [node for node in nodes if node.get_type_name() not in _PLUMBING] or nodes
        kernels = [node for node in working if node.get_type_name() in _KERNELS]
        head = kernels[0] if kernels else working[-1]
        for node in nodes:
            name = layer if node is head else f"{layer}/{node.get_type_name().lower()}"
            taken[name] += 1
            name = name if taken[name] == 1 else f"{name}_{taken[name]}"
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


def _output_names(network: Any) -> list[str]:  # noqa: ANN401
    # A sequential network has no names of outputs; its one output is its last layer's.
    return list(getattr(network, "output_names", None) or [network.layers[-1].name])


def _unique(names: list[str]) -> list[str]:
    uses: Counter[str] = Counter()
    answer = []
    for name in names:
        uses[name] += 1
        answer.append(name if uses[name] == 1 else f"{name}_{uses[name]}")
    return answer
