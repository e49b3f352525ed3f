"""Rules of the tree that no linter knows."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import thorax
from thorax.artifact import Artifact

SOURCE = Path(thorax.__file__).parent
TESTS = Path(__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py"))

SHOWN_BY = {
    "cli.py", "cli_data.py", "cli_fpga.py", "cli_measure.py", "cli_optimizer.py", "cli_plan.py",
    "cli_power.py", "cli_training.py", "console.py",
}  # fmt: skip
"""The modules that may print."""

COMMAND_TABLES = {
    "app", "data_app", "fpga_app", "import_app", "measure_app", "optimizer_app", "partition_app",
    "plan_app", "power_app", "training_app", "verify_app",
}  # fmt: skip
"""What the commands of the command line are entered in."""

TESTED_ELSEWHERE = {
    "__init__.py": "a docstring, a version and one line, shown to work in ir/test_quantize",
    "__main__.py": "two lines, run by test_cli",
    "answers.py": "rows and tables of `thorax classify`, judged in test_classify",
    "refusals.py": "a table, checked by test_radiograph",
    "data/rows.py": "types alone",
    "importers/imported.py": "types, answered by every importer",
    "importers/reader.py": "the child of `confined`, judged in importers/test_confined",
    "measure/documents.py": "read for the report, judged in test_report",
    "measure/fpga_plots.py": "drawn by `thorax fpga explore`, judged in test_explore",
    "measure/fpga_tables.py": "shown by `thorax fpga`, judged in fpga/test_card and test_explore",
    "measure/optimizer_tables.py": "shown by the report, judged in test_report",
    "measure/plan_plots.py": "drawn by `thorax plan`, judged in plan/test_outlook",
    "measure/plan_tables.py": "shown by `thorax plan`, judged in plan/test_outlook",
    "measure/plots.py": "drawn by the report, judged in test_report",
    "measure/predictions.py": "tables that are scored, in test_score",
    "measure/tables.py": "shown by the report, judged in test_report",
    "training/begun.py": "what a run began with, damaged in training/test_run_folder",
    "training/card.py": "cards of checkpoints, judged in training/test_checkpoint",
    "training/run.py": "what fit settles first, in training/test_fit",
    "training/session.py": "the updates of a run, in training/test_fit and test_preemption",
    "training/tensors.py": "headers of strangers, in training/test_pretrained",
    "training/verify.py": "damage of a run, found in training/test_run_folder",
    "cli_data.py": "commands, typed by test_cli",
    "cli_fpga.py": "commands, typed by test_cli",
    "cli_measure.py": "commands, typed by test_cli",
    "cli_optimizer.py": "commands, typed by test_cli",
    "cli_plan.py": "commands, typed by test_cli and plan/test_outlook",
    "cli_training.py": "commands, typed by test_cli",
}
"""Modules without a test module of their own, and why that is so."""

HOSPITAL = (
    "torch", "tensorboard", "nncf", "matplotlib", "safetensors", "onnx", "onnxruntime", "sklearn",
    "ray",
)  # fmt: skip
"""What the base install lacks."""


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_fits_in_the_head(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))


def test_the_package_itself_holds_a_docstring_its_version_and_the_way_out_of_telemetry() -> None:
    docstring, imported, version, quiet = tree(SOURCE / "__init__.py").body
    assert isinstance(docstring, ast.Expr)
    assert ast.unparse(imported) == "import sys"
    assert isinstance(version, ast.Assign)
    assert ast.unparse(version.targets[0]) == "__version__"
    assert ast.unparse(quiet) == "sys.modules.setdefault('openvino_telemetry', None)"
    for package in SOURCE.glob("*/__init__.py"):
        assert len(tree(package).body) == 1, package


def test_folders_are_one_deep_and_no_name_is_a_drawer() -> None:
    for path in MODULES:
        assert len(path.relative_to(SOURCE).parts) <= 2
        assert path.stem not in {"utils", "util", "common", "helpers", "misc", "base"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    if name(path) in SHOWN_BY:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "sys.stdout.write"}, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_happens_on_import(path: Path) -> None:
    allowed = (
        ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef,
        ast.Assign, ast.AnnAssign, ast.Expr, ast.If,
    )  # fmt: skip
    for node in tree(path).body:
        assert isinstance(node, allowed), node.lineno
        if isinstance(node, ast.If):
            assert "TYPE_CHECKING" in (test := ast.unparse(node.test)) or "__name__" in test
        if path == SOURCE / "__init__.py":
            continue
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            # The commands of the command line are entered in its table.
            assert ast.unparse(node).split(".")[0] in COMMAND_TABLES, node.lineno
        if isinstance(node, ast.Assign | ast.AnnAssign):
            assert "os.environ" not in ast.unparse(node), node.lineno


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_has_a_test_module(path: Path) -> None:
    here = path.relative_to(SOURCE)
    wanted = TESTS / here.parent / f"test_{here.name}"
    if name(path) in TESTED_ELSEWHERE or here.name == "__init__.py":
        assert not wanted.exists(), "take it off the list"
        return
    # The parts of the phantoms are drawn and judged together.
    family = wanted.with_name(f"test_{here.stem.split('_')[0]}.py")
    assert wanted.is_file() or family.is_file(), f"no {wanted.relative_to(TESTS)}"


def test_a_hospital_machine_classifies_without_the_libraries_of_training(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        f"for name in {HOSPITAL!r}: sys.modules[name] = None\n"
        "from thorax.cli.app import main\n"
        "main()\n"
    )
    image = phantoms / "phantom_11_000000.png"
    words = ["classify", tiny_fp32.path, image, "--heatmaps", tmp_path / "maps", "-pc"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "layer1.0.conv1" in done.stdout


def test_the_modules_of_a_hospital_machine_import_none_of_them() -> None:
    wanted = [
        "artifact", "classify", "console", "devices.engine", "heatmap", "labels", "measure.run",
        "measure.score", "measure.accuracy", "metrics", "predict", "preprocess", "radiograph",
    ]  # fmt: skip
    script = (
        "import sys, importlib\n"
        f"for name in {wanted!r}: importlib.import_module('thorax.' + name)\n"
        f"sys.exit(' '.join(name for name in {HOSPITAL!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
