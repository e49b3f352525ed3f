"""The training loop: from one checkpoint of a run to its end, with validations and checkpoints.

Everything here is a collective: all ranks take the same steps, the lead writes and speaks.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from thorax.data.loader import BatchOrder, batches
from thorax.errors import ModelError, PeerError, ThoraxError, UsageError
from thorax.metrics import auroc
from thorax.training import checkpoint, parallel
from thorax.training.card import CheckpointCard, Within, epoch_name, prune
from thorax.training.ema import Average
from thorax.training.log import Log, Progress
from thorax.training.networks import Classifier
from thorax.training.preemption import PreemptedError, Stop
from thorax.training.prepare import TrainingRun, software
from thorax.training.sam import Ascent
from thorax.training.step import RunningStatistics, Trainer


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A network that has not been trained yet, or not yet been restored.

    Attributes:
        network: on the run's device.
        optimizer: of its parameters.
        average: of its weights, None = off.
        init: what the weights started from, None = at random.
    """

    network: Classifier
    optimizer: torch.optim.Optimizer
    average: Average | None
    init: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Who hears of a run.

    Attributes:
        on_progress: told after every update and epoch.
        on_message: told what a person should know before and about the run.
    """

    on_progress: Callable[[Progress], None] = lambda progress: None
    on_message: Callable[[str], None] = lambda message: None


@dataclass(slots=True)
class TrainingLoop:
    """Trains from one checkpoint to the end of the run."""

    run: TrainingRun
    built: Built
    out: Path
    log: Log | None
    stop: Stop
    callbacks: Callbacks
    _warned: set[str] = field(default_factory=set, init=False)
    _history: tuple[dict[str, float], ...] = field(default=(), init=False)
    _trainer: Trainer = field(init=False)

    def train(
        self, opened: tuple[Path, CheckpointCard] | None, about: dict[str, Any]
    ) -> CheckpointCard:
        """Train from a checkpoint, or from the beginning, to the end and return the last card.

        Raises:
            PreemptedError: the run was asked to stop.
        """
        run, recipe = self.run, self.run.recipe
        trainer = self._trainer = self._restored(opened)
        if self.log:
            self.log.start(about)
        card = opened[1] if opened else None
        first = card.epoch if card else 0
        if first < recipe.training.epochs:
            trainer.warm_up(recipe.side(first, run.store.side))
        with self.stop.heeded():
            for epoch in range(first, recipe.training.epochs):
                window = Within()
                if card is not None and card.within is not None:
                    window = card.within.model_copy(deep=True)
                self._epoch(epoch, window)
                card = self._judge(epoch, window)
        if card is None:
            raise AssertionError("a recipe has at least one epoch")
        if self.log:
            self.log.end({"kept": card.kept, "step": card.step})
        return card

    def _restored(self, opened: tuple[Path, CheckpointCard] | None) -> Trainer:
        run, recipe, built = self.run, self.run.recipe, self.built
        if opened is not None:
            folder, card = opened
            restored = run.ranks.agree(
                lambda: checkpoint.restore(folder, card, built.network, built.optimizer)
            )
            if built.average:
                averages = restored.averages.items()
                built.average.load({k: v for k, v in averages if v.is_floating_point()})
            self._history = card.history
        exchanged = parallel.wrap(
            built.network, run.ranks, recipe.parallel, done=opened[1].step if opened else 0
        )
        if recipe.training.compile:
            exchanged.compile()
        trainer = Trainer(
            network=built.network,
            exchanged=exchanged,
            optimizer=built.optimizer,
            statistics=RunningStatistics(built.network),
            ascent=Ascent(recipe.sam) if recipe.sam else None,
            average=built.average,
            ranks=run.ranks,
            spec=run.spec,
            device=run.device,
            bf16=run.bf16,
            micro_batch=run.micro_batch,
            smoothing=recipe.loss.label_smoothing,
            stop=self.stop,
        )
        if opened is not None and len(restored.own) == run.ranks.world:
            run.ranks.agree(lambda: _put_back(trainer.own(), restored.own[run.ranks.rank]))
        return trainer

    def _epoch(self, epoch: int, window: Within) -> None:
        """Take the updates of an epoch that are left."""
        run, training = self.run, self.run.recipe.training
        done = len(window.losses)
        self._trainer.network.train()
        source = batches(
            run.store,
            run.train,
            BatchOrder(
                batch=training.batch,
                seed=training.seed,
                epoch=epoch,
                shuffle=True,
                drop_last=True,
                rank=run.ranks.rank,
                ranks=run.ranks.world,
                skip=done,
            ),
            augmentation=run.recipe.augmentation,
            workers=training.workers,
            side=run.recipe.side(epoch, run.store.side),
        )
        end = (epoch + 1) * run.schedule.steps_per_epoch
        for step in range(epoch * run.schedule.steps_per_epoch + done, end):
            begin = time.perf_counter()
            batch = next(source)
            waited = time.perf_counter() - begin
            rate = run.schedule.rate(step)
            with parallel.watched(run.ranks):
                window.losses.append(self._trainer.update(batch, rate, step))
            elapsed = time.perf_counter() - begin
            window.elapsed_s += elapsed
            window.waited_s += waited
            if not math.isfinite(window.losses[-1]):
                raise self._diverged(f"the loss is {window.losses[-1]}", step)
            self._report(epoch, step, window.losses[-1], rate, waited / elapsed)
            every = training.checkpoint_steps
            remaining = end - step - 1
            due = every and remaining and (step + 1) % every == 0
            if due or self.stop.agreed:
                self._require_finite(step)
                folder = self._save_within(epoch, step + 1, window)
            if self.stop.agreed:
                raise self._preempted(step + 1, folder)
        self._require_finite(end - 1)

    def _preempted(self, step: int, folder: Path) -> PreemptedError:
        reason = self.stop.reason or "another rank was asked to"
        if self.log:
            self.log.stopped({"step": step, "reason": reason})
        return PreemptedError(step, self.run.schedule.steps, reason, folder)

    def _require_finite(self, step: int) -> None:
        """Keep weights that are no numbers out of checkpoints."""
        if not self._trainer.finite():
            raise self._diverged("a weight is no number", step)

    def _diverged(self, what: str, step: int) -> ThoraxError:
        if not self.run.ranks.lead:
            return PeerError("rank-refused", "rank 0 says why")
        return UsageError(
            "training-diverged",
            f"{what} at update {step + 1} with learning rate "
            f"{self.run.schedule.rate(step):.3g}; lower the schedule's peak or base_per_256, or "
            "lengthen its warm-up",
        )

    def _report(self, epoch: int, step: int, loss: float, rate: float, data_wait: float) -> None:
        training = self.run.recipe.training
        at = Progress(
            epoch=epoch + 1,
            epochs=training.epochs,
            step=step + 1,
            steps=self.run.schedule.steps,
            images=training.batch,
            loss=loss,
            learning_rate=rate,
            data_wait=data_wait,
        )
        if self.log:
            self.log.step(at)
        self.callbacks.on_progress(at)

    def _save_within(self, epoch: int, step: int, window: Within) -> Path:
        """Write a checkpoint within an epoch; training goes on as if there had been none."""
        own = [tensor.clone() for tensor in self._trainer.own()]
        everyone = self.run.ranks.gather(own)
        self._trainer.merge()
        kept = epoch_name(self._best()) if self._history else ""
        card = CheckpointCard(
            **self._common(),
            epoch=epoch,
            step=step,
            within=window.model_copy(deep=True),
            metrics={},
            kept=kept,
        )
        folder = self._save(card, everyone)
        _put_back(self._trainer.own(), own)
        return folder

    def _judge(self, epoch: int, window: Within) -> CheckpointCard:
        """Validate, write the checkpoint of a whole epoch and return its card."""
        run = self.run
        end = (epoch + 1) * run.schedule.steps_per_epoch
        images = run.schedule.steps_per_epoch * run.recipe.training.batch
        rate = run.schedule.rate(end - 1)
        own = [tensor.clone() for tensor in self._trainer.own()]
        self._trainer.merge()
        begin = time.perf_counter()
        average = self._trainer.average
        with average.swapped(self._trainer.network) if average else nullcontext():
            values = validate(run, self._trainer)
        if values is None:
            _put_back(self._trainer.own(), own)
            raise self._preempted(end, self._save_within(epoch, end, window))
        entry = {
            "epoch": epoch + 1,
            "loss": math.fsum(window.losses) / len(window.losses),
            "val_mean_auroc": float(np.nanmean(values)),
            "learning_rate": rate,
            "images": images,
            "train_s": window.elapsed_s,
            "images_per_s": images / window.elapsed_s,
            "data_wait": window.waited_s / window.elapsed_s,
            "validate_s": time.perf_counter() - begin,
        }
        self._history = (*self._history, entry)
        card = CheckpointCard(
            **self._common(),
            epoch=epoch + 1,
            step=end,
            metrics={
                "split": "val",
                "mean_auroc": entry["val_mean_auroc"],
                "auroc": {
                    name: None if math.isnan(value) else float(value)
                    for name, value in zip(run.store.label_set.findings, values, strict=True)
                },
            },
            kept=epoch_name(self._best()),
        )
        self._save(card)
        if self.log:
            self.log.epoch({"step": card.step, **entry, "auroc": card.metrics["auroc"]})
        self.callbacks.on_progress(
            Progress(
                epoch=epoch + 1,
                epochs=run.recipe.training.epochs,
                step=card.step,
                steps=run.schedule.steps,
                images=0,
                loss=entry["loss"],
                learning_rate=rate,
                val_mean_auroc=entry["val_mean_auroc"],
            )
        )
        return card

    def _best(self) -> int:
        """Return the epoch that is the result so far."""
        if self.run.recipe.training.keep == "last":
            return len(self._history)
        return int(max(self._history, key=lambda entry: entry["val_mean_auroc"])["epoch"])

    def _save(self, card: CheckpointCard, own: Sequence[Sequence[Tensor]] = ()) -> Path:
        """Write a checkpoint on the lead; all ranks wait, and end if it cannot be written."""
        trainer = self._trainer

        def write() -> Path:
            folder = checkpoint.save(
                self.out,
                trainer.network,
                card,
                trainer.optimizer,
                average=trainer.average.tensors() if trainer.average else None,
                own=own if len(own) > 1 else (),
            )
            for line in prune(self.out):
                if line not in self._warned:
                    self._warned.add(line)
                    self.callbacks.on_message(f"warning: {line}")
            return folder

        return self.run.ranks.from_lead(write)

    def _common(self) -> dict[str, Any]:
        run = self.run
        return {
            "topology": run.recipe.network.topology,
            "output_stride": run.recipe.network.output_stride,
            "width": run.recipe.network.width,
            "label_set": run.store.label_set,
            "input": run.spec,
            "precision": run.precision,
            "recipe": run.recipe.model_dump(mode="json"),
            "data": run.data,
            "ranks": run.ranks.world,
            "schedule": run.schedule.document(),
            "init": self.built.init,
            "history": self._history,
            "software": software(),
        }


def _put_back(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    if [value.shape for value in values] != [tensor.shape for tensor in tensors]:
        raise ModelError(
            "checkpoint-mismatch", "running statistics within the epoch are of another network"
        )
    if tensors:
        torch._foreach_copy_(list(tensors), list(values))


def validate(run: TrainingRun, trainer: Trainer) -> npt.NDArray[np.float64] | None:
    """Return the AUROC of the validation split, float64 [K], the same on every rank.

    Scores are gathered by image and every image counts once; nothing is averaged over ranks. Each
    rank scores its own groups of the split, cut as one process would cut it; NaN stands where
    the split lacks a class. None is returned, on every rank, when one was asked to stop.
    """
    trainer.network.eval()
    size, ranks = run.micro_batch, run.ranks
    groups = [run.val[first : first + size] for first in range(0, len(run.val), size)]
    own = np.concatenate([run.val[:0], *groups[ranks.rank :: ranks.world]])
    scores = []
    with torch.inference_mode():
        for batch in batches(
            run.store, own, BatchOrder(batch=size), workers=run.recipe.training.workers
        ):
            logits = trainer.logits(torch.from_numpy(batch.images).to(run.device))
            scores.append(logits.float().cpu().numpy())
            if trainer.stop.reason is not None:
                break
    empty = np.empty((0, len(run.store.label_set)), np.float32)
    told = np.concatenate([empty, *scores])
    parts = ranks.gather((own, told, len(told) < len(own)))
    if any(part[2] for part in parts):
        return None
    indices, gathered = merge_scores([part[:2] for part in parts])
    if not np.array_equal(indices, np.sort(run.val)):
        raise AssertionError("the ranks together scored every validation image")
    return auroc(run.store.labels[indices], gathered)


def merge_scores(
    parts: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return what ranks scored as one process would have: every image once, ascending.

    Args:
        parts: of each rank the images, int64 [n], and their scores, float32 [n,K]; an image that
            several ranks scored, as a padding sampler makes them, counts once.
    """
    indices = np.concatenate([part[0] for part in parts])
    unique, first = np.unique(indices, return_index=True)
    return unique, np.concatenate([part[1] for part in parts])[first]
