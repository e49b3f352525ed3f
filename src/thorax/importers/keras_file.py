"""Inspection of a Keras file, read without Keras, for what could do harm.

Keras builds objects that a file names: safe mode has been got round more than once
(CVE-2024-3660, CVE-2025-1550, -8747, -9905, -9906, -12058), so that here only what is known to
compute and to do nothing else may be named at all. HDF5 in turn reads other files where its
links, datasets or filters say so.
"""

import io
import json
import math
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final
from zipfile import BadZipFile

import h5py

from thorax.errors import ModelError
from thorax.files.documents import parse_json
from thorax.importers.options import CAFFE_HDF5, Layout, damaged, require_file, unsafe

_DAMAGE: Final = (OSError, ValueError, KeyError, RuntimeError, EOFError, BadZipFile, zlib.error)
"""What HDF5 and zip raise over a damaged file."""

_CONFIG: Final = "config.json"
_WEIGHTS: Final = "model.weights.h5"
_MEMBERS: Final = ("metadata.json", _CONFIG, _WEIGHTS)
"""All that Keras writes into a .keras file whose layers bring no files of their own."""

_MOST_GROWTH: Final = 100
"""Weights are hardly compressible; a file that grows more on reading is made to fill memory."""

_MOST_CONFIG_BYTES: Final = 64 << 20
_SLACK_BYTES: Final = 1 << 20
_SLACK_VALUES: Final = 4096
"""Numbers that a layer may have and not keep: counters and the like."""

_HOME: Final = re.compile(
    r"(tf_)?keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies"
    r"|mixed_precision|activations|(src|engine|legacy_tf_layers)(\.\w+)+))?"
)
"""Modules whose allowed classes are Keras's own."""

NETWORKS: Final = frozenset({"Functional", "Sequential", "Model"})

_LAYERS: Final = frozenset(
    """
    InputLayer Dense EinsumDense Embedding Identity Masking Activation Conv1D Conv2D Conv3D
    Convolution1D Convolution2D Convolution3D Conv1DTranspose Conv2DTranspose Conv3DTranspose
    Convolution2DTranspose DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D
    SeparableConvolution2D MaxPooling1D MaxPooling2D MaxPooling3D MaxPool1D MaxPool2D MaxPool3D
    AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool2D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlobalMaxPool2D
    AdaptiveAveragePooling2D AdaptiveMaxPooling2D BatchNormalization BatchNormalizationV1
    BatchNormalizationV2 SyncBatchNormalization LayerNormalization GroupNormalization
    RMSNormalization UnitNormalization SpectralNormalization Normalization Rescaling Resizing
    CenterCrop ReLU LeakyReLU PReLU ELU ThresholdedReLU Softmax Add Subtract Multiply Average
    Maximum Minimum Concatenate Dot Flatten Reshape Permute RepeatVector Cropping1D Cropping2D
    Cropping3D UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout
    GaussianNoise ActivityRegularization RandomFlip RandomRotation RandomZoom RandomContrast
    RandomTranslation RandomBrightness RandomCrop Attention AdditiveAttention MultiHeadAttention
    GroupQueryAttention LSTM LSTMCell GRU GRUCell SimpleRNN SimpleRNNCell RNN Bidirectional
    TimeDistributed StackedRNNCells LayerScale
    """.split()  # noqa: SIM905
)
"""Layers that are arithmetic alone."""

_OPERATIONS: Final = frozenset(
    """
    Absolute Abs Amax Amin BroadcastTo Clip Concatenate Copy Divide TrueDivide Einsum Exp
    ExpandDims Floor GetItem Log Matmul Max Maximum Mean Min Minimum Moveaxis Negative Pad Power
    Prod Ravel Reciprocal Repeat Round Sign Split Sqrt Square Squeeze Stack Std Sum Swapaxes Take
    Tile Transpose Var Where Relu Relu6 Sigmoid Softplus Softsign Silu LogSigmoid LeakyRelu
    HardSigmoid HardSilu Elu Selu Gelu Celu LogSoftmax MaxPool AveragePool Normalize
    DotProductAttention DepthToSpace SpaceToDepth Cast Rsqrt Resize
    """.split()  # noqa: SIM905
)
"""What `keras.ops` leaves in a functional network."""

_SETTINGS: Final = frozenset(
    """
    DTypePolicy Policy FloatDTypePolicy Constant GlorotNormal GlorotUniform HeNormal HeUniform
    IdentityInitializer LecunNormal LecunUniform Ones Orthogonal OrthogonalInitializer
    RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros L1 L2 L1L2
    OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm SeedGenerator
    """.split()  # noqa: SIM905
)
"""Initializers, regularizers, constraints and kinds of number."""

_ARITHMETIC: Final = _LAYERS | NETWORKS | _OPERATIONS | _SETTINGS

_POLICIES: Final = ("DTypePolicy", "Policy", "FloatDTypePolicy")
_NARROW: Final = dict.fromkeys(
    ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16"), "float32"
)

_VALUES: Final = frozenset(
    "__keras_tensor__ __tensor__ __numpy__ __ellipsis__ __slice__ __tuple__ TensorShape".split()  # noqa: SIM905
)
"""How Keras writes plain values."""

_ACTIVATIONS: Final = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh
    leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink
    softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh
    tanh_shrink threshold
    """.split()  # noqa: SIM905
)

_TENSORFLOW: Final = re.compile(
    r"(math|nn)\.\w+|__operators__\.(add|getitem|ne|eq)|cast|clip_by_value|concat|expand_dims"
    r"|identity|pad|reshape|split|squeeze|stack|tile|transpose|image\.resize"
)
"""Functions of TensorFlow that a Keras 2 network may call by name; those of `io` write files."""

TENSORFLOW_CALLS: Final = frozenset({"TFOpLambda", "SlicingOpLambda"})

_REASONS: Final = {
    "Lambda": "it holds Python code",
    "__lambda__": "it holds Python code",
    "TorchModuleWrapper": "it unpickles a PyTorch module",
    "TFSMLayer": "it loads another model",
    "StringLookup": "it reads a vocabulary file",
    "IntegerLookup": "it reads a vocabulary file",
    "TextVectorization": "it reads a vocabulary file",
}


@dataclass(frozen=True, slots=True)
class KerasFile:
    """A Keras file that names nothing harmful; its version is "" where it does not say.

    The config is the network as nested dictionaries, without how it was trained, all its layers
    computing in 32 bits; `changed` says whether that is not what stands in the file. No network
    of it has more weights than `values`, the numbers that its datasets hold.
    """

    path: Path
    config: dict[str, Any]
    version: str
    values: int
    changed: bool = False

    @property
    def is_keras_2(self) -> bool:
        """Whether a Keras before 3 wrote it."""
        return self.version.split(".")[0] in ("1", "2")


def inspect(path: Path) -> KerasFile:
    """Read the network's description and refuse what could run code or reach other files.

    Raises:
        ModelError: `model-unreadable`, `model-unsafe` or `model-layer`.
    """
    require_file(path)
    reader = _inspect_zip if path.suffix.lower() == ".keras" else _inspect_hdf5
    try:
        file = reader(path)
        for entry in objects(file.config):
            _check_object(path, entry)
        wide = _in_32_bits(file.config)
        return replace(file, config=wide, changed=wide != file.config)
    # HDF5 and zip say at which byte they gave up, and not what to do.
    except _DAMAGE as error:
        raise damaged(
            path, "is no model of Keras, or is damaged or cut off; copy or save it again"
        ) from error
    except RecursionError as error:
        raise ModelError(
            "model-unsafe", f"{path.name}: its description is nested without end"
        ) from error


def as_inspected(file: KerasFile, folder: Path) -> Path:
    """Return a file with the description that was inspected, made in a folder where it differs.

    Byte for byte it has nothing else of a .keras file.
    """
    if file.path.suffix.lower() == ".keras":
        to = folder / "inspected.keras"
        with zipfile.ZipFile(file.path) as source, zipfile.ZipFile(to, "w") as target:
            target.writestr("metadata.json", json.dumps({"keras_version": file.version}))
            target.writestr(_CONFIG, json.dumps(file.config))
            with (
                source.open(_WEIGHTS) as weights,
                target.open(_WEIGHTS, "w", force_zip64=True) as out,
            ):
                shutil.copyfileobj(weights, out)
        return to
    if not file.changed:
        return file.path
    to = folder / "inspected.h5"
    shutil.copyfile(file.path, to)
    with h5py.File(to, "r+") as copy:
        copy.attrs["model_config"] = json.dumps(file.config).encode()
    return to


def objects(config: object) -> Iterator[dict[str, Any]]:
    """Yield every object that a description names, outer before inner."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from objects(value)


def layout_of(file: KerasFile) -> Layout:
    """Return the layout that a network's layers say, Keras's own where none says any."""
    for named in objects(file.config):
        settings = named.get("config")
        if isinstance(settings, dict) and settings.get("data_format") == "channels_first":
            return "NCHW"
    return "NHWC"


def _inspect_zip(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if strange := [name for name in names if name not in _MEMBERS]:
            members = ", ".join(_MEMBERS)
            raise unsafe(
                path, f"holds {strange[0]!r}; a Keras model holds {members} and nothing else"
            )
        if len(set(names)) < len(names):
            raise unsafe(path, "holds one member twice")
        if missing := set(_MEMBERS[1:]).difference(names):
            raise damaged(path, f"lacks {', '.join(sorted(missing))}")
        most = path.stat().st_size * _MOST_GROWTH
        if sum(member.file_size for member in archive.infolist()) > most + _SLACK_BYTES:
            raise unsafe(path, f"unpacks to more than {_MOST_GROWTH} times its size")
        config = _json(path, archive.read(_CONFIG))
        version = ""
        if "metadata.json" in names:
            version = str(_json(path, archive.read("metadata.json")).get("keras_version", ""))
        # In memory: HDF5 reads here and there, and each step back in a ZIP unpacks from its start.
        values = _check_hdf5(path, io.BytesIO(archive.read(_WEIGHTS)))
    return KerasFile(path, _untrained(config), version, values)


def _inspect_hdf5(path: Path) -> KerasFile:
    with path.open("rb") as stream:
        values = _check_hdf5(path, stream)
    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        if text is None and _is_of_caffe(file):
            raise ModelError("model-format", f"{path.name} {CAFFE_HDF5}")
        if text is None:
            raise damaged(
                path,
                "holds weights without the network; save the whole model in Keras: "
                "model.save('model.keras')",
            )
        config = _json(path, text)
        version = file.attrs.get("keras_version", "")
    words = version.decode() if isinstance(version, bytes) else str(version)
    return KerasFile(path, config, words, values)


def _is_of_caffe(file: h5py.File) -> bool:
    """Return whether an HDF5 file holds blobs by number, data/conv1/0 (Caffe, Net::ToHDF5)."""
    layers = file.get("data")
    groups = list(layers.values()) if isinstance(layers, h5py.Group) else []
    return bool(groups) and all(
        isinstance(group, h5py.Group) and all(name.isdigit() for name in group) for group in groups
    )


def _json(path: Path, text: str | bytes) -> dict[str, Any]:
    if len(text) > _MOST_CONFIG_BYTES:
        raise ModelError("model-unsafe", f"{path.name}: a description of {len(text):,} bytes")
    description = parse_json(text)
    if not isinstance(description, dict):
        raise ModelError("model-unreadable", f"{path.name}: its description names no network")
    return description


def _untrained(config: dict[str, Any]) -> dict[str, Any]:
    """Return a description without losses, metrics and optimizers, which are not converted."""

    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {key: clean(part) for key, part in value.items() if key != "compile_config"}
        return [clean(part) for part in value] if isinstance(value, list) else value

    cleaned = clean(config)
    assert isinstance(cleaned, dict)
    return cleaned


def _in_32_bits(value: Any) -> Any:  # noqa: ANN401
    """Return a description whose layers compute in 32 bits where they said 16.

    What a network answers in 16 bits depends on where it runs; its weights are what was trained.
    """
    if isinstance(value, list):
        return [_in_32_bits(part) for part in value]
    if not isinstance(value, dict):
        return value
    wide = {key: _in_32_bits(part) for key, part in value.items()}
    settings = wide.get("config")
    if value.get("class_name") in _POLICIES and isinstance(settings, dict):
        name = str(settings.get("name"))
        wide["config"] = settings | {"name": _NARROW.get(name, name)}
    if isinstance(value.get("dtype"), str):
        wide["dtype"] = _NARROW.get(value["dtype"], value["dtype"])
    return wide


def _check_hdf5(path: Path, stream: IO[bytes]) -> int:
    """Refuse links and datasets that lie in other files or are larger than the file explains.

    Returns how many numbers the datasets hold.
    """

    def refuse(name: str, why: str) -> ModelError:
        return ModelError("model-unsafe", f"{path.name}: {name} {why}")

    seen: set[int] = set()
    total = values = 0
    with h5py.File(stream, "r") as file:
        most = path.stat().st_size * _MOST_GROWTH + _SLACK_BYTES
        groups: list[h5py.Group] = [file["/"]]
        while groups:
            group = groups.pop()
            for name in group:
                link = group.get(name, getlink=True)
                where = f"{group.name.rstrip('/')}/{name}"
                if not isinstance(link, h5py.HardLink):
                    raise refuse(where, "is a link, which may lead to another file")
                member = group[name]
                address = h5py.h5o.get_info(member.id).addr
                if address in seen:
                    raise refuse(where, "is there twice")
                seen.add(address)
                if isinstance(member, h5py.Group):
                    groups.append(member)
                    continue
                if not isinstance(member, h5py.Dataset):
                    continue
                if member.is_virtual or member.external:
                    raise refuse(where, "keeps its values in another file")
                if member.dtype.kind not in "biufV" or member.dtype.hasobject:
                    raise refuse(where, f"holds {member.dtype}; weights are numbers")
                total += int(member.nbytes)
                values += int(member.size)
                if total > most:
                    raise refuse(
                        where, f"unpacks to more than {_MOST_GROWTH} times the file's size"
                    )
    return values


def _check_object(path: Path, entry: dict[str, Any]) -> None:
    """Refuse an object of a description that is anything but arithmetic of Keras itself.

    Its class, module and settings are of types as a stranger wrote them; the module is None of
    plain values and in files of Keras 2.
    """
    kind, module, settings = entry["class_name"], entry.get("module"), entry.get("config")
    named, facts = isinstance(kind, str), settings if isinstance(settings, dict) else {}
    title = f"layer {facts['name']!r} of type {kind}" if facts.get("name") else f"{kind}"
    from_keras = module is None or (isinstance(module, str) and _HOME.fullmatch(module) is not None)
    if named and kind in _REASONS and (from_keras or not module):
        raise ModelError(
            "model-unsafe",
            f"{path.name}: {title} is refused, because {_REASONS[kind]}; replace it by layers of "
            "Keras and save again",
        )
    if kind == "function":
        own = from_keras or module == "builtins"
        if own and isinstance(settings, str) and settings in _ACTIVATIONS:
            return
        why = f"calls the function {settings!r} of {module}; it is not an activation of Keras"
        raise unsafe(path, why)
    if named and from_keras and kind in TENSORFLOW_CALLS:
        function = str(facts.get("function", "__operators__.getitem"))
        if _TENSORFLOW.fullmatch(function) is None:
            raise ModelError(
                "model-unsafe", f"{path.name}: {title} calls tf.{function}, which is not arithmetic"
            )
        return
    if named and from_keras and (kind in _ARITHMETIC or (module is None and kind in _VALUES)):
        return
    if named and (from_keras or (entry.get("registered_name") and isinstance(module, str))):
        home = f" of {module}" if module else ""
        raise ModelError(
            "model-layer",
            f"{path.name}: {title}{home} is not known here; build the network of Keras's own "
            "layers, or export it to ONNX",
        )
    raise unsafe(path, f"names {kind} of {module}, which is no part of Keras")


@contextmanager
def weights_within(layer: Any, file: KerasFile) -> Iterator[None]:  # noqa: ANN401
    """Refuse a network with more weights than its file has numbers, before it takes their memory.

    `layer` is the class of Keras whose `add_weight` makes every weight.

    Raises:
        ModelError: `model-unreadable`.
    """
    count = 0
    add_weight = layer.add_weight

    def counting(self: Any, *values: Any, **named: Any) -> Any:  # noqa: ANN401
        nonlocal count
        # Keras 2 takes the name first, Keras 3 the shape.
        shape = named.get("shape") or next(
            (value for value in values[:2] if isinstance(value, tuple | list)), ()
        )
        count += math.prod(size for size in shape if isinstance(size, int))
        if count > file.values + _SLACK_VALUES:
            raise damaged(
                file.path,
                f"describes more than {count:,} weights and holds "
                f"{file.values:,}; it is damaged, save it again",
            )
        return add_weight(self, *values, **named)

    layer.add_weight = counting
    try:
        yield
    finally:
        layer.add_weight = add_weight
