"""What is settled before the first batch: the recipe fits the data, the folder fits the run."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from thorax import __version__
from thorax.data.store import Store
from thorax.errors import DataError, PeerError, UsageError
from thorax.images.preprocess import InputSpec
from thorax.labels import NEGATIVE, POSITIVE
from thorax.results.training import RECIPE
from thorax.training.card import (
    Begun,
    CheckpointCard,
    begin,
    discard_after,
    newest,
    newest_whole,
    read_begun,
    repair_recipe,
)
from thorax.training.parallel import Ranks, require_gpu
from thorax.training.recipe import Recipe
from thorax.training.schedules import Resolved, resolve


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
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
        data: identity of the store.
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
    data: dict[str, Any]

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """Arithmetic of convolutions, as cards and logs call it."""
        return "bf16" if self.bf16 else "fp32"


def prepare(recipe: Recipe, store: Store, ranks: Ranks, init: Path | None = None) -> TrainingRun:
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
        require_gpu(ranks.rank, ranks.local_rank)
        device = torch.device("cuda", ranks.local_rank)
    return TrainingRun(
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
        data=identity(store),
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
    precision = recipe.training.precision
    return _has_bf16(device) if precision == "auto" else precision == "bf16"


def _has_bf16(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16 without emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Elsewhere oneDNN emulates bf16, on AVX2 15 times slower than fp32.
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def same_everywhere(run: TrainingRun) -> None:
    """Refuse ranks that would not train the same: other recipe, data, arithmetic or versions.

    Raises:
        PeerError: as `require_same`.
    """
    require_same(
        run.ranks,
        {
            "recipe": run.recipe.model_dump(mode="json"),
            "data": run.data,
            "precision": run.precision,
            **software(),
        },
    )


def require_same(ranks: Ranks, known: Mapping[str, object]) -> None:
    """Check that all ranks know the same.

    Raises:
        PeerError: `ranks-differ` on the lead, which names the first thing that differs;
            `rank-refused` on the others.
    """
    everyone = ranks.gather((os.uname().nodename, known))

    def compare() -> None:
        for rank, (host, theirs) in enumerate(everyone):
            differs = _difference(known, theirs)
            if differs:
                raise PeerError(
                    "ranks-differ",
                    f"rank {rank} on {host} has {differs.key} {differs.now}, rank 0 on "
                    f"{everyone[0][0]} has {differs.before}; give all hosts the same",
                )

    ranks.agree(compare if ranks.lead else lambda: None)


def resume_or_create(
    run: TrainingRun,
    out: Path,
    *,
    init: dict[str, Any] | None,
    resume: bool,
    on_message: Callable[[str], None],
) -> tuple[Path, CheckpointCard] | None:
    """Return the checkpoint to go on from, None for a run from the beginning.

    A run that its own launcher started anew after a loss resumes unasked. `init` is file and digest
    of what the weights start from, None = at random; `on_message` is told what may surprise.

    Raises:
        UsageError: `run-exists`, `resume-missing`, `resume-recipe` or `resume-init`.
        DataError: `resume-data`.
        ModelError: `checkpoint-unwritable`, or as `card.read_begun` and `card.newest_whole`.
    """
    begun = read_begun(out)
    again = begun is not None and run.ranks.launch is not None and begun.launch == run.ranks.launch
    if not resume and not again:
        if begun is not None or newest(out) is not None:
            raise UsageError(
                "run-exists", f"{out} holds a run already; add --resume, or choose another --out"
            )
        begun = Begun(
            recipe=run.recipe.model_dump(mode="json"),
            precision=run.precision,
            data=run.data,
            init=init and {"file": init["path"], "sha256": init["sha256"]},
            launch=run.ranks.launch,
        )
        begin(out, run.recipe, begun)
        return None
    if begun is None:
        raise UsageError(
            "resume-missing", f"{out} holds no run to resume; drop --resume to begin one there"
        )
    _require_same_run(run, out, begun, init)
    if repair_recipe(out, run.recipe, begun):
        on_message(f"{out / RECIPE} was not what was written; it is written anew")
    checkpoint = newest_whole(out, on_message)
    if checkpoint is None:
        return None
    folder, card = checkpoint
    _compare(run, card, out, on_message)
    for line in discard_after(out, folder):
        on_message(f"warning: {line}")
    on_message(f"going on after update {card.step:,} of {run.schedule.steps:,}")
    return checkpoint


def _require_same_run(
    run: TrainingRun, out: Path, begun: Begun, init: dict[str, Any] | None
) -> None:
    changed = _difference(_numeric(begun.recipe), _numeric(run.recipe.model_dump(mode="json")))
    if changed:
        raise UsageError(
            "resume-recipe",
            f"{out} was begun with another recipe: {changed}; resume with {out / RECIPE}, or "
            "choose another --out",
        )
    _require_precision(run, begun.precision, out)
    changed = _difference(begun.data, run.data)
    if changed:
        raise DataError(
            "resume-data", f"{out} was begun on another store: {changed}; resume with the same"
        )
    if (init and init["sha256"]) != (begun.init and begun.init["sha256"]):
        how = f"from {begun.init['file']}" if begun.init else "at random"
        raise UsageError(
            "resume-init", f"{out} was begun {how}; resume it with the same --init, or without"
        )


def _require_precision(run: TrainingRun, before: str, out: Path) -> None:
    """Refuse another arithmetic than a run's, with the way to go on."""
    if before == run.precision:
        return
    slow = (
        " (emulated here, many times slower)"
        if before == "bf16" and not _has_bf16(run.device)
        else ""
    )
    raise UsageError(
        "resume-recipe",
        f"{out} is trained in {before}; training.precision is {run.recipe.training.precision}, "
        f"which means {run.precision} here; add --set training.precision={before}{slow}, or choose "
        "another --out",
    )


def _compare(
    run: TrainingRun, card: CheckpointCard, out: Path, on_message: Callable[[str], None]
) -> None:
    """Refuse another arithmetic than a checkpoint's, and tell what may change its rounding."""
    _require_precision(run, card.precision, out)
    if card.ranks != run.ranks.world:
        same = "" if run.recipe.training.micro_batch else ", but for the groups of batch norm"
        on_message(
            f"{run.ranks.world} rank(s) go on where {card.ranks} stopped: the global batch, the "
            f"learning rate and the order of images stay{same}; sums may round differently"
        )
    if card.software != software():
        on_message("versions have changed since the checkpoint; sums may round differently")


def software() -> dict[str, str]:
    """Return the versions that decide how sums round."""
    return {
        "thorax": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _numeric(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe without what only changes how fast it is followed, or how patiently."""
    # The precision is compared as what it comes to, which "auto" does not say.
    free = {"training": {"workers", "threads", "precision"}, "parallel": {"timeout_s"}}
    return {
        section: {k: v for k, v in keys.items() if k not in free.get(section, ())}
        if isinstance(keys, dict)
        else keys
        for section, keys in recipe.items()
    }


def identity(store: Store) -> dict[str, str | int | list[str]]:
    """Return what must not differ between a run and its resumption."""
    told = json.dumps([store.digests, store.patients, store.splits]).encode()
    return {
        "source": store.source,
        "side": store.side,
        "labels": list(store.label_set.findings),
        "train": len(store.select("train")),
        "val": len(store.select("val")),
        "sha256": hashlib.sha256(told + np.ascontiguousarray(store.labels).tobytes()).hexdigest(),
    }


@dataclass(frozen=True, slots=True)
class _Difference:
    """The first key, dotted, whose value differs, with both values."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key} was {self.before!r} and is {self.now!r}"


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> _Difference | None:
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _difference(old, new)
            if inner:
                return _Difference(f"{key}.{inner.key}", inner.before, inner.now)
        elif old != new:
            return _Difference(key, old, new)
    return None
