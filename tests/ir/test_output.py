"""What a classifier ends in, told apart or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import openvino.opset16 as ops_of_today
import pytest
import torch
from torch import Tensor, nn

from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.ir.classifier import Classifier, Description, open_classifier
from thorax.ir.fold import fold
from thorax.ir.head import find_head, find_logits
from thorax.ir.output import (
    answer_scores,
    as_rows,
    inputs_of,
    select_outputs,
    spell_activation,
)
from thorax.labels import LabelSet

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

LABELS = LabelSet("three", ("Cardiomegaly", "Effusion", "Mass"))


class Network(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor], pooled: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, 3)
        self.end = end
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.fc(self.pooled(torch.relu(self.conv(x)))))


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def open_source(
    folder: Path, end: Callable[[Tensor], Tensor], kind: str, activation: str | None = None
) -> tuple[Classifier, npt.NDArray[np.float32]]:
    """Return what is read of a network with this end, and what it answers for `image`."""
    network = Network(end, mean).eval()
    with torch.inference_mode():
        answer = network(torch.from_numpy(image())).numpy()
    if kind == "ts":
        path = folder / "net.ts"
        torch.jit.trace(network, torch.zeros(1, 1, 8, 8)).save(path)  # type: ignore[no-untyped-call]
    else:
        path = folder / "net.pt2"
        torch.export.save(torch.export.export(network, (torch.zeros(1, 1, 8, 8),)), path)
    described = Description(LABELS, (0.5,), (0.25,), side=8, activation=activation)  # type: ignore[arg-type]
    return open_classifier(path, described), answer


def image() -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 1, (1, 1, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("kind", ["ts", "pt2"])
@pytest.mark.parametrize(
    "end", [lambda x: torch.log_softmax(x, 1), lambda x: torch.log(torch.softmax(x, 1))]
)
def test_the_logarithm_of_a_softmax_is_a_softmax(
    tmp_path: Path, end: Callable[[Tensor], Tensor], kind: str
) -> None:
    source, answer = open_source(tmp_path, end, kind)
    assert source.activation == "softmax"
    np.testing.assert_allclose(source.reference(image()), np.exp(answer[0]), atol=1e-6)


@pytest.mark.parametrize(
    "end",
    [
        lambda x: torch.sigmoid(x) * 2 - 0.5,
        torch.tanh,
        lambda x: torch.clamp(x, 0, 1),
        lambda x: torch.cat([torch.sigmoid(x[:, :1]), x[:, 1:]], 1),
        lambda x: 1 - torch.sigmoid(x),
    ],
    ids=["scaled", "tanh", "clamp", "one of them", "other way round"],
)
def test_an_end_that_says_nothing_needs_the_activation(
    tmp_path: Path, end: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises(ThoraxError, match="--activation") as refused:
        open_source(tmp_path, end, "ts")
    assert (refused.value.code, refused.value.exit_code) == ("model-undescribed", 2)
    assert open_source(tmp_path, end, "ts", "sigmoid")[0].activation == "sigmoid"


@pytest.mark.parametrize(
    "end", [lambda x: x, lambda x: x / 2.5 + 1, lambda x: x - x.mean(1, keepdim=True)]
)
def test_a_linear_end_is_logits(tmp_path: Path, end: Callable[[Tensor], Tensor]) -> None:
    assert open_source(tmp_path, end, "ts")[0].activation == "sigmoid"


def exponentials(x: ov.Node, activation: str) -> ov.Node:
    """Return a sigmoid or a softmax of twice x, written out."""
    if activation == "sigmoid":
        return ops.divide(np.float32(1), ops.add(ops.exp(ops.negative(x)), np.float32(1)))
    grown = ops.exp(ops.multiply(x, np.float32(2)))
    return ops.divide(grown, ops.reduce_sum(grown, np.array([1]), True))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_an_activation_written_out_is_one_layer_that_folding_leaves(activation: str) -> None:
    row = ops.parameter([1, 4], np.float32)
    logits = ops.matmul(row, ops.constant(WEIGHT[:, :, 0, 0]), False, True)
    answer = exponentials(ops.add(logits, ops.constant(BIAS[:, :, 0, 0])), activation)
    answer.output(0).set_names({"prob"})
    model = ov.Model([answer], [row])
    image = IMAGE[:1, :, 0, 0]
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    wanted = ov.Core().compile_model(model.clone(), "CPU", hint)(image)["prob"]
    spell_activation(model)
    fold(model)
    assert find_logits(model)[1] == activation
    np.testing.assert_allclose(
        ov.Core().compile_model(model, "CPU", hint)(image)["prob"], wanted, atol=1e-6
    )


@pytest.mark.parametrize("activation", [None, "none", "softmax"])
@pytest.mark.parametrize(
    "end", [lambda x: torch.topk(torch.sigmoid(x), 3)[0], lambda x: x.sort(1)[0]]
)
def test_scores_that_are_sorted_are_refused_whatever_is_said_of_them(
    tmp_path: Path, end: Callable[[Tensor], Tensor], activation: str | None
) -> None:
    with pytest.raises(ThoraxError, match="sorts or picks") as refused:
        open_source(tmp_path, end, "ts", activation)
    assert refused.value.code == "model-outputs"


@pytest.mark.parametrize("activated", [True, False])
def test_layers_that_answer_what_they_are_given_go(activated: bool) -> None:
    row = ops.parameter([1, 3], np.float32)
    value = ops.sigmoid(row) if activated else row
    last = ops_of_today.identity(ops_of_today.identity(value))
    last.output(0).set_names({"prob"})
    model = answer_scores(ov.Model([last], [row]), (0,), "net")
    assert "Identity" not in [node.get_type_name() for node in model.get_ordered_ops()]
    assert find_logits(model)[1] == ("sigmoid" if activated else None)
    assert "prob" in model.outputs[0].get_names()


def test_a_softmax_over_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ThoraxError, match="axis 0") as refused:
        open_source(tmp_path, lambda x: torch.softmax(x, 0), "ts")
    assert refused.value.code == "model-outputs"


RANDOM = np.random.default_rng(1)
WEIGHT = RANDOM.normal(size=(3, 4, 1, 1)).astype(np.float32)
BIAS = RANDOM.normal(size=(1, 3, 1, 1)).astype(np.float32)
IMAGE = RANDOM.normal(size=(2, 4, 5, 5)).astype(np.float32)


def network(*, pooled_first: bool, biased: bool, end: str, side: int = 5) -> ov.Model:
    """Return mean - convolution or convolution - mean, then what `end` says."""
    image = ops.parameter([2, 4, side, side], np.float32)
    axes = ops.constant(np.array([2, 3]))
    value = ops.reduce_mean(image, axes, True) if pooled_first else image
    value = ops.convolution(value, ops.constant(WEIGHT), [1, 1], [0, 0], [0, 0], [1, 1])
    if biased:
        value = ops.add(value, ops.constant(BIAS))
    if not pooled_first:
        value = ops.reduce_mean(value, axes, True)
    if end == "softmax":
        value = ops.softmax(value, 1)
    elif end == "sigmoid":
        value = ops.sigmoid(value)
    value.set_friendly_name("prob")
    value.output(0).set_names({"prob"})
    return ov.Model([value], [image])


def ran(model: ov.Model) -> np.ndarray:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(ov.Core().compile_model(model, "CPU", hint)(IMAGE)["prob"])


@pytest.mark.parametrize("end", ["softmax", "sigmoid", ""])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("pooled_first", [True, False])
def test_a_convolutional_head_answers_rows(pooled_first: bool, biased: bool, end: str) -> None:
    model = network(pooled_first=pooled_first, biased=biased, end=end)
    wanted = ran(model)
    assert wanted.shape == (2, 3, 1, 1)
    as_rows(model)
    assert list(model.outputs[0].shape) == [2, 3]
    np.testing.assert_allclose(ran(model), wanted[:, :, 0, 0], atol=1e-6)
    model.reshape([1, 4, 5, 5])
    logits, activation = find_logits(model)
    assert activation == (end or None)
    # A mean changes places with a convolution of 1 x 1: both orders are one head.
    head = find_head(logits)
    assert head is not None
    assert np.array_equal(head.weight, WEIGHT[:, :, 0, 0])
    assert np.array_equal(head.bias, BIAS.ravel() if biased else np.zeros(3))


def test_what_answers_maps_or_rows_stays_as_it_is() -> None:
    image = ops.parameter([2, 4, 5, 5], np.float32)
    maps = ov.Model([ops.relu(image)], [image])
    as_rows(maps)
    assert list(maps.outputs[0].shape) == [2, 4, 5, 5]
    row = ops.parameter([2, 4], np.float32)
    rows = ov.Model([ops.relu(row)], [row])
    as_rows(rows)
    assert [node.get_type_name() for node in rows.get_ordered_ops()] == [
        "Parameter",
        "Relu",
        "Result",
    ]


@pytest.mark.parametrize(
    ("shape", "count", "wanted"),
    [
        ((), 1, [1, 1]),
        ((1,), 1, [1, 1]),
        ((3,), 3, [1, 3]),
        ((1, 1, 3), 3, [1, 3]),
        ((1, 1, 3, 1), 3, [1, 3]),
    ],
)
def test_scores_on_any_one_axis_are_a_row(
    shape: tuple[int, ...], count: int, wanted: list[int]
) -> None:
    image = ops.parameter(list(shape), np.float32)
    last = ops.sigmoid(image)
    last.output(0).set_names({"prob"})
    model = ov.Model([last], [image])
    as_rows(model, count)
    assert list(model.outputs[0].shape) == wanted
    assert model.outputs[0].get_names() == {"prob"}
    assert find_logits(model)[1] == "sigmoid"


def several(**shapes: list[int]) -> ov.Model:
    """Return a network of an image and an age, whose outputs are of the image alone."""
    image, age = ops.parameter([1, 8], np.float32), ops.parameter([1, 1], np.float32)
    outputs = []
    for index, (name, shape) in enumerate(shapes.items()):
        weight = ops.constant(np.full((8, shape[-1]), index + 1, np.float32))
        answer = ops.matmul(image, weight, False, False)
        if name == "classes":
            answer = ops.convert(answer, "i64")
        answer.output(0).set_names({name})
        outputs.append(answer)
    return ov.Model(outputs, [age, image])


FINDINGS = ("Lung Lesion", "Mass")


@pytest.mark.parametrize(
    ("outputs", "stated", "wanted"),
    [
        ({"y": [1, 2]}, (), (0,)),
        ({"aux_logits": [1, 2], "logits": [1, 2]}, (), (1,)),
        ({"AuxLogits": [1, 2], "out": [1, 2]}, (), (1,)),
        ({"classes": [1, 1], "scores": [1, 2]}, (), (1,)),
        ({"mass": [1, 1], "lung_lesion": [1, 1]}, (), (1, 0)),
        ({"a": [1, 2], "b": [1, 2]}, ("b",), (1,)),
        ({"a": [1, 2], "b": [1, 2]}, ("1",), (1,)),
        ({"a": [1, 1], "b": [1, 1]}, ("b", "a"), (1, 0)),
    ],
)
def test_the_outputs_that_hold_the_scores_are_chosen(
    outputs: dict[str, list[int]], stated: tuple[str, ...], wanted: tuple[int, ...]
) -> None:
    assert select_outputs(several(**outputs), stated, FINDINGS, "net") == wanted


def test_outputs_that_could_all_be_meant_are_named() -> None:
    model = several(logits=[1, 2], features=[1, 8])
    with pytest.raises(ModelError, match=r"logits .*features .*--output") as refused:
        select_outputs(model, (), FINDINGS, "net")
    assert refused.value.code == "model-outputs"
    with pytest.raises(UsageError, match=r"'other'.*logits, features") as unknown:
        select_outputs(model, ("other",), FINDINGS, "net")
    assert unknown.value.code == "model-output-name"


def test_heads_are_joined_and_what_they_do_not_need_is_gone() -> None:
    model = several(a=[1, 1], b=[1, 1], rest=[1, 5])
    assert inputs_of(model, (1, 0)) == [1]
    joined = answer_scores(model, (1, 0), "net")
    assert [list(port.shape) for port in joined.inputs] == [[1, 8]]
    compiled = ov.Core().compile_model(joined, "CPU")
    np.testing.assert_array_equal(compiled([np.ones((1, 8), np.float32)])[0], [[16, 8]])
