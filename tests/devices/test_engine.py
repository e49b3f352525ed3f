"""The engine: order, threads, batches, and what it says of itself."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax import artifact
from thorax.artifact import Artifact, Card, Precision
from thorax.data.store import Store
from thorax.devices.engine import INPUT, PROBABILITY, HostResources, Outputs, Single, compile
from thorax.devices.placement import Numerics
from thorax.errors import DeviceError, ModelError
from thorax.fpga.card import erase
from thorax.fpga.emulation import emulate, round_outputs
from thorax.images.preprocess import InputSpec


def arrays(outputs: Outputs) -> tuple[npt.NDArray[np.float32], ...]:
    assert outputs.heatmap is not None
    assert outputs.embedding is not None
    return outputs.probability, outputs.heatmap, outputs.embedding


def test_infer_equals_openvino_by_itself(tiny_fp32: Artifact, tiny_store: Store) -> None:
    image = tiny_store.images[:1, None]
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    bare = ov.Core().compile_model(tiny_fp32.xml, "CPU", hint)(image)
    outputs = compile(tiny_fp32).infer(image)
    assert np.array_equal(outputs.probability, bare["probability"])
    assert outputs.heatmap is not None
    assert np.array_equal(outputs.heatmap, bare["heatmap"])
    assert outputs.embedding is not None
    assert np.array_equal(outputs.embedding, bare["embedding"])


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_eight_threads_get_each_their_own_answers(
    tiny_fp32: Artifact, tiny_store: Store, hint: str
) -> None:
    engine = compile(tiny_fp32, hint="latency" if hint == "latency" else "throughput", streams=2)
    images = [tiny_store.images[number : number + 1, None] for number in range(16)]
    alone = [engine.infer(image) for image in images]
    start = threading.Barrier(8)

    def hammer(thread: int) -> list[tuple[int, Outputs]]:
        start.wait()
        turns = [(thread * 5 + turn) % len(images) for turn in range(30)]
        return [(turn, engine.infer(images[turn])) for turn in turns]

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for part in pool.map(hammer, range(8)) for answer in part]
    assert len(answers) == 8 * 30
    for turn, outputs in answers:
        for got, wanted in zip(arrays(outputs), arrays(alone[turn]), strict=True):
            assert np.array_equal(got, wanted)


def test_answers_are_copies_that_later_runs_leave_alone(
    tiny_fp32: Artifact, tiny_store: Store
) -> None:
    engine = compile(tiny_fp32, streams=1)
    first = engine.infer(tiny_store.images[:1, None])
    before = [array.copy() for array in arrays(first)]
    engine.infer(255 - tiny_store.images[1:2, None])
    for array, kept in zip(arrays(first), before, strict=True):
        assert np.array_equal(array, kept)


def test_infer_many_answers_in_the_order_asked(tiny_fp32: Artifact, tiny_store: Store) -> None:
    engine = compile(tiny_fp32, hint="throughput")
    indices = np.array([9, 2, 2, 30, 0, 17])
    told: list[int] = []
    many = engine.infer_many(tiny_store.images, indices, told.append)
    assert told == [1] * len(indices)
    for row, index in enumerate(indices):
        one = engine.infer(tiny_store.images[index : index + 1, None])
        for got, wanted in zip(arrays(many), arrays(one), strict=True):
            assert np.array_equal(got[row], wanted[0])


def test_infer_many_leaves_no_thread_behind(tiny_fp32: Artifact, tiny_store: Store) -> None:
    engine = compile(tiny_fp32)
    before = set(threading.enumerate())
    engine.infer_many(tiny_store.images, np.arange(6))
    with pytest.raises(IndexError):
        engine.infer_many(tiny_store.images, np.array([0, len(tiny_store)]))
    assert set(threading.enumerate()) == before
    # Every request came back: as many as there are streams can be lent at once.
    assert engine.infer_many(tiny_store.images, np.arange(6)).probability.shape[0] == 6


def test_a_batch_equals_its_images_one_by_one(tiny_fp32: Artifact, tiny_store: Store) -> None:
    images = tiny_store.images[:4, None]
    batch = compile(tiny_fp32, batch=4)
    assert batch.batch == 4
    single = compile(tiny_fp32)
    ones = [arrays(single.infer(image[None])) for image in images]
    for got, *wanted in zip(arrays(batch.infer(images)), *ones, strict=True):
        together = np.concatenate(wanted)
        scale = max(1.0, float(np.abs(together).max()))
        np.testing.assert_allclose(got, together, rtol=0, atol=1e-5 * scale)


def flat(folder: Path, shape: list[int], *, first: bool = False) -> Artifact:
    """Write a network without a heat map that reshapes its image to a fixed shape first."""
    image = ops.parameter([1, 1, 16, 16], np.uint8, name=INPUT)
    shaped = ops.reshape(ops.convert(image, np.float32), ops.constant(np.array(shape)), False)
    if shape == [1, 256]:
        line = shaped
    else:
        line = ops.reshape(shaped, ops.constant(np.array([1, 256])), False)
    weight = ops.constant(np.linspace(-1e-4, 2e-4, 512, dtype=np.float32).reshape(256, 2))
    scores = ops.sigmoid(ops.matmul(line, weight, False, False))
    if first:
        begin, end = ops.constant([0]), ops.constant([1])
        scores = ops.slice(scores, begin, end, ops.constant([1]), ops.constant([0]))
    scores.output(0).set_names({PROBABILITY})
    ov.save_model(ov.Model([scores], [image]), folder / artifact.XML, compress_to_fp16=False)
    card = Card(
        name="flat", topology="flat", label_set="two", labels=("A", "B"), input=InputSpec(16),
        precision=Precision.FP32, parameters=512, macs=512, size_bytes=0,
    )  # fmt: skip
    return Artifact(folder, artifact.seal(folder, card))


def test_without_a_heat_map_only_the_probability_is_answered(tmp_path: Path) -> None:
    made = flat(tmp_path, [1, 256])
    images = np.random.default_rng(2).integers(0, 256, (3, 16, 16), np.uint8)
    many = compile(made).infer_many(images, np.arange(3))
    assert many.probability.shape == (3, 2)
    assert many.heatmap is None
    assert many.embedding is None
    # OpenVINO takes the 1 of the reshape for the batch that it is.
    batch = compile(made, batch=3).infer(images[:, None]).probability
    np.testing.assert_allclose(batch, many.probability, rtol=0, atol=1e-6)


def test_a_graph_written_for_one_image_is_refused_for_a_batch(tmp_path: Path) -> None:
    made = flat(tmp_path, [4, 8, 8])
    assert compile(made).infer(np.zeros((1, 1, 16, 16), np.uint8)).probability.shape == (1, 2)
    with pytest.raises(ModelError, match="not 3") as refused:
        compile(made, batch=3)
    assert refused.value.code == "model-batch"


def test_a_graph_that_answers_for_its_first_image_alone_is_refused(tmp_path: Path) -> None:
    made = flat(tmp_path, [1, 256], first=True)
    assert compile(made).infer(np.zeros((1, 1, 16, 16), np.uint8)).probability.shape == (1, 2)
    with pytest.raises(ModelError, match="answers 1") as refused:
        compile(made, batch=3)
    assert refused.value.code == "model-batch"


def test_streams_are_as_many_as_asked(tiny_fp32: Artifact) -> None:
    assert compile(tiny_fp32, streams=1).streams == 1
    assert compile(tiny_fp32, hint="throughput", streams=2).streams == 2
    assert int(compile(tiny_fp32, streams=2).members[0].compiled.get_property("NUM_STREAMS")) == 2


def test_counters_are_means_of_the_profiled_runs(tiny_fp32: Artifact, tiny_store: Store) -> None:
    engine = compile(tiny_fp32, counters=True)
    engine.infer(tiny_store.images[:1, None])
    assert engine.counters() == []
    for _ in range(3):
        engine.infer(tiny_store.images[:1, None], profile=True)
    rows = engine.counters()
    assert len({row.name for row in rows}) == len(rows)
    ran = [row for row in rows if row.status == "EXECUTED"]
    assert any(row.type == "Convolution" and row.real_s > 0 for row in ran)
    assert all(row.subgraph is None for row in rows)


def test_a_graph_that_openvino_cannot_read_is_refused(tiny_fp32: Artifact, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_fp32.path, copy)
    (copy / artifact.XML).write_text("<net", "utf-8")
    with pytest.raises(ModelError) as refused:
        compile(Artifact(copy, tiny_fp32.card))
    assert refused.value.code == "model-unreadable"
    assert "\n" not in refused.value.message


def test_what_the_device_cannot_take_is_refused_as_its_own(tiny_fp32: Artifact) -> None:
    with pytest.raises(DeviceError) as refused:
        compile(tiny_fp32, streams=-7)
    assert refused.value.code == "device-compile"


HETERO = "HETERO:FPGA,CPU"


def test_a_card_computes_in_the_format_of_its_bitstream(
    cards: Path, tiny_fp32: Artifact, tiny_store: Store
) -> None:
    engine = compile(tiny_fp32, HETERO)
    assert engine.devices == ("FPGA.0", "CPU")
    assert engine.compute == "fp11+f32"
    assert engine.simulated is True
    assert engine.placement is not None
    split = engine.placement.partition
    assert split.device == HETERO
    assert engine.members[0].compiled.get_property("HETERO_NUMBER_OF_SUBMODELS") == len(
        split.subgraphs
    )
    # The same arithmetic in the same graph, with no card and no HETERO.
    model = ov.Core().read_model(tiny_fp32.xml)
    layers = {row.name for row in split.rows if row.device == "FPGA.0"}
    assert emulate(model, layers, precision="fp11", block=16)
    assert round_outputs(model, {row.name: row.subgraph for row in split.rows}, layers)
    alone = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = tiny_store.images[:1, None]
    got, wanted, plain = engine.infer(image), alone(image), compile(tiny_fp32).infer(image)
    for mine, other in zip(arrays(got), ("probability", "heatmap", "embedding"), strict=True):
        # Another order of sums may turn the rounding of what is sent, by one unit of binary16.
        np.testing.assert_allclose(mine, wanted[other], rtol=2.0**-10, atol=1e-4)
    assert not np.array_equal(got.probability, plain.probability)
    np.testing.assert_allclose(got.probability, plain.probability, rtol=0, atol=0.1)
    # Requests that overlap answer as one alone does.
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(engine.infer, [image] * 8):
            assert np.array_equal(again.probability, got.probability)


def test_a_card_keeps_compiled_models_where_it_is_told(
    cards: Path, tiny_fp32: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    image, found = tiny_store.images[:1, None], []
    asked: tuple[Numerics, ...] = ("bitstream", "bitstream", "fp32")
    for numerics in asked:
        engine = compile(tiny_fp32, HETERO, host=HostResources(cache=tmp_path), numerics=numerics)
        kept = engine.members[0].compiled.get_property("LOADED_FROM_CACHE")
        found.append((kept, engine.infer(image).probability, engine.compute))
    assert [kept for kept, _, _ in found] == [False, True, False]
    assert np.array_equal(found[0][1], found[1][1])
    assert [compute for _, _, compute in found] == ["fp11+f32", "fp11+f32", "f32"]


def test_a_card_runs_a_batch(cards: Path, tiny_fp32: Artifact, tiny_store: Store) -> None:
    images = tiny_store.images[:3, None]
    engine = compile(tiny_fp32, HETERO, batch=3, numerics="fp32")
    wanted = np.concatenate(
        [compile(tiny_fp32).infer(images[[one]]).probability for one in range(3)]
    )
    np.testing.assert_allclose(engine.infer(images).probability, wanted, rtol=0, atol=1e-5)


def test_a_card_alone_says_what_it_does_not_run(cards: Path, tiny_fp32: Artifact) -> None:
    for device in ("FPGA", "HETERO:FPGA", "FPGA.1"):
        with pytest.raises(DeviceError, match=r"probability \(Sigmoid") as refused:
            compile(tiny_fp32, device)
        assert refused.value.code == "fpga-layer"


def test_a_card_that_is_not_programmed_says_what_would_do(cards: Path, tiny_fp32: Artifact) -> None:
    erase("FPGA.0")
    with pytest.raises(DeviceError, match="ResNet") as refused:
        compile(tiny_fp32, HETERO)
    assert refused.value.code == "fpga-unprogrammed"


def test_arithmetic_of_a_card_needs_a_card(
    cards: Path, tiny_fp32: Artifact, tmp_path: Path
) -> None:
    copy = tmp_path / "fp11"
    shutil.copytree(tiny_fp32.path, copy)
    told = tiny_fp32.card.model_copy(update={"precision": Precision.FP11})
    made = Artifact(copy, artifact.seal(copy, told))
    for device in ("CPU", "AUTO", "HETERO", "HETERO:CPU"):
        with pytest.raises(DeviceError, match="HETERO:FPGA,CPU") as refused:
            compile(made, device)
        assert refused.value.code == "precision-unsupported"
    assert compile(made, HETERO, numerics="fp32").precision is Precision.FP11


def test_a_list_whose_first_device_runs_all_is_not_simulated(
    cards: Path, tiny_fp32: Artifact
) -> None:
    engine = compile(tiny_fp32, "HETERO:CPU,FPGA.1")
    assert (engine.devices, engine.compute, engine.simulated) == (("CPU",), "f32", False)


def test_a_container_that_pays_for_one_processor_gets_one_thread(
    tiny_fp32: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thorax.devices.engine.quota", lambda: 1.0)
    monkeypatch.setattr("thorax.devices.engine.processors", lambda: 1)
    engine = compile(tiny_fp32, "CPU")
    assert isinstance(engine, Single)
    assert engine.compiled.get_property("INFERENCE_NUM_THREADS") == 1
