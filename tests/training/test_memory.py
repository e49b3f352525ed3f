"""Memory that is refused: one line that says what to make smaller, and never a bug."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from thorax.data.store import Store
from thorax.errors import UsageError
from thorax.landscape import runs
from thorax.landscape.sharpness import QUICK
from thorax.training import memory
from thorax.training.fit import fit
from thorax.training.recipe import Recipe

LIMIT: str = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30)); "

REFUSED: dict[str, Callable[[], object]] = {
    "PyTorch": lambda: torch.empty(1 << 50),
    "PyTorch, of more than 64 bits": lambda: torch.empty(1 << 40, 1 << 40),
    "NumPy": lambda: np.empty(1 << 58),
    "Python": lambda: bytearray(1 << 60),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whoever_is_refused_memory_the_error_is_one(name: str) -> None:
    with pytest.raises(UsageError) as refused, memory.required("7 images", "take fewer"):
        REFUSED[name]()
    assert refused.value.code == "training-memory"
    assert refused.value.message.startswith("7 images need more memory than this machine gives")
    assert refused.value.message.endswith("; take fewer")


def test_another_failure_is_left_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), memory.required("", ""):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_a_batch_that_does_not_fit_is_refused_by_training(tmp_path: Path) -> None:
    script = f"""{LIMIT}
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.tiny_training import make_store
from thorax.errors import ThoraxError
from thorax.training.fit import fit
from thorax.training.recipe import Recipe
recipe = Recipe.model_validate({{
    "network": {{"topology": "resnet18"}},
    "training": {{"epochs": 1, "batch": 24, "workers": 1, "threads": 1}},
    "optimizer": {{"kind": "sgd"}},
    "schedule": {{"kind": "cosine", "peak": 0.05}},
    "resize": ({{"until": 1.0, "side": 1024}},),
}})
try:
    fit(recipe, make_store(Path("store")), Path({str(tmp_path / "run")!r}))
except ThoraxError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "training-memory: 24 images of 1,024 x 1,024 pixels" in done.stderr
    assert "set training.micro_batch smaller" in done.stderr


def test_a_pass_that_does_not_fit_is_refused_by_the_doctor() -> None:
    script = f"{LIMIT}from thorax.cli.app import main; main()"
    words = ["doctor", "cluster", "--images", "65536", "--side", "4096", "--topology", "resnet18"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("thorax: training-memory: 65,536 images of 4,096 x 4,096 pixels")
    assert done.stderr.endswith("(4,096.0 GiB at once); give fewer --images or a smaller --side\n")
    assert done.stderr.count("\n") == 1


def test_a_pass_that_does_not_fit_is_refused_by_sharpness(
    store: Store, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(recipe, store, tmp_path / "run")
    task = runs.prepare(tmp_path / "run", store, QUICK)
    monkeypatch.setattr(runs, "measure", lambda *_, **__: torch.empty(1 << 50))
    with pytest.raises(UsageError, match=r"training-memory: .* a smaller --batch"):
        runs.execute(task)
