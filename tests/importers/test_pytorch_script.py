"""TorchScript that would do more than compute, in many disguises."""

import ast
import contextlib
import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.importers.conftest import refused
from torch import Tensor, nn

from thorax.errors import ModelError, ThoraxError
from thorax.importers.options import ImportOptions, compile_here
from thorax.importers.pytorch import read
from thorax.importers.pytorch_operators import ATEN, NotComputationError, registered
from thorax.importers.pytorch_source import canonical

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

SHAPE = (1, 3, 8, 8)
OPTIONS = ImportOptions(shapes={"": SHAPE})
CLASS = "__torch__.Net"
NET = """\
class Net(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  {field}
  def forward(self: __torch__.Net, x: Tensor{parameter}) -> Tensor:
    {line}
    return torch.relu(x)
{method}
{top}
"""
DATA = b"\x80\x02c__torch__\nNet\nq\x00)\x81}(X\x08\x00\x00\x00trainingq\x01\x89ubq\x02."
EMPTY = b"\x80\x02)."


def script(
    path: Path,
    *,
    line: str = "pass",
    parameter: str = "",
    field: str = "",
    method: str = "",
    top: str = "",
    more: Mapping[str, bytes] | None = None,
) -> Path:
    """Write an archive of TorchScript, its source code as given."""
    source = NET.format(line=line, parameter=parameter, field=field, method=method, top=top)
    return archive(path, {"code/__torch__.py": source.encode(), **(more or {})})


def archive(path: Path, records: Mapping[str, bytes]) -> Path:
    needed = {"data.pkl": DATA, "constants.pkl": EMPTY, "version": b"3\n", "byteorder": b"little"}
    with zipfile.ZipFile(path, "w") as written:
        for name, content in {**needed, **records}.items():
            written.writestr(f"net/{name}", content)
    return path


def test_the_plain_archive_is_read(tmp_path: Path) -> None:
    imported = read(script(tmp_path / "net.pt"), OPTIONS)
    assert imported.run is not None
    x = np.linspace(-1, 1, 192, dtype=np.float32).reshape(SHAPE)
    np.testing.assert_array_equal(imported.run([x])[0], np.maximum(x, 0))


@pytest.mark.parametrize(
    "line",
    [
        'x = torch.to(x, torch.device("cuda:0"), 6)',
        'x = torch.mul(x, torch.ones([1], dtype=6, device=torch.device("cuda:1")))',
        'x = torch.mul(x, torch.ones([1], dtype=6, device=torch.device("mps")))',
        "x = torch.cuda(x)",
        "x = torch.cpu(x)",
    ],
)
def test_a_network_that_was_traced_on_another_device_is_read_on_the_cpu(
    tmp_path: Path, line: str
) -> None:
    imported = read(script(tmp_path / "net.pt", line=line), OPTIONS)
    assert imported.run is not None
    x = np.linspace(-1, 1, 192, dtype=np.float32).reshape(SHAPE)
    np.testing.assert_array_equal(imported.run([x])[0], np.maximum(x, 0))
    np.testing.assert_array_equal(compile_here(imported.model)([x])[0], np.maximum(x, 0))


LINES = {
    "plain": 'torch.save(x, "{mark}")',
    "comment": '(torch.save # c\n      (x, "{mark}"))',
    "comment in parentheses": '_0 = (torch.save # c\n      )(x, "{mark}")',
    "comment within the name": '_0 = (torch. # c\n      save)(x, "{mark}")',
    "line continuation": 'torch.\\\n      save(x, "{mark}")',
    "spaces": 'torch . save ( x , "{mark}" )',
    "tab": 'torch\t.\tsave\t(x, "{mark}")',
    "form feed": 'torch.save\x0c(x, "{mark}")',
    "semicolon": 'pass; torch.save(x, "{mark}")',
    "parentheses": '((torch).save)(x, "{mark}")',
    "method": 'x.save("{mark}")',
    "method of a call": 'torch.relu(x).save("{mark}")',
    "method of an item": '[x][0].save("{mark}")',
    "getattr": 'getattr(torch, "save")(x, "{mark}")',
    "getattr of a value": 'getattr(x, "save")("{mark}")',
    "getattr joined": 'getattr(x, "sa" "ve")("{mark}")',
    "getattr escaped": 'getattr(x, "\\x73ave")("{mark}")',
    "ops": 'ops.aten.save(x, "{mark}")',
    "ops with spaces": 'ops . aten . save(x, "{mark}")',
    "ops with a comment": '_0 = (ops. # c\n      aten.save)(x, "{mark}")',
    "torch.ops": 'torch.ops.aten.save(x, "{mark}")',
    "alias": 'f = torch.save\n    f(x, "{mark}")',
    "alias of torch": 't = torch\n    t.save(x, "{mark}")',
    "alias of ops": 't = ops.aten\n    t.save(x, "{mark}")',
    "shadowed name": '__torch__ = x\n    __torch__.save("{mark}")',
    "shadowed constants": 'CONSTANTS = x\n    CONSTANTS.save("{mark}")',
    "shadowed getattr": 'getattr = torch.save\n    getattr(x, "{mark}")',
    "from_file": 'x = torch.from_file("{mark}", True, 192)',
    "from_file and copy_": '_0 = torch.copy_(torch.from_file("{mark}", True, 192), x)',
    "ops.prim": 'ops.prim.rpc_async("a", "b", (x,))',
    "fork": '_0 = fork(torch.save, x, "{mark}")',
    "in a condition": 'if True:\n      torch.save(x, "{mark}")\n    else:\n      pass',
    "in a loop": 'for i in range(1):\n      torch.save(x, "{mark}")',
    "in a while": 'while True:\n      torch.save(x, "{mark}")',
    "in a dictionary": '_0 = {{"a": torch.save(x, "{mark}")}}',
    "in a list": '_0 = [torch.save(x, "{mark}")]',
    "in a slice": 'x = x[torch.save(x, "{mark}"):]',
    "in a comprehension": '_0 = [torch.save(i, "{mark}") for i in [x]]',
    "lambda": '_0 = (lambda: torch.save(x, "{mark}"))()',
    "nested function": 'def f(x: Tensor):\n      torch.save(x, "{mark}")\n    f(x)',
    "with": 'with torch.save(x, "{mark}"):\n      pass',
    "assert": 'assert torch.save(x, "{mark}") is None',
    "walrus": '(y := torch.save(x, "{mark}"))',
    "format string": '_0 = f"{{torch.save(x, 0)}}"',
    "print": "print(x)",
    "ops.prim.Print": "ops.prim.Print(x)",
    "quantized": "_0 = ops.quantized.linear_unpack(x)",
    "other name space": "_0 = ops.evil.call(x)",
    "seed": "torch.manual_seed(3)",
    "C++ object": '_0 = __torch__.torch.classes.quantized.Conv2dPackedParamsBase()',
    "import": "import os",
    "homoglyph": 'torch.ѕave(x, "{mark}")',
    "full width": 'torch.ｓａｖｅ(x, "{mark}")',
    "ligature": 'torch.ﬁle(x, "{mark}")',
    "carriage return": 'pass # c\r    torch.save(x, "{mark}")',
    "line separator": 'pass # c\u2028    torch.save(x, "{mark}")',
    "zero byte": 'pass\x00\n    torch.save(x, "{mark}")',
    "type comment": '_0 = [] # type: List[torch.save(x, "{mark}")]\n    torch.save(x, "{mark}")',
    "triple quotes": '"""a" """\n    torch.save(x, "{mark}")',
}  # fmt: skip
PLACES: dict[str, dict[str, str]] = {
    "default": {"parameter": ', y: Tensor=torch.from_file("{mark}", True, 192)'},
    "default method": {"parameter": ', y: int=[1].save("{mark}")'},
    "keyword default": {"parameter": ', *, y: Tensor=torch.from_file("{mark}", True, 192)'},
    "annotation": {"parameter": ', y: torch.save(0, "{mark}")=0'},
    "class value": {"field": 'a : Final[Tensor] = torch.from_file("{mark}", True, 192)'},
    "class value without type": {"field": 'a = torch.from_file("{mark}", True, 192)'},
    "class statement": {"field": 'torch.save(1, "{mark}")'},
    "class condition": {"field": 'if True:\n    a = torch.save(1, "{mark}")'},
    "setstate": {
        "method": "  def __setstate__(self: __torch__.Net, state: int) -> None:\n"
        '    torch.save(state, "{mark}")\n    self.training = False'
    },
    "getstate": {"method": "  def __getstate__(self: __torch__.Net) -> int:\n    return 1"},
    "harmless setstate": {
        "method": "  def __setstate__(self: __torch__.Net, s: int) -> None:\n    return None"
    },
    "delattr": {"method": "  def __del__(self: __torch__.Net) -> int:\n    return 1"},
    "method that is not called": {
        "method": "  def other(self: __torch__.Net, x: Tensor) -> int:\n"
        '    torch.save(x, "{mark}")\n    return 1'
    },
    "training mode": {
        "method": "  def train(self: __torch__.Net, mode: bool) -> int:\n"
        '    torch.save(mode, "{mark}")\n    return 1'
    },
    "decorator": {
        "method": '  @torch.save("{mark}")\n  def f(self: __torch__.Net) -> int:\n    return 1'
    },
    "function": {"top": 'def f(x: Tensor) -> Tensor:\n  torch.save(x, "{mark}")\n  return x'},
    "statement at the top": {"top": 'torch.save(1, "{mark}")'},
    "value at the top": {"top": 'a = torch.from_file("{mark}", True, 192)'},
    "named tuple": {
        "top": 'class P(NamedTuple):\n  a : Tensor = torch.from_file("{mark}", True, 192)'
    },
    "enumeration": {"top": 'class E(Enum):\n  A = torch.from_file("{mark}", True, 192)'},
    "base": {"top": 'class P(torch.save):\n  a : int'},
    "keyword of a class": {"top": 'class P(Module, metaclass=torch.save):\n  a : int'},
    "interface": {
        "top": "class I(Interface):\n"
        '  def f(self, x: int=torch.save(1, "{mark}")) -> int:\n    pass'
    },
    "coding": {"top": '# -*- coding: utf-7 -*-\n+AHQAbwByAGMAaAAu-save(1, "{mark}")'},
}  # fmt: skip


@pytest.mark.parametrize("disguise", LINES)
def test_a_script_that_does_more_than_compute_is_refused_in_every_disguise(
    tmp_path: Path, disguise: str
) -> None:
    mark = tmp_path / "mark"
    path = script(tmp_path / "net.pt", line=LINES[disguise].format(mark=mark))
    error = refused(path, OPTIONS)
    assert (error.code, error.exit_code) == ("model-unsafe", 4), error.message
    assert not mark.exists()


@pytest.mark.parametrize("place", PLACES)
def test_code_that_runs_while_a_script_is_read_is_refused(tmp_path: Path, place: str) -> None:
    mark = tmp_path / "mark"
    parts = {key: text.format(mark=mark) for key, text in PLACES[place].items()}
    error = refused(script(tmp_path / "net.pt", **parts), OPTIONS)  # type: ignore[arg-type]
    assert (error.code, error.exit_code) == ("model-unsafe", 4), error.message
    assert not mark.exists()


@pytest.mark.parametrize(
    "disguise",
    ["plain", "comment", "comment in parentheses", "spaces", "ops", "in a condition"],
)
def test_pytorch_itself_would_have_run_it(tmp_path: Path, disguise: str) -> None:
    mark = tmp_path / "mark"
    path = script(tmp_path / "net.pt", line=LINES[disguise].format(mark=mark))
    torch.jit.load(path)(torch.zeros(SHAPE))  # type: ignore[no-untyped-call]
    assert mark.exists()


def test_pytorch_itself_runs_a_default_while_it_reads(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    parts = {key: text.format(mark=mark) for key, text in PLACES["default"].items()}
    torch.jit.load(script(tmp_path / "net.pt", **parts))  # type: ignore[arg-type, no-untyped-call]
    assert mark.exists()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.mark,)


CONV = b"\x80\x02c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n)\x81K\x01b."


@pytest.mark.parametrize("record", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("what", ["bomb", "object of C++", "cut off", "nothing"])
def test_a_pickle_of_a_script_names_its_own_classes_alone(
    tmp_path: Path, record: str, what: str
) -> None:
    mark = tmp_path / "mark"
    content = {
        "bomb": pickle.dumps(Bomb(mark), protocol=2),
        "object of C++": CONV,
        "cut off": DATA[:-1],
        "nothing": b"",
    }[what]
    error = refused(script(tmp_path / "net.pt", more={record: content}), OPTIONS)
    assert error.code in ("model-unsafe", "model-unreadable")
    assert not mark.exists()


@pytest.mark.parametrize(
    "record",
    [
        "extra/notes.txt", "bytecode.pkl", "mobile_debug_handles.pkl", "model.json",
        "code/__torch__.py.debug_pkl", "extra/bundled_inputs.pkl", ".data/ts_code/0/data.pkl",
        "traced_inputs.pkl", "code/notes.bin",
    ],
)  # fmt: skip
def test_records_that_no_network_needs_are_not_given_to_pytorch(
    tmp_path: Path, record: str
) -> None:
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark), protocol=2)
    imported = read(script(tmp_path / "net.pt", more={record: bomb}), OPTIONS)
    assert imported.run is not None
    imported.run([np.zeros(SHAPE, np.float32)])
    assert not mark.exists()


@pytest.mark.parametrize("first", [True, False])
def test_a_record_that_is_there_twice_is_judged_as_it_is_read(tmp_path: Path, first: bool) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "net.pt"
    good, bad = (
        NET.format(line=line, parameter="", field="", method="", top="").encode()
        for line in ("pass", f'torch.save(x, "{mark}")')
    )
    records = [("data.pkl", DATA), ("constants.pkl", EMPTY), ("version", b"3\n")]
    twice = [("code/__torch__.py", one) for one in ((bad, good) if first else (good, bad))]
    with zipfile.ZipFile(path, "w") as written, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in records + twice:
            written.writestr(f"net/{name}", content)
    with contextlib.suppress(ModelError):
        imported = read(path, OPTIONS)
        assert imported.run is not None
        imported.run([np.zeros(SHAPE, np.float32)])
    assert not mark.exists()


def test_names_that_the_two_lists_of_a_zip_tell_apart_hide_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = script(tmp_path / "net.pt", line=f'torch.save(x, "{mark}")')
    # The local header, which few read, is of another record than the central list says.
    content = path.read_bytes()
    at = content.index(b"net/code/__torch__.py")
    path.write_bytes(content[:at] + b"net/code/__torch__.tx" + content[at + 21 :])
    error = refused(path, OPTIONS)
    assert error.code in ("model-unsafe", "model-unreadable")
    path.write_bytes(content.replace(b"net/code/__torch__.py", b"net/code/__torch__.tx", 2))
    with zipfile.ZipFile(path) as archive:
        assert "net/code/__torch__.tx" in archive.namelist()
    assert refused(path, OPTIONS).code in ("model-unsafe", "model-unreadable")
    assert not mark.exists()


def test_a_claim_of_size_in_a_zip_is_not_believed(tmp_path: Path) -> None:
    path = script(tmp_path / "net.pt", more={"data/0": bytes(8)})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02", content.rindex(b"net/data/0") - 60)
    struct.pack_into("<I", content, at + 24, 1 << 30)
    path.write_bytes(content)
    assert refused(path, OPTIONS).code == "model-unreadable"


def test_arithmetic_that_openvino_lacks_is_a_layer_and_no_threat(tmp_path: Path) -> None:
    error = refused(script(tmp_path / "net.pt", line="x = torch.special_bessel_j0(x)"), OPTIONS)
    assert (error.code, "special_bessel_j0" in error.message) == ("model-layer", True)


def test_a_forward_that_raises_is_refused_with_what_it_says(tmp_path: Path) -> None:
    line = 'ops.prim.RaiseException("no such luck")'
    path = script(tmp_path / "net.pt", line=f"if True:\n      {line}\n    else:\n      pass")
    try:
        imported = read(path, OPTIONS)
    except ThoraxError as error:
        assert error.exit_code == 4  # noqa: PT017
    else:
        assert imported.run is not None
        with pytest.raises(ThoraxError, match="no such luck") as caught:
            imported.run([np.zeros(SHAPE, np.float32)])
        assert caught.value.code == "model-unrunnable"


class _Flow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)])
        self.bn = nn.BatchNorm2d(3)
        self.limit = float("inf")

    def forward(self, x: Tensor, scale: float = 1e-5, mode: str = "a'b\n\"c\\") -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x)) * scale
        parts: list[Tensor] = []
        assert x.shape[0] > 0, f"bad {mode}"
        for index in range(3):
            parts.append(x + index)
        first, second, third = parts[0], parts[1], parts[2]
        if x.dim() == 3:
            x = x + self.limit
        return self.bn(first + second * third)[:, :, ::2, 1:]  # type: ignore[no-any-return]


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "network",
    [
        _Flow(), _Recurrent(), nn.MultiheadAttention(8, 2),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        nn.Sequential(nn.ConvTranspose2d(3, 3, 2), nn.GroupNorm(3, 3), nn.Hardswish(), nn.GELU(),
                      nn.Upsample(scale_factor=2.0, mode="bilinear"), nn.PixelUnshuffle(2),
                      nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(4), nn.LayerNorm(4),
                      nn.Dropout(), nn.Softmax(1)),
    ],
    ids=["flow", "lstm", "attention", "transformer", "layers"],
)  # fmt: skip
def test_source_code_that_was_written_anew_computes_the_same(network: nn.Module) -> None:
    image = torch.linspace(-1, 1, 192).reshape(SHAPE)
    rows = torch.linspace(-1, 1, 32).reshape(1, 4, 8)
    flat = isinstance(network, _Recurrent | nn.TransformerEncoderLayer | nn.MultiheadAttention)
    inputs = (
        (rows,) * (3 if isinstance(network, nn.MultiheadAttention) else 1) if flat else (image,)
    )
    network(*inputs)
    scripted = torch.jit.script(network.eval())
    buffer, anew = io.BytesIO(), io.BytesIO()
    torch.jit.save(scripted, buffer)
    names = registered()
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(anew, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".py"):
                content = canonical(content, frozenset(), names)
            if not name.endswith(".debug_pkl"):
                target.writestr(name, content)
    again = torch.jit.load(io.BytesIO(anew.getvalue()))  # type: ignore[no-untyped-call]
    wanted, got = scripted(*inputs), again(*inputs)
    first = (wanted[0], got[0]) if isinstance(wanted, tuple) else (wanted, got)
    torch.testing.assert_close(*first, rtol=0, atol=0)


def test_no_operator_on_the_list_takes_the_name_of_a_file_or_starts_anything() -> None:
    for name in sorted(ATEN):
        for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
            text = str(schema)
            assert "filename" not in text
            assert not any(word in text for word in ("Future", "RRef", "Stream ", "__torch__"))


def test_what_is_written_anew_is_parsed_as_it_was_judged() -> None:
    source = b"def f(x: Tensor) -> Tensor:  # c\n  a, = [x]\n  return ((a))\n"
    anew = canonical(source, frozenset(), registered())
    assert b"#" not in anew
    assert ast.dump(ast.parse(anew)) == ast.dump(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [b"(" * 5000, b"x" + b".a" * 100_000, b"-" * 100_000 + b"1", b"a" * (17 << 20), b"\xff\xfe"],
    ids=["deep", "dotted", "signs", "long", "bytes"],
)
def test_source_code_that_no_parser_ends_with_is_refused(source: bytes) -> None:
    with pytest.raises(NotComputationError):
        canonical(source, frozenset(), registered())


@pytest.mark.parametrize(
    "line", ["pass # c\x0b    torch.save(x, '{mark}')", "# torch.save(x, 'a')"]
)
def test_what_is_a_comment_stays_one(tmp_path: Path, line: str) -> None:
    mark = tmp_path / "mark"
    line = f"{line.format(mark=mark)}\n    pass"
    imported = read(script(tmp_path / "net.pt", line=line), OPTIONS)
    assert imported.run is not None
    imported.run([np.zeros(SHAPE, np.float32)])
    assert not mark.exists()
