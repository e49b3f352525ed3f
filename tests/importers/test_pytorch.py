"""PyTorch's files against PyTorch itself; and nothing in them is ever run."""

import contextlib
import io
import json
import os
import pickle
import shutil
import sys
import tarfile
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
import safetensors.torch
import torch
from tests.importers.conftest import refused
from torch import Tensor, nn

from thorax.artifact import Precision
from thorax.errors import ModelError, ThoraxError
from thorax.importers import pytorch, pytorch_networks
from thorax.importers.formats import read
from thorax.importers.options import Imported, ImportOptions, compile_here
from thorax.ir.classifier import Description
from thorax.ir.open import open_model
from thorax.labels import LabelSet
from thorax.quantization.optimize import optimize
from thorax.training import networks

SIDE = 24
LABELS = LabelSet("three", ("Cardiomegaly", "Effusion", "Mass"))
SHAPE = (1, 3, SIDE, SIDE)
OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.body = nn.Sequential(
            nn.Conv2d(8, 6, 3, padding=1, stride=2), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = self.body(torch.relu(self.bn(self.stem(x))))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))

def broken():
    raise RuntimeError("no such luck")

def nothing():
    return 7
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A network of the user's own, in a module of the current folder."""
    (tmp_path / "own_net.py").write_text(OWN, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return small()


def small() -> nn.Module:
    """Return the network of `OWN`."""
    scope: dict[str, Any] = {"__name__": "own_net"}
    exec(OWN, scope)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        made: nn.Module = scope["Net"]()
    return lively(made)


def lively(network: nn.Module) -> nn.Module:
    """Give batch normalisation statistics as training leaves them."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var, module.running_mean):
                assert isinstance(values, Tensor)
                values.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def noise(shape: tuple[int, ...] = SHAPE) -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).normal(0, 1, shape).astype(np.float32)


def ours(imported: Imported, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return compile_here(imported.model)([images])[0]


def peer(network: nn.Module, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(images)).numpy())


def require_alike(imported: Imported, network: nn.Module, shape: tuple[int, ...] = SHAPE) -> None:
    images = noise(shape)
    wanted = peer(network, images)
    np.testing.assert_allclose(ours(imported, images), wanted, rtol=0, atol=1e-5)
    assert imported.run is not None
    np.testing.assert_allclose(imported.run([images])[0], wanted, rtol=0, atol=1e-6)


def names(imported: Imported) -> set[str]:
    return {node.get_friendly_name() for node in imported.model.get_ordered_ops()}


Save = Callable[[nn.Module, Path], Path]


def as_traced(network: nn.Module, path: Path) -> Path:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.trace(network, torch.from_numpy(noise())), path)  # type: ignore
    return path


def as_scripted(network: nn.Module, path: Path) -> Path:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(network), path)
    return path


def as_exported(network: nn.Module, path: Path) -> Path:
    path = path.with_suffix(".pt2")
    torch.export.save(torch.export.export(network, (torch.from_numpy(noise()),)), path)
    return path


def as_exported_of_any_batch(network: nn.Module, path: Path) -> Path:
    path = path.with_suffix(".pt2")
    pair = torch.from_numpy(noise((2, *SHAPE[1:])))
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (pair,), dynamic_shapes=shapes), path)
    return path


@pytest.fixture
def resnet() -> nn.Module:
    return lively(networks.build("resnet18", classes=3, channels=3, width=0.125, seed=5))


@pytest.mark.parametrize("save", [as_traced, as_exported, as_exported_of_any_batch])
def test_a_saved_graph_answers_as_the_network_and_keeps_its_names(
    tmp_path: Path, save: Save, capfd: pytest.CaptureFixture[str]
) -> None:
    network = small()
    path = save(network, tmp_path / "net.pt")
    imported = read(path, ImportOptions(shapes={"": SHAPE}))
    assert (imported.framework, imported.layout, imported.files) == ("pytorch", "NCHW", (path,))
    require_alike(imported, network)
    found = {name.split("/")[0].removeprefix("__module.") for name in names(imported)}
    wanted = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert wanted <= found
    assert capfd.readouterr() == ("", "")


def test_scripted_code_answers_as_the_network(own: nn.Module, tmp_path: Path) -> None:
    # What `torch.jit.script` reads must stand in a file.
    sys.path.insert(0, str(tmp_path))
    try:
        import own_net  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
    network = own_net.Net()
    network.load_state_dict(own.state_dict())
    path = as_scripted(network.eval(), tmp_path / "net.ts")
    imported = read(path, ImportOptions(shapes={"": SHAPE}))
    require_alike(imported, own)
    assert {"__module.stem/aten::conv2d/Convolution"} <= names(imported)


@pytest.mark.parametrize(
    ("topology", "ending"),
    [("resnet18", ".pth"), ("resnet18", ".pt"), ("vgg16_bn", ".safetensors")],
)
def test_a_state_dict_and_a_name_are_the_network(
    tmp_path: Path, topology: str, ending: str
) -> None:
    network = lively(networks.build(topology, classes=5, channels=3, seed=5))
    path = tmp_path / f"net{ending}"
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    if ending == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    elif ending == ".pt":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)
    else:
        torch.save(OrderedDict(tensors), path)
    shape = (1, 3, 32, 32)
    require_alike(read(path, ImportOptions(topology=topology, shapes={"": shape})), network, shape)


@pytest.mark.parametrize("ending", [".pth.tar", ".ckpt", ".bin"])
def test_a_checkpoint_of_a_training_loop_is_read_and_its_match_told(
    resnet: nn.Module, tmp_path: Path, ending: str
) -> None:
    state = {
        f"module.net.{name}".replace(".fc.", ".fc.1."): value
        for name, value in resnet.state_dict().items()
    }
    content = {"epoch": np.int64(3), "best_loss": np.float64(0.2), "model_state": state}
    torch.save(content, tmp_path / f"net{ending}")
    options = ImportOptions(topology="resnet18", shapes={"": SHAPE})
    imported = read(tmp_path / f"net{ending}", options)
    require_alike(imported, resnet)
    assert imported.note == (
        "weights are those of model_state; module.net. taken off their names; fc.1 taken for fc"
    )


def test_the_weights_of_an_ir_are_told_from_a_state_dict(tmp_path: Path) -> None:
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=r"model-format.*give model\.xml"):
        read(tmp_path / "model.bin")


def test_one_channel_and_a_narrow_network_are_seen_in_the_weights(tmp_path: Path) -> None:
    network = lively(networks.build("resnet50", classes=2, channels=1, width=0.25, seed=5))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    shape = (1, 1, 32, 32)
    options = ImportOptions(topology="resnet50", shapes={"": shape})
    require_alike(read(tmp_path / "net.pth", options), network, shape)


@pytest.mark.slow
def test_old_names_and_old_files_are_read(tmp_path: Path) -> None:
    network = lively(networks.build("densenet121", classes=2, channels=3, seed=5))
    old = {
        name.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.").replace("conv2.", "conv.2."): value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }  # fmt: skip
    torch.save(old, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    shape = (1, 3, 32, 32)
    options = ImportOptions(topology="densenet121", shapes={"": shape})
    require_alike(read(tmp_path / "net.pth", options), network, shape)


def test_the_users_own_code_builds_the_network(own: nn.Module, tmp_path: Path) -> None:
    torch.save(own.state_dict(), tmp_path / "net.pth")
    path_before = list(sys.path)
    imported = read(tmp_path / "net.pth", ImportOptions(topology="own_net:Net", shapes={"": SHAPE}))
    require_alike(imported, own)
    assert sys.path == path_before


def test_a_file_here_does_not_stand_for_a_library(
    own: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('not the library')\n", "utf-8")
    (tmp_path / "own_net.py").write_text("import colorsys\n" + OWN, "utf-8")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    torch.save(own.state_dict(), tmp_path / "net.pth")
    options = ImportOptions(topology="own_net:Net", shapes={"": SHAPE})
    require_alike(read(tmp_path / "net.pth", options), own)


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


class _NormalisesItself(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1))
        self.body = plain()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.body((x - self.mean) / self.std)
        return scores


@pytest.mark.parametrize("save", ["traced", "scripted", "exported", "state dict"])
@pytest.mark.parametrize("first", ["normalisation", "pooling"])
def test_what_comes_before_any_weight_takes_floats(
    tmp_path: Path, first: str, save: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = lively(
        _NormalisesItself() if first == "normalisation" else nn.Sequential(nn.MaxPool2d(2), plain())
    )
    path, topology = tmp_path / "net.pt", None
    if save == "state dict":
        torch.save(network.state_dict(), path)
        topology = "own_first:make"
        made = types.ModuleType("own_first")
        made.__dict__["make"] = lambda: network
        monkeypatch.setitem(sys.modules, "own_first", made)
    else:
        ways = {"traced": as_traced, "scripted": as_scripted, "exported": as_exported}
        path = ways[save](network, path)
    # Here, where the user's own module is.
    imported = pytorch.read(path, ImportOptions(topology=topology, shapes={"": SHAPE}))
    assert imported.model.inputs[0].get_element_type() == ov.Type.f32
    require_alike(imported, network)


@pytest.mark.parametrize("save", ["traced", "scripted"])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_side_is_enough_for_a_script_and_a_state_dict(
    tmp_path: Path, save: str, groups: int
) -> None:
    body = [nn.MaxPool2d(2), nn.Conv2d(3, 6, 3, groups=groups), nn.AdaptiveAvgPool2d(1)]
    network = nn.Sequential(*body, nn.Flatten(), nn.Linear(6, 2)).eval()
    path = {"traced": as_traced, "scripted": as_scripted}[save](network, tmp_path / "net.ts")
    options = ImportOptions(side=SIDE)
    assert list(read(path, options).model.inputs[0].shape) == list(SHAPE)
    assert list(open_model(path, options).model.inputs[0].shape) == list(SHAPE)
    torch.save(networks.build("resnet18", classes=2, channels=1, width=0.25).state_dict(), path)
    weights = read(path, ImportOptions(topology="resnet18", side=SIDE))
    assert list(weights.model.inputs[0].shape) == [1, 1, SIDE, SIDE]


@pytest.mark.parametrize("side", [10_000, 1_000_000])
def test_a_side_that_fills_the_memory_is_refused(tmp_path: Path, side: int) -> None:
    torch.save({}, tmp_path / "net.pth")
    with pytest.raises(ModelError) as caught:
        read(
            tmp_path / "net.pth",
            ImportOptions(topology="resnet18", shapes={"": (1, 3, side, side)}),
        )
    assert caught.value.code == "model-input"
    assert str(side) in caught.value.message
    with pytest.raises(ModelError):
        ImportOptions(side=side)


def test_a_state_dict_becomes_an_artifact(resnet: nn.Module, tmp_path: Path) -> None:
    torch.save(resnet.state_dict(), tmp_path / "net.pth")
    described = Description(LABELS, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), side=64, topology="resnet18")
    made = optimize(tmp_path / "net.pth", tmp_path / "a", Precision.FP32, description=described)
    assert made.result.largest_difference < 1e-5
    assert made.artifact.card.heatmap is not None
    model = ov.Core().read_model(made.artifact.xml)
    assert "layer1.0.conv1" in {node.get_friendly_name() for node in model.get_ops()}


def refusal(path: Path, options: ImportOptions | None = None) -> ThoraxError:
    return refused(path, options or ImportOptions(topology="resnet18", shapes={"": SHAPE}))


@pytest.mark.parametrize(
    ("topology", "shapes", "code", "words"),
    [
        (None, {"": SHAPE}, "model-undescribed", "--topology"),
        ("resnet18", {}, "model-undescribed", "--side"),
        ("resnet18", {"": (1, 3, -1, -1)}, "model-undescribed", "--input_shape"),
        ("resnet17", {"": SHAPE}, "model-topology", "resnet20-cifar"),
        ("no_such_module:net", {"": SHAPE}, "model-topology", "importable"),
        ("own_net:absent", {"": SHAPE}, "model-topology", "absent"),
        ("own_net:broken", {"": SHAPE}, "model-topology", "no such luck"),
        ("own_net:nothing", {"": SHAPE}, "model-topology", "int"),
        ("resnet18", {"": (1, 1, 24, 24)}, "model-input", "channels"),
        ("resnet18", {"": (3, 24, 24)}, "model-input", "24"),
        ("resnet50", {"": SHAPE}, "model-weights", "layer1.0.conv3.weight"),
        ("densenet121", {"": SHAPE}, "model-weights", "features.conv0.weight"),
        ("resnet20-cifar", {"": SHAPE}, "model-weights", "lacks layer1.2.conv1.weight"),
    ],
)
def test_what_a_state_dict_leaves_open_is_asked_for(
    own: nn.Module,
    resnet: nn.Module,
    tmp_path: Path,
    topology: str | None,
    shapes: Mapping[str, tuple[int, ...]],
    code: str,
    words: str,
) -> None:
    assert own
    torch.save(resnet.state_dict(), tmp_path / "net.pth")
    error = refusal(tmp_path / "net.pth", ImportOptions(topology=topology, shapes=shapes))
    assert error.code == code
    assert words in error.message
    assert error.exit_code == (4 if code in ("model-input", "model-weights") else 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("layer1.0.bn1.weight"), "lacks layer1.0.bn1.weight"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra"),
        (lambda tensors: tensors.update({"bn1.weight": torch.zeros(5)}), "(5,) for (8,)"),
        (lambda tensors: tensors["bn1.weight"].fill_(float("nan")), "finite"),
        (lambda tensors: tensors.update({"bn1.weight": torch.zeros(8).int()}), "finite"),
        (lambda tensors: tensors.update({"fc.weight": torch.zeros(3)}), "axes"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    resnet: nn.Module, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], words: str
) -> None:
    tensors = dict(resnet.state_dict())
    change(tensors)
    torch.save(tensors, tmp_path / "net.pth")
    error = refusal(tmp_path / "net.pth")
    assert (error.code, error.exit_code) == ("model-weights", 4)
    assert words in error.message


class Bomb:
    """What, unpickled, leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The folder that a bomb makes when it goes off."""
    return tmp_path / "went-off"


def test_the_bomb_is_a_bomb(tmp_path: Path, mark: Path) -> None:
    torch.save({"a": Bomb(mark)}, tmp_path / "net.pth")
    torch.load(tmp_path / "net.pth", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ts", ".pt2", ".safetensors"])
@pytest.mark.parametrize("way", ["zip", "legacy", "bare", "whole", "tar"])
def test_a_pickle_that_asks_for_code_is_refused_and_not_run(
    tmp_path: Path, mark: Path, ending: str, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"net{ending}"
    if way == "zip":
        torch.save({"state_dict": {"a": torch.zeros(1)}, "more": Bomb(mark)}, path)
    elif way == "legacy":
        torch.save({"a": Bomb(mark)}, path, _use_new_zipfile_serialization=False)
    elif way == "bare":
        path.write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    elif way == "whole":
        torch.save(nn.Linear(2, 2), path)
    else:
        with tarfile.open(path, "w") as archive:
            for name in ("storages", "tensors", "pickle"):
                content = pickle.dumps(Bomb(mark))
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    error = refusal(path)
    assert not mark.exists()
    assert error.exit_code == 4
    if ending != ".safetensors":
        assert error.code == "model-unsafe"
        assert "state_dict()" in error.message
    assert capfd.readouterr() == ("", "")


def repacked(path: Path, out: Path, change: Mapping[str, bytes]) -> Path:
    """Write an archive of PyTorch again, with records changed or added."""
    reader = torch._C.PyTorchFileReader(str(path))
    writer = torch._C.PyTorchFileWriter(str(out))
    for record in {*reader.get_all_records(), *change}:
        if record.startswith(".data/") or record in ("version", "byteorder"):
            continue
        content = change.get(record) if record in change else reader.get_record(record)
        assert content is not None
        writer.write_record(record, content, len(content))
    writer.write_end_of_file()
    return out


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("record", ["data.pkl", "constants.pkl", "traced_inputs.pkl"])
def test_a_pickle_in_torchscript_is_not_run(
    resnet: nn.Module, tmp_path: Path, mark: Path, record: str
) -> None:
    whole = as_traced(resnet, tmp_path / "whole.pt")
    bomb = pickle.dumps(Bomb(mark), protocol=2)
    path = repacked(whole, tmp_path / "net.pt", {record: bomb})
    with contextlib.suppress(ModelError):
        read(path, ImportOptions(shapes={"": SHAPE}))
    assert not mark.exists()


@pytest.mark.parametrize(
    "line",
    [
        "torch.save(x, 'written')",
        "torch.from_file('written', True, 9)",
        "ops.evil.call(x)",
        "def __setstate__(self, state):",
    ],
)
def test_torchscript_that_does_more_than_compute_is_refused(
    resnet: nn.Module, tmp_path: Path, line: str
) -> None:
    whole = as_traced(resnet, tmp_path / "whole.pt")
    reader = torch._C.PyTorchFileReader(str(whole))
    record = next(name for name in reader.get_all_records() if name.endswith(".py"))
    code = reader.get_record(record) + b"\n    " + line.encode()
    path = repacked(whole, tmp_path / "net.pt", {record: code})
    assert refusal(path).code == "model-unsafe"


PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported program with an open batch."""
    return as_exported_of_any_batch(small(), tmp_path_factory.mktemp("exported") / "whole.pt2")


def altered(exported: Path, record: str, old: str, new: str) -> bytes:
    text = torch._C.PyTorchFileReader(str(exported)).get_record(record).decode()
    assert old in text
    json.loads(text.replace(old, new, 1))
    return text.replace(old, new, 1).encode()


def attack(exported: Path, way: str, mark: Path) -> dict[str, bytes]:
    """Return the records of an exported program that would run something."""
    bomb = pickled(Bomb(mark))
    match way:
        case "example inputs":
            return {"data/sample_inputs/model.pt": bomb}
        case "pickled weight":
            return {
                "data/weights/weight_0": bomb,
                WEIGHTS: altered(exported, WEIGHTS, '"use_pickle": false', '"use_pickle": true'),
            }
        case "opaque constant" | "custom constant":
            kind = "opaque" if way.startswith("opaque") else "custom"
            config = {
                "config": {
                    "a": {
                        "path_name": f"{kind}_obj_0", "is_param": False, "use_pickle": True,
                        "tensor_meta": None,
                    }
                }
            }  # fmt: skip
            content = pickle.dumps(Bomb(mark))
            return {f"data/constants/{kind}_obj_0": content, CONSTANTS: json.dumps(config).encode()}
        case "legacy weights":
            return {"data/weights/model.pt": bomb}
        case "library":
            return {"data/aotinductor/model/a.so": b"\x7fELF"}
    return altered_program(exported, way, f"__import__('os').mkdir('{mark}')")


def altered_program(exported: Path, way: str, run: str) -> dict[str, bytes]:
    """Return the graph of an exported program with code, or what leads to code, in it."""
    program = json.loads(torch._C.PyTorchFileReader(str(exported)).get_record(PROGRAM))
    graph = program["graph_module"]["graph"]
    match way:
        case "size":
            graph["tensor_values"]["x"]["sizes"][0] = {
                "as_expr": {"expr_str": run, "hint": {"as_int": 2}}
            }
        case "huge power":
            for value in graph["tensor_values"].values():
                for size in value["sizes"]:
                    size.clear()
                    size["as_expr"] = {"expr_str": "9**9**9**9", "hint": {"as_int": 2}}
        case "guard":
            program["guards_code"] = [f"{run} is None"]
        case "function":
            graph["nodes"][0]["target"] = "torch.hub.load"
        case "operator":
            graph["nodes"][0]["target"] = "_operator.methodcaller"
        case "name":
            name = f"x={run}"
            text = json.dumps(program).replace('{"name": "x"}', json.dumps({"name": name}))
            return {PROGRAM: text.encode()}
        case "tree":
            call = program["graph_module"]["module_call_graph"][0]["signature"]
            call["in_spec"] = json.dumps(
                [1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]
            )
        case "file":
            graph["nodes"][0]["target"] = "torch.ops.aten.from_file.default"
    return {PROGRAM: json.dumps(program).encode()}


@pytest.mark.parametrize(
    "way",
    [
        "example inputs", "pickled weight", "opaque constant", "custom constant", "legacy weights",
        "library", "size", "huge power", "guard", "function", "operator", "name", "tree", "file",
    ],
)  # fmt: skip
def test_an_exported_program_runs_nothing(
    exported: Path, tmp_path: Path, mark: Path, way: str
) -> None:
    path = repacked(exported, tmp_path / "net.pt2", attack(exported, way, mark))
    if way in ("example inputs", "guard"):
        # Neither is needed, so neither is read.
        read(path, ImportOptions(shapes={"": SHAPE}))
    else:
        error = refusal(path, ImportOptions(shapes={"": SHAPE}))
        assert (error.code, error.exit_code) == ("model-unsafe", 4)
    assert not mark.exists()


def test_pytorch_itself_would_have_run_an_exported_program(
    exported: Path, tmp_path: Path, mark: Path
) -> None:
    path = repacked(exported, tmp_path / "net.pt2", attack(exported, "pickled weight", mark))
    with pytest.raises(Exception):  # noqa: B017, PT011
        torch.export.load(path)
    assert mark.exists()


def test_an_archive_that_grows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/version", "3")
        archive.writestr("net/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("net/data/0", bytes(64 << 20))
    assert path.stat().st_size < 1 << 20
    error = refusal(path)
    assert error.code == "model-unreadable"
    assert "claims" in error.message


def test_a_weight_that_repeats_itself_is_refused(tmp_path: Path) -> None:
    endless = torch.zeros(1).expand(1 << 40, 512)
    torch.save({"conv1.weight": torch.zeros(8, 3, 7, 7), "fc.weight": endless}, tmp_path / "n.pth")
    error = refusal(tmp_path / "n.pth")
    assert error.code == "model-unreadable"
    assert "claims" in error.message


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ts", ".pt2", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 40, b"PK\x03\x04" + bytes(90), b"\x80\x02."])
def test_a_file_that_only_has_the_name_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str, content: bytes
) -> None:
    path = tmp_path / f"net{ending}"
    path.write_bytes(content)
    error = refusal(path)
    assert (error.code, error.exit_code) == ("model-unreadable", 4)
    assert "weights_only" not in error.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
@pytest.mark.parametrize("ending", [".pt", ".pth", ".pt2"])
def test_no_protocol_of_pickle_is_run_or_advised_to_be(
    tmp_path: Path,
    mark: Path,
    capfd: pytest.CaptureFixture[str],
    ending: str,
    protocol: int,
    packed: bool,
) -> None:
    path = tmp_path / f"net{ending}"
    if packed:
        torch.save({"a": torch.zeros(1), "b": Bomb(mark)}, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(Bomb(mark), protocol=protocol))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        error = refusal(path)
    assert told == []
    assert not mark.exists()
    assert (error.code, error.exit_code) == ("model-unsafe", 4)
    assert "mkdir" in error.message
    assert "weights_only" not in error.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "traced", "exported"])
def test_a_file_that_is_cut_off_is_refused_in_silence(
    resnet: nn.Module,
    exported: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    share: float,
) -> None:
    path = tmp_path / "net.pt"
    if kind == "traced":
        as_traced(resnet, path)
    elif kind == "exported":
        shutil.copy(exported, path)
    elif kind == "safetensors":
        path = tmp_path / "net.safetensors"
        safetensors.torch.save_file(resnet.state_dict(), path)
    else:
        torch.save(resnet.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    error = refusal(path)
    assert (error.code, error.exit_code) == ("model-unreadable", 4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {1: torch.zeros(1)}, torch.zeros(3)])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    assert refusal(tmp_path / "net.pth").code == "model-unreadable"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pth").mkdir()
    assert refusal(tmp_path / "net.pth").code == "model-unreadable"


def test_a_layer_that_openvino_lacks_is_named(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)  # type: ignore[no-any-return]

    error = refusal(as_traced(Odd(), tmp_path / "net.pt"))
    assert (error.code, error.exit_code) == ("model-layer", 4)
    assert "bessel_j0" in error.message


class _Peer(nn.Module):
    """A block of ResNet-20 for CIFAR written another way: the shortcut is a convolution of ones."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str, stride: int) -> None:
        super().__init__()
        self.tensors, self.prefix, self.stride = tensors, prefix, stride

    def norm(self, x: Tensor, name: str) -> Tensor:
        at = {
            key: self.tensors[f"{self.prefix}{name}.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        }
        scale = at["weight"] / torch.sqrt(at["running_var"] + 1e-5)
        return (x - at["running_mean"]) * scale + at["bias"]

    def forward(self, x: Tensor) -> Tensor:
        conv = nn.functional.conv2d
        first, second = (self.tensors[f"{self.prefix}conv{n}.weight"] for n in (1, 2))
        y = torch.relu(self.norm(conv(x, first, stride=self.stride, padding=1), "bn1"))
        y = self.norm(conv(y, second, padding=1), "bn2")
        if x.shape != y.shape:
            more, less = y.shape[1], x.shape[1]
            place = torch.zeros(more, less, 1, 1)
            for channel in range(less):
                place[channel + (more - less) // 2, channel] = 1
            x = conv(x, place, stride=2)
        return torch.relu(x + y)


@pytest.mark.realdata
def test_a_published_resnet20_runs_and_tells_images_apart(realdata: Path, tmp_path: Path) -> None:
    path = realdata / "models" / "resnet20_cifar_state_dict.pth"
    shape = (6, 3, 32, 32)
    imported = read(path, ImportOptions(topology="resnet20-cifar", shapes={"": shape}))
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    tensors = tensors.get("state_dict", tensors)
    tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    x = torch.nn.functional.interpolate(torch.from_numpy(noise((6, 3, 4, 4))), (32, 32))
    stem = _Peer(tensors, "", 1)
    y = torch.relu(stem.norm(nn.functional.conv2d(x, tensors["conv1.weight"], padding=1), "bn1"))
    for stage in range(1, 4):
        for block in range(3):
            stride = 2 if stage > 1 and not block else 1
            y = _Peer(tensors, f"layer{stage}.{block}.", stride)(y)
    wanted = y.mean((2, 3)) @ tensors["linear.weight"].T + tensors["linear.bias"]
    got = ours(imported, x.numpy())
    np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=2e-5 * np.abs(got).max())
    assert len(set(got.argmax(axis=1).tolist())) > 1
    described = Description(
        LabelSet("cifar", tuple("abcdefghij")), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225),
        side=32, topology="resnet20-cifar", activation="softmax",
    )  # fmt: skip
    made = optimize(path, tmp_path / "a", Precision.FP32, description=described)
    assert made.result.largest_difference < 1e-4
    assert made.artifact.card.heatmap is not None


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depths_of_the_paper_have_the_weights_of_the_paper(depth: int) -> None:
    network = pytorch_networks.CifarResNet(depth, classes=10, channels=3)
    counted = sum(one.numel() for one in network.parameters())
    # He et al., CVPR 2016, table 6.
    wanted = {20: 0.27e6, 32: 0.46e6, 44: 0.66e6, 56: 0.85e6, 110: 1.7e6}[depth]
    assert abs(counted - wanted) < 0.02 * wanted
    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
