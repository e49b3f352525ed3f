"""Custom layers: taught to the one core, refused when they are none."""

import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax.artifact import Artifact, Precision, load, new_folder, seal
from thorax.devices import engine
from thorax.devices.extensions import add_extension, add_extensions, custom_layers
from thorax.devices.process_core import open_core
from thorax.errors import DeviceError, ThoraxError, UsageError

SHIFT = """
from pathlib import Path

import openvino as ov

with Path(__file__).with_name("imports").open("a") as log:
    log.write("x")


class {name}(ov.Op):
    def __init__(self, inputs=None, *, by=1.0):
        super().__init__(self, inputs)
        self.by = by

    def validate_and_infer_types(self):
        self.set_output_type(0, self.get_input_element_type(0), self.get_input_partial_shape(0))

    def clone_with_new_inputs(self, new_inputs):
        return {name}(new_inputs, by=self.by)

    def visit_attributes(self, visitor):
        attributes = {{"by": self.by}}
        visitor.on_attributes(attributes)
        self.by = attributes["by"]
        return True

    def has_evaluate(self):
        return True

    def evaluate(self, outputs, inputs):
        outputs[0].shape = inputs[0].shape
        outputs[0].data[:] = inputs[0].data + self.by
        return True


class Needy(ov.Op):
    def __init__(self, inputs, by):
        super().__init__(self, inputs)


NUMBER = 3
"""


def write(folder: Path, name: str) -> str:
    """Write a module with the layer that is called so, and return what --extension takes."""
    path = folder / f"{name.lower()}_layer.py"
    path.write_text(SHIFT.format(name=name))
    return f"{path}:{name}"


def shifted(spec: str, by: float) -> ov.Model:
    layer = add_extension(spec).layer
    assert layer is not None
    image = ops.parameter([1, 1, 4, 4], np.float32)
    node = layer([image.output(0)], by=by)
    node.set_friendly_name("shift")
    return ov.Model([node], [image])


def test_a_class_computes_with_its_attributes_on_every_road(tmp_path: Path) -> None:
    model = shifted(write(tmp_path, "Shift"), 2.5)
    ov.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    read = open_core().read_model(tmp_path / "net.xml")
    images = [np.full((1, 1, 4, 4), value, np.float32) for value in range(8)]
    for device in ("CPU", "HETERO:CPU"):
        compiled = open_core().compile_model(read, device, {"PERF_COUNT": True})
        found: dict[int, np.ndarray] = {}
        requests = ov.AsyncInferQueue(compiled, 2)
        requests.set_callback(
            lambda request, index, found=found: found.__setitem__(
                index, request.get_output_tensor(0).data.copy()
            )
        )
        for index, image in enumerate(images):
            requests.start_async({0: image}, index)
        requests.wait_all()
        assert [float(found[index].mean()) for index in range(8)] == [n + 2.5 for n in range(8)]
        rows = [row for row in requests[0].profiling_info if row.node_name.endswith("shift")]
        assert [row.node_type for row in rows] == ["Reference"]


def test_once_is_enough(tmp_path: Path) -> None:
    spec = write(tmp_path, "Once")
    assert add_extensions([spec, spec]) == (add_extension(spec),) * 2
    assert (tmp_path / "imports").read_text() == "x"


def test_a_module_is_found_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "Nearby")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    layer = add_extension("nearby_layer:Nearby").layer
    assert layer is not None
    assert layer.__module__ == "nearby_layer"


def test_the_layers_that_openvino_lacks_are_told(tmp_path: Path) -> None:
    assert custom_layers(shifted(write(tmp_path, "Lacking"), 1.0)) == ("extension::Lacking",)
    image = ops.parameter([1, 4], np.float32)
    assert custom_layers(ov.Model([ops.relu(image)], [image])) == ()


@pytest.mark.parametrize(
    ("spec", "code", "says"),
    [
        ("absent.so", "extension-missing", "no such library"),
        ("plain", "extension-missing", "file.py:Class"),
        (":Shift", "extension-missing", "file.py:Class"),
        ("absent.py:Shift", "extension-missing", "absent.py"),
        ("no_such_module:Shift", "extension-missing", "no_such_module cannot be found"),
        ("{folder}/refused_layer.py:Absent", "extension-missing", "has no Absent"),
        ("{folder}/refused_layer.py:NUMBER", "extension-unusable", "no subclass of openvino.Op"),
        ("pathlib:Path", "extension-unusable", "no subclass of openvino.Op"),
        ("{folder}/refused_layer.py:Needy", "extension-unusable", "without arguments"),
        ("{folder}/broken.py:Any", "extension-unusable", "ZeroDivisionError"),
        ("{folder}/text.so", "extension-unusable", "must be built for"),
    ],
)
def test_what_is_no_custom_layer_is_refused(
    spec: str, code: str, says: str, tmp_path: Path
) -> None:
    write(tmp_path, "Refused")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(ThoraxError) as caught:
        add_extension(spec.format(folder=tmp_path))
    assert isinstance(caught.value, UsageError)
    assert caught.value.code == code
    assert says in caught.value.message


def test_an_artifact_says_which_layers_it_needs(
    tiny_fp32: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = add_extension(write(tmp_path, "Needed")).layer
    assert layer is not None
    model = ov.Core().read_model(tiny_fp32.xml)
    image = model.inputs[0].get_node()
    first = next(iter(image.output(0).get_target_inputs()))
    floating = ops.convert(image, np.float32)
    first.replace_source_output(layer([floating.output(0)], by=0.0).output(0))
    with new_folder(tmp_path / "custom") as staging:
        ov.save_model(model, staging / "model.xml", compress_to_fp16=False)
        seal(staging, tiny_fp32.card.model_copy(update={"extensions": custom_layers(model)}))
    made = load(tmp_path / "custom")
    assert made.card.precision is Precision.FP32
    images = np.random.default_rng(2).integers(
        0, 256, (1, 1, made.card.input.side, made.card.input.side), np.uint8
    )
    wanted = engine.compile(tiny_fp32).infer(images).probability
    np.testing.assert_allclose(engine.compile(made).infer(images).probability, wanted, atol=1e-6)
    strange = ov.Core()
    monkeypatch.setattr(engine, "open_core", lambda: strange)
    with pytest.raises(DeviceError) as caught:
        engine.compile(made)
    assert caught.value.code == "device-extension"
    assert "extension::Needed" in caught.value.message
    assert "--extension" in caught.value.message


def test_a_damaged_graph_is_not_blamed_on_an_extension(tiny_fp32: Artifact, tmp_path: Path) -> None:
    with new_folder(tmp_path / "custom") as staging:
        (staging / "model.xml").write_text("<net")
        (staging / "model.bin").write_bytes(b"")
        seal(staging, tiny_fp32.card.model_copy(update={"extensions": ("extension::X",)}))
    with pytest.raises(ThoraxError) as caught:
        engine.compile(load(tmp_path / "custom"))
    assert caught.value.code == "model-unreadable"
