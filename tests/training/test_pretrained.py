"""Weights from elsewhere: nothing is lost silently, and a grey image is answered as before."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from thorax.data.store import Store
from thorax.errors import ModelError
from thorax.images.preprocess import InputSpec
from thorax.labels import NIH14
from thorax.training.fit import fit
from thorax.training.networks import TOPOLOGIES, Classifier, Topology, build, normalise
from thorax.training.pretrained import IMAGENET_MEAN, IMAGENET_STD, initialise, load_imagenet
from thorax.training.recipe import Recipe

State = dict[str, Tensor]

HEADS = {
    "resnet18": ("fc.weight", "fc.bias"),
    "resnet50": ("fc.weight", "fc.bias"),
    "densenet121": ("classifier.weight", "classifier.bias"),
    "vgg16_bn": ("classifier.weight", "classifier.bias"),
}


def imagenet(topology: Topology, *, width: float = 1.0) -> Classifier:
    """Return a network of three channels whose batch normalisation has seen something."""
    network = build(topology, classes=1000, channels=3, width=width, seed=11)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            for statistic, low, high in (("running_mean", -0.2, 0.2), ("running_var", 0.5, 1.5)):
                getattr(module, statistic).uniform_(low, high, generator=generator)
    return network.eval()


def torchvision_state(network: Classifier, topology: Topology) -> State:
    """Return a state dict as torchvision's file of the topology has it, of other numbers."""
    state = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if topology == "vgg16_bn":
        for name in HEADS[topology]:
            del state[name]
        for layer in (0, 3, 6):
            # 4096 x 25088 in the file; the shape is not looked at, because it is replaced.
            state[f"classifier.{layer}.weight"] = torch.zeros(4, 4)
            state[f"classifier.{layer}.bias"] = torch.zeros(4)
    if topology == "densenet121":
        for name in list(state):
            for part in ("norm1", "norm2", "conv1", "conv2"):
                if "denselayer" in name and f".{part}." in name:
                    state[name.replace(part, f"{part[:-1]}.{part[-1]}")] = state.pop(name)
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
        assert "features.denseblock4.denselayer16.conv.2.weight" in state
    return state


def narrow() -> Classifier:
    """Return a network that is quick to make: what is tested with it is the same at any width."""
    return build("resnet18", classes=14, width=0.25)


@pytest.fixture(scope="module")
def narrow_state() -> State:
    """Return what a file for `narrow` holds."""
    return torchvision_state(imagenet("resnet18", width=0.25), "resnet18")


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_grey_image_gets_the_features_that_three_equal_channels_got(
    topology: Topology, tmp_path: Path
) -> None:
    published = imagenet(topology)
    torch.save(torchvision_state(published, topology), tmp_path / "weights.pth")
    network = build(topology, classes=14).eval()
    fresh = network.head.weight.detach().clone()
    loaded = load_imagenet(network, tmp_path / "weights.pth")

    assert loaded.stem_summed
    assert loaded.head == HEADS[topology]
    assert torch.equal(network.head.weight, fresh)
    counters = [name for name in network.state_dict() if name.endswith("num_batches_tracked")]
    assert loaded.tensors == len(network.state_dict()) - 2 - len(counters)
    images = torch.randint(0, 256, (1, 1, 32, 32), generator=torch.Generator().manual_seed(2))
    ready = normalise(images.to(torch.uint8), InputSpec(32, IMAGENET_MEAN, IMAGENET_STD))
    with torch.inference_mode():
        found = network.feature_map(ready)
        expected = published.feature_map(ready.expand(1, 3, 32, 32))
    tolerance = 1e-5 * float(expected.max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema", "ema", "mine")
PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "backbone.net.")


@pytest.mark.parametrize("wrap", [*WRAPPERS, *PREFIXES, "safetensors", "half"])
def test_the_forms_that_files_come_in_give_the_same_weights(
    wrap: str, narrow_state: State, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    content: Any = narrow_state
    if wrap in WRAPPERS:
        content = {"epoch": 90, "optimizer": {"lr": 0.1}, wrap: narrow_state}
    elif wrap in PREFIXES:
        content = {"state_dict": {f"{wrap}{name}": v for name, v in narrow_state.items()}}
    elif wrap == "half":
        content = {name: value.bfloat16() for name, value in narrow_state.items()}
    if wrap == "safetensors":
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    network = narrow()
    load_imagenet(network, path)
    expected = narrow_state["layer4.1.conv2.weight"]
    found = network.get_parameter("layer4.1.conv2.weight")
    torch.testing.assert_close(found, expected, rtol=1e-2 if wrap == "half" else 0, atol=0)


def test_what_was_done_to_names_is_told(narrow_state: State, tmp_path: Path) -> None:
    state = {f"model.{name}": value for name, value in narrow_state.items()}
    state["model.fc.1.weight"] = state.pop("model.fc.weight")
    state["criterion.pos_weight"] = torch.ones(3)
    torch.save({"state_dict": state, "auc": np.float64(0.8)}, tmp_path / "last.ckpt")
    loaded = load_imagenet(narrow(), tmp_path / "last.ckpt")
    for words in ("those of state_dict", "model. taken off", "criterion.pos_weight", "fc.1.weight"):
        assert words in loaded.match


def test_a_prefix_beside_what_may_be_layers_is_named(narrow_state: State, tmp_path: Path) -> None:
    state = {f"ema.{name}": value for name, value in narrow_state.items()}
    torch.save({"state_dict": state | {"n": torch.ones(3)}}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"init-mismatch.* has ema\. before .* such as n; save"):
        load_imagenet(narrow(), tmp_path / "weights.pth")


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


EMPTY = '"a{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (header(f"{{{','.join(EMPTY.format(n) for n in range(30_000))}}}".encode()), "30000"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "claims 1099511627776 bytes"),
        ((9 << 20).to_bytes(8, "little") + bytes(9 << 20), "claims 9437184 bytes"),
        (header(b"[" * 100_000), "nested too deeply"),
        (header(b"[]"), "no JSON object"),
        (header(b'{"a": 1}'), ""),
        (b"\x08\0\0", "cut off"),
    ],
    ids=["tensors", "length", "long", "deep", "list", "number", "cut"],
)
def test_a_safetensors_header_is_judged_before_it_is_read(
    content: bytes, why: str, tmp_path: Path
) -> None:
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=f"init-unreadable.*{why}"):
        load_imagenet(narrow(), tmp_path / "weights.safetensors")


def test_a_file_of_one_channel_is_taken_as_it_is(tmp_path: Path) -> None:
    other = build("resnet18", classes=3, width=0.25, seed=4)
    torch.save(other.state_dict(), tmp_path / "grey.pt")
    network = narrow()
    assert not load_imagenet(network, tmp_path / "grey.pt").stem_summed
    assert torch.equal(network.get_parameter("conv1.weight"), other.get_parameter("conv1.weight"))


def drop(state: State) -> None:
    del state["layer3.0.bn1.weight"]


def add(state: State) -> None:
    state["layer5.0.conv1.weight"] = torch.zeros(1)


def reshape(state: State) -> None:
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"][:, :8]


def two_channels(state: State) -> None:
    state["conv1.weight"] = state["conv1.weight"][:, :2]


def spoil(state: State) -> None:
    state["layer1.0.bn1.running_var"][3] = torch.nan


def other_layer(state: State) -> None:
    state["fc2.0.weight"] = torch.ones(3, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop, r"lacks layer3\.0\.bn1\.weight;"),
        (add, r"layer5\.0\.conv1\.weight;"),
        (reshape, r"layer1\.0\.conv1\.weight \(16, 8, 3, 3\) for \(16, 16, 3, 3\);"),
        (two_channels, r"conv1\.weight \(16, 2, 7, 7\) for \(16, 1, 7, 7\);"),
        (spoil, r"layer1\.0\.bn1\.running_var;"),
        (other_layer, r"fc2\.0\.weight;"),
    ],
)
def test_whatever_does_not_match_is_named_and_nothing_is_changed(
    change: Callable[[State], None], named: str, narrow_state: State, tmp_path: Path
) -> None:
    state = {name: value.clone() for name, value in narrow_state.items()}
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    network = narrow()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ModelError, match=f"init-mismatch.*{named}"):
        load_imagenet(network, tmp_path / "weights.pth")
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_another_topology_or_width_is_refused(narrow_state: State, tmp_path: Path) -> None:
    torch.save(narrow_state, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"init-mismatch.*more; give"):
        load_imagenet(build("resnet50", classes=14, width=0.25), tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"init-mismatch.*width 1 alone"):
        load_imagenet(build("resnet18", classes=14, width=0.5), tmp_path / "weights.pth")


def test_a_tensor_under_both_its_names_is_refused(tmp_path: Path) -> None:
    network = build("densenet121", classes=14)
    name = "features.denseblock1.denselayer1.norm{}.weight"
    scale = network.get_parameter(name.format("1")).detach()
    torch.save({name.format("1"): scale, name.format(".1"): scale}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"init-mismatch.*norm1\.weight twice"):
        load_imagenet(network, tmp_path / "weights.pth")


class Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"fc.weight": Hostile(trace)}, tmp_path / "archive.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Hostile(trace)))
    for name in ("archive.pth", "plain.pth"):
        with pytest.raises(ModelError, match=r"init-unreadable") as caught:
            load_imagenet(narrow(), tmp_path / name)
        assert "\n" not in caught.value.message
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pth", b""),
        ("text.pth", b"<html>404</html>"),
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{"),
        ("zip.pth", b"PK\x03\x04" + bytes(100)),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="init-unreadable"):
        load_imagenet(narrow(), tmp_path / name)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"state_dict": {}}, {"a": 1}, {1: torch.zeros(1)}], ids=str
)
def test_a_file_that_holds_something_else_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="init-unreadable"):
        load_imagenet(narrow(), tmp_path / "weights.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"init-missing.*weights\.pth"):
        initialise(narrow(), "resnet18", tmp_path / "weights.pth")


def test_a_run_gives_its_head_only_to_the_same_labels(
    recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    kept = fit(recipe, store, run).checkpoint
    weights = safetensors.torch.load_file(kept / "model.safetensors")

    def fresh() -> Classifier:
        from thorax.training import networks

        return networks.build("vgg16_bn", classes=3, seed=9)

    same, other = fresh(), fresh()
    loaded = initialise(same, "vgg16_bn", run, store.label_set)
    assert loaded.head == ()
    assert loaded.path == str(kept)
    for name, value in same.state_dict().items():
        assert torch.equal(value, weights[name])
    names = replace(store.label_set, findings=("Square", "Bar", "Other"))
    loaded = initialise(other, "vgg16_bn", run, names)
    assert loaded.head == HEADS["vgg16_bn"]
    assert torch.equal(other.head.weight, fresh().head.weight)
    assert torch.equal(other.get_parameter("features.0.weight"), weights["features.0.weight"])
    with pytest.raises(ModelError, match=r"init-topology.*vgg16_bn.*resnet18"):
        initialise(narrow(), "resnet18", run, NIH14)
