"""Networks of Keras 2, rewritten for Keras 3: equal to the network that they describe."""

import copy
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from thorax.importers import keras as importer
from thorax.importers.keras_2 import as_keras_3
from thorax.importers.options import ImportOptions, compile_here

# Keras 3.15 takes weights out of PyTorch in a way that NumPy 2 frowns at.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE = 12
POLICY = {
    "module": "keras.mixed_precision",
    "class_name": "Policy",
    "config": {"name": "mixed_float16"},
    "registered_name": None,
}


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    return importer.import_keras()


def base(keras: ModuleType, *, sequential: bool = False, name: str = "base") -> Any:  # noqa: ANN401
    """Return a part of a network with each of the layers that Keras 3 describes otherwise."""
    layers = keras.layers
    parts = [
        layers.Conv2D(4, 3, padding="same", name=f"{name}_stem"),
        layers.BatchNormalization(name=f"{name}_norm"),
        layers.LeakyReLU(0.2, name=f"{name}_act"),
        layers.DepthwiseConv2D(3, name=f"{name}_depth"),
        layers.SeparableConv2D(4, 1, name=f"{name}_separable"),
        layers.SpatialDropout2D(0.5, name=f"{name}_drop"),
    ]
    if sequential:
        return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *parts], name=name)
    value = image = keras.Input((SIDE, SIDE, 3), name=f"{name}_in")
    for layer in parts:
        value = layer(value)
    return keras.Model(image, value, name=name)


def headed(keras: ModuleType, image: Any, value: Any) -> Any:  # noqa: ANN401
    value = keras.layers.GlobalAveragePooling2D(name="pool")(value)
    return keras.Model(image, keras.layers.Dense(3, name="head")(value))


def plain(keras: ModuleType) -> Any:  # noqa: ANN401
    network = base(keras)
    return headed(keras, network.input, network.output)


def nested(keras: ModuleType) -> Any:  # noqa: ANN401
    image = keras.Input((SIDE, SIDE, 3), name="image")
    return headed(keras, image, base(keras)(keras.layers.Rescaling(0.5, name="half")(image)))


def shared(keras: ModuleType) -> Any:  # noqa: ANN401
    image = keras.Input((SIDE, SIDE, 3), name="image")
    inner = base(keras, sequential=True)
    mirrored = inner(keras.layers.Rescaling(-1.0, name="minus")(image))
    return headed(keras, image, keras.layers.Add(name="sum")([inner(image), mirrored]))


def sequential(keras: ModuleType) -> Any:  # noqa: ANN401
    layers = keras.layers
    parts = [base(keras), layers.GlobalAveragePooling2D(), layers.Dense(3, name="head")]
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *parts])


def lively(network: Any) -> Any:  # noqa: ANN401
    rng = np.random.default_rng(2)
    network.set_weights([rng.uniform(0.2, 0.8, value.shape) for value in network.get_weights()])
    return network


def as_keras_2(value: Any, inner: frozenset[str] = frozenset()) -> Any:  # noqa: ANN401
    """Return a description of Keras 3 as Keras 2 wrote it."""
    if isinstance(value, list):
        return [as_keras_2(part, inner) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("Functional", "Sequential"):
        return network_of_keras_2(value, inner)
    settings = value.get("config", {})
    if not isinstance(settings, dict) or "name" not in settings:
        return {key: as_keras_2(part, inner) for key, part in value.items()}
    kind, settings = value["class_name"], {**settings, "dtype": POLICY}
    if kind == "InputLayer":
        settings["batch_input_shape"] = settings.pop("batch_shape")
        settings |= {"dtype": "float32", "ragged": False}
    if "Conv2D" in kind:
        settings["groups"] = 1
        settings["kernel_regularizer"] = None
    if kind == "SpatialDropout2D":
        settings |= {"noise_shape": None, "trainable": True}
    if kind == "BatchNormalization":
        settings |= {"axis": [3]}
    if kind == "LeakyReLU":
        settings["alpha"] = settings.pop("negative_slope")
    facts = {"class_name": kind, "config": settings, "name": value.get("name")}
    return (
        facts | {"inbound_nodes": [call(node, inner) for node in value["inbound_nodes"]]}
        if ("inbound_nodes" in value)
        else facts
    )


def network_of_keras_2(value: dict[str, Any], outer: frozenset[str]) -> dict[str, Any]:
    settings = copy.deepcopy(value["config"])
    inner = frozenset(
        layer["config"]["name"]
        for layer in settings["layers"]
        if layer["class_name"] in ("Functional", "Sequential")
    )
    settings["layers"] = [as_keras_2(layer, inner) for layer in settings["layers"]]
    for ports in ("input_layers", "output_layers"):
        if ports in settings:
            settings[ports] = [settings[ports]]
    written = {
        "module": "tf_keras.src.engine.functional",
        "class_name": value["class_name"],
        "config": settings,
        "registered_name": value["class_name"],
    }
    if "inbound_nodes" in value:
        written["inbound_nodes"] = [call(node, outer) for node in value["inbound_nodes"]]
        written["name"] = settings["name"]
    return written


def call(node: dict[str, Any], inner: frozenset[str]) -> list[list[Any]]:
    """Return a call as a list of sources; a network within another counts its calls from 1."""
    return [
        [name, index + (name in inner), port, {}] for name, index, port in histories(node["args"])
    ]


def histories(value: object) -> Iterator[list[Any]]:
    if isinstance(value, dict):
        if "keras_history" in value:
            yield value["keras_history"]
        else:
            for part in value.values():
                yield from histories(part)
    elif isinstance(value, list):
        for part in value:
            yield from histories(part)


def written(network: Any, path: Path) -> Path:  # noqa: ANN401
    """Save a network as Keras 2 would have."""
    network.save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            file.attrs["model_config"] = json.dumps(as_keras_2(config))
            file.attrs["keras_version"] = "2.15.0"
        return path
    with zipfile.ZipFile(path) as source:
        records = {name: source.read(name) for name in source.namelist()}
    records["config.json"] = json.dumps(as_keras_2(json.loads(records["config.json"]))).encode()
    records["metadata.json"] = b'{"keras_version": "2.21.0"}'
    with zipfile.ZipFile(path, "w") as target:
        for name, content in records.items():
            target.writestr(name, content)
    return path


@pytest.mark.parametrize("ending", [".h5", ".keras"])
@pytest.mark.parametrize("build", [plain, nested, shared, sequential])
def test_a_network_of_keras_2_is_the_network_that_it_describes(
    keras: ModuleType, tmp_path: Path, build: Callable[[ModuleType], Any], ending: str
) -> None:
    network = lively(build(keras))
    images = np.random.default_rng(1).uniform(0, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
    wanted = network.predict(images, verbose=0)
    imported = importer.read(written(network, tmp_path / f"net{ending}"), ImportOptions())
    assert imported.framework.startswith("keras 3")
    assert imported.run is not None
    for answers in (compile_here(imported.model)([images])[0], imported.run([images])[0]):
        np.testing.assert_allclose(answers, wanted, rtol=1e-5)


def functional(*layers: dict[str, Any]) -> dict[str, Any]:
    image = {"class_name": "InputLayer", "name": "image", "inbound_nodes": [],
             "config": {"name": "image", "batch_input_shape": [None, 4, 4, 3]}}  # fmt: skip
    last = layers[-1]["name"]
    return {
        "class_name": "Model",
        "config": {
            "name": "net",
            "layers": [image, *layers],
            "input_layers": [["image", 0, 0]],
            "output_layers": [[last, 0, 0]],
        },
    }


def called(function: str, **values: object) -> dict[str, Any]:
    return {
        "class_name": "TFOpLambda",
        "name": f"tf.{function}",
        "config": {"name": f"tf.{function}", "function": function},
        "inbound_nodes": [["image", 0, 0, {"name": None, **values}]],
    }


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (called("math.truediv", y=127.5), lambda x: x / 127.5),
        (called("math.subtract", y=1), lambda x: x - 1),
        (called("__operators__.add", y=0.5), lambda x: x + 0.5),
        (called("math.multiply", y=-2.0), lambda x: x * -2),
        (called("math.multiply", y=["image", 0, 0]), lambda x: x * x),
        (called("nn.relu"), lambda x: np.maximum(x, 0)),
        (called("cast", dtype="float32"), lambda x: x),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_arithmetic_of_tensorflow_is_a_layer_of_keras(
    tmp_path: Path, call: dict[str, Any], wanted: Callable[[Any], Any]
) -> None:
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(functional(call))
        file.attrs["keras_version"] = "2.15.0"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([], "S1")
        weights.attrs["keras_version"] = "2.15.0"
    images = np.random.default_rng(1).uniform(-1, 1, (1, 4, 4, 3)).astype(np.float32)
    imported = importer.read(path, ImportOptions())
    np.testing.assert_allclose(
        compile_here(imported.model)([images])[0], wanted(images), rtol=1e-6, atol=1e-6
    )


def test_what_has_no_counterpart_stays_a_call() -> None:
    for call in (called("math.reduce_mean", axis=[1, 2]), called("math.truediv", y=0.0)):
        layers = as_keras_3(functional(call))["config"]["layers"]
        assert layers[-1]["class_name"] == "TFOpLambda"


def test_names_lose_their_slashes_and_stay_apart() -> None:
    layers = [
        {"class_name": "ReLU", "name": name, "config": {"name": name},
         "inbound_nodes": [[[source, 0, 0, {}]]]}
        for name, source in (("conv1/relu", "image"), ("conv1_relu", "conv1/relu"))
    ]  # fmt: skip
    network = as_keras_3(functional(*layers))["config"]
    assert [layer["config"]["name"] for layer in network["layers"]] == [
        "image", "conv1_relu_", "conv1_relu",
    ]  # fmt: skip
    assert network["layers"][2]["inbound_nodes"] == [[["conv1_relu_", 0, 0, {}]]]
