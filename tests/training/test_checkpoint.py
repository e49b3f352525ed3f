"""Checkpoints: what is written is read back, anything else is refused."""

import json
import os
from pathlib import Path

import pytest
import torch

from thorax.errors import ModelError
from thorax.files.atomic import sha256
from thorax.files.documents import document_digest
from thorax.images.preprocess import InputSpec
from thorax.labels import LabelSet
from thorax.training import checkpoint, networks, optimizers
from thorax.training.card import CheckpointCard, epoch_name, prune, read_card
from thorax.training.networks import Classifier
from thorax.training.optimizers import AdamW, Sgd

pytestmark = pytest.mark.usefixtures("tiny")


def card(epoch: int = 1, kept: int | None = None, topology: str = "vgg16_bn") -> CheckpointCard:
    return CheckpointCard(
        topology=topology,
        output_stride=32,
        label_set=LabelSet("pair", ("Left", "Right")),
        input=InputSpec(64, 0.4, 0.2),
        precision="fp32",
        recipe={"training": {"epochs": 1}},
        data={},
        epoch=epoch,
        step=7,
        metrics={"mean_auroc": 0.5, "auroc": {"Left": 0.5, "Right": None}},
        history=({"epoch": 1, "loss": 0.7},),
        kept=epoch_name(kept or epoch),
        software={"thorax": "0"},
    )


def stepped(settings: Sgd | AdamW) -> tuple[Classifier, torch.optim.Optimizer]:
    """Return a network and its optimizer after one update."""
    network = networks.build("vgg16_bn", classes=2, seed=1)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizers.build(network, settings)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    optimizer.step()
    return network, optimizer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = networks.build("vgg16_bn", classes=2, seed=1)
    optimizer = optimizers.build(network, Sgd(kind="sgd"))
    return checkpoint.save(tmp_path / "run", network, card(), optimizer)


def code(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        checkpoint.load(path)
    return caught.value.code


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    network, optimizer = stepped(Sgd(kind="sgd"))
    folder = checkpoint.save(tmp_path, network, card(), optimizer)
    loaded = checkpoint.load(folder)
    digests = {"weights_sha256", "optimizer_sha256", "sha256"}
    assert loaded.card.model_dump(exclude=digests) == card().model_dump(exclude=digests)
    assert len(loaded.card.weights_sha256) == len(loaded.card.sha256) == 64
    assert not loaded.network.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name


@pytest.mark.parametrize("settings", [Sgd(kind="sgd"), AdamW(kind="adamw")])
def test_optimizer_comes_back_with_values_and_layout(tmp_path: Path, settings: Sgd | AdamW) -> None:
    network, optimizer = stepped(settings)
    folder = checkpoint.save(tmp_path, network, card(), optimizer)
    twin = networks.build("vgg16_bn", classes=2, seed=9)
    twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fresh = optimizers.build(twin, settings)
    checkpoint.restore(folder, read_card(folder), twin, fresh)
    for one, two in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)
        assert optimizer.state[one].keys() == fresh.state[two].keys()
        for key, value in optimizer.state[one].items():
            assert torch.equal(value, fresh.state[two][key])
            layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            assert fresh.state[two][key].is_contiguous(memory_format=layout)


def test_no_file_is_a_pickle(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "optimizer.safetensors",
    ]
    json.loads((saved / "checkpoint.json").read_text())


def test_a_run_is_its_kept_checkpoint_and_pruning_leaves_that_and_the_newest(
    tmp_path: Path,
) -> None:
    network = networks.build("vgg16_bn", classes=2)
    optimizer = optimizers.build(network, Sgd(kind="sgd"))
    for epoch, kept in ((1, 1), (2, 2), (3, 2)):
        checkpoint.save(tmp_path, network, card(epoch, kept), optimizer)
    (tmp_path / ".epoch-0004.99.0123456789abcdef.partial").mkdir()
    (tmp_path / ".epoch-0009-step-00000004.99.0123456789abcdef.partial").mkdir()
    (tmp_path / "notes.txt").touch()
    prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-0002",
        "epoch-0003",
        "notes.txt",
    ]
    assert checkpoint.load(tmp_path).path == tmp_path / "epoch-0002"


@pytest.mark.parametrize("where", [0, 7, 2000, -1])
def test_one_changed_bit_is_found(saved: Path, where: int) -> None:
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[where] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    assert code(saved) == "checkpoint-damaged"


@pytest.mark.parametrize("size", [0, 4, 1000])
def test_truncated_weights_are_found(saved: Path, size: int) -> None:
    os.truncate(saved / "model.safetensors", size)
    assert code(saved) == "checkpoint-damaged"


def test_weights_that_never_were_safetensors_are_refused(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(b"\x80\x04not weights")
    _edit(saved, weights_sha256=sha256(saved / "model.safetensors"))
    assert code(saved) == "checkpoint-unreadable"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b"{}", b"null", b'{"format": 2}', b"[" * 100_000]
)
def test_strange_cards_are_refused(saved: Path, content: bytes) -> None:
    (saved / "checkpoint.json").write_bytes(content)
    assert code(saved) == "checkpoint-unreadable"


@pytest.mark.parametrize(
    "changes",
    [
        {"topology": "resnet18"},
        {"topology": "perceptron"},
        {"label_set": {"name": "one", "findings": ["Left"]}},
    ],
)
def test_weights_of_another_network_are_refused(saved: Path, changes: dict[str, object]) -> None:
    _edit(saved, **changes)
    assert code(saved) == "checkpoint-mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {"input": {"side": 3, "mean": 0.5, "std": 0.25}},
        {"input": {"side": 64, "mean": 0.5, "std": 0}},
        {"label_set": {"name": "none", "findings": []}},
        {"kept": "../../elsewhere"},
        {"surprise": 1},
        {"epoch": "one"},
    ],
)
def test_impossible_facts_are_refused(saved: Path, changes: dict[str, object]) -> None:
    _edit(saved, **changes)
    assert code(saved) == "checkpoint-unreadable"


def test_what_is_not_there_is_said(saved: Path, tmp_path: Path) -> None:
    assert code(tmp_path / "nowhere") == "checkpoint-missing"
    assert code(saved / "checkpoint.json") == "checkpoint-missing"
    (saved / "model.safetensors").unlink()
    assert code(saved) == "checkpoint-missing"
    os.mkfifo(saved / "model.safetensors")
    assert code(saved) == "checkpoint-missing"


def test_unwritable_place_leaves_nothing_behind(tmp_path: Path) -> None:
    network = networks.build("vgg16_bn", classes=2)
    optimizer = optimizers.build(network, Sgd(kind="sgd"))
    (tmp_path / "run").write_text("a file where the run should be")
    with pytest.raises(ModelError) as caught:
        checkpoint.save(tmp_path / "run", network, card(), optimizer)
    assert caught.value.code == "checkpoint-unwritable"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _edit(folder: Path, **changes: object) -> None:
    """Change facts as one who forges the digest of the card, too."""
    path = folder / "checkpoint.json"
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**document, "sha256": document_digest(document)}))
