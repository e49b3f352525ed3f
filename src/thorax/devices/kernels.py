"""What a device made of a graph: which kernel runs which layers, and in which precision."""

from dataclasses import dataclass

import openvino as ov


@dataclass(frozen=True, slots=True)
class Kernel:
    """One step of a compiled graph.

    Attributes:
        name: as the counters of a run call it.
        type: what the device calls the operation.
        implementation: of the operation, and its precision: "jit_avx2_I8".
        precision: element type that it runs in: "f32", "u8", ...
        layers: names of the operations of the graph that it does at once.
    """

    name: str
    type: str
    implementation: str
    precision: str
    layers: tuple[str, ...]


def list_kernels(compiled: ov.CompiledModel) -> list[Kernel]:
    """Return the kernels in the order of execution; inputs and constants are none.

    Empty where a device does not tell.
    """
    try:
        runtime = compiled.get_runtime_model()
    except RuntimeError:
        return []
    kernels = []
    for node in runtime.get_ordered_ops():
        tags = node.get_rt_info()
        words = {key: tags[key].astype(str) for key in _TOLD if key in tags}
        kind = words.get("layerType", node.get_type_name())
        if kind in ("Const", "Input", "Output", "Parameter", "Result", "Constant"):
            continue
        layers = words.get("originalLayersNames", "")
        kernels.append(
            Kernel(
                node.get_friendly_name(),
                kind,
                words.get("primitiveType", ""),
                words.get("runtimePrecision", ""),
                tuple(name for name in layers.split(",") if name),
            )
        )
    return kernels


_TOLD = ("layerType", "originalLayersNames", "primitiveType", "runtimePrecision")
