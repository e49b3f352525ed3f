"""One training run: a recipe and a store to a checkpoint, on one process.

Everything random is a function of the recipe's seed: the same recipe, store, version, processor
and number of threads give the same weights, and a run stopped after any epoch and resumed gives
those of one that was not.
"""

import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thorax import __version__
from thorax.data.loader import Batch, batches
from thorax.data.store import Store
from thorax.errors import UsageError
from thorax.labels import POSITIVE, UNKNOWN
from thorax.metrics import auroc
from thorax.training import checkpoint, networks, optimizers
from thorax.training.checkpoint import Card
from thorax.training.losses import masked_bce
from thorax.training.networks import Classifier, normalise
from thorax.training.recipe import Recipe
from thorax.training.run import Run, facts, identity, open_run, prepare
from thorax.training.schedules import resolve
from thorax.training.watch import Log, Progress, open_log


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a run gave.

    Attributes:
        checkpoint: folder of the kept checkpoint.
        topology: of the network.
        epoch: the epoch it was written after.
        steps: updates of the whole run.
        images_per_s: images / wall-clock of the training windows: loading, forward, backward and
            update, without validation and saving; of all epochs, resumed or not.
        mean_auroc: of the kept checkpoint on the validation split, over the labels defined. With
            keep = "best" it was chosen by this number, which is therefore optimistic.
        auroc: by label; None where the validation split lacks a class.
        history: one entry an epoch, as in the checkpoint's card.
    """

    checkpoint: Path
    topology: str
    epoch: int
    steps: int
    images_per_s: float
    mean_auroc: float
    auroc: dict[str, float | None]
    history: tuple[dict[str, float], ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `thorax train`."""
        return {"command": "train", **asdict(self), "checkpoint": str(self.checkpoint)}


@dataclass(frozen=True, slots=True)
class _Window:
    """One epoch of training."""

    images: int
    loss: float
    learning_rate: float
    elapsed_s: float
    waited_s: float


def fit(
    recipe: Recipe,
    store: Store,
    out: Path,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> FitResult:
    """Train on the train split, judge every epoch on the validation split, leave the test split.

    After every epoch a checkpoint is written; an interruption loses the epoch under way, no more.
    `out` gets the effective recipe, the checkpoints and `train.jsonl`, one JSON object a line.

    Args:
        recipe: how to train.
        store: on what; its side and labels become those of the network.
        out: a new folder, or that of the run to resume.
        resume: go on after the last whole epoch of the same run; a finished one is answered as is.
        on_progress: told after every update and epoch.

    Raises:
        UsageError: `run-exists`, `resume-missing`, `resume-recipe`, `training-diverged`.
        DataError: `split-empty`, `split-small`, `val-one-class` or `resume-data`.
        DeviceError: `device-absent`.
        ModelError: `checkpoint-unwritable`, or as `checkpoint.load` when resuming.
    """
    run = prepare(recipe, store)
    last = open_run(run, out, resume=resume)
    with open_log(out, after=last.step if last else 0) as log:
        log.start({**facts(run), "resumed_epoch": last.epoch if last else 0})
        card = _epochs(run, out, last, log, on_progress)
        log.end({"kept": card.kept, "step": card.step})
    folder = out / card.kept
    kept = checkpoint.read_card(folder)
    return FitResult(
        checkpoint=folder,
        topology=kept.topology,
        epoch=kept.epoch,
        steps=card.step,
        images_per_s=sum(entry["images"] for entry in card.history)
        / sum(entry["train_s"] for entry in card.history),
        mean_auroc=kept.metrics["mean_auroc"],
        auroc=kept.metrics["auroc"],
        history=card.history,
    )


def _epochs(
    run: Run,
    out: Path,
    last: Card | None,
    log: Log,
    on_progress: Callable[[Progress], None],
) -> Card:
    training = run.recipe.training
    network = networks.build(
        run.recipe.network.topology,
        classes=len(run.store.label_set),
        output_stride=run.recipe.network.output_stride,
        width=run.recipe.network.width,
        seed=training.seed,
    )
    _start_at_prevalence(network, run.store.labels[run.train])
    network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optimizers.build(network, run.recipe.optimizer)
    card = last
    if card is not None:
        folder = out / checkpoint.epoch_name(card.epoch)
        checkpoint.restore(folder, card, network, optimizer)
    for epoch in range(card.epoch if card else 0, training.epochs):
        window = _train_epoch(run, network, optimizer, epoch, log, on_progress)
        begin = time.perf_counter()
        values = _validate(run, network)
        mean = float(np.nanmean(values))
        entry = {
            "epoch": epoch + 1,
            "loss": window.loss,
            "val_mean_auroc": mean,
            "learning_rate": window.learning_rate,
            "images": window.images,
            "train_s": window.elapsed_s,
            "images_per_s": window.images / window.elapsed_s,
            "data_wait": window.waited_s / window.elapsed_s,
            "validate_s": time.perf_counter() - begin,
        }
        card = _card(run, epoch + 1, entry, values, card)
        checkpoint.save(out, network, card, optimizer)
        checkpoint.prune(out)
        log.epoch({"step": card.step, **entry, "auroc": card.metrics["auroc"]})
        on_progress(
            Progress(
                epoch + 1,
                training.epochs,
                card.step,
                run.steps,
                0,
                window.loss,
                window.learning_rate,
                mean,
            )
        )
    if card is None:
        raise AssertionError("a recipe has at least one epoch")
    return card


def _train_epoch(
    run: Run,
    network: Classifier,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    log: Log,
    on_progress: Callable[[Progress], None],
) -> _Window:
    training = run.recipe.training
    schedule = resolve(
        run.recipe.schedule,
        batch=training.batch,
        steps_per_epoch=run.steps_per_epoch,
        epochs=training.epochs,
    )
    network.train()
    images, losses, waited, rate = 0, [], 0.0, 0.0
    begin = told = time.perf_counter()
    source = batches(
        run.store,
        run.train,
        batch=training.batch,
        seed=training.seed,
        epoch=epoch,
        shuffle=True,
        augmentation=run.recipe.augmentation.augmentation(),
        workers=training.workers,
        drop_last=True,
    )
    for step in range(epoch * run.steps_per_epoch, (epoch + 1) * run.steps_per_epoch):
        asked = time.perf_counter()
        batch = next(source)
        got = time.perf_counter()
        waited += got - asked
        rate = schedule.rate(step)
        losses.append(_update(run, network, optimizer, batch, rate))
        if not math.isfinite(losses[-1]):
            raise UsageError(
                "training-diverged",
                f"the loss is {losses[-1]} at step {step + 1} with learning rate {rate:.3g}; "
                "lower schedule.peak or lengthen schedule.warmup_epochs",
            )
        images += len(batch.indices)
        now = time.perf_counter()
        progress = Progress(
            epoch + 1,
            training.epochs,
            step + 1,
            run.steps,
            len(batch.indices),
            losses[-1],
            rate,
            data_wait=(got - asked) / (now - told),
        )
        told = now
        log.step(progress)
        on_progress(progress)
    elapsed = time.perf_counter() - begin
    return _Window(images, math.fsum(losses) / len(losses), rate, elapsed, waited)


def _update(
    run: Run,
    network: Classifier,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
) -> float:
    """Take one step and return the loss before it, nats."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss = masked_bce(_logits(run, network, batch), torch.from_numpy(batch.labels).to(run.device))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _validate(run: Run, network: Classifier) -> npt.NDArray[np.float64]:
    """Return float64 [K], NaN where the validation split lacks a class."""
    network.eval()
    scores = []
    with torch.inference_mode():
        for batch in batches(
            run.store,
            run.val,
            batch=run.recipe.training.batch,
            workers=run.recipe.training.workers,
        ):
            scores.append(_logits(run, network, batch).float().cpu().numpy())
    return auroc(run.store.labels[run.val], np.concatenate(scores))


def _logits(run: Run, network: Classifier, batch: Batch) -> Tensor:
    images = normalise(torch.from_numpy(batch.images).to(run.device), run.spec)
    with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=run.bf16):
        logits: Tensor = network(images.contiguous(memory_format=torch.channels_last))
    return logits


def _start_at_prevalence(network: Classifier, labels: npt.NDArray[np.int8]) -> None:
    """Let the untrained network answer how common each finding is (1708.02002, section 4.1)."""
    present = (labels == POSITIVE).sum(axis=0) + 0.5
    absent = (labels != UNKNOWN).sum(axis=0) + 1.0 - present
    with torch.no_grad():
        network.head.bias.copy_(torch.from_numpy(np.log(present / absent)))


def _card(
    run: Run,
    epoch: int,
    entry: dict[str, float],
    values: npt.NDArray[np.float64],
    before: Card | None,
) -> Card:
    history = (*(before.history if before else ()), entry)
    best = max(history, key=lambda entry: entry["val_mean_auroc"])["epoch"]
    kept = best if run.recipe.training.keep == "best" else epoch
    findings = run.store.label_set.findings
    return Card(
        topology=run.recipe.network.topology,
        output_stride=run.recipe.network.output_stride,
        width=run.recipe.network.width,
        label_set=run.store.label_set,
        input=run.spec,
        precision="bf16" if run.bf16 else "fp32",
        recipe=run.recipe.model_dump(mode="json"),
        data=identity(run.store),
        epoch=epoch,
        step=epoch * run.steps_per_epoch,
        metrics={
            "split": "val",
            "mean_auroc": entry["val_mean_auroc"],
            "auroc": {
                name: None if math.isnan(value) else float(value)
                for name, value in zip(findings, values, strict=True)
            },
        },
        history=history,
        kept=checkpoint.epoch_name(int(kept)),
        software={
            "thorax": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    )
