"""Keras 2 files that Keras 3 cannot read: known as such here, read where TensorFlow is."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from thorax.errors import ModelError, UsageError
from thorax.importers import formats, legacy_keras
from thorax.importers.keras_file import KerasFile

LEGACY = Path(__file__).resolve().parents[2] / ".venv-legacy/bin/python"


def network(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": list(layers)}}


CONVOLUTION = {"class_name": "Conv2D", "config": {"name": "c", "groups": 1}}
DEPTHWISE = {"class_name": "DepthwiseConv2D", "config": {"name": "d", "groups": 1}}
CALL = {"class_name": "TFOpLambda", "config": {"name": "t", "function": "nn.relu"}}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (network(CONVOLUTION), None),
        (network(CONVOLUTION, DEPTHWISE), "says groups of its DepthwiseConv2D"),
        (network(network(CONVOLUTION)), "holds a network in a network"),
        (network(CALL), "calls TensorFlow by name"),
    ],
)
def test_what_keras_3_cannot_read_is_known(config: dict[str, Any], reason: str | None) -> None:
    assert legacy_keras.needed(KerasFile(Path("net.h5"), config, "2.15.0", 0)) == reason
    assert legacy_keras.needed(KerasFile(Path("net.h5"), config, "3.1.0", 0)) is None


def write(path: Path, config: dict[str, Any]) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
        file.create_group("model_weights")
    return path


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    path = write(tmp_path / "net.h5", network(DEPTHWISE))
    with pytest.raises(UsageError) as caught:
        formats.read(path)
    assert caught.value.code == "extra-missing"
    assert "thorax[legacy-keras]" in caught.value.message
    assert "groups of its DepthwiseConv2D" in caught.value.message


@pytest.mark.parametrize("function", ["io.write_file", "io.read_file", "py_function", "raw_ops.X"])
def test_tensorflow_is_called_for_arithmetic_alone(tmp_path: Path, function: str) -> None:
    call = {"class_name": "TFOpLambda", "config": {"name": "t", "function": function}}
    with pytest.raises(ModelError) as caught:
        formats.read(write(tmp_path / "net.h5", network(call)))
    assert caught.value.code == "model-unsafe"


def test_a_lambda_of_keras_2_is_refused(tmp_path: Path) -> None:
    layer = {"class_name": "Lambda", "config": {"name": "l", "function": ["4wAAAA==", None, None]}}
    with pytest.raises(ModelError) as caught:
        formats.read(write(tmp_path / "net.h5", network(network(layer))))
    assert caught.value.code == "model-unsafe"


SCRIPT = """
import sys
from pathlib import Path
import numpy as np, openvino as ov, tf_keras as keras
from thorax.importers import formats
from thorax.importers.options import ImportOptions

keras.utils.set_random_seed(0)
out = Path(sys.argv[1])
# As Teachable Machine exports: a network without its head and a head, each sequential.
body = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.35,
                                      input_shape=(32, 32, 3))
top = keras.Sequential([keras.layers.Dense(8, activation="relu"),
                        keras.layers.Dense(3, use_bias=False, activation="softmax")])
first = keras.Sequential([body, keras.layers.GlobalAveragePooling2D()])
machine = keras.Sequential([first, top])
machine.build((None, 32, 32, 3))
image = keras.Input((32, 32, 3))
value = keras.layers.DepthwiseConv2D(3, name="depth")(image) * 2.0
calls = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(value)))
for number, network in enumerate((machine, calls)):
    path = out / f"net{number}.h5"
    network.save(path)
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    imported = formats.read(path, ImportOptions(shapes={"": (2, 32, 32, 3)}))
    assert imported.framework == f"tf_keras {keras.__version__}", imported.framework
    assert imported.layout == "NHWC"
    compiled = ov.Core().compile_model(imported.model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = network.predict(images, verbose=0)
    for answer in (compiled(images)[0], imported.run([images])[0]):
        assert np.abs(answer - wanted).max() <= 1e-5 * np.abs(wanted).max()
    names = {node.get_friendly_name() for node in imported.model.get_ops()}
    assert ({"Conv1", "block_1_depthwise"} if network is machine else {"depth"}) <= names
"""


@pytest.mark.slow
def test_tf_keras_reads_what_keras_3_cannot(tmp_path: Path) -> None:
    if not LEGACY.is_file():
        pytest.skip("no environment with TensorFlow: `make test` makes it in .venv-legacy")
    done = subprocess.run(
        [LEGACY, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
