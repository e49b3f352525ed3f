"""What training leaves behind: weights as safetensors, facts as JSON, no pickle.

A checkpoint is a folder that appears whole, by one rename, and is never changed afterwards:

    checkpoint.json        `Card`: topology, labels, input, recipe, metrics, digests
    model.safetensors      weights under torchvision's names
    optimizer.safetensors  what the optimizer remembers of each weight, for `--resume`

A run is a folder of such folders, `epoch-0001` and so on, of which two are left: the newest, to
resume from, and the one the newest calls `kept`, the run's result.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from thorax.durable import sha256, sync
from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.labels import LabelSet
from thorax.preprocess import InputSpec
from thorax.training import networks
from thorax.training.networks import Classifier

CARD: Final = "checkpoint.json"
WEIGHTS: Final = "model.safetensors"
OPTIMIZER: Final = "optimizer.safetensors"

_EPOCH: Final = re.compile(r"epoch-(\d{4,})")
_CARD_LIMIT: Final = 16 << 20
"""Bytes of JSON beyond which a file is no card of ours."""


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
        epoch: epochs done.
        step: updates done.
        metrics: on the validation split, after this epoch; `auroc` by label, None = undefined.
        history: one entry an epoch: epoch, loss, val_mean_auroc, learning_rate, images_per_s.
        kept: name of the epoch folder that is the run's result so far.
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


def save(run: Path, network: Classifier, card: Card, optimizer: torch.optim.Optimizer) -> Path:
    """Write a checkpoint into a run, whole or not at all, and return its folder.

    Older checkpoints stay until `prune`. The digests of the card are filled in.

    Raises:
        ModelError: `checkpoint-unwritable`.
    """
    final = run / epoch_name(card.epoch)
    partial = run / f".{final.name}.{os.getpid()}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        digests = {
            "weights_sha256": _put_tensors(partial / WEIGHTS, network.state_dict()),
            "optimizer_sha256": _put_tensors(partial / OPTIMIZER, _memory(network, optimizer)),
        }
        text = card.model_copy(update=digests).model_dump_json(indent=2)
        (partial / CARD).write_text(text + "\n", "utf-8")
        sync(partial / CARD)
        sync(partial)
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
    """Delete all checkpoints of a run but the newest and the one it keeps, and half-written ones.

    Raises:
        ModelError: when the newest cannot be read.
    """
    newest_path = newest(run)
    if newest_path is None:
        return
    stay = {newest_path.name, read_card(newest_path).kept}
    for folder in run.iterdir():
        stale = _EPOCH.fullmatch(folder.name) and folder.name not in stay
        if stale or re.fullmatch(r"\.epoch-\d{4,}\.\d+\.partial", folder.name):
            shutil.rmtree(folder)


def newest(run: Path) -> Path | None:
    """Return the checkpoint folder of a run with the most epochs done, None if it has none."""
    if not run.is_dir():
        return None
    found = {
        int(match[1]): folder
        for folder in run.iterdir()
        if (match := _EPOCH.fullmatch(folder.name)) and (folder / CARD).is_file()
    }
    return found[max(found)] if found else None


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
    return path / read_card(last).kept


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
) -> None:
    """Give a network and its optimizer the state they were saved in.

    Raises:
        ModelError: as `load`.
    """
    weights = _get_tensors(folder / WEIGHTS, card.weights_sha256)
    memory = _get_tensors(folder / OPTIMIZER, card.optimizer_sha256)
    try:
        network.load_state_dict(weights)
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


def _check_names(card: Card) -> None:
    if not card.label_set.findings:
        raise ValueError("it has no labels")
    if not _EPOCH.fullmatch(card.kept):
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
    _require_file(path)
    try:
        if sha256(path) != digest:
            raise ModelError(
                "checkpoint-damaged",
                f"{path} is not what was written (SHA-256 differs from {CARD}); restore or retrain",
            )
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise _unreadable(path, str(error)) from error


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
