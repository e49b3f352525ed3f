"""Keras networks: of Keras 3 without TensorFlow, of Keras 2 by tf_keras, equal to Keras itself."""

import itertools
import json
import subprocess
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
from tests.importers.conftest import refused

from thorax.artifact import Precision
from thorax.errors import ModelError
from thorax.importers import formats, keras_file
from thorax.importers import keras as importer
from thorax.importers.keras import same_pooling, why_legacy
from thorax.importers.keras_file import KerasFile
from thorax.importers.options import Imported, ImportOptions, compile_here


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    """Keras on PyTorch; importing it takes seconds."""
    return importer.import_keras()


def lively(keras: ModuleType, network: Any) -> Any:  # noqa: ANN401
    """Give batch normalisation other statistics than those it starts with."""
    generator = np.random.default_rng(1)
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(generator.uniform(-0.1, 0.1, size))
            layer.moving_variance.assign(generator.uniform(0.5, 1.5, size))
    return network


def save(network: Any, path: Path, *, weights_only: bool = False) -> None:  # noqa: ANN401
    with warnings.catch_warnings():
        # Keras 3.15 takes weights out of PyTorch in a way that NumPy 2 frowns at.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        network.save_weights(path) if weights_only else network.save(path)


def small(keras: ModuleType, **first: Any) -> Any:  # noqa: ANN401
    """Return a network of one convolution, batch normalisation and a head, 12 px a side."""
    layers = keras.layers
    image = keras.Input(first.pop("shape", (12, 12, 3)), name="image")
    value = layers.Conv2D(4, 3, strides=2, padding="same", name="stem", **first)(image)
    axis = 1 if first.get("data_format") == "channels_first" else -1
    value = layers.BatchNormalization(axis=axis, name="norm")(value)
    value = layers.ReLU(name="act")(value)
    value = layers.GlobalAveragePooling2D(
        name="pool", data_format=first.get("data_format", "channels_last")
    )(value)
    return keras.Model(image, layers.Dense(2, name="head")(value))


def difference(imported: Imported, *images: np.ndarray) -> float:
    """Return how far OpenVINO is from Keras, relative to the largest output."""
    assert imported.run is not None
    pairs = zip(compile_here(imported.model)(images), imported.run(images), strict=True)
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def names(model: ov.Model) -> Counter[str]:
    return Counter(node.get_friendly_name() for node in model.get_ordered_ops())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "DenseNet121", "EfficientNetB0"])
def test_a_network_of_keras_equals_keras_and_keeps_its_layers_names(
    keras: ModuleType, tmp_path: Path, name: str
) -> None:
    network = lively(
        keras,
        getattr(keras.applications, name)(
            weights=None, input_shape=(32, 32, 3), classes=14, classifier_activation=None
        ),
    )
    path = tmp_path / "net.keras"
    save(network, path)
    imported = formats.read(path)
    assert imported.framework == f"keras {keras.__version__}"
    assert difference(imported, noise(2, 32, 32, 3)) <= 1e-5
    there = names(imported.model)
    kernels = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.BatchNormalization)
    wanted = [layer.name for layer in network.layers if isinstance(layer, kernels)]
    assert len(wanted) > 50
    assert [name for name in wanted if there[name] != 1] == []
    # Its channels come last, and yet no layer turns a map; squeeze-and-excitation reshapes, and
    # turns, what was pooled to one cell.
    shapes = [
        [axis.get_length() for axis in list(node.get_output_partial_shape(0))[1:]]
        for node in imported.model.get_ops()
        if node.get_type_name() == "Transpose"
    ]
    turned = [shape for shape in shapes if len(shape) == 3 and sorted(shape)[-2] > 1]
    assert len(turned) <= 2, turned


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
def test_each_format_of_a_whole_network_is_read(
    keras: ModuleType, tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"net{ending}"
    network = lively(keras, small(keras))
    if ending == ".keras":
        save(network, path)
    else:
        save(network, tmp_path / "other.h5")
        (tmp_path / "other.h5").rename(path)
    capfd.readouterr()
    before = sorted(tmp_path.iterdir())
    imported = formats.read(path)
    assert (imported.layout, imported.files) == ("NHWC", (path,))
    assert [port.any_name for port in imported.model.inputs] == ["image"]
    assert [port.any_name for port in imported.model.outputs] == ["head"]
    assert {"image", "stem", "norm", "act", "pool", "head"} <= set(names(imported.model))
    assert difference(imported, noise(3, 12, 12, 3)) <= 1e-5
    assert sorted(tmp_path.iterdir()) == before
    assert capfd.readouterr() == ("", "")


def test_channels_that_come_first_are_known(keras: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    save(small(keras, shape=(3, 12, 12), data_format="channels_first"), path)
    imported = formats.read(path)
    assert imported.layout == "NCHW"
    assert difference(imported, noise(2, 3, 12, 12)) <= 1e-5


def test_several_inputs_and_outputs_and_a_network_in_a_network(
    keras: ModuleType, tmp_path: Path
) -> None:
    first, second = keras.Input((8, 8, 3), name="a"), keras.Input((4,), name="b")
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="conv")], name="inner"
    )
    flat = keras.layers.Flatten()(inner(first))
    both = keras.layers.Concatenate(name="both")([flat, second])
    one = keras.layers.Dense(2, name="one")(both)
    two = keras.layers.Dense(3, activation="sigmoid", name="two")(both * 2.0)
    path = tmp_path / "net.keras"
    save(keras.Model([first, second], [one, two]), path)
    imported = formats.read(path)
    assert [port.any_name for port in imported.model.inputs] == ["a", "b"]
    assert [port.any_name for port in imported.model.outputs] == ["one", "two"]
    assert names(imported.model)["inner.conv"] == 1
    assert difference(imported, noise(2, 8, 8, 3), noise(2, 4)) <= 1e-5


def sequentials(keras: ModuleType) -> dict[str, Any]:
    """Return sequential networks: flat, one in another, and two in one as Teachable Machine's."""
    layers = keras.layers
    flat = [
        layers.Conv2D(4, 3, name="stem"),
        layers.BatchNormalization(name="norm"),
        layers.MaxPooling2D(3, strides=2, padding="same", name="pool"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", name="head"),
    ]
    body = keras.Sequential(
        [keras.Input((12, 12, 3)), layers.Conv2D(4, 3, name="conv")], name="body"
    )
    image = keras.Input((12, 12, 3))
    inner = keras.Model(image, layers.DepthwiseConv2D(3, name="conv")(image), name="inner")
    first = keras.Sequential([inner, layers.GlobalAveragePooling2D()], name="body")
    top = keras.Sequential(
        [layers.Dense(5, activation="relu"), layers.Dense(3, activation="softmax", use_bias=False)],
        name="head",
    )
    return {
        "flat": keras.Sequential([keras.Input((12, 12, 3)), *flat]),
        "nested": keras.Sequential(
            [body, layers.GlobalAveragePooling2D(), layers.Dense(2, name="head")]
        ),
        "machine": keras.Sequential([keras.Input((12, 12, 3)), first, top]),
    }


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("kind", "kernel"), [("flat", "stem"), ("nested", "body.conv"), ("machine", "body.inner.conv")]
)
def test_a_sequential_network_is_read(
    keras: ModuleType, tmp_path: Path, ending: str, kind: str, kernel: str
) -> None:
    path = tmp_path / f"net{ending}"
    save(lively(keras, sequentials(keras)[kind]), path)
    imported = formats.read(path)
    assert [port.any_name for port in imported.model.outputs] == ["head"]
    assert names(imported.model)[kernel] == 1
    assert difference(imported, noise(2, 12, 12, 3)) <= 1e-5


def test_a_network_of_the_layers_of_xception_equals_keras(
    keras: ModuleType, tmp_path: Path
) -> None:
    layers = keras.layers
    image = keras.Input((15, 15, 3))
    value = layers.Conv2D(8, 3, strides=2, use_bias=False)(image)
    short = layers.Conv2D(12, 1, strides=2, padding="same", use_bias=False)(value)
    short = layers.BatchNormalization()(short)
    for number in (1, 2):
        value = layers.Activation("relu")(value)
        value = layers.SeparableConv2D(
            12, 3, padding="same", use_bias=False, name=f"block_sepconv{number}"
        )(value)
        value = layers.BatchNormalization()(value)
    value = layers.MaxPooling2D(3, strides=2, padding="same", name="block_pool")(value)
    value = layers.GlobalAveragePooling2D()(layers.add([value, short]))
    path = tmp_path / "net.keras"
    save(lively(keras, keras.Model(image, layers.Dense(4)(value))), path)
    imported = formats.read(path)
    assert names(imported.model)["block_pool"] == 1
    assert difference(imported, noise(2, 15, 15, 3)) <= 1e-5


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_a_network_of_16_bits_is_computed_in_32(
    keras: ModuleType, tmp_path: Path, policy: str, ending: str
) -> None:
    keras.utils.set_random_seed(0)
    wide = small(keras)
    keras.config.set_dtype_policy(policy)
    try:
        narrow = small(keras)
    finally:
        keras.config.set_dtype_policy("float32")
    path = tmp_path / f"net{ending}"
    for one, other in zip(wide.weights, narrow.weights, strict=True):
        other.assign(one.value)
        one.assign(other.value)
    save(narrow, path)
    imported = formats.read(path)
    assert imported.model.inputs[0].get_element_type() == ov.Type.f32
    image = noise(2, 12, 12, 3)
    assert difference(imported, image) <= 1e-5
    assert imported.run is not None
    (wanted,) = importer._call(keras, wide, [image])
    assert np.abs(imported.run([image])[0] - wanted.detach().numpy()).max() <= 1e-6


def test_open_axes_are_closed_as_asked_and_never_guessed(keras: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    save(small(keras, shape=(None, None, 3)), path)
    assert refused(path).code == "model-undescribed"
    imported = formats.read(path, ImportOptions(shapes={"": (1, 20, 20, 3)}))
    assert list(imported.model.inputs[0].shape) == [1, 20, 20, 3]
    assert difference(imported, noise(1, 20, 20, 3)) <= 1e-5
    by_side = formats.read(path, ImportOptions(side=24)).model
    assert str(by_side.inputs[0].get_partial_shape()) == "[?,24,24,3]"
    for wrong in ((1, 20, 20, 4), (1, 20, 20)):
        assert refused(path, ImportOptions(shapes={"": wrong})).code == "model-input"


def test_a_network_becomes_an_artifact(keras: ModuleType, tmp_path: Path) -> None:
    from thorax.ir.classifier import Description
    from thorax.labels import LabelSet
    from thorax.quantization.optimize import optimize

    path = tmp_path / "net.keras"
    save(lively(keras, small(keras, shape=(16, 16, 3))), path)
    described = Description(LabelSet("two", ("A", "B")), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    made = optimize(path, tmp_path / "out", Precision.FP32, description=described)
    card = made.artifact.card
    assert card.provenance["framework"].startswith("keras 3")
    assert {"stem", "pool", "head"} & set(names(ov.Core().read_model(made.artifact.xml)))


def test_another_backend_is_refused(tmp_path: Path) -> None:
    script = (
        "import os, sys, types\n"
        "from thorax.importers import keras\n"
        "fake = types.ModuleType('keras')\n"
        "fake.backend = types.SimpleNamespace(backend=lambda: 'jax')\n"
        "sys.modules['keras'] = fake\n"
        "try: keras.import_keras()\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith("keras-backend: keras is already imported"), done.stderr


def test_the_cifar_network_of_keras_2_equals_keras_and_its_twin(
    keras: ModuleType, realdata: Path
) -> None:
    import cv2

    folder = realdata / "models/resnet8_cifar"
    paths = sorted((realdata / "nih/images-64").glob("*.png"))[:16]
    grey = np.stack([np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in paths])
    halved = grey.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))
    images = np.repeat(halved[..., None], 3, axis=3).astype(np.float32)
    imported = formats.read(folder / "resnet8.h5")
    # It was trained on bytes as they are.
    assert difference(imported, images) <= 1e-4
    assert imported.run is not None
    twin = formats.read(folder / "resnet8.tflite", ImportOptions(shapes={"": images.shape}))
    (answers,) = compile_here(twin.model)([images])
    assert np.abs(answers - imported.run([images])[0]).max() <= 1e-4
    assert {"conv2d", "batch_normalization_6", "dense"} <= set(names(imported.model))


Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def whole(keras: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .keras file and, beside it, the same network as .h5."""
    path = tmp_path_factory.mktemp("keras") / "net.keras"
    network = small(keras)
    save(network, path)
    save(network, path.with_suffix(".h5"))
    return path


def changed(whole: Path, to: Path, edit: Edit) -> Path:
    """Write a .keras file whose description was edited."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(to, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                edit(config)
                data = json.dumps(config).encode()
            target.writestr(name, data)
    return to


def set_layer(**values: object) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        config["config"]["layers"][3].update(values)

    return edit


def set_option(**values: object) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"].update(values)

    return edit


def function(name: str, module: str) -> dict[str, Any]:
    return {"class_name": "function", "config": name, "module": module, "registered_name": name}


LAMBDA = {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}}
NESTED = {
    "class_name": "TimeDistributed",
    "module": "keras.layers",
    "config": {"layer": {"class_name": "Lambda", "module": "keras.layers", "config": {}}},
    "registered_name": None,
}
ATTACKS: dict[str, tuple[Edit, str]] = {
    "a Lambda": (set_layer(class_name="Lambda"), "Python code"),
    "a Lambda in a layer": (set_layer(**NESTED), "Python code"),
    "a lambda as activation": (set_option(activation=LAMBDA), "Python code"),
    "a pickled PyTorch module": (set_layer(class_name="TorchModuleWrapper"), "unpickles"),
    "a SavedModel": (set_layer(class_name="TFSMLayer"), "another model"),
    "a vocabulary file": (
        set_layer(class_name="StringLookup", config={"vocabulary": "file:///etc/passwd"}),
        "vocabulary",
    ),
    "a function of Python": (set_option(activation=function("system", "os")), "os"),
    "a gadget of Keras": (
        set_option(activation=function("get_file", "keras.utils")), "get_file",
    ),
    "loading within loading": (
        set_option(activation=function("load_model", "keras.saving")), "load_model",
    ),
    "a class of Python": (
        set_option(kernel_initializer={
            "class_name": "Popen", "module": "subprocess", "config": {"args": "id"},
        }),
        "subprocess",
    ),
    "a class of Keras that does more": (
        set_option(kernel_initializer={
            "class_name": "Dense", "module": "keras.utils", "config": {},
        }),
        "keras.utils",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_could_run_code_is_refused_before_keras_sees_it(
    whole: Path, tmp_path: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, reason = ATTACKS[attack]
    path = changed(whole, tmp_path / "net.keras", edit)
    monkeypatch.setattr(importer, "import_keras", lambda: pytest.fail("Keras was asked"))
    error = refused(path)
    assert error.code == "model-unsafe"
    assert reason in error.message


def test_how_a_network_was_trained_is_not_read(whole: Path, tmp_path: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        config["compile_config"] = {"loss": function("system", "os")}
        config["config"]["layers"][3]["compile_config"] = {"loss": function("system", "os")}

    imported = formats.read(changed(whole, tmp_path / "net.keras", edit))
    assert difference(imported, noise(1, 12, 12, 3)) <= 1e-5


@pytest.mark.parametrize("module", ["mine.layers", None])
def test_a_layer_that_is_not_of_keras_is_named(
    whole: Path, tmp_path: Path, module: str | None
) -> None:
    edit = set_layer(class_name="Swirl", module=module, registered_name="mine>Swirl")
    error = refused(changed(whole, tmp_path / "net.keras", edit))
    assert error.code == "model-layer"
    assert "'act' of type Swirl" in error.message


def members(whole: Path, to: Path, **more: bytes) -> Path:
    to.write_bytes(whole.read_bytes())
    with zipfile.ZipFile(to, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in more.items():
            archive.writestr(name, data)
    return to


@pytest.mark.parametrize("name", ["../out", "assets/vocabulary.txt", "/etc/cron.d/x"])
def test_a_zip_holds_nothing_else(whole: Path, tmp_path: Path, name: str) -> None:
    path = members(whole, tmp_path / "net.keras", **{name: b"x"})
    assert refused(path).code == "model-unsafe"
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(64 << 20))
    assert refused(path).code == "model-unsafe"


def hdf5_attacks() -> dict[str, Callable[[Any, Path], None]]:
    def virtual(file: Any, other: Path) -> None:  # noqa: ANN401
        source = h5py.VirtualSource(str(other), "x", shape=(2,))
        layout = h5py.VirtualLayout(shape=(2,), dtype="f4")
        layout[:] = source
        file.create_virtual_dataset("v", layout)

    return {
        "external link": lambda file, other: file.__setitem__(
            "e", h5py.ExternalLink(str(other), "/")
        ),
        "soft link": lambda file, other: file.__setitem__("s", h5py.SoftLink("/model_weights")),
        "external storage": lambda file, other: file.create_dataset(
            "x", (4,), "u1", external=[(str(other), 0, 4)]
        ),
        "virtual dataset": virtual,
        "loop": lambda file, other: file.__setitem__("model_weights/again", file["/"]),
        "huge dataset": lambda file, other: file.create_dataset("h", (1 << 40,), "f4", chunks=True),
        "text": lambda file, other: file.create_dataset("t", data=["x"], dtype=h5py.string_dtype()),
    }


@pytest.mark.parametrize("attack", hdf5_attacks())
def test_hdf5_reads_no_other_file(whole: Path, tmp_path: Path, attack: str) -> None:
    path, other = tmp_path / "net.h5", tmp_path / "secret"
    other.write_bytes(b"secret")
    path.write_bytes(whole.with_suffix(".h5").read_bytes())
    with h5py.File(path, "a") as file:
        hdf5_attacks()[attack](file, other)
    assert refused(path).code == "model-unsafe"


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.9])
def test_a_truncated_file_is_unreadable(
    whole: Path, tmp_path: Path, ending: str, kept: float
) -> None:
    data = whole.with_suffix(ending).read_bytes()
    path = tmp_path / f"net{ending}"
    path.write_bytes(data[: int(len(data) * kept)])
    error = refused(path)
    assert error.code == "model-unreadable"
    assert "again" in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_folder_or_something_else_is_unreadable(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"folder{ending}").mkdir()
    (tmp_path / f"noise{ending}").write_bytes(bytes(range(256)) * 4)
    for name, words in (("folder", "is a folder"), ("noise", "copy or save it again")):
        with pytest.raises(ModelError, match=words) as caught:
            formats.read(tmp_path / f"{name}{ending}")
        assert caught.value.code == "model-unreadable"


def test_weights_alone_are_not_a_network(keras: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "net.weights.h5"
    save(small(keras), path, weights_only=True)
    error = refused(path)
    assert error.code == "model-unreadable"
    assert "model.save" in error.message


@pytest.mark.parametrize("name", ["net.caffemodel.h5", "net_iter_9.h5"])
def test_a_snapshot_of_caffe_is_called_so(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / name, "w") as file:
        file.create_group("data/conv1").create_dataset("0", data=np.ones((1, 1, 1, 1)))
    error = refused(tmp_path / name)
    assert error.code == "model-format"
    assert "Caffe" in error.message


def test_a_description_nested_without_end_is_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        target.writestr("config.json", "[" * 200_000)
        target.writestr("model.weights.h5", source.read("model.weights.h5"))
    with pytest.raises(ModelError) as caught:
        keras_file.inspect(path)
    assert caught.value.code in ("model-unsafe", "model-unreadable")


POOLINGS = [(9, 3, 2), (9, 2, 2), (10, 3, 2), (11, 4, 3), (7, 3, 1), (8, 2, 1), (10, 2, 2)]
"""Side, window, stride: padded alike on both sides, more behind, or not at all."""


def pooled(
    image: npt.NDArray[np.float32], size: int, stride: int, *, largest: bool
) -> npt.NDArray[np.float32]:
    """Pool [H,W,C] window by window over the cells that the image has."""
    side = len(image)
    cells = -(-side // stride)
    before = max(0, (cells - 1) * stride + size - side) // 2
    pooled = np.empty((cells, cells, image.shape[2]), np.float32)
    for y, x in itertools.product(range(cells), repeat=2):
        top, left = y * stride - before, x * stride - before
        window = image[max(0, top) : top + size, max(0, left) : left + size]
        pooled[y, x] = window.max((0, 1)) if largest else window.mean((0, 1))
    return pooled


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("kind", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize(("side", "size", "stride"), POOLINGS)
def test_windows_of_same_pooling_hold_the_cells_of_the_image_alone(
    keras: ModuleType,
    tmp_path: Path,
    kind: str,
    side: int,
    size: int,
    stride: int,
    channels_first: bool,
) -> None:
    given = np.random.default_rng(0).standard_normal((side, side, 2)).astype(np.float32)
    wanted = pooled(given, size, stride, largest=kind.startswith("Max"))
    order = (2, 0, 1) if channels_first else (0, 1, 2)
    given, wanted = given.transpose(order)[None], wanted.transpose(order)[None]
    layer = getattr(keras.layers, kind)(
        size,
        strides=stride,
        padding="same",
        data_format="channels_first" if channels_first else "channels_last",
    )
    path = tmp_path / "net.keras"
    keras.Sequential([keras.Input(given.shape[1:]), layer]).save(path)
    imported = formats.read(path, ImportOptions(shapes={"": given.shape}))
    assert imported.run is not None
    (converted,) = compile_here(imported.model)([given])
    for answer in (imported.run([given])[0], converted):
        assert answer.shape == wanted.shape
        assert np.abs(answer - wanted).max() <= 1e-6


def test_same_pooling_with_padding_alike_is_one_layer(keras: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    pool = keras.layers.AveragePooling2D(3, strides=2, padding="same")
    keras.Sequential([keras.Input((9, 9, 1)), pool]).save(path)
    kinds = [node.get_type_name() for node in formats.read(path).model.get_ops()]
    assert "AvgPool" in kinds
    assert "Pad" not in kinds


def test_same_pooling_leaves_other_layers_alone(keras: ModuleType) -> None:
    assert same_pooling(keras.layers.Conv2D(1, 3, padding="same")) is None
    assert same_pooling(keras.layers.MaxPooling2D(2, padding="valid")) is None
    assert same_pooling(keras.layers.GlobalAveragePooling2D()) is None


LEGACY = Path(__file__).resolve().parents[2] / ".venv-legacy/bin/python"


def described(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": list(layers)}}


CALL = {"class_name": "TFOpLambda", "config": {"name": "t", "function": "math.reduce_mean"}}


def test_what_keras_3_cannot_read_is_known() -> None:
    for config, reason in ((described(), None), (described(CALL), "calls TensorFlow by name")):
        assert why_legacy(KerasFile(Path("net.h5"), config, "2.15.0", 0)) == reason
        assert why_legacy(KerasFile(Path("net.h5"), config, "3.1.0", 0)) is None


def keras_2_file(path: Path, config: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
        file.create_group("model_weights")
    return path


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    path = keras_2_file(tmp_path / "net.h5", described(CALL))
    error = refused(path)
    assert error.code == "extra-missing"
    assert "thorax[legacy-keras]" in error.message
    assert "calls TensorFlow by name" in error.message


@pytest.mark.parametrize("function", ["io.write_file", "io.read_file", "py_function", "raw_ops.X"])
def test_tensorflow_is_called_for_arithmetic_alone(tmp_path: Path, function: str) -> None:
    call = {"class_name": "TFOpLambda", "config": {"name": "t", "function": function}}
    assert refused(keras_2_file(tmp_path / "net.h5", described(call))).code == "model-unsafe"


def test_a_lambda_of_keras_2_is_refused(tmp_path: Path) -> None:
    layer = {"class_name": "Lambda", "config": {"name": "l", "function": ["4wAAAA==", None, None]}}
    assert (
        refused(keras_2_file(tmp_path / "net.h5", described(described(layer)))).code
        == "model-unsafe"
    )


SCRIPT = """
import sys
from pathlib import Path
from importlib.util import find_spec
import numpy as np, openvino as ov, tf_keras as keras, tensorflow as tf
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
calls = keras.Model(image, keras.layers.Dense(3)(tf.reduce_mean(value, (1, 2))))
for number, network in enumerate((machine, calls)):
    path = out / f"net{number}.h5"
    network.save(path)
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    imported = formats.read(path, ImportOptions(shapes={"": (2, 32, 32, 3)}))
    # By Keras 3 where PyTorch is there too.
    modern = find_spec("torch") is not None and network is not calls
    assert imported.framework.startswith("keras " if modern else "tf_keras "), imported.framework
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
