"""What training leaves behind: weights as safetensors, facts as JSON, no pickle.

A checkpoint is a folder that appears whole, by one rename, and is never changed afterwards:

    checkpoint.json        `Card`: topology, labels, input, recipe, metrics, digests
    model.safetensors      weights under torchvision's names
    optimizer.safetensors  what the optimizer remembers of each weight, for `--resume`, and the
                           weights themselves where `model.safetensors` holds their average

A run is a folder of such folders: `epoch-0001` and so on, written after whole epochs, and
`epoch-0002-step-00000150`, written within one. Those left are the two newest, to resume from (the
older where the newer turns out damaged), and the ones they call `kept`, the run's result.
"""

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.files import sha256, sync
from thorax.labels import LabelSet
from thorax.preprocess import InputSpec
from thorax.training import networks
from thorax.training.networks import Classifier

CARD: Final = "checkpoint.json"
WEIGHTS: Final = "model.safetensors"
OPTIMIZER: Final = "optimizer.safetensors"

_EPOCH: Final = re.compile(r"epoch-(\d{4,})")
_NAME: Final = re.compile(r"epoch-(\d{4,})(?:-step-(\d{8,}))?")
_RAW: Final = "raw/"
"""Before the names of weights and buffers that training goes on from when an average is kept."""
_CARD_LIMIT: Final = 16 << 20
"""Bytes of JSON beyond which a file is no card of ours."""


class Within(BaseModel):
    """How far an epoch has come.

    Attributes:
        losses: of its updates, nats, over all ranks.
        elapsed_s: training time so far.
        waited_s: of it, spent waiting for data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    losses: tuple[float, ...]
    elapsed_s: float
    waited_s: float


class Card(BaseModel):
    """The facts of a checkpoint.

    Attributes:
        topology: one of `thorax.training.networks.TOPOLOGIES`.
        output_stride: the one it was trained with.
        width: share of the channels of the published network.
        label_set: names of the K logits.
        input: what the network takes.
        precision: arithmetic it was trained in.
        recipe: the effective configuration it was trained by.
        data: name, label counts and sizes of the store, to refuse another one at resume.
        epoch: whole epochs done.
        step: updates done.
        within: of an epoch under way: losses of its updates so far, nats, and its clocks; None
            after a whole one.
        ranks: how many ran the training when this was written.
        schedule: the resolved schedule.
        init: what the weights started from, None for a random start.
        metrics: on the validation split, after this epoch; `auroc` by label, None = undefined.
        history: one entry an epoch: epoch, loss, val_mean_auroc, learning_rate, images_per_s.
        kept: name of the epoch folder that is the run's result so far, empty before there is one.
        software: versions it was written by.
        weights_sha256: digest of `model.safetensors`.
        optimizer_sha256: digest of `optimizer.safetensors`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[1] = 1
    topology: str
    output_stride: int
    width: float = 1.0
    label_set: LabelSet
    input: InputSpec
    precision: Literal["fp32", "bf16"]
    recipe: dict[str, Any]
    data: dict[str, Any]
    epoch: int
    step: int
    within: Within | None = None
    ranks: int = 1
    schedule: dict[str, Any] = {}
    init: dict[str, Any] | None = None
    metrics: dict[str, Any]
    history: tuple[dict[str, float], ...]
    kept: str
    software: dict[str, str]
    weights_sha256: str = ""
    optimizer_sha256: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint read back.

    Attributes:
        path: the folder, that of the epoch when a run was named.
        card: its facts.
        network: with the weights, in eval mode, on the CPU.
    """

    path: Path
    card: Card
    network: Classifier = field(repr=False)


def epoch_name(epoch: int) -> str:
    """Return the folder name of the checkpoint written after so many epochs."""
    return f"epoch-{epoch:04d}"


def name(card: Card) -> str:
    """Return the folder name of a checkpoint."""
    if card.within is None:
        return epoch_name(card.epoch)
    return f"{epoch_name(card.epoch + 1)}-step-{card.step:08d}"


def save(
    run: Path,
    network: Classifier,
    card: Card,
    optimizer: torch.optim.Optimizer,
    *,
    average: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a checkpoint into a run, whole or not at all, and return its folder.

    Older checkpoints stay until `prune`; a damaged one of the same name is replaced. The digests
    of the card are filled in.

    Args:
        run: folder of the run.
        network: as training goes on from it.
        card: its facts.
        optimizer: what it remembers of each weight is saved.
        average: weights and buffers to use in place of the network's, by their names.

    Raises:
        ModelError: `checkpoint-unwritable`.
    """
    final = run / name(card)
    memory = _memory(network, optimizer)
    if average is not None:
        memory |= {_RAW + key: value for key, value in network.state_dict().items()}
    partial = run / f".{final.name}.{os.getpid()}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        digests = {
            "weights_sha256": _put_tensors(
                partial / WEIGHTS, network.state_dict() | dict(average or {})
            ),
            "optimizer_sha256": _put_tensors(partial / OPTIMIZER, memory),
        }
        text = card.model_copy(update=digests).model_dump_json(indent=2)
        (partial / CARD).write_text(text + "\n", "utf-8")
        sync(partial / CARD)
        sync(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync(run)
    except OSError as error:
        raise ModelError(
            "checkpoint-unwritable",
            f"{final} cannot be written: {error.strerror or error}; free space or choose another "
            "--out",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def prune(run: Path) -> None:
    """Delete all checkpoints of a run but the two newest and those they keep, and partial ones."""
    stay: set[str] = set()
    recent = 0
    for folder in _newest_first(run):
        try:
            kept = read_card(folder).kept
        except ModelError:
            continue
        stay |= {folder.name, kept}
        recent += 1
        if recent == 2:
            break
    if not stay:
        return
    for folder in run.iterdir():
        stale = _NAME.fullmatch(folder.name) and folder.name not in stay
        if stale or re.fullmatch(rf"\.{_NAME.pattern}\.\d+\.partial", folder.name):
            shutil.rmtree(folder)


def newest(run: Path) -> Path | None:
    """Return the checkpoint folder of a run with the most updates done, None if it has none."""
    return next(iter(_newest_first(run)), None)


def newest_whole(run: Path, on_message: Callable[[str], None]) -> tuple[Path, Card] | None:
    """Return the newest checkpoint that is as it was written, None if the run has none at all.

    Args:
        run: folder of the run.
        on_message: told of each damaged one that was passed over.

    Raises:
        ModelError: that of the newest when every one is damaged.
    """
    first: ModelError | None = None
    for folder in _newest_first(run):
        try:
            card = read_card(folder)
            for file, digest in (
                (WEIGHTS, card.weights_sha256),
                (OPTIMIZER, card.optimizer_sha256),
            ):
                _require_digest(folder / file, digest)
        except ModelError as error:
            first = first or error
            on_message(f"passed over {folder.name}: {error.message}")
            continue
        return folder, card
    if first is not None:
        raise first
    return None


def discard_after(run: Path, folder: Path) -> None:
    """Delete the checkpoints newer than one: damaged, or of a future that will be done again."""
    for one in _newest_first(run):
        if one == folder:
            return
        shutil.rmtree(one)


def _newest_first(run: Path) -> list[Path]:
    if not run.is_dir():
        return []
    found = [
        # A whole epoch comes after every step within it.
        ((int(match[1]), int(match[2]) if match[2] else math.inf), folder)
        for folder in run.iterdir()
        if (match := _NAME.fullmatch(folder.name)) and (folder / CARD).is_file()
    ]
    return [folder for _, folder in sorted(found, reverse=True)]


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, or the kept checkpoint of a run.

    Args:
        path: a checkpoint folder, or a run folder.

    Raises:
        ModelError: `checkpoint-missing`, `checkpoint-unreadable`, `checkpoint-damaged` (a digest
            differs) or `checkpoint-mismatch` (the weights are not those of the topology).
    """
    folder = resolve(path)
    card = read_card(folder)
    weights = _get_tensors(folder / WEIGHTS, card.weights_sha256)
    try:
        network = networks.build(
            card.topology,
            classes=len(card.label_set),
            output_stride=card.output_stride,
            width=card.width,
        )
        network.load_state_dict(weights)
    except (RuntimeError, UsageError) as error:
        raise ModelError(
            "checkpoint-mismatch",
            f"{folder} does not hold a {card.topology} of {len(card.label_set)} labels: "
            f"{str(error).splitlines()[-1].strip()}",
        ) from error
    return Checkpoint(folder, card, network.eval())


def resolve(path: Path) -> Path:
    """Return the checkpoint folder meant by a checkpoint or run folder.

    Raises:
        ModelError: `checkpoint-missing`, or as `read_card`.
    """
    if (path / CARD).is_file():
        return path
    last = newest(path)
    if last is None:
        raise ModelError(
            "checkpoint-missing",
            f"{path} holds no checkpoint ({CARD}), nor a run with one; make one by `train`",
        )
    kept = read_card(last).kept
    if not kept:
        raise ModelError(
            "checkpoint-missing", f"{path} has not finished its first epoch; resume it by `train`"
        )
    return path / kept


def read_card(folder: Path) -> Card:
    """Read the facts of a checkpoint folder.

    Raises:
        ModelError: `checkpoint-missing` or `checkpoint-unreadable`.
    """
    content = _read(folder / CARD, limit=_CARD_LIMIT)
    try:
        card = Card.model_validate_json(content)
        _check_names(card)
    except (ValidationError, ThoraxError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            what = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        else:
            what = str(error)
        raise ModelError(
            "checkpoint-unreadable", f"{folder / CARD} is no card of a checkpoint: {what}"
        ) from error
    return card


def restore(
    folder: Path, card: Card, network: Classifier, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Give a network and its optimizer the state they were saved in.

    Returns:
        The averaged weights and buffers by name, empty when none were saved.

    Raises:
        ModelError: as `load`.
    """
    weights = _get_tensors(folder / WEIGHTS, card.weights_sha256)
    memory = _get_tensors(folder / OPTIMIZER, card.optimizer_sha256)
    raw = {key: memory.pop(key) for key in list(memory) if key.startswith(_RAW)}
    try:
        network.load_state_dict(
            {key.removeprefix(_RAW): value for key, value in raw.items()} or weights
        )
        for name, parameter in network.named_parameters():
            for key in [key for key in memory if key.startswith(f"{name}/")]:
                value = memory.pop(key)
                if value.shape == parameter.shape:
                    # The same layout as the weight: otherwise sums may round differently.
                    value = torch.empty_like(parameter).copy_(value)
                optimizer.state[parameter][key.removeprefix(f"{name}/")] = value.detach()
    except RuntimeError as error:
        raise ModelError(
            "checkpoint-mismatch", f"{folder}: {str(error).splitlines()[-1].strip()}"
        ) from error
    if memory:
        raise ModelError(
            "checkpoint-mismatch", f"{folder / OPTIMIZER} has no place for {next(iter(memory))}"
        )
    return weights if raw else {}


def _check_names(card: Card) -> None:
    if not card.label_set.findings:
        raise ValueError("it has no labels")
    if card.kept and not _EPOCH.fullmatch(card.kept):
        raise ValueError(f"kept is {card.kept!r}, not the name of an epoch folder")


def _memory(network: Classifier, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def _put_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    safetensors.torch.save_file(plain, path)
    sync(path)
    return sha256(path)


def _get_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    _require_digest(path, digest)
    try:
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise _unreadable(path, str(error)) from error


def _require_digest(path: Path, digest: str) -> None:
    _require_file(path)
    try:
        found = sha256(path)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    if found != digest:
        raise ModelError(
            "checkpoint-damaged",
            f"{path} is not what was written (SHA-256 differs from {CARD}); restore or retrain",
        )


def _read(path: Path, *, limit: int) -> bytes:
    _require_file(path)
    try:
        size = path.stat().st_size
        if size > limit:
            raise _unreadable(path, f"it has {size} bytes, at most {limit} are expected")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError("checkpoint-missing", f"{path} is missing or no regular file")


def _unreadable(path: Path, why: str) -> ModelError:
    return ModelError("checkpoint-unreadable", f"{path} cannot be read: {json.dumps(why)}")
