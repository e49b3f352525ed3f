"""The package without extras, in an environment of its own, is all a hospital machine needs."""

import json
import subprocess
from pathlib import Path

import pytest

from thorax.artifact import Artifact

BASE = Path(__file__).resolve().parents[1] / ".venv-base/bin"
TRAINING_ONLY = ("torch", "nncf", "keras", "onnx", "safetensors", "matplotlib", "ray")


@pytest.fixture(scope="module")
def base() -> Path:
    if not (BASE / "thorax").is_file():
        pytest.skip("no second environment: `make test` makes it in .venv-base")
    return BASE


def test_classify_runs_where_torch_cannot_be_imported(
    base: Path, tiny_int8: Artifact, phantoms: Path
) -> None:
    look = f"import importlib.util as u; print([n for n in {TRAINING_ONLY} if u.find_spec(n)])"
    found = subprocess.run(
        [base / "python", "-c", look], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
    images = sorted(phantoms.glob("*.png"))[:4]
    command: list[Path | str] = [base / "thorax", "classify", tiny_int8.path, *images, "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    results = json.loads(answer.stdout)["results"]
    assert [row["image"] for row in results] == [str(image) for image in images]
    assert all(len(row["findings"]) == 14 and row["error"] is None for row in results)


def test_training_there_says_which_extra_is_missing(base: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).resolve().parents[1] / "recipes/phantom_small.toml"
    command: list[Path | str] = [
        base / "thorax",
        "train",
        recipe,
        "--data",
        tmp_path,
        "--out",
        tmp_path / "run",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith("thorax: extra-missing: ")
    assert "thorax[train]" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
