"""The product: a folder of model.xml, model.bin and card.json whose digests agree."""

import hashlib
import json
import operator
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thorax import __version__
from thorax.errors import ModelError, UsageError
from thorax.files import atomic
from thorax.files.atomic import sha256, sync, write_text
from thorax.files.documents import document_digest
from thorax.images.preprocess import InputSpec
from thorax.labels import INTENDED_USE, LabelSet
from thorax.metrics import Platt
from thorax.results.benchmark import StoredSetting
from thorax.results.optimize import Trial as JudgedTrial
from thorax.results.shared import HeatmapKind

XML: Final = "model.xml"
BIN: Final = "model.bin"
CARD: Final = "card.json"

Activation = Literal["sigmoid", "softmax", "none"]
"""What makes probabilities of logits: findings that may occur together, or one class an image; of
answers that are probabilities already, nothing."""


class Precision(StrEnum):
    """How weights are stored and layers computed."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP11 = "fp11"

    @property
    def compute(self) -> str:
        """OpenVINO element type that floating-point layers are computed in on a CPU.

        FP16 is a storage format there: a CPU without native FP16 widens the weights to f32. FP11
        is block floating point, which FPGA cards compute; beside one a CPU computes f32.
        """
        return "bf16" if self is Precision.BF16 else "f32"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeatmapGrid(_Frozen):
    """Where the cells of a heat map lie on the prepared square.

    The receptive field of cell (row, column) is centred on pixel
    (offset + stride * column, offset + stride * row).
    """

    stride: float
    offset: float


class Accuracy(_Frozen):
    """AUROC on a named set of images, as measured when the artifact was made."""

    store: str
    split: str
    images: int
    mean_auroc: float
    auroc: dict[str, float | None]


class Trial(JudgedTrial):
    """One candidate that was judged when the artifact was made."""

    model_config = ConfigDict(extra="forbid")

    precision: Precision


class Tuning(StoredSetting):
    """The setting that answered most images per second on a device; of one machine, not of all."""

    model_config = ConfigDict(extra="forbid")


class Card(_Frozen):
    """What travels from checkpoint to server beside the graph."""

    format: Literal[1] = 1
    name: str
    topology: str
    label_set: str
    labels: tuple[str, ...]
    input: InputSpec
    """What `prepare` makes for it. Mean and std are inside the graph, and told here for people; of
    a source with several channels this is their average, the whole lists are in `provenance`."""
    precision: Precision
    activation: Activation = "sigmoid"
    one_by_one: bool = Field(default=False, exclude_if=operator.not_)
    """Whether it must be run an image at a time: in a batch its answers to one would depend on the
    others, or it takes no batch. Not in the card where it need not, so that earlier versions read
    that card."""
    heatmap: HeatmapGrid | None = None
    heatmap_kind: HeatmapKind | None = Field(default=None, exclude_if=lambda kind: kind is None)
    """What its heat maps are; None without any."""
    extensions: tuple[str, ...] = ()
    """Layers that OpenVINO lacks, `version::type`: `--extension` must say what computes them."""
    thresholds: dict[str, float] | None = None
    """Operating point of each finding on its calibrated probability; bound to `digest`."""
    calibration: dict[str, Platt] | None = None
    accuracy: Accuracy | None = None
    auroc_drop: float | None = None
    """Mean AUROC of the fp32 graph minus that of this one, same images."""
    kept: tuple[str, ...] = ()
    """Layers of an int8 graph left in floating point on purpose."""
    tried: tuple[Trial, ...] = ()
    """What was judged against a budget of AUROC before this artifact was chosen."""
    tuned: tuple[Tuning, ...] = ()
    """What `thorax tune` found, one entry a device and hardware."""
    parameters: int
    macs: int
    """Multiply-accumulates of one image."""
    size_bytes: int
    """Of model.bin."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    intended_use: str = INTENDED_USE
    thorax_version: str = __version__
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of model.xml and model.bin."""
    card_sha256: str = ""
    """SHA-256 of this card, canonical JSON, with this field empty."""

    @property
    def digest(self) -> str:
        """SHA-256 of graph, weights, precision and preprocessing: what thresholds belong to."""
        parts = [self.files.get(XML, ""), self.files.get(BIN, ""), self.precision.value]
        spec = self.input
        parts.append(f"{spec.side} {spec.mean!r} {spec.std!r}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def answers_digest(self) -> str:
        """SHA-256 of the card without what `keep_tuning` adds to it: one for the same answers."""
        plain = self.model_dump(mode="json", exclude={"tuned", "card_sha256"})
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def labels_as_set(self) -> LabelSet:
        """Return the finding names as the set they came from."""
        return LabelSet(self.label_set, self.labels)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact on disk."""

    path: Path
    card: Card

    @property
    def xml(self) -> Path:
        """The graph."""
        return self.path / XML

    @property
    def bin(self) -> Path:
        """The weights."""
        return self.path / BIN


def is_artifact(path: Path) -> bool:
    """Return whether a folder holds a card and nothing foreign; `load` verifies the rest."""
    if not (path / CARD).is_file():
        return False
    return all(
        atomic.is_ours(file.name) or (file.name in (CARD, XML, BIN) and file.is_file())
        for file in path.iterdir()
    )


def load(path: Path) -> Artifact:
    """Read and verify an artifact; a .xml inside one stands for the folder.

    Raises:
        ModelError: `artifact-missing`, `artifact-incomplete`, `artifact-unreadable`,
            `artifact-card` or `artifact-tampered`.
    """
    folder = path.parent if path.name == XML else path
    if not folder.exists():
        with writing(folder):
            atomic.recover(folder)
    if not folder.is_dir():
        what = f"{path} is a file and no artifact" if path.exists() else f"no artifact at {path}"
        raise ModelError(
            "artifact-missing",
            f"{what}; give the folder that `thorax optimize --out` wrote (of a model of another "
            "format it makes one)",
        )
    for name in (CARD, XML, BIN):
        if not (folder / name).is_file():
            raise ModelError(
                "artifact-incomplete",
                f"{folder} has no {name}; an artifact holds {XML}, {BIN} and {CARD}: "
                "make it with `thorax optimize`",
            )
    try:
        content = (folder / CARD).read_bytes()
        card = Card.model_validate_json(content)
        digests = {name: sha256(folder / name) for name in (XML, BIN)}
    except OSError as error:
        raise ModelError(
            "artifact-unreadable", f"{folder} cannot be read: {error.strerror or error}"
        ) from error
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise ModelError("artifact-card", f"{folder / CARD} cannot be read: {reason}") from error
    except UsageError as error:
        raise ModelError("artifact-card", f"{folder / CARD}: {error.message}") from error
    for name, digest in digests.items():
        if digest != card.files.get(name):
            raise ModelError(
                "artifact-tampered",
                f"{folder / name} is not the file the card was written for (SHA-256 differs); "
                "make the artifact again",
            )
    if document_digest(json.loads(content), "card_sha256") != card.card_sha256:
        raise ModelError(
            "artifact-tampered",
            f"{folder / CARD} was changed after it was written (SHA-256 differs); "
            "make the artifact again",
        )
    return Artifact(folder, card)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Say of a disk that refuses an artifact what it refused.

    Raises:
        ModelError: `artifact-unwritable`.
    """
    try:
        yield
    except OSError as error:
        raise ModelError(
            "artifact-unwritable",
            f"{out} cannot be written: {error.strerror or error}; make room or give another --out",
        ) from error


def seal(folder: Path, card: Card, *, durable: bool = True) -> Card:
    """Write card.json for the model.xml and model.bin of a folder, with all digests.

    Where `durable`, graph and weights are forced to disk before the card says that they are there.

    Raises:
        ModelError: `artifact-unwritable`.
    """
    with writing(folder):
        digests = {name: sha256(folder / name) for name in (XML, BIN)}
        size = (folder / BIN).stat().st_size
        card = card.model_copy(update={"files": digests, "size_bytes": size})
        digest = document_digest(card.model_dump(mode="json"), "card_sha256")
        card = card.model_copy(update={"card_sha256": digest})
        if durable:
            for name in (XML, BIN):
                sync(folder / name)
        write_text(folder / CARD, card.model_dump_json(indent=2) + "\n")
    return card


@contextmanager
def hold(artifact: Artifact) -> Iterator[None]:
    """Hold the card of an artifact for this process alone, to change it.

    Raises:
        ModelError: `artifact-locked` when another process holds it, `artifact-changed` when it was
            replaced since it was read, `artifact-unwritable`.
    """
    with ExitStack() as stack:
        _lock(stack, artifact.path)
        if load(artifact.path).card.files != artifact.card.files:
            raise ModelError(
                "artifact-changed",
                f"{artifact.path} was replaced by another since it was read; repeat the command",
            )
        yield


def _lock(stack: ExitStack, out: Path, *, beside: bool = False) -> None:
    with writing(out):
        try:
            stack.enter_context(atomic.locked(out, beside=beside))
        except atomic.LockedError as error:
            raise ModelError(
                "artifact-locked",
                f"{out} is being changed by {error.holder}; wait for it or stop it",
            ) from error


def keep_tuning(artifact: Artifact, tuning: Tuning) -> Artifact:
    """Write a setting into the card of an artifact, in place of an earlier one of its key.

    The key is the device string, the hardware and its processors. Graph, weights, digest and
    operating points stay as they are. Within `hold` no setting of another process is lost.

    Raises:
        ModelError: `artifact-unwritable`.
    """
    key = tuning.device, tuning.hardware, tuning.processors
    others = tuple(
        other
        for other in artifact.card.tuned
        if (other.device, other.hardware, other.processors) != key
    )
    card = artifact.card.model_copy(update={"tuned": (*others, tuning)})
    return Artifact(artifact.path, seal(artifact.path, card))


def require_place(out: Path) -> None:
    """Refuse a place for an artifact that holds something else.

    Raises:
        ModelError: `artifact-exists`.
    """
    if out.is_symlink() and not out.exists():
        raise ModelError(
            "artifact-exists", f"{out} is a link that leads nowhere; give another --out"
        )
    if out.exists() and not is_artifact(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ModelError(
            "artifact-exists",
            f"{out} holds what is no part of an artifact; give another --out or remove it",
        )


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `out` only when the block succeeds.

    An artifact that stood there is replaced; anything else is left alone.

    Raises:
        ModelError: `artifact-exists` when `out` is something other than an artifact,
            `artifact-locked` when another process makes or changes it, `artifact-unwritable` when
            the disk refuses.
    """
    require_place(out)
    with ExitStack() as stack:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        _lock(stack, out, beside=True)
        if is_artifact(out):
            _lock(stack, out)
        with writing(out):
            staging = stack.enter_context(atomic.new_folder(out))
        yield staging
        with writing(out):
            stack.close()
