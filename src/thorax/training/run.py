"""What is settled before the first batch: the recipe fits the data, the folder fits the run."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from thorax.config import write_effective
from thorax.data.store import Store
from thorax.durable import sha256, write_text
from thorax.errors import DataError, DeviceError, ModelError, UsageError
from thorax.labels import NEGATIVE, POSITIVE
from thorax.preprocess import InputSpec
from thorax.training import checkpoint
from thorax.training.checkpoint import Card
from thorax.training.parallel import Ranks
from thorax.training.recipe import Recipe
from thorax.training.schedules import Resolved, resolve

RECIPE: Final = "recipe.toml"
INIT: Final = "init.json"
"""What the weights started from."""
LAUNCH: Final = "launch"
"""The launcher's name for the job that began a run."""


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
        ranks: who trains.
        micro_batch: images that pass the network together.
        schedule: learning rates of all updates.
        init: what the weights start from, None = at random.
    """

    recipe: Recipe
    store: Store
    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    spec: InputSpec
    device: torch.device
    bf16: bool
    ranks: Ranks
    micro_batch: int
    schedule: Resolved
    init: Path | None

    @property
    def steps_per_epoch(self) -> int:
        """Updates an epoch."""
        return self.schedule.steps_per_epoch

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.schedule.steps


def prepare(recipe: Recipe, store: Store, ranks: Ranks, init: Path | None = None) -> Run:
    """Check everything that can be checked before the first batch.

    Raises:
        UsageError: `batch-ranks` for a global batch that the ranks cannot share evenly.
        DataError: `split-empty`, `split-small` or `val-one-class`.
        DeviceError: `device-absent`.
    """
    micro_batch = _micro_batch(recipe, ranks)
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
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if ranks.local_rank >= count:
            raise DeviceError(
                "device-absent",
                f"training.device is cuda and rank {ranks.rank} would be on GPU "
                f"{ranks.local_rank}, but there are {count} here; start fewer ranks, or set cpu",
            )
        device = torch.device("cuda", ranks.local_rank)
    return Run(
        recipe=recipe,
        store=store,
        train=train,
        val=val,
        spec=InputSpec(store.side, recipe.input.mean, recipe.input.std),
        device=device,
        bf16=uses_bf16(recipe, device),
        ranks=ranks,
        micro_batch=micro_batch,
        schedule=resolve(
            recipe.schedule,
            batch=recipe.training.batch,
            steps_per_epoch=len(train) // recipe.training.batch,
            epochs=recipe.training.epochs,
        ),
        init=init,
    )


def _micro_batch(recipe: Recipe, ranks: Ranks) -> int:
    batch, micro_batch = recipe.training.batch, recipe.training.micro_batch
    share = batch // ranks.world
    if batch % ranks.world or (share < 2):
        raise UsageError(
            "batch-ranks",
            f"training.batch is {batch}, which {ranks.world} ranks cannot share evenly, two or "
            "more images each; choose a multiple of the ranks, or other ranks",
        )
    if micro_batch is not None and share % micro_batch:
        raise UsageError(
            "batch-ranks",
            f"training.micro_batch is {micro_batch}, but each of {ranks.world} ranks has {share} "
            f"of the {batch} images of an update; choose a divisor of {share}",
        )
    return micro_batch or share


def uses_bf16(recipe: Recipe, device: torch.device) -> bool:
    """Tell whether convolutions are computed in bfloat16 on a device."""
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


def open_run(
    run: Run, out: Path, *, resume: bool, on_message: Callable[[str], None]
) -> tuple[Path, Card] | None:
    """Return the checkpoint to go on from, None for a run from the beginning.

    A run that its launcher started anew after a loss resumes unasked.

    Raises:
        UsageError: `run-exists`, `resume-missing`, `resume-recipe` or `resume-init`.
        DataError: `resume-data`.
        ModelError: `checkpoint-unwritable`, or as `checkpoint.newest_whole`.
    """
    begun = checkpoint.newest(out) is not None or (out / RECIPE).is_file()
    again = run.ranks.restarts > 0 or (
        run.ranks.launch is not None
        and (out / LAUNCH).is_file()
        and (out / LAUNCH).read_text("utf-8") == run.ranks.launch
    )
    if not resume and not (begun and again):
        if begun:
            raise UsageError(
                "run-exists", f"{out} holds a run already; add --resume, or choose another --out"
            )
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_effective(run.recipe, out / RECIPE)
            if run.ranks.launch is not None:
                write_text(out / LAUNCH, run.ranks.launch)
            if run.init is not None:
                write_text(out / INIT, json.dumps(_init(run.init)) + "\n")
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
    if run.init is not None or (out / INIT).is_file():
        begun_from = json.loads((out / INIT).read_text("utf-8")) if (out / INIT).is_file() else {}
        if run.init is None or _init(run.init)["sha256"] != begun_from.get("sha256"):
            raise UsageError(
                "resume-init",
                f"{out} was begun {'from ' + begun_from['file'] if begun_from else 'at random'}; "
                "resume it with the same --init",
            )
    newest = checkpoint.newest_whole(out, on_message)
    if newest is None:
        return None
    folder, card = newest
    changed = _difference(_numeric(card.recipe), _numeric(run.recipe.model_dump(mode="json")))
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
    if card.ranks != run.ranks.world:
        same = "" if run.recipe.training.micro_batch else ", but for the groups of batch norm"
        on_message(
            f"{run.ranks.world} rank(s) go on where {card.ranks} stopped: the global batch, the "
            f"learning rate and the order of images stay{same}; sums may round differently"
        )
    checkpoint.discard_after(out, folder)
    return folder, card


def _init(path: Path) -> dict[str, str]:
    """Return what the weights start from, by its digest."""
    file = path if path.is_file() else checkpoint.resolve(path) / checkpoint.WEIGHTS
    return {"file": path.name, "sha256": sha256(file)}


def _numeric(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe without what only changes how fast it is followed, or how safely."""
    free = ("workers", "threads", "checkpoint_steps")
    kept = {key: value for key, value in recipe["training"].items() if key not in free}
    exchange = {
        key: value for key, value in recipe.get("parallel", {}).items() if key != "timeout_s"
    }
    return {**recipe, "training": kept, "parallel": exchange}


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
        "micro_batch": run.micro_batch,
        "groups": run.recipe.training.batch // run.ranks.world // run.micro_batch,
        "schedule": run.schedule.document(),
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
