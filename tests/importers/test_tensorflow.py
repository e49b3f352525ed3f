"""Kernels of TensorFlow's files, and whose they are."""

import struct
from pathlib import Path

import numpy as np
import pytest
from tests.importers.caffe_files import chunk, varint
from tests.importers.tensorflow_files import FLOAT, Graph

from thorax.importers.formats import read
from thorax.importers.options import compile_here
from thorax.importers.tensorflow import _full_names, graph_kernels, saved_kernels
from thorax.importers.wire import WireError

RANDOM = np.random.default_rng(8)
KERNEL = RANDOM.normal(size=(3, 3, 3, 6)).astype(np.float32)
OTHER = RANDOM.normal(size=(6, 2)).astype(np.float32)


def test_a_kernel_is_found_behind_what_hands_it_on(tmp_path: Path) -> None:
    graph = Graph()
    image = graph.add("Placeholder", "image", dtype=FLOAT)
    kernel = graph.add("Identity", "k/read", [graph.constant("k", KERNEL)], T=FLOAT)
    graph.add("Conv2D", "block/conv", [image, kernel, "^k"], T=FLOAT)
    graph.add("MatMul", "fc", ["block/conv:0", graph.constant("w", OTHER)], T=FLOAT)
    graph.constant("nobody", OTHER)
    kernels = dict(graph_kernels(graph.frozen(tmp_path / "net.pb")))
    assert list(kernels) == ["block/conv", "fc"]
    np.testing.assert_array_equal(kernels["block/conv"], KERNEL)
    np.testing.assert_array_equal(kernels["fc"], OTHER)


def saved(folder: Path, keys: tuple[str, str], **more: np.ndarray) -> Path:
    """Write a SavedModel whose first variable a convolution reads, and whose second nobody."""
    graph = Graph()
    image = graph.add("Placeholder", "image", dtype=FLOAT)
    graph.add("VarHandleOp", "handle", dtype=FLOAT, shape=KERNEL.shape, shared_name=keys[0])
    kernel = graph.add("ReadVariableOp", "read", ["handle"], dtype=FLOAT)
    graph.add("Conv2D", "block/conv", [image, kernel], T=FLOAT)
    return graph.saved_model(
        folder,
        inputs={"image": ("image", (-1, 8, 8, 3))},
        outputs={"scores": "block/conv"},
        variables={keys[0]: KERNEL, keys[1]: OTHER, **more},
        filename="save/Const",
        restore="save/restore_all",
    )


def test_variables_are_called_after_their_reader_or_their_own_layer(tmp_path: Path) -> None:
    kernels = dict(saved_kernels(saved(tmp_path / "net", ("block/kernel", "head/kernel"))))
    assert list(kernels) == ["block/conv", "head"]
    np.testing.assert_array_equal(kernels["block/conv"], KERNEL)
    np.testing.assert_array_equal(kernels["head"], OTHER)


def test_a_cut_off_index_is_no_table(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net", ("a", "b"))
    index = folder / "variables" / "variables.index"
    index.write_bytes(index.read_bytes()[:-3] + struct.pack("<I", 7)[:3])
    with pytest.raises(WireError):
        list(saved_kernels(folder))


def test_a_checkpoint_of_objects_says_what_keras_calls_its_variables() -> None:
    key = b"layer-1/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    attribute = chunk(1, b"VARIABLE_VALUE") + chunk(2, b"conv1/kernel") + chunk(3, key)
    graph = chunk(1, chunk(1, b"\x08\x01")) + chunk(1, chunk(2, attribute))
    # A string's length, a checksum, the string.
    stored = varint(len(graph)) + b"\xff\x80\x01\x02" + graph
    assert _full_names(stored) == {key.decode(): "conv1/kernel"}


BOOL = 10
"""Of types.proto."""


@pytest.mark.parametrize("kind", ["Placeholder", "PlaceholderWithDefault"])
def test_a_network_that_may_be_trained_is_frozen_as_one_that_is_not(
    tmp_path: Path, kind: str
) -> None:
    """As TensorFlow 1 leaves it: what chose the branch is an output of the graph too."""
    graph = Graph()
    image = graph.add("Placeholder", "image", dtype=FLOAT)
    graph.shape(image, (1, 3))
    if kind == "Placeholder":
        phase = graph.add(kind, "is_training", dtype=BOOL)
    else:
        graph.definition.node.add(name="no", op="Const")
        node = graph.definition.node[-1]
        node.attr["dtype"].type = node.attr["value"].tensor.dtype = BOOL
        node.attr["value"].tensor.tensor_shape.SetInParent()
        node.attr["value"].tensor.bool_val.append(False)
        phase = graph.add(kind, "keras_learning_phase", ["no"], dtype=BOOL, shape=())
    graph.add("Switch", "cond/Switch", [phase, phase], T=BOOL)
    graph.add("Identity", "cond/switch_f", ["cond/Switch:0"], T=BOOL)
    graph.add("Switch", "cond/image", [image, phase], T=FLOAT)
    graph.add("Neg", "cond/trained", ["cond/image:1"], T=FLOAT)
    graph.add("Abs", "cond/used", ["cond/image:0"], T=FLOAT)
    graph.add("Merge", "cond/Merge", ["cond/used", "cond/trained"], T=FLOAT, N=2)
    graph.add("Relu", "scores", ["cond/Merge"], T=FLOAT)
    model = read(graph.frozen(tmp_path / "net.pb")).model
    assert [port.get_any_name() for port in model.inputs] == ["image:0"]
    assert [port.get_any_name() for port in model.outputs] == ["scores:0"]
    values = np.array([[-2, 1, 3]], np.float32)
    np.testing.assert_array_equal(compile_here(model)([values])[0], [[2, 1, 3]])
