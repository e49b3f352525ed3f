"""Exported programs that would call what is no arithmetic, or are nested without end."""

import contextlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.importers import small_models
from torch import Tensor, nn

from thorax.errors import ThoraxError
from thorax.importers.options import ImportOptions, compile_here
from thorax.importers.pytorch import read

PROGRAM = "models/model.json"
SHAPE = (1, 3, 16, 16)


class Modal(nn.Module):
    """A network that computes its features without gradients, or in mixed precision."""

    def __init__(self, mode: str = "") -> None:
        super().__init__()
        self.mode = mode
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with contextlib.ExitStack() as modes:
            if "no_grad" in self.mode:
                modes.enter_context(torch.no_grad())
            if "autocast" in self.mode:
                modes.enter_context(torch.autocast("cuda", dtype=torch.float16))
            x = torch.relu(self.conv(x))
            if "twice" in self.mode:
                x = nn.functional.interpolate(x, scale_factor=1.5, mode="bilinear")
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores


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


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("mode", ["no_grad", "autocast", "no_grad autocast"])
def test_parts_under_no_grad_and_autocast_are_parts_of_the_whole(tmp_path: Path, mode: str) -> None:
    network = Modal(mode).eval()
    exported = torch.export.export(network, (torch.zeros(SHAPE),))
    torch.export.save(exported, tmp_path / "net.pt2")
    assert "as_graph" in program(tmp_path / "net.pt2")
    require_same(tmp_path / "net.pt2", network)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_answers_of_bfloat16_are_real_numbers(tmp_path: Path) -> None:
    """Autocast to bfloat16 on a CPU, of which NumPy has no arrays."""

    class Mixed(Modal):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(x)

    network = Mixed().eval()
    exported = torch.export.export(network, (torch.zeros(SHAPE),))
    torch.export.save(exported, tmp_path / "net.pt2")
    run = read(tmp_path / "net.pt2", ImportOptions()).run
    assert run is not None
    image = np.full(SHAPE, 0.5, np.float32)
    with torch.inference_mode():
        scores = network(torch.from_numpy(image))
    assert scores.dtype == torch.bfloat16
    np.testing.assert_allclose(run([image])[0], scores.float().numpy(), atol=1e-2)


@pytest.mark.parametrize("mode", ["", "twice"])
def test_height_and_width_may_be_open(tmp_path: Path, mode: str) -> None:
    network = Modal(mode).eval()
    sides = ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    exported = torch.export.export(network, (torch.zeros(1, 3, 32, 40),), dynamic_shapes=sides)
    torch.export.save(exported, tmp_path / "net.pt2")
    require_same(tmp_path / "net.pt2", network)


def test_a_program_of_several_images_answers_for_one(tmp_path: Path) -> None:
    network = Modal().eval()
    exported = torch.export.export(network, (torch.zeros(3, *SHAPE[1:]),))
    torch.export.save(exported, tmp_path / "net.pt2")
    imported = read(tmp_path / "net.pt2", ImportOptions())
    imported.model.reshape(list(SHAPE))
    image = noise()
    wanted = compile_here(imported.model)([image])[0]
    assert imported.run is not None
    np.testing.assert_allclose(imported.run([image])[0], wanted, rtol=0, atol=1e-6)


def noise() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(3).normal(0, 1, SHAPE).astype(np.float32)


def require_same(path: Path, network: nn.Module) -> None:
    imported = read(path, ImportOptions(shapes={"": SHAPE}))
    with torch.inference_mode():
        wanted = network(torch.from_numpy(noise())).numpy()
    np.testing.assert_allclose(compile_here(imported.model)([noise()])[0], wanted, atol=1e-5)


def test_a_part_calls_arithmetic_alone(tmp_path: Path) -> None:
    exported = torch.export.export(Modal("no_grad").eval(), (torch.zeros(SHAPE),))
    torch.export.save(exported, tmp_path / "whole.pt2")
    text = program(tmp_path / "whole.pt2").replace("aten.conv2d.default", "aten.save.default", 1)
    error = changed(tmp_path / "whole.pt2", tmp_path / "net.pt2", text.encode())
    assert error.code == "model-unsafe"


@pytest.mark.parametrize(
    "expression",
    [
        "Pow(Integer(9), Integer(99999999))",
        "Pow(Pow(Integer(99), Integer(9)), Integer(9))",
        "Integer(9)**Integer(9)",
        "Mul(Integer(__import__('os').getpid()), Integer(2))",
        "Float('1e99999999', precision=53)",
        "factorial(Integer(9))",
    ],
)
def test_a_size_is_arithmetic_that_ends(tmp_path: Path, expression: str) -> None:
    sides = ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    images = torch.zeros(1, 3, 32, 40)
    exported = torch.export.export(Modal().eval(), (images,), dynamic_shapes=sides)
    torch.export.save(exported, tmp_path / "whole.pt2")
    text = program(tmp_path / "whole.pt2")
    place = text.index('"Mul(Integer(3)')
    end = text.index('"', place + 1) + 1
    text = f"{text[:place]}{json.dumps(expression)}{text[end:]}"
    error = changed(tmp_path / "whole.pt2", tmp_path / "net.pt2", text.encode())
    assert error.code == "model-unsafe"
