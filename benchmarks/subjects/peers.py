"""Ways to run one trained network, each set as its own documentation asks on this processor.

Each function is called in processes of its own (`benchmarks.harness.side_process`) and returns how
it is timed. The first tries which batch and number of instances side by side serve it best, and
those of the turns are told by `choice`. Images are tensors that stay; what is normalised outside a
graph is normalised before.
"""

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov

from benchmarks.harness import result
from benchmarks.harness.result import hardware
from benchmarks.harness.side_by_side import Turn
from benchmarks.harness.side_process import Measure, Ready, fastest, timed
from thorax import artifact
from thorax.devices import timing
from thorax.devices.engine import Engine, HostResources, Single
from thorax.devices.engine import compile as compile_artifact

if TYPE_CHECKING:
    import torch

BATCHES: Final = (1, 8)
BATCH_CHOICE: Final = "fastest of 1 and 8, one instance on all threads or one a thread"
OPENVINO_CHOICE: Final = "fastest of 1 and 8, streams as the device chooses for throughput"
"""Of Thorax, of OpenVINO's queue and of benchmark_app."""


@dataclass(frozen=True, slots=True)
class Network:
    """What every way runs.

    Attributes:
        run: folder of the training run.
        images: float32 [N,1,S,S], normalised, as an .npy file; N of the largest batch or more.
        raw: uint8 [N,1,S,S], the same before it, as an .npy file.
        threads: that compute.
    """

    run: Path
    images: Path
    raw: Path
    threads: int


@dataclass(frozen=True, slots=True)
class Choice:
    """How many images a call has, and how many calls run side by side."""

    batch: int
    instances: int


def _batches(choice: Choice | None) -> tuple[int, ...]:
    """Return what to try, or what was chosen."""
    return BATCHES if choice is None else (choice.batch,)


def _ready(
    made: Mapping[Choice, Measure], chosen: Choice | None, first: npt.ArrayLike, **more: object
) -> Ready:
    """Return what was chosen, or else the fastest; `first` are the probabilities of an image."""
    choice = chosen or fastest(made, lambda choice: choice.batch)
    if choice not in made:
        others = ", ".join(f"{known.instances} of batch {known.batch}" for known in made)
        raise ValueError(f"asked for {choice.instances} of batch {choice.batch}, made {others}")
    answers = [round(float(value), 6) for value in np.ravel(first)]
    told = {**more, "instances": choice.instances, "first_answer": answers}
    return Ready(made[choice], choice.batch, choice, told)


def on_threads(answers: Sequence[Callable[[], object]], images: int) -> Measure:
    """Return what calls several functions again and again, each on a thread of its own."""
    pool = ThreadPoolExecutor(len(answers))

    def measure(seconds: float) -> Turn:
        used, begin = time.process_time(), time.perf_counter()

        def repeat(answer: Callable[[], object]) -> tuple[int, float]:
            calls = 0
            while (now := time.perf_counter()) - begin < seconds:
                answer()
                calls += 1
            return calls, now

        done = list(pool.map(repeat, answers))
        elapsed = max(end for _, end in done) - begin
        calls = sum(count for count, _ in done)
        return Turn(elapsed, time.process_time() - used, calls * images)

    return measure


def thorax(network: Network, artifact_path: Path, *, choice: Choice | None = None) -> Ready:
    """Time the engine of an artifact, all its streams busy."""
    loaded, raw = artifact.load(artifact_path), np.load(network.raw)
    threads = None if network.threads == hardware()["processors"] else network.threads
    made: dict[Choice, Measure] = {}
    for batch in _batches(choice):
        engine = compile_artifact(
            loaded, "CPU", hint="throughput", batch=batch, host=HostResources(threads)
        )
        assert isinstance(engine, Single)

        def measure(seconds: float, engine: Engine = engine, batch: int = batch) -> Turn:
            used = time.process_time()
            load = timing.keep_busy(engine, [raw[:batch]], seconds)
            return Turn(load.window_s, time.process_time() - used, load.inferences * batch)

        made[Choice(batch, engine.streams)] = measure
        first, kernels = engine.infer(raw[:batch]).probability[0], kernels_of(engine.compiled)
    return _ready(made, choice, first, openvino=ov.get_version(), kernels=kernels)


def openvino_queue(
    network: Network, xml: Path, precision: str, *, choice: Choice | None = None
) -> Ready:
    """Time `ov.AsyncInferQueue` with tensors that stay: OpenVINO as its samples use it."""
    raw, core = np.load(network.raw), ov.Core()
    made: dict[Choice, Measure] = {}
    config = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": precision,
        **_threads(network.threads),
    }
    for batch in _batches(choice):
        model = core.read_model(xml)
        model.reshape([batch, *list(model.inputs[0].shape)[1:]])
        compiled = core.compile_model(model, "CPU", config)
        queue = ov.AsyncInferQueue(compiled)
        for request in queue:
            request.set_input_tensor(ov.Tensor(raw[:batch].copy()))

        def measure(seconds: float, queue: ov.AsyncInferQueue = queue, batch: int = batch) -> Turn:
            calls, used, begin = 0, time.process_time(), time.perf_counter()
            while True:
                # The time is looked at when a request is idle: a call that is started after a wait
                # would run on alone behind the window.
                queue.get_idle_request_id()
                if time.perf_counter() - begin >= seconds:
                    break
                queue.start_async()
                calls += 1
            queue.wait_all()
            elapsed = time.perf_counter() - begin
            return Turn(elapsed, time.process_time() - used, calls * batch)

        made[Choice(batch, len(queue))] = measure
        first, kernels = compiled(raw[:batch])["probability"][0], kernels_of(compiled)
    return _ready(made, choice, first, openvino=ov.get_version(), kernels=kernels)


def _threads(threads: int) -> dict[str, int]:
    return {} if threads == hardware()["processors"] else {"INFERENCE_NUM_THREADS": threads}


def kernels_of(compiled: ov.CompiledModel) -> list[str]:
    """Return the names of the kernels of convolutions: AMX and VNNI stand in them."""
    return sorted(
        {
            node.get_rt_info()["primitiveType"].astype(str)
            for node in compiled.get_runtime_model().get_ops()
            if node.get_rt_info()["layerType"].astype(str) == "Convolution"
        }
    )


def pytorch(
    network: Network,
    precision: str,
    layout: str,
    compiled: bool,
    *,
    choice: Choice | None = None,
) -> Ready:
    """Time PyTorch, eager or by inductor with frozen weights, which its documentation advises."""
    import torch

    from thorax.training import checkpoint

    torch.set_num_threads(network.threads)
    module = checkpoint.load(network.run).network.eval()
    element = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    memory = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[layout]
    module = module.to(dtype=element).to(memory_format=memory)  # type: ignore[call-overload]
    images = torch.from_numpy(np.load(network.images)).to(element)
    if compiled:
        import torch._inductor.config as inductor

        inductor.freezing = True
    run: Any = torch.compile(module, dynamic=False) if compiled else module

    def answer(batch: int, threads: int) -> Callable[[], object]:
        given = images[:batch].contiguous(memory_format=memory)
        return _pytorch_call(run, given, threads, frozen=compiled)

    made: dict[Choice, Measure] = {}
    for batch in _batches(choice):
        made |= _pytorch_instances(partial(answer, batch), batch, network.threads, choice)
    with _onednn_names() as kernels:
        first = answer(_batches(choice)[0], network.threads)()
    assert isinstance(first, torch.Tensor)
    probability = torch.sigmoid(first[0].float()).numpy()
    return _ready(made, choice, probability, torch=torch.__version__, kernels=kernels)


def _pytorch_call(
    run: Any,  # noqa: ANN401
    given: "torch.Tensor",
    threads: int,
    *,
    frozen: bool,
) -> Callable[[], object]:
    """Return what asks a network on so many threads; frozen weights are none of inference mode."""
    import torch

    def call() -> object:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.no_grad() if frozen else torch.inference_mode():
            return run(given)

    return call


def _pytorch_instances(
    answer: Callable[[int], Callable[[], object]], batch: int, threads: int, choice: Choice | None
) -> dict[Choice, Measure]:
    """Return one call on all threads and one a thread, or that which was chosen."""
    made: dict[Choice, Measure] = {}
    if choice is None or choice.instances == 1:
        made[Choice(batch, 1)] = timed(answer(threads), batch)
    if choice is None or choice.instances > 1:
        calls = [answer(1) for _ in range(threads)]
        # What is compiled is compiled for a number of threads, at the first call on as many.
        calls[0]()
        made[Choice(batch, threads)] = on_threads(calls, batch)
    return made


def pytorch_int8(network: Network, calibration: Path, *, choice: Choice | None = None) -> Ready:
    """Time PyTorch's static INT8 of torchao, compiled by inductor with frozen weights.

    It is set as torchao documents its quantizer for x86 (PT2E, X86InductorQuantizer, its default
    configuration). That looks for layers by what they were in the module, which `torch.export` of
    torch 2.13 no longer notes; it is noted here.

    Args:
        network: what is run.
        calibration: float32 [N,1,S,S], normalised, as an .npy file.
        choice: as the first process found it.
    """
    import torch
    import torch._inductor.config as inductor
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from thorax.training import checkpoint

    torch.set_num_threads(network.threads)
    inductor.freezing = True
    module = checkpoint.load(network.run).network.eval()
    rows, given = (torch.from_numpy(np.load(file)) for file in (calibration, network.images))
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    made: dict[Choice, Measure] = {}
    with torch.no_grad():
        for batch in _batches(choice):
            graph = torch.export.export(module, (given[:batch],)).module()
            _note_layers(graph)
            prepared = prepare_pt2e(graph, quantizer)
            for start in range(0, len(rows) - batch + 1, batch):
                prepared(rows[start : start + batch])
            run: Any = torch.compile(convert_pt2e(prepared), dynamic=False)

            def answer(threads: int, run: Any = run, batch: int = batch) -> Callable[[], object]:  # noqa: ANN401
                return _pytorch_call(run, given[:batch], threads, frozen=True)

            made |= _pytorch_instances(answer, batch, network.threads, choice)
            with _onednn_names() as kernels:
                first = answer(network.threads)()
    assert isinstance(first, torch.Tensor)
    probability = torch.sigmoid(first[0].float()).numpy()
    return _ready(made, choice, probability, torch=torch.__version__, kernels=kernels)


def _note_layers(graph: Any) -> None:  # noqa: ANN401
    """Note what each node of an exported graph was, as its quantizer looks for it."""
    import operator

    from torch import nn

    layers = {
        "aten.conv2d.default": nn.Conv2d,
        "aten.batch_norm.default": nn.BatchNorm2d,
        "aten.relu_.default": nn.ReLU,
        "aten.max_pool2d.default": nn.MaxPool2d,
        "aten.add.Tensor": operator.add,
        "aten.linear.default": nn.Linear,
    }
    for node in graph.graph.nodes:
        layer = layers.get(str(node.target))
        if layer is not None:
            node.meta["source_fn_stack"] = [(node.name, layer)]


@contextmanager
def _onednn_names() -> Iterator[list[str]]:
    """Yield a list that has afterwards the kernels of convolutions that oneDNN ran meanwhile."""
    import torch

    names: list[str] = []
    kept = os.dup(1)
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+b") as said:
        os.dup2(said.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):  # type: ignore[no-untyped-call]
                yield names
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
    fields = [line.split(",") for line in lines if ",exec,cpu,convolution," in line]
    names += sorted({words[words.index("convolution") + 1] for words in fields})


def onnxruntime(network: Network, model: Path, *, choice: Choice | None = None) -> Ready:
    """Time ONNX Runtime's CPU provider on a graph, bound to tensors that stay."""
    import onnxruntime as ort

    images = np.load(network.images)

    def answer(batch: int, threads: int) -> Callable[[], object]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        bound = session.io_binding()
        bound.bind_ortvalue_input("image", ort.OrtValue.ortvalue_from_numpy(images[:batch]))
        bound.bind_output("logits")

        def call() -> object:
            session.run_with_iobinding(bound)
            return bound

        return call

    made: dict[Choice, Measure] = {}
    for batch in _batches(choice):
        if choice is None or choice.instances == 1:
            made[Choice(batch, 1)] = timed(answer(batch, network.threads), batch)
        if choice is None or choice.instances > 1:
            calls = [answer(batch, 1) for _ in range(network.threads)]
            made[Choice(batch, network.threads)] = on_threads(calls, batch)
    first: Any = answer(_batches(choice)[0], network.threads)()
    logits = first.copy_outputs_to_cpu()[0][0]
    told = "MLAS does not tell which it chose"
    return _ready(
        made, choice, 1 / (1 + np.exp(-logits)), onnxruntime=ort.__version__, kernels=told
    )


def export(network: "torch.nn.Module", side: int, path: Path) -> Path:
    """Write a network as ONNX, of any batch."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 1, side, side),),
            path,
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
            opset_version=17,
        )
    return path


def quantize(plain: Path, images: npt.NDArray[np.float32], out: Path) -> dict[str, object]:
    """Write ONNX Runtime's static INT8 of a graph, as its documentation asks on this processor.

    U8 activations and S8 weights in QDQ form, a scale a channel, after its own preprocessing, and
    weights of 7 bits only where there is no VNNI: there U8S8 products saturate
    (onnxruntime.ai/docs/performance/model-optimizations/quantization.html). Returned is what was
    set. The images are float32 [N,1,S,S], normalised, to calibrate with.
    """
    from onnxruntime import quantization

    vnni = {"avx512_vnni", "avx_vnni"} & set(hardware()["instructions"])
    chosen = {
        "quant_format": quantization.QuantFormat.QDQ,
        "activation_type": quantization.QuantType.QUInt8,
        "weight_type": quantization.QuantType.QInt8,
        "per_channel": True,
        "reduce_range": not vnni,
    }
    rows = iter(images)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            return next(({"image": row[None]} for row in rows), None)

    ready = out.with_suffix(".ready.onnx")
    quantization.quant_pre_process(plain, ready, skip_symbolic_shape=True)
    quantization.quantize_static(ready, out, Reader(), **chosen)
    return {name: str(value) for name, value in chosen.items()} | {"calibrated_on": len(images)}


def onnxruntime_bf16_refusal() -> str | None:
    """Return what ONNX Runtime's CPU provider says of a convolution in bf16; None if it runs it."""
    import onnx
    import onnxruntime as ort

    element = onnx.TensorProto.BFLOAT16
    ports = [onnx.helper.make_tensor_value_info(name, element, [1, 8, 8, 8]) for name in ("x", "y")]
    weights = onnx.helper.make_tensor("w", element, [8, 8, 1, 1], [0.0] * 64)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "conv", ports[:1], ports[1:], [weights])
    opset = [onnx.helper.make_opsetid("", 22)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    try:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error).strip().splitlines()[0]
    return None


def benchmark_app(
    xml: Path, precision: str, seconds: float, device: str = "CPU", batch: int | None = None
) -> Turn:
    """Time OpenVINO's own program on a graph: one turn, a process from start to exit.

    Images are over the time that it says itself; the processor time would be of its start and of
    compiling too, so there is none.
    """
    program = [sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()"]
    with tempfile.TemporaryDirectory() as folder:
        words = [*program, "-m", str(xml), "-d", device, "-hint", "throughput"]
        words += ["-t", f"{max(1, round(seconds))}", "-infer_precision", precision]
        words += ["-json_stats", "-report_type", "no_counters", "-report_folder", folder]
        words += [] if batch is None else ["-b", f"{batch}", "-layout", "[NCHW]"]
        result.timed(words)
        report = json.loads((Path(folder) / "benchmark_report.json").read_text("utf-8"))
    found, setup = report["execution_results"], report["configuration_setup"]
    images = int(found["total number of iterations"]) * int(setup["batch size"])
    requests = float(setup["number of parallel infer requests"])
    return Turn(
        float(found["total execution time (ms)"]) / 1e3, None, images, {"requests": requests}
    )
