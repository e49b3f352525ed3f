"""What training leaves behind: weights as safetensors, facts as JSON, no pickle.

A checkpoint is a folder that appears whole, by one rename, and is never changed afterwards:

    checkpoint.json        `CheckpointCard`: topology, labels, input, recipe, metrics, digests
    model.safetensors      weights under torchvision's names
    optimizer.safetensors  what the optimizer remembers of each weight, for `--resume`, and the
                           weights themselves where `model.safetensors` holds their average

A run is a folder of such folders: `epoch-0001` and so on, written after whole epochs, and
`epoch-0002-step-00000150`, written within one. Those left are the two newest, to resume from (the
older where the newer turns out damaged), and the ones they call `kept`, the run's result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from thorax.config import check
from thorax.errors import ModelError, UsageError
from thorax.files.atomic import new_folder, sha256, sync, write_text
from thorax.training import networks
from thorax.training.card import (
    CARD,
    OPTIMIZER,
    WEIGHTS,
    CheckpointCard,
    checked_text,
    name,
    read_card,
    require_digest,
    resolve,
    unreadable,
    unwritable,
)
from thorax.training.networks import Classifier
from thorax.training.recipe import Recipe
from thorax.training.weights_file import require_header

_RAW: Final = "raw/"
"""Before the names of weights and buffers that training goes on from when an average is kept."""
_OWN: Final = "own/"
"""Before the numbers of a rank and of a tensor that this rank has of its own within an epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint read back.

    Attributes:
        path: the folder, that of the epoch when a run was named.
        card: its facts.
        network: with the weights, in eval mode, on the CPU.
    """

    path: Path
    card: CheckpointCard
    network: Classifier = field(repr=False)

    def recipe(self) -> Recipe:
        """Return the recipe it was trained by.

        Raises:
            UsageError: `config-key` or `config-value`, where it is one of another Thorax.
        """
        return check(self.card.recipe, Recipe, f"the recipe in {self.path / CARD}")


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """What a checkpoint holds besides the network and its optimizer.

    Attributes:
        averages: averaged weights and buffers by name, empty when none were saved.
        own: of each rank what it has of its own, empty after a whole epoch.
    """

    averages: dict[str, Tensor]
    own: list[list[Tensor]]


def save(
    run: Path,
    network: Classifier,
    card: CheckpointCard,
    optimizer: torch.optim.Optimizer,
    *,
    average: Mapping[str, Tensor] | None = None,
    own: Sequence[Sequence[Tensor]] = (),
) -> Path:
    """Write a checkpoint into a run, whole or not at all, and return its folder.

    Older checkpoints stay until they are pruned; a damaged one of the same name is replaced. The
    digests of the card are filled in. The network is as training goes on from it; `average` has
    weights and buffers to use in place of its own, by their names, and `own` of each rank what has
    not been merged.

    Raises:
        ModelError: `checkpoint-unwritable`.
    """
    final = run / name(card)
    memory = _memory(network, optimizer)
    if average is not None:
        memory |= {_RAW + key: value for key, value in network.state_dict().items()}
    for rank, tensors in enumerate(own):
        memory |= {f"{_OWN}{rank:05d}/{place:05d}": value for place, value in enumerate(tensors)}
    try:
        with new_folder(final) as partial:
            digests = {
                "weights_sha256": _put_tensors(
                    partial / WEIGHTS, network.state_dict() | dict(average or {})
                ),
                "optimizer_sha256": _put_tensors(partial / OPTIMIZER, memory),
            }
            write_text(partial / CARD, checked_text(card.model_copy(update=digests)))
    except (OSError, SafetensorError) as error:
        # safetensors tells a full disk as an error of its own.
        raise unwritable(final, error) from error
    return final


def load(path: Path) -> Checkpoint:
    """Read a checkpoint folder, or the kept checkpoint of a run folder.

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


def restore(
    folder: Path, card: CheckpointCard, network: Classifier, optimizer: torch.optim.Optimizer
) -> Restored:
    """Give a network and its optimizer the state they were saved in, and return the rest.

    Raises:
        ModelError: as `load`.
    """
    weights = _get_tensors(folder / WEIGHTS, card.weights_sha256)
    memory = _get_tensors(folder / OPTIMIZER, card.optimizer_sha256)
    own: dict[str, list[Tensor]] = {}
    for key in sorted(key for key in memory if key.startswith(_OWN)):
        own.setdefault(key.split("/")[1], []).append(memory.pop(key))
    raw = {key: memory.pop(key) for key in list(memory) if key.startswith(_RAW)}
    try:
        network.load_state_dict(
            {key.removeprefix(_RAW): value for key, value in raw.items()} or weights
        )
        for name_, parameter in network.named_parameters():
            for key in [key for key in memory if key.startswith(f"{name_}/")]:
                value = memory.pop(key)
                if value.shape == parameter.shape:
                    # The same layout as the weight: otherwise sums may round differently.
                    value = torch.empty_like(parameter).copy_(value)
                optimizer.state[parameter][key.removeprefix(f"{name_}/")] = value.detach()
    except RuntimeError as error:
        raise ModelError(
            "checkpoint-mismatch", f"{folder}: {str(error).splitlines()[-1].strip()}"
        ) from error
    if memory:
        raise ModelError(
            "checkpoint-mismatch", f"{folder / OPTIMIZER} has no place for {next(iter(memory))}"
        )
    return Restored(weights if raw else {}, list(own.values()))


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
    require_digest(path, digest)
    try:
        require_header(path)
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise unreadable(path, str(error)) from error
