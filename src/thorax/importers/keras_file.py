"""What a Keras file says of itself, read without Keras, and whether reading more could do harm.

Keras builds objects that a file names: safe mode has been got round more than once
(CVE-2024-3660, CVE-2025-1550, -8747, -9905, -9906, -12058), so that here only what is known to
compute and to do nothing else may be named at all. HDF5 in turn reads other files where its
links, datasets or filters say so.
"""

import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import h5py

from thorax.errors import ModelError
from thorax.files.documents import parse_json
from thorax.importers.options import Layout

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.weights.h5"
_MEMBERS: Final = ("metadata.json", CONFIG, WEIGHTS)
"""All that Keras writes into a .keras file whose layers bring no files of their own."""

_MOST_GROWTH: Final = 100
"""Weights are hardly compressible; a file that grows more on reading is made to fill memory."""

_MOST_CONFIG_BYTES: Final = 64 << 20
_SLACK_BYTES: Final = 1 << 20

_HOME: Final = re.compile(
    r"(tf_)?keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies"
    r"|activations|(src|engine|legacy_tf_layers)(\.\w+)+))?"
)
"""Modules whose allowed classes are Keras's own."""

_NETWORKS: Final = frozenset({"Functional", "Sequential", "Model"})

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

_TF_CALLS: Final = frozenset({"TFOpLambda", "SlicingOpLambda"})

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
    """A Keras file that names nothing harmful.

    Attributes:
        path: of the file.
        config: the network as nested dictionaries, without how it was trained, all its layers
            computing in 32 bits.
        version: of the Keras that wrote it, "" where it does not say.
        values: numbers that its datasets hold: no network of it has more weights.
        narrow: whether the file itself has layers compute in 16 bits.
    """

    path: Path
    config: dict[str, Any]
    version: str
    values: int
    narrow: bool = False

    @property
    def is_keras_2(self) -> bool:
        """Whether a Keras before 3 wrote it."""
        return self.path.suffix.lower() != ".keras" and self.version.split(".")[0] in ("1", "2")


def inspect(path: Path) -> KerasFile:
    """Read the network's description and refuse what could run code or reach other files.

    Raises:
        ModelError: `model-unreadable`, `model-unsafe` or `model-layer`.
    """
    if not path.is_file():
        raise ModelError("model-unreadable", f"{path.name} is a folder where a file is expected")
    if not path.stat().st_size:
        raise ModelError("model-unreadable", f"{path.name} is empty; copy or save it again")
    reader = _inspect_zip if path.suffix.lower() == ".keras" else _inspect_hdf5
    try:
        found = reader(path)
        _check_objects(path, found.config)
        wide = _in_32_bits(found.config)
        found = replace(found, config=wide, narrow=wide != found.config)
    # HDF5 and zip say at which byte they gave up, and not what to do.
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ModelError(
            "model-unreadable",
            f"{path.name} is no model of Keras, or is damaged or cut off; copy or save it again",
        ) from error
    except RecursionError as error:
        raise ModelError(
            "model-unsafe", f"{path.name}: its description is nested without end"
        ) from (error)
    return found


def as_inspected(found: KerasFile, folder: Path) -> Path:
    """Return a file with the description that was inspected, made in a folder where it differs.

    Byte for byte it has nothing else of a .keras file.
    """
    if found.path.suffix.lower() == ".keras":
        to = folder / "inspected.keras"
        with zipfile.ZipFile(found.path) as source, zipfile.ZipFile(to, "w") as target:
            target.writestr("metadata.json", json.dumps({"keras_version": found.version}))
            target.writestr(CONFIG, json.dumps(found.config))
            with (
                source.open(WEIGHTS) as weights,
                target.open(WEIGHTS, "w", force_zip64=True) as out,
            ):
                shutil.copyfileobj(weights, out)
        return to
    if not found.narrow:
        return found.path
    to = folder / "inspected.h5"
    shutil.copyfile(found.path, to)
    with h5py.File(to, "r+") as file:
        file.attrs["model_config"] = json.dumps(found.config).encode()
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


def layout_of(found: KerasFile) -> Layout:
    """Return the layout that a network's layers say, Keras's own where none says any."""
    for named in objects(found.config):
        settings = named.get("config")
        if isinstance(settings, dict) and settings.get("data_format") == "channels_first":
            return "NCHW"
    return "NHWC"


def _inspect_zip(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            if member.filename not in _MEMBERS:
                raise ModelError(
                    "model-unsafe",
                    f"{path.name} holds {member.filename!r}; a Keras model holds "
                    f"{', '.join(_MEMBERS)} and nothing else",
                )
        if len({member.filename for member in members}) < len(members):
            raise ModelError("model-unsafe", f"{path.name} holds one member twice")
        if missing := set(_MEMBERS[1:]) - {member.filename for member in members}:
            raise ModelError("model-unreadable", f"{path.name} lacks {', '.join(sorted(missing))}")
        most = path.stat().st_size * _MOST_GROWTH
        if sum(member.file_size for member in members) > most + _SLACK_BYTES:
            raise ModelError(
                "model-unsafe", f"{path.name} unpacks to more than {_MOST_GROWTH} times its size"
            )
        config = _json(path, archive.read(CONFIG))
        version = ""
        if any(member.filename == "metadata.json" for member in members):
            version = str(_json(path, archive.read("metadata.json")).get("keras_version", ""))
        with archive.open(WEIGHTS) as stream:
            values = _check_hdf5(path, stream)
    return KerasFile(path, _untrained(config), version, values)


def _inspect_hdf5(path: Path) -> KerasFile:
    with path.open("rb") as stream:
        values = _check_hdf5(path, stream)
    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        if text is None:
            raise ModelError(
                "model-unreadable",
                f"{path.name} holds weights without the network; save the whole model in Keras: "
                "model.save('model.keras')",
            )
        config = _json(path, text)
        version = file.attrs.get("keras_version", "")
    words = version.decode() if isinstance(version, bytes) else str(version)
    return KerasFile(path, config, words, values)


def _json(path: Path, text: str | bytes) -> dict[str, Any]:
    if len(text) > _MOST_CONFIG_BYTES:
        raise ModelError("model-unsafe", f"{path.name}: a description of {len(text):,} bytes")
    found = parse_json(text)
    if not isinstance(found, dict):
        raise ModelError("model-unreadable", f"{path.name}: its description names no network")
    return found


def _untrained(config: dict[str, Any]) -> dict[str, Any]:
    """Return a description without losses, metrics and optimizers, which are not converted."""

    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {key: clean(one) for key, one in value.items() if key != "compile_config"}
        return [clean(one) for one in value] if isinstance(value, list) else value

    cleaned = clean(config)
    assert isinstance(cleaned, dict)
    return cleaned


def _in_32_bits(value: Any) -> Any:  # noqa: ANN401
    """Return a description whose layers compute in 32 bits where they said 16.

    What a network answers in 16 bits depends on where it runs; its weights are what was trained.
    """
    if isinstance(value, list):
        return [_in_32_bits(one) for one in value]
    if not isinstance(value, dict):
        return value
    wide = {key: _in_32_bits(one) for key, one in value.items()}
    settings = wide.get("config")
    if value.get("class_name") in _POLICIES and isinstance(settings, dict):
        name = str(settings.get("name"))
        wide["config"] = settings | {"name": _NARROW.get(name, name)}
    if isinstance(value.get("dtype"), str):
        wide["dtype"] = _NARROW.get(value["dtype"], value["dtype"])
    return wide


def _check_hdf5(path: Path, stream: IO[bytes]) -> int:
    """Refuse links and datasets that lie in other files or are larger than the file explains.

    Returns:
        how many numbers the datasets hold.

    Raises:
        ModelError: `model-unsafe`.
    """

    def refuse(name: str, why: str) -> ModelError:
        return ModelError("model-unsafe", f"{path.name}: {name} {why}")

    seen: set[int] = set()
    total = values = 0
    with h5py.File(stream, "r") as file:
        most = path.stat().st_size * _MOST_GROWTH + _SLACK_BYTES
        left: list[h5py.Group] = [file["/"]]
        while left:
            group = left.pop()
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
                    left.append(member)
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


def _check_objects(path: Path, config: dict[str, Any]) -> None:
    """Refuse a description that names anything but arithmetic of Keras itself.

    Raises:
        ModelError: `model-unsafe` or `model-layer`.
    """
    for named in objects(config):
        kind, module = named["class_name"], named.get("module")
        settings = named.get("config")
        known = isinstance(kind, str) and isinstance(module, str | None)
        if known and kind in _VALUES and module is None:
            continue
        label = settings.get("name") if isinstance(settings, dict) else None
        who = f"layer {label!r} of type {kind}" if label else f"{kind}"
        ours = known and (module is None or _HOME.fullmatch(module) is not None)
        if kind in _REASONS and (ours or not module):
            raise ModelError(
                "model-unsafe",
                f"{path.name}: {who} is refused, because {_REASONS[kind]}; replace it by layers "
                "of Keras and save again",
            )
        if kind == "function":
            if settings in _ACTIVATIONS and (ours or module == "builtins"):
                continue
            raise ModelError(
                "model-unsafe",
                f"{path.name} calls the function {settings!r} of {module}; it is not an "
                "activation of Keras",
            )
        if ours and kind in _TF_CALLS:
            called = str((settings or {}).get("function", "__operators__.getitem"))
            if _TENSORFLOW.fullmatch(called) is None:
                raise ModelError(
                    "model-unsafe", f"{path.name}: {who} calls tf.{called}, which is not arithmetic"
                )
            continue
        if ours and kind in _LAYERS | _NETWORKS | _OPERATIONS | _SETTINGS:
            continue
        if known and (module is None or named.get("registered_name") or ours):
            raise ModelError(
                "model-layer",
                f"{path.name}: {who}{f' of {module}' if module else ''} is not known here; "
                "build the network of Keras's own layers, or export it to ONNX",
            )
        raise ModelError(
            "model-unsafe", f"{path.name} names {kind} of {module}, which is no part of Keras"
        )
