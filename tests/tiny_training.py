"""A store small enough to train on in a second, with findings a network can see."""

from pathlib import Path

import numpy as np
import pytest
import torch

from thorax.data.store import Store
from thorax.labels import LabelSet
from thorax.training import networks
from thorax.training.networks import VGG, Classifier
from thorax.training.optimizers import Sgd
from thorax.training.recipe import Network, Recipe, Training
from thorax.training.schedules import Cosine

SIDE = 32

_REAL_BUILD = networks.build


def build_tiny(topology: str, **options: int) -> Classifier:
    """Build a VGG with two convolutions where VGG-16 is asked for, anything else as it is."""
    if topology != "vgg16_bn":
        return _REAL_BUILD(topology, **options)
    seed, output_stride = options.get("seed", 0), options.get("output_stride", 32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages = ((8,), (16,))
        return VGG(stages, classes=options["classes"], channels=1, output_stride=output_stride)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Compute in one thread, whatever the training of another test left behind."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make VGG-16 a network of seconds instead of minutes: what is tested is around it."""
    monkeypatch.setattr(networks, "build", build_tiny)


def make_store(path: Path, *, train: int = 24, val: int = 12, test: int = 4) -> Store:
    """Return noise with a bright square (label 0), a bright bar (1); label 2 is unknown."""
    count = train + val + test
    rng = np.random.default_rng(0)
    images = rng.integers(0, 120, (count, SIDE, SIDE)).astype(np.uint8)
    labels = rng.integers(0, 2, (count, 3)).astype(np.int8)
    labels[:, 2] = -1
    images[labels[:, 0] == 1, 4:14, 4:14] += 130
    images[labels[:, 1] == 1, 20:26, :] += 130
    return Store(
        path=path,
        images=images,
        labels=labels,
        names=tuple(f"{number}.png" for number in range(count)),
        patients=tuple(f"patient-{number}" for number in range(count)),
        splits=("train",) * train + ("val",) * val + ("test",) * test,
        views=(None,) * count,
        ages=(None,) * count,
        sexes=(None,) * count,
        digests=("",) * count,
        boxes=((),) * count,
        label_set=LabelSet("shapes", ("Square", "Bar", "Ghost")),
        source="drawn",
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of 24 training, 12 validation and 4 test images."""
    return make_store(tmp_path / "store")


@pytest.fixture
def recipe(tiny: None) -> Recipe:
    """Two epochs of three updates of a tiny network."""
    return Recipe(
        network=Network(topology="vgg16_bn"),
        training=Training(epochs=2, batch=8, seed=3, workers=1, threads=1),
        optimizer=Sgd(kind="sgd"),
        schedule=Cosine(kind="cosine", peak=0.05, warmup_epochs=0.5),
    )
