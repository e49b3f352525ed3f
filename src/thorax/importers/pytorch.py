"""PyTorch's files: state dicts with the name of their layers, TorchScript, and exported programs.

No pickle is executed. A state dict goes through PyTorch's restricted reader, TorchScript and
exported programs are looked through before PyTorch sees them; a model that was pickled whole is
refused, because reading it means running it.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from thorax.devices.extensions import add_extensions
from thorax.errors import ModelError, UsageError
from thorax.importers import extensions, pytorch_archive, pytorch_export, pytorch_networks
from thorax.importers.options import (
    UNREADABLE,
    Imported,
    ImportOptions,
    Run,
    close,
    damaged,
    translated,
    unconvertible,
    unreadable,
)

_LACKING: Final = re.compile(r"No conversion rule found for operations: ([^\n]+)")
_WEIGHT: Final = re.compile(r"^self\.(?P<module>.+)\.\w+$")
_OPERATION: Final = re.compile(r"^(?P<operation>(?:aten|ov_ext)::\w+)(?P<rest>/.*)?$")
_FX: Final = re.compile(r"^(?P<node>\w+)/aten\.(?P<operation>\w+)\.\w+(?P<rest>/.*)?$")


@translated
def read(path: Path, options: ImportOptions) -> Imported:
    """Read a file of PyTorch, known by what it holds rather than by its name.

    A state dict needs the option `topology`, and the shape of its input.

    Raises:
        ModelError: `model-unsafe` for what would run code, `model-unreadable`, `model-weights`,
            `model-layer` or `model-input`.
        UsageError: `model-undescribed` or `model-topology`.
    """
    # First, because a script may call operators that an extension defines.
    add_extensions(options.extensions)
    kind, note = pytorch_archive.kind(path), ""
    if kind != "state dict":
        convert_whole = _exported if kind == "exported program" else _scripted
        # What PyTorch calls deprecated in its own and OpenVINO's code is no business of the user.
        with warnings.catch_warnings(action="ignore"):
            model, run = convert_whole(path, options.extensions)
    else:
        weights = pytorch_archive.state_dict(path)
        network, note = pytorch_networks.build(options.topology, weights, path)
        network.eval()
        example = torch.zeros(_shape(options, network, path))
        run = runner(network)
        try:
            run([example.numpy()])
            model = convert(network, example, options.extensions)
            if not options.shapes:
                model.reshape(list(example.shape))
        except (RuntimeError, ValueError, IndexError) as error:
            why = str(error).strip().splitlines()[:1] or [repr(error)]
            raise ModelError(
                "model-input", f"{path.name} does not take {list(example.shape)}: {why[0]}"
            ) from error
    if not model.inputs or not model.outputs:
        raise damaged(path, "holds no network")
    # A script leaves the type of what comes before any weight open.
    for parameter in model.get_parameters():
        if parameter.get_element_type().is_dynamic():
            parameter.set_element_type(ov.Type.f32)
    model.validate_nodes_and_infer_types()
    if options.side is not None and not options.shapes:
        _close_square(model, options.side, path)
    close(model, options.shapes, path)
    return Imported(model, "pytorch", "NCHW", (path,), run, note=note)


def convert(network: nn.Module, example: Tensor, custom: Sequence[str] = ()) -> ov.Model:
    """Return the graph of a network in eval mode; its layers are called after its modules.

    Constants of the graph are the network's own memory, so that it must live as long. The example,
    float32, has the shape that the network is traced with; for `custom` see
    `ImportOptions.extensions`.
    """
    with warnings.catch_warnings(action="ignore"):
        decoder = TorchScriptPythonDecoder(
            network,
            example_input=example,
            # Tracing again to compare costs seconds; the converted graph is compared anyway.
            trace_kwargs={"check_trace": False},
        )
        return _converted(decoder, custom)


def runner(network: Callable[..., object]) -> Run:
    """Return the network as arrays in, arrays out."""

    def run(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        inputs = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        with torch.inference_mode():
            # Not `numpy()` alone, which has no bfloat16.
            return [part.float().numpy() for part in _tensors(network(*inputs))]

    return run


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, tuple | list):
        raise ValueError(f"the network answers a {type(value).__name__}, not tensors")
    return [tensor for part in value for tensor in _tensors(part)]


def _converted(decoder: object, custom: Sequence[str], path: Path | None = None) -> ov.Model:
    """Return the graph; what a file of the user's holds is to blame where that cannot be."""
    frontend = FrontEndManager().load_by_framework("pytorch")
    extensions.attach(frontend, custom)
    try:
        return frontend.convert(frontend.load(decoder))
    except UNREADABLE as error:
        if path is None:
            raise
        lacking = _LACKING.search(str(error))
        raise (unconvertible(path, lacking[1]) if lacking else unreadable(path, error)) from error


def _scripted(path: Path, custom: Sequence[str]) -> tuple[ov.Model, Run]:
    network = pytorch_archive.load_script(path, extensions.operators(custom))
    network.eval()
    model = _converted(TorchScriptPythonDecoder(network), custom, path)
    _name_by_weights(model)
    return model, runner(network)


def _exported(path: Path, custom: Sequence[str]) -> tuple[ov.Model, Run]:
    network = pytorch_export.load(path)
    model = _converted(TorchFXPythonDecoder(network, dynamic_shapes=False), custom, path)
    modules = {
        node.name: stack[-1][0]
        for node in network.graph.nodes
        if (stack := list((node.meta.get("nn_module_stack") or {}).values()))
    }
    for layer in model.get_ordered_ops():
        match = _FX.match(layer.get_friendly_name())
        if match is not None and modules.get(match["node"]):
            name = f"__module.{modules[match['node']]}/aten::{match['operation']}"
            layer.set_friendly_name(name + (match["rest"] or ""))
    return model, _runner_of_a_batch(network, model)


def _runner_of_a_batch(network: Callable[..., object], model: ov.Model) -> Run:
    """Return a network as `runner` does; one that takes several images is given others too.

    A program that was exported for a batch of two runs no single image. The others are not the
    same, so that an answer that depends on them does not agree with the graph's.
    """
    run = runner(network)
    shapes = [port.get_partial_shape() for port in model.inputs]
    first = shapes[0][0] if shapes and shapes[0].rank.is_static and len(shapes[0]) else None
    count = 1 if first is None or first.is_dynamic else first.get_length()
    if count == 1:
        return run

    def running(arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        images = len(arrays[0])
        if images >= count:
            return run(arrays)
        others = -(-(count - images) // images)
        filled = [np.concatenate([array, *[-array] * others])[:count] for array in arrays]
        return [answer[:images] for answer in run(filled)]

    return running


def _name_by_weights(model: ov.Model) -> None:
    """Call layers after the module whose weights they use; TorchScript forgets who called."""
    for layer in model.get_ordered_ops():
        match = _OPERATION.match(layer.get_friendly_name())
        if match is None:
            continue
        for port in layer.inputs():
            source = port.get_source_output().get_node()
            while source.get_type_name() in ("Convert", "ConvertLike", "Reshape"):
                source = source.input_value(0).get_node()
            weight = _WEIGHT.match(source.get_friendly_name())
            if source.get_type_name() == "Constant" and weight is not None:
                name = f"__module.{weight['module']}/{match['operation']}{match['rest'] or ''}"
                layer.set_friendly_name(name)
                break


def _close_square(model: ov.Model, side: int, path: Path) -> None:
    """Give the one input of a script, which says nothing of it, the first kernel's channels."""
    if len(model.inputs) != 1 or model.inputs[0].get_partial_shape().rank.is_static:
        return
    for layer in model.get_ordered_ops():
        if layer.get_type_name() in ("Convolution", "GroupConvolution"):
            kernel = layer.input_value(1).get_partial_shape()
            # [O,I,Y,X], or of groups [G,O,I,Y,X].
            if kernel.is_static and len(kernel) - (layer.get_type_name()[0] == "G") == 4:
                sizes = kernel.to_shape()
                channels = sizes[1] if len(sizes) == 4 else sizes[0] * sizes[2]
                close(model, {"": (1, channels, side, side)}, path)
            return


def _shape(options: ImportOptions, network: nn.Module, path: Path) -> tuple[int, ...]:
    shapes = list(options.shapes.values())
    stem = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if not shapes and options.side is not None and stem is not None:
        return 1, stem.in_channels, options.side, options.side
    if len(shapes) != 1 or min(shapes[0][1:], default=-1) < 1:
        raise UsageError(
            "model-undescribed",
            f"{path.name} is a state dict, which does not say its input; say --side, or "
            "--input_shape of `thorax mo`, e.g. [1,3,224,224]",
        )
    return (max(shapes[0][0], 1), *shapes[0][1:])
