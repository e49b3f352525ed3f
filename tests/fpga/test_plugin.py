"""The core that sees simulated cards, and that refuses to where they would not behave."""

import subprocess
import sys
from pathlib import Path

import openvino as ov
import pytest

from thorax.errors import DeviceError
from thorax.fpga import plugin
from thorax.fpga.plugin import (
    alias,
    card_name,
    is_fpga,
    make_core,
    open_cards,
    require_version,
    self_test,
)


def test_openvino_sees_four_cards_beside_the_cpu() -> None:
    found = open_cards().available_devices
    assert {"CPU", "FPGA", "FPGA1", "FPGA2", "FPGA3"} <= set(found)
    assert open_cards() is open_cards()
    assert not any(name.startswith("FPGA") for name in ov.Core().available_devices)


@pytest.mark.parametrize(
    ("device", "named"),
    [
        ("FPGA", True),
        ("FPGA.3", True),
        ("HETERO:FPGA.1,CPU", True),
        ("HETERO:CPU, FPGA", True),
        ("CPU", False),
        ("HETERO", False),
        ("AUTO:CPU", False),
        ("FPGAS", False),
    ],
)
def test_a_card_is_known_by_its_name(device: str, named: bool) -> None:
    assert is_fpga(device) is named


@pytest.mark.parametrize(("card", "other"), [("FPGA.0", "FPGA"), ("FPGA.2", "FPGA2")])
def test_names_go_both_ways(card: str, other: str) -> None:
    assert alias(card) == other
    assert card_name(other) == card_name(f"{other}_CPU") == card_name(card) == card
    assert card_name("CPU") == "CPU"
    assert card_name("FPGAX") == "FPGAX"


@pytest.mark.parametrize("version", ["2025.4.0", "2026.3.1-1-x", "2026.5.0", "2027.0", "dev"])
def test_an_untried_openvino_is_refused(version: str) -> None:
    with pytest.raises(DeviceError, match=r"openvino==2026\.4\.\*") as refused:
        require_version(version)
    assert refused.value.code == "fpga-openvino"
    assert version in refused.value.message


def test_the_openvino_that_is_here_was_tried() -> None:
    require_version(ov.__version__)
    require_version("2026.4.9-123-releases")


def test_the_self_test_fails_where_cards_are_missing() -> None:
    with pytest.raises(DeviceError, match="does not list FPGA, FPGA1, FPGA2, FPGA3") as refused:
        self_test(ov.Core())
    assert refused.value.code == "fpga-selftest"


def test_the_self_test_fails_where_layers_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = plugin._probe
    monkeypatch.setattr(plugin, "_probe", lambda names: probe([*names[1:], names[0]]))
    with pytest.raises(DeviceError, match="were to run") as refused:
        self_test(make_core())
    assert refused.value.code == "fpga-selftest"


def test_the_self_test_fails_where_the_answer_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = plugin._probe
    monkeypatch.setattr(plugin, "_probe", lambda names: (probe(names)[0], 4.2))
    with pytest.raises(DeviceError, match="answer is wrong") as refused:
        self_test(make_core())
    assert refused.value.code == "fpga-selftest"


def test_nothing_is_opened_before_a_card_is_asked_for() -> None:
    script = (
        "from thorax.devices import core, engine\n"
        "from thorax.fpga import plugin\n"
        "core.list_devices()\n"
        "assert plugin.open_cards.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ov, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(DeviceError, match="no CPU library") as refused:
        make_core()
    assert refused.value.code == "fpga-openvino"


REAL = """
from pathlib import Path
import numpy as np
import openvino as ov
import openvino.opset13 as ops
from thorax.fpga import plugin
with plugin.listed_plugins() as listed:
    text = listed.read_text().replace('"FPGA1', '"OTHER1').replace('"FPGA2', '"OTHER2')
    kept = Path("plugins.xml")
    kept.write_text(text.replace('"FPGA3', '"OTHER3'))
class Listed(ov.Core):
    def __init__(self):
        super().__init__(kept)
ov.Core = Listed
from thorax.devices import core
from thorax.devices.graph import compile_graph
assert core.has_real_fpga()
found = {device.name: device for device in core.list_devices()}
assert not any(device.simulated for device in found.values())
assert "FPGA" in found and "FPGA.3" not in found
assert core.physical_devices("FPGA") == ("FPGA",)
assert core.openvino_name("FPGA") == core.thorax_name("FPGA") == "FPGA"
image = ops.parameter([1, 2, 4, 4], np.float32)
model = ov.Model([ops.sigmoid(image)], [image])
for device in ("FPGA", "HETERO:FPGA,CPU"):
    answer = compile_graph(model, device)(np.zeros((1, 2, 4, 4), np.float32))[0]
    assert np.allclose(answer, 0.5)
from thorax.devices.hetero_core import DropInCore
assert "FPGA" in DropInCore().available_devices
assert DropInCore().query_model(model, "FPGA")
image = ops.parameter([1, 1, 16, 16], np.uint8, name="image")
pooled = ops.reduce_mean(ops.convert(image, np.float32), ops.constant(np.array([2, 3])), False)
pooled.output(0).set_names({"probability"})
from thorax import artifact
ov.save_model(ov.Model([pooled], [image]), artifact.XML, compress_to_fp16=False)
from thorax.images.preprocess import InputSpec
told = artifact.Card(
    name="mean", topology="mean", label_set="one", labels=("A",), input=InputSpec(16),
    precision=artifact.Precision.FP32, parameters=1, macs=1, size_bytes=0,
)
mean = artifact.Artifact(Path.cwd(), artifact.seal(Path.cwd(), told))
from thorax.devices.engine import compile
for device in ("FPGA", "HETERO:FPGA,CPU", "MULTI:FPGA,CPU"):
    engine = compile(mean, device)
    assert (engine.simulated, engine.compute, engine.placement) == (False, "f32", None), device
    assert not any(name.startswith("FPGA.") for name in engine.devices)
    answer = engine.start(np.full((1, 1, 16, 16), 7, np.uint8)).result().probability
    assert np.allclose(answer, 7)
assert [one.device for one in engine.members] == ["HETERO:FPGA,CPU", "CPU"]
from thorax.errors import DeviceError
try:
    core.list_members("MULTI:FPGA,FPGA,CPU")
    raise SystemExit("a card of the list twice")
except DeviceError as error:
    assert error.code == "device-multi"
import os, sys
from thorax.cli import app
os.environ["XDG_STATE_HOME"] = str(Path.cwd())
name = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
for words in (["list"], ["program", "FPGA.0", name], ["erase", "all"], ["list", "--bitstreams"]):
    sys.argv = ["thorax", "fpga", *words]
    try:
        app.main()
    except SystemExit as end:
        assert end.code == (0 if words[1:] == ["--bitstreams"] else 5), words
assert not Path("thorax").exists()
assert plugin.open_cards.cache_info().currsize == 0
"""


def test_where_openvino_has_an_fpga_nothing_is_simulated(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAL], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("fpga-real") == 3
