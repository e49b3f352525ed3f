"""Rules of the tree that no linter knows."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import thorax
from thorax.artifact import Artifact

SOURCE = Path(thorax.__file__).parent
TESTS = Path(__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py"))

SHOWN_BY = "cli/"
"""The room that may print."""

COMMAND_TABLES = {
    "app", "benchmark_app", "classify_app", "data_app", "doctor_app", "evaluate_app",
    "fpga_app", "import_app", "landscape_app", "mo_app", "optimize_app", "partition_app",
    "phantom_app", "plan_app", "power_app", "report_app", "train_app", "verify_app",
}  # fmt: skip
"""What the commands of the command line are entered in."""

LONGEST, WIDEST = 60, 8
"""Lines and parameters of a function at most."""

RAW = {"thorax.config", "thorax.files.documents", "thorax.results.read"}
"""What reads JSON and TOML as they lie on a disk, and JSON Schema."""

UNTYPED = re.compile(r"(dict|Mapping)\[str, (Any|object)\]")

_ORIGIN = "where weights are from: added to and printed, never read by key"
_CARD = "JSON of a run, compared when it resumes; `Checkpoint.recipe` is its type"
CROSSING = {
    "thorax.artifact:Card.provenance": _ORIGIN,
    "thorax.ir.classifier:Classifier.provenance": _ORIGIN,
    "thorax.training.card:CheckpointCard.recipe": _CARD,
    "thorax.training.card:CheckpointCard.data": _CARD,
    "thorax.training.card:CheckpointCard.init": _CARD,
    "thorax.training.card:CheckpointCard.schedule": "written for people, never read",
    "thorax.training.card:CheckpointCard.metrics": "empty within an epoch, and so in its file",
    "thorax.training.prepare:require_same": "facts that ranks compare, never read by key",
    "thorax.isolation.child:Answer.head": "a child's message",
    "thorax.isolation.child:Child.ask": "a child's message",
    "thorax.plan.systems:Model.changes": "of a preset: laid over a system, and judged as one",
    "thorax.results.schema:Result.document": "what is printed",
    "thorax.results.benchmark:TuningResult.document": "what is printed",
}
"""Untyped documents that pass between rooms, with the reason; the list may only shrink."""

UNNAMED = {
    "benchmark": "latency",
    "cli": (
        "benchmark classify commands demonstration doctor evaluate fpga landscape mo "
        "optimize plan report train verification"
    ),
    "cluster": "bench link_model",
    "data": "samples",
    "devices": "describe",
    "evaluate": "predictions",
    "files": "places",
    "fpga": "estimate",
    "images": "error_codes",
    "importers": "options",
    "inference": "findings heatmap_folder ray_process",
    "landscape": "search",
    "mo": "arguments command_line ports",
    "phantoms": (
        "anatomy canvas chest dicom findings lateral lateral_findings lesions projection "
        "sampling shadows vessels view"
    ),
    "power": "log meter modelled nvml programs rapl watch",
    "report": (
        "benchmark benchmark_plots data figure parts plan_server "
        "plan_server_plots samples series table text"
    ),
    "results": (
        "accuracy analysis benchmark cluster data demo energy findings fpga landscape "
        "optimize partition plan read shared verification"
    ),
    "training": "card loop prepare verify",
}
"""Modules by room that only tests of other names exercise; the list may only shrink."""

HOSPITAL = (
    "torch", "tensorboard", "nncf", "matplotlib", "safetensors", "onnx", "onnxruntime", "sklearn",
    "ray",
)  # fmt: skip
"""What the base install lacks."""


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def dotted(path: Path) -> str:
    return f"thorax.{name(path).removesuffix('.py').replace('/', '.')}"


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function of the package as "room/module.py:name"."""
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name(path)}:{node.name}", node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many parameters a caller may give."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    starred = [given.vararg, given.kwarg]
    return sum(one.arg not in {"self", "cls"} for one in named) + len(list(filter(None, starred)))


def test_a_function_reads_on_one_screen() -> None:
    long = {which for which, node in functions() if (node.end_lineno or 0) - node.lineno >= LONGEST}
    assert not long, "split it along its seams"


def test_a_function_takes_few_parameters() -> None:
    wide = {which for which, node in functions() if parameters(node) > WIDEST}
    assert not wide, "pass one value of options"


def types(node: ast.stmt) -> str:
    """Return the types of a function's parameters and answer, or of a field; "" of all else."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"{ast.unparse(node.args)} -> {node.returns and ast.unparse(node.returns)}"
    return ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""


def signatures(path: Path) -> dict[str, dict[str, str]]:
    """Return the types of each function, and of each class by public method and field."""
    parts: dict[str, dict[str, str]] = {}
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts[node.name] = {node.name: types(node)}
        elif isinstance(node, ast.ClassDef):
            named = {
                getattr(part, "name", "") or ast.unparse(getattr(part, "target", part)): types(part)
                for part in node.body
            }
            public = {part for part in named if not part.startswith("_") or part == "__init__"}
            parts[node.name] = {f"{node.name}.{part}": named[part] for part in public}
    return parts


def imports(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the name here, module and name there of what a module imports, or takes by a dot."""
    syntax = tree(path)
    dots = {
        (ast.unparse(node.value), node.attr)
        for node in ast.walk(syntax)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    for node in ast.walk(syntax):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                here = alias.asname or alias.name
                yield here, node.module, alias.name
                for value, attribute in dots:
                    if value == here:
                        yield f"{here}.{attribute}", f"{node.module}.{alias.name}", attribute


def test_no_room_hands_an_untyped_document_to_another() -> None:
    parts = {
        (dotted(path), which): own for path in MODULES for which, own in signatures(path).items()
    }
    names = {dotted(path): list(imports(path)) for path in MODULES}
    crossing = {
        (module, there)
        for taker, taken in names.items()
        for _, module, there in taken
        if room(module) != room(taker) and module not in RAW
    }
    # What is imported hands on what its own types name.
    remaining = list(crossing)
    while remaining:
        module, which = remaining.pop()
        said = " ".join(parts.get((module, which), {}).values())
        words = set(re.findall(r"[\w.]+", said))
        named = {(origin, there) for here, origin, there in names.get(module, ()) if here in words}
        named |= {(module, word) for word in words if (module, word) in parts}
        remaining += named - crossing
        crossing |= named
    untyped = {
        f"{module}:{part}"
        for module, which in crossing
        for part, said in parts.get((module, which), {}).items()
        if UNTYPED.search(said) and module not in RAW
    }
    assert untyped == set(CROSSING), "give it a type, or drop it from the exceptions"


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
    if name(path).startswith(SHOWN_BY):
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


def test_every_room_has_a_folder_of_tests_and_every_other_module_a_test() -> None:
    for path in MODULES:
        here = path.relative_to(SOURCE)
        if path.parent != SOURCE:
            assert list((TESTS / here.parent).glob("test_*.py")), f"no tests of {here.parent}/"
        elif not path.stem.startswith("__"):
            assert (TESTS / f"test_{here.name}").is_file(), f"no tests of {here}"


def test_a_module_has_a_test_of_its_name_or_of_its_family() -> None:
    unnamed: dict[str, set[str]] = {}
    for path in MODULES:
        room_, words = path.parent.name, path.stem.split("_")
        families = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
        named = any((TESTS / room_ / f"test_{family}.py").is_file() for family in families)
        if path.parent != SOURCE and not path.stem.startswith("__") and not named:
            unnamed.setdefault(room_, set()).add(path.stem)
    assert unnamed == {room_: set(stems.split()) for room_, stems in UNNAMED.items()}


def test_every_folder_of_tests_is_of_a_room_or_of_a_kind_of_test() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    folders = {path.parent.name for path in TESTS.glob("*/test_*.py")}
    assert folders - rooms == {"contracts", "peers", "pipeline", "side_by_side"}


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
        "artifact", "benchmark.measurement", "cli.console", "devices.engine", "evaluate.score",
        "evaluate.validate", "images.preprocess", "images.radiograph", "inference.classify",
        "inference.heatmap_picture", "inference.predictor", "labels", "metrics",
    ]  # fmt: skip
    script = (
        "import sys, importlib\n"
        f"for name in {wanted!r}: importlib.import_module('thorax.' + name)\n"
        f"sys.exit(' '.join(name for name in {HOSPITAL!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
