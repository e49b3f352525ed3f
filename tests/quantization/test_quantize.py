"""INT8: what is quantised, by which images, and in silence."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax import artifact
from thorax.artifact import Artifact, Precision
from thorax.data.store import Store
from thorax.devices.core import supports
from thorax.devices.engine import compile
from thorax.errors import UsageError
from thorax.files.atomic import sha256
from thorax.quantization.quantize import calibration_images, has_attention, quantize


@pytest.fixture(scope="module")
def graph(tiny_fp32: Artifact) -> ov.Model:
    return ov.Core().read_model(tiny_fp32.xml)


def digest(model: ov.Model, folder: Path) -> str:
    folder.mkdir()
    ov.save_model(model, folder / artifact.XML, compress_to_fp16=False)
    return sha256(folder / artifact.BIN)


def test_every_convolution_but_the_head_is_quantised(tiny_int8: Artifact) -> None:
    model = ov.Core().read_model(tiny_int8.xml)
    convolutions = {
        node.get_friendly_name(): node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }
    assert len(convolutions) == 20 + 1
    for name, node in convolutions.items():
        data, kernel = (node.input_value(port).get_node() for port in (0, 1))
        if name == "head/cells":
            assert kernel.get_element_type() == ov.Type.f32
            assert kernel.get_type_name() == "Constant"
        else:
            # The maximum of quantised values is one of them: no need to quantise again.
            while data.get_type_name() == "MaxPool":
                data = data.input_value(0).get_node()
            assert data.get_type_name() == "FakeQuantize", name
            # Weights are stored as i8, scaled on the way to the kernel.
            while kernel.get_type_name() != "Constant":
                kernel = kernel.input_value(0).get_node()
            assert kernel.get_element_type() == ov.Type.i8, name
    linear = next(n for n in model.get_ordered_ops() if n.get_friendly_name() == "head/linear")
    assert [linear.input_value(port).get_node().get_type_name() for port in (0, 1)] == [
        "ReduceMean", "Constant",
    ]  # fmt: skip


def test_weights_take_a_quarter(tiny_fp32: Artifact, tiny_int8: Artifact) -> None:
    ratio = tiny_int8.card.size_bytes / tiny_fp32.card.size_bytes
    assert 0.25 <= ratio <= 0.27
    assert tiny_int8.card.parameters == tiny_fp32.card.parameters
    assert tiny_int8.card.macs == tiny_fp32.card.macs


def test_int8_kernels_are_what_runs(tiny_int8: Artifact, tiny_store: Store) -> None:
    if not supports("CPU", Precision.INT8):
        pytest.skip("this processor has no INT8")
    engine = compile(tiny_int8, counters=True)
    engine.infer(tiny_store.images[:1, None], profile=True)
    kernels = {
        row.name: row.kernel
        for row in engine.counters()
        if row.type == "Convolution" and row.status == "EXECUTED"
    }
    head = kernels.pop("head/cells")
    assert "f32" in head.lower() or "fp32" in head.lower()
    assert len(kernels) == 20
    wrong = {name: kernel for name, kernel in kernels.items() if "8" not in kernel.split("_")[-1]}
    assert wrong == {}


def labelled(tiny_store: Store, labels: np.ndarray, patients: list[str]) -> Store:
    """Return a store of as many blank images with these labels, all to train with."""
    count = len(labels)
    return dataclasses.replace(
        tiny_store,
        images=np.zeros((count, 8, 8), np.uint8),
        labels=labels,
        patients=tuple(patients),
        splits=("train",) * count,
        names=tuple(map(str, range(count))),
    )


def test_calibration_takes_all_of_a_small_train_split_and_no_other(tiny_store: Store) -> None:
    train = tiny_store.select("train")
    assert np.array_equal(calibration_images(tiny_store, count=len(train) + 5), train)
    few = calibration_images(tiny_store, count=5)
    assert set(few.tolist()) <= set(train.tolist())
    assert len(set(few.tolist())) == 5
    assert np.array_equal(few, calibration_images(tiny_store, count=5))


def test_every_finding_that_occurs_and_no_finding_calibrate(tiny_store: Store) -> None:
    """Of 1,000 images evenly spaced ones would miss three of the findings."""
    labels = np.zeros((1000, 5), np.int8)
    labels[::3, 0] = 1
    labels[[7, 11], 1] = 1
    labels[500:507, 2] = 1
    labels[999, 3] = -1
    store = labelled(tiny_store, labels, [f"p{n}" for n in range(1000)])
    chosen = calibration_images(store, count=40)
    assert len(chosen) == 40
    shown = labels[chosen] == 1
    # An even share of half the images, as far as a finding has them; unknown is no finding.
    assert shown.sum(axis=0).tolist()[1:] == [2, 5, 0, 0]
    assert shown[:, 0].sum() >= 5
    assert (~shown.any(axis=1)).sum() >= 5
    # The rest is as the split is: a third shows the common finding.
    assert 0.2 <= shown[:, 0].mean() <= 0.45


def test_no_patient_calibrates_twice_while_there_are_others(tiny_store: Store) -> None:
    labels = np.zeros((60, 2), np.int8)
    labels[:20, 0] = 1
    patients = [f"p{n // 3}" for n in range(60)]
    store = labelled(tiny_store, labels, patients)
    chosen = calibration_images(store, count=12)
    assert len({patients[index] for index in chosen}) == 12
    more = calibration_images(store, count=30)
    assert (len(more), len({patients[index] for index in more})) == (30, 20)


def test_only_the_train_split_calibrates_and_twice_gives_the_same_bytes(
    graph: ov.Model, tiny_store: Store, tmp_path: Path
) -> None:
    others = np.array(tiny_store.images)
    others[tiny_store.select("val")] = 255
    others[tiny_store.select("test")] = 0
    changed = np.array(tiny_store.images)
    changed[tiny_store.select("train")] //= 4
    first, second, third = (
        digest(quantize(graph, dataclasses.replace(tiny_store, images=images)), tmp_path / name)
        for name, images in (("a", tiny_store.images), ("b", others), ("c", changed))
    )
    assert first == second
    assert first != third


def test_a_store_without_a_train_split_is_refused(graph: ov.Model, tiny_store: Store) -> None:
    empty = dataclasses.replace(tiny_store, splits=("test",) * len(tiny_store))
    with pytest.raises(UsageError) as refused:
        quantize(graph, empty)
    assert refused.value.code == "calibration-empty"


SILENT = """
import sys
from pathlib import Path

NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"}

def watch(event, arguments):
    if event in NETWORK:
        print("network:", event, arguments[-1], file=sys.stderr, flush=True)

sys.addaudithook(watch)
if len(sys.argv) == 2:
    import thorax.devices.engine
    raise SystemExit
from thorax.artifact import Precision
from thorax.data.store import open_store
from thorax.quantization.optimize import optimize

optimize(Path(sys.argv[1]), Path(sys.argv[3]), Precision.INT8, store=open_store(Path(sys.argv[2])))
"""


def test_importing_the_engine_asks_no_network() -> None:
    """OpenVINO by itself posts `import` to Google Analytics, from a forked process."""
    ran = subprocess.run(
        [sys.executable, "-c", SILENT, "import"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_making_int8_prints_nothing_and_asks_no_network(
    tiny_run: Path, tiny_store: Store, tmp_path: Path
) -> None:
    words = [tiny_run, tiny_store.path, tmp_path / "int8"]
    ran = subprocess.run(
        [sys.executable, "-c", SILENT, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    assert "network:" not in ran.stderr


def attention(*, fused: bool, weighted: bool = True) -> ov.Model:
    """Return softmax(q k / 4) v of one image's tokens, or of what is no attention but looks so."""
    tokens = ops.parameter([1, 9, 16], np.float32)
    parts = [
        ops.matmul(tokens, ops.constant(np.eye(16, dtype=np.float32) * scale), False, True)
        for scale in (1.0, 0.5, 2.0)
    ]
    if fused:
        mixed = ops.scaled_dot_product_attention(*parts)
    else:
        key = parts[1] if weighted else ops.constant(np.ones((1, 9, 16), np.float32))
        weights = ops.softmax(
            ops.multiply(ops.matmul(parts[0], key, False, True), ops.constant(np.float32(0.25))), 2
        )
        mixed = ops.matmul(weights, parts[2], False, False)
    return ov.Model([ops.result(mixed)], [tokens], "attention")


def test_attention_is_seen_in_a_graph(graph: ov.Model) -> None:
    assert has_attention(attention(fused=True))
    assert has_attention(attention(fused=False))
    # A softmax of products with weights, as a head has, weighs no tokens.
    assert not has_attention(attention(fused=False, weighted=False))
    assert not has_attention(graph)
