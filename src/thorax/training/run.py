"""What is settled before the first batch: the recipe fits the data, the folder fits the run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from thorax.config import write_effective
from thorax.data.store import Store
from thorax.errors import DataError, DeviceError, ModelError, UsageError
from thorax.labels import NEGATIVE, POSITIVE
from thorax.preprocess import InputSpec
from thorax.training import checkpoint
from thorax.training.checkpoint import Card
from thorax.training.recipe import Recipe

RECIPE: Final = "recipe.toml"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A recipe and its data, checked against each other.

    Attributes:
        recipe: how to train.
        store: on what.
        train: int64 indices of the training split.
        val: int64 indices of the validation split.
        spec: what the network takes.
        device: where to train.
        bf16: whether convolutions are computed in bfloat16.
    """

    recipe: Recipe
    store: Store
    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    spec: InputSpec
    device: torch.device
    bf16: bool

    @property
    def steps_per_epoch(self) -> int:
        """Updates an epoch."""
        return len(self.train) // self.recipe.training.batch

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.steps_per_epoch * self.recipe.training.epochs


def prepare(recipe: Recipe, store: Store) -> Run:
    """Check everything that can be checked before the first batch.

    Raises:
        DataError: `split-empty`, `split-small` or `val-one-class`.
        DeviceError: `device-absent`.
    """
    train, val = store.select("train"), store.select("val")
    for name, indices in (("train", train), ("val", val)):
        if not len(indices):
            raise DataError(
                "split-empty", f"the {name} split of {store.path} has no image; import with one"
            )
    if len(train) < recipe.training.batch:
        raise DataError(
            "split-small",
            f"the train split has {len(train)} images, fewer than one batch of "
            f"{recipe.training.batch}; lower training.batch",
        )
    known = store.labels[val]
    if not np.any((known == POSITIVE).any(axis=0) & (known == NEGATIVE).any(axis=0)):
        raise DataError(
            "val-one-class",
            f"no label has both present and absent among the {len(val)} validation images; "
            "the AUROC is undefined; import with a larger split",
        )
    device = torch.device(recipe.training.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "device-absent", "training.device is cuda but there is none; allowed here is cpu"
        )
    spec = InputSpec(store.side, recipe.input.mean, recipe.input.std)
    return Run(recipe, store, train, val, spec, device, _uses_bf16(recipe, device))


def _uses_bf16(recipe: Recipe, device: torch.device) -> bool:
    match recipe.training.precision:
        case "fp32":
            return False
        case "bf16":
            return True
        case "auto":
            if device.type == "cuda":
                return bool(torch.cuda.is_bf16_supported(including_emulation=False))
            # Elsewhere oneDNN emulates bf16, on AVX2 15 times slower than fp32.
            capabilities = torch.cpu.get_capabilities()
            return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def open_run(run: Run, out: Path, *, resume: bool) -> Card | None:
    """Return the card to go on from, None for a run from the beginning.

    Raises:
        UsageError: `run-exists`, `resume-missing` or `resume-recipe`.
        DataError: `resume-data`.
        ModelError: `checkpoint-unwritable`, or as `checkpoint.read_card`.
    """
    newest = checkpoint.newest(out)
    begun = newest is not None or (out / RECIPE).is_file()
    if not resume:
        if begun:
            raise UsageError(
                "run-exists", f"{out} holds a run already; add --resume, or choose another --out"
            )
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_effective(run.recipe, out / RECIPE)
        except OSError as error:
            raise ModelError(
                "checkpoint-unwritable",
                f"{out} cannot be written: {error.strerror}; choose another --out",
            ) from error
        return None
    if not begun:
        raise UsageError(
            "resume-missing", f"{out} holds no run to resume; drop --resume to begin one there"
        )
    if newest is None:
        return None
    card = checkpoint.read_card(newest)
    changed = _difference(card.recipe, run.recipe.model_dump(mode="json"))
    if changed:
        raise UsageError(
            "resume-recipe",
            f"{out} was begun with another recipe: {changed}; resume with {out / RECIPE}, or "
            "choose another --out",
        )
    changed = _difference(card.data, identity(run.store))
    if changed:
        raise DataError(
            "resume-data", f"{out} was begun on another store: {changed}; resume with the same"
        )
    return card


def identity(store: Store) -> dict[str, Any]:
    """Return what must not differ between a run and its resumption."""
    return {
        "sha256": hashlib.sha256("".join(store.digests).encode()).hexdigest(),
        "source": store.source,
        "side": store.side,
        "labels": list(store.label_set.findings),
        "train": len(store.select("train")),
        "val": len(store.select("val")),
    }


def facts(run: Run) -> dict[str, Any]:
    """Return what the first line of a run's log says."""
    return {
        "topology": run.recipe.network.topology,
        "precision": "bf16" if run.bf16 else "fp32",
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "steps": run.steps,
        "torch": torch.__version__,
        **identity(run.store),
    }


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the first key, dotted, whose value differs, with both values; empty when none."""
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _difference(old, new)
            if inner:
                return f"{key}.{inner}"
        elif old != new:
            return f"{key} was {old!r} and is {new!r}"
    return ""
