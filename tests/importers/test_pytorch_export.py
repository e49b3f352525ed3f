"""Exported programs that would call what is no arithmetic, or are nested without end."""

import json
import zipfile
from pathlib import Path

import pytest
from tests.importers import small_models

from thorax.errors import ThoraxError
from thorax.importers.options import ImportOptions
from thorax.importers.pytorch import read

PROGRAM = "models/model.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.exported(tmp_path_factory.mktemp("whole"))


def changed(whole: Path, path: Path, program: bytes) -> ThoraxError:
    """Write the archive with another program, and return why it is refused."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = program if name.endswith(PROGRAM) else source.read(name)
            target.writestr(name, content)
    with pytest.raises(ThoraxError) as caught:
        read(path, ImportOptions())
    assert caught.value.exit_code == 4
    return caught.value


def program(whole: Path) -> str:
    with zipfile.ZipFile(whole) as archive:
        name = next(name for name in archive.namelist() if name.endswith(PROGRAM))
        return archive.read(name).decode()


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default", "torch.ops.aten.save.default",
        "torch.ops.aten.set_.source_Storage", "torch.ops.aten.manual_seed.default",
        "torch.ops.aten._print.default", "torch.ops. aten.relu.default",
        "torch.ops.aten.relu.default ", "torch.ops.aten.relu.default\n", "torch.ops.evil.call.d",
        "torch.ops.load_library", "torch.ops.aten.relu.default.__class__.__mro__",
        "torch.ops.aten.__class__.mro", "torch.ops.aten.__init__.__globals__",
        "torch.ops.aten.ｓave.default", "torch.ops.aten.relu", "torch.hub.load", "os.system",
        "builtins.eval", "_operator.attrgetter", "_operator.call", "_operator.getitem.__call__",
        "math.__loader__", "torch.sym_int.__globals__", "torch.ops.higher_order.cond",
        "torch.ops.prim.rpc_async.default", "torch.ops.quantized.linear_unpack.default",
        "torch.ops.aten._sparse_coo_tensor_unsafe.default", "torch.ops.aten.resize_.default",
        "torch.ops.profiler._record_function_enter.default",
        "torch.ops._c10d_functional.broadcast.default", "torch.ops.c10d.send.default",
    ],
)  # fmt: skip
def test_a_program_calls_arithmetic_alone(whole: Path, tmp_path: Path, target: str) -> None:
    document = json.loads(program(whole))
    nodes = document["graph_module"]["graph"]["nodes"]
    nodes[0]["target"] = target
    error = changed(whole, tmp_path / "net.pt2", json.dumps(document).encode())
    assert error.code in ("model-unsafe", "model-layer")


@pytest.mark.parametrize("text", ["[" * 100_000, "1e999", "NaN", "[]", "0", "", '"a"', "\xff"])
def test_a_program_that_is_none_is_refused(whole: Path, tmp_path: Path, text: str) -> None:
    error = changed(whole, tmp_path / "net.pt2", text.encode("latin-1"))
    assert error.code == "model-unreadable"
