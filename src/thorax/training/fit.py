"""One training run: a recipe and a store to a checkpoint, on one process or on many ranks.

Everything random is a function of the recipe's seed: the same recipe, store, version, processor,
number of ranks and of threads give the same weights, and a run stopped anywhere and resumed gives
those of one that was not (GPU kernels may add up in another order each time). Another number of
ranks gives the same to the rounding of sums, where the recipe fixes `training.micro_batch`.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from thorax.data.loader import batches
from thorax.data.store import Store
from thorax.errors import PeerError, ThoraxError, UsageError
from thorax.labels import POSITIVE, UNKNOWN
from thorax.training import checkpoint, networks, optimizers, parallel, pretrained
from thorax.training.batch_norm import RunningStatistics
from thorax.training.checkpoint import Card, Within
from thorax.training.ema import Average
from thorax.training.networks import Classifier
from thorax.training.parallel import Ranks
from thorax.training.processors import bind, describe
from thorax.training.recipe import Recipe
from thorax.training.run import Run, facts, open_run, prepare, same_everywhere, software
from thorax.training.sam import Ascent
from thorax.training.step import Trainer
from thorax.training.validate import validate
from thorax.training.watch import Log, Progress, open_log


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a run gave.

    Attributes:
        checkpoint: folder of the kept checkpoint.
        topology: of the network.
        epoch: the epoch it was written after.
        steps: updates of the whole run.
        ranks: that trained, at the end.
        images_per_s: images / wall-clock of the training windows: loading, forward, backward and
            update, without validation and saving; of all epochs, resumed or not, and all ranks.
        mean_auroc: of the kept checkpoint on the validation split, over the labels defined. With
            keep = "best" it was chosen by this number, which is therefore optimistic.
        auroc: by label; None where the validation split lacks a class.
        history: one entry an epoch, as in the checkpoint's card.
    """

    checkpoint: Path
    topology: str
    epoch: int
    steps: int
    ranks: int
    images_per_s: float
    mean_auroc: float
    auroc: dict[str, float | None]
    history: tuple[dict[str, float], ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document of `thorax train`."""
        return {"command": "train", **asdict(self), "checkpoint": str(self.checkpoint)}


def fit(
    recipe: Recipe,
    store: Store,
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
    ranks: Ranks | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_message: Callable[[str], None] = lambda text: None,
) -> FitResult:
    """Train on the train split, judge every epoch on the validation split, leave the test split.

    After every epoch a checkpoint is written, and within one as often as the recipe says; an
    interruption loses what came after the last, no more. `out`, which all ranks must see, gets the
    effective recipe, the checkpoints and the logs.

    Args:
        recipe: how to train.
        store: on what; its side and labels become those of the network.
        out: a new folder, or that of the run to resume.
        resume: go on after the newest whole checkpoint of the same run; a finished one is answered
            as is.
        init: weights to start from, as `thorax.training.pretrained.initialise`.
        ranks: the group as `parallel.join` gives it, None = this process alone.
        on_progress: told on the lead after every update and epoch.
        on_message: told on the lead what a person should know before and about the run.

    Raises:
        UsageError: `run-exists`, `resume-missing`, `resume-recipe`, `resume-init`, `batch-ranks`,
            `powersgd-start` or `training-diverged`.
        DataError: `split-empty`, `split-small`, `val-one-class` or `resume-data`.
        DeviceError: `device-absent`.
        ModelError: `checkpoint-unwritable`, or as `checkpoint.load` when resuming, or as
            `pretrained.initialise`.
        PeerError: `ranks-differ`, `rank-refused` or `rank-lost`.
    """
    ranks = ranks or Ranks()
    run = ranks.agree(lambda: prepare(recipe, store, ranks, init))
    same_everywhere(run)
    warnings = ranks.agree(
        lambda: parallel.check(
            recipe.parallel, ranks, warmup_steps=run.schedule.warmup_steps, steps=run.steps
        )
    )
    processors = bind(ranks, recipe.training.threads)
    # All that can be refused is refused before the folder of the run is made.
    built = ranks.agree(lambda: _build(run))
    tell = on_message if ranks.lead else lambda text: None
    opened = ranks.from_lead(
        lambda: open_run(run, out, init=built.init, resume=resume, on_message=tell)
    )
    about = {
        **facts(run),
        **(described := describe(ranks, processors)),
        "init": built.init,
        "warnings": [*warnings, *described["warnings"]],
    }
    for line in (*run.schedule.lines(), *about["processors"], *about["warnings"]):
        tell(line)
    after = opened[1].step if opened else 0
    with open_log(out, after=after) if ranks.lead else nullcontext() as log:
        session = _Session(run, built, out, log, on_progress if ranks.lead else lambda _: None)
        card = session.train(opened, about)
    return ranks.from_lead(lambda: _result(out, card))


def _result(out: Path, card: Card) -> FitResult:
    folder = out / card.kept
    kept = checkpoint.read_card(folder)
    return FitResult(
        checkpoint=folder,
        topology=kept.topology,
        epoch=kept.epoch,
        steps=card.step,
        ranks=card.ranks,
        images_per_s=sum(entry["images"] for entry in card.history)
        / sum(entry["train_s"] for entry in card.history),
        mean_auroc=kept.metrics["mean_auroc"],
        auroc=kept.metrics["auroc"],
        history=card.history,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Built:
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


@dataclass(slots=True)
class _Window:
    """An epoch as far as it has come.

    Attributes:
        losses: of its updates, nats.
        elapsed_s: training time.
        waited_s: of it, spent waiting for data.
    """

    losses: list[float]
    elapsed_s: float
    waited_s: float


class _Session:
    """What trains from one checkpoint to the end of the run."""

    def __init__(
        self,
        run: Run,
        built: _Built,
        out: Path,
        log: Log | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._run = run
        self._built = built
        self._out = out
        self._log = log
        self._on_progress = on_progress
        self._history: tuple[dict[str, float], ...] = ()

    def train(self, opened: tuple[Path, Card] | None, about: dict[str, Any]) -> Card:
        run, recipe = self._run, self._run.recipe
        trainer = self._trainer = self._restored(opened)
        if self._log:
            self._log.start(about)
        card = opened[1] if opened else None
        first = card.epoch if card else 0
        if first < recipe.training.epochs:
            trainer.rehearse(recipe.side(first, run.store.side))
        for epoch in range(first, recipe.training.epochs):
            window = _Window([], 0.0, 0.0)
            if card is not None and card.within is not None:
                within = card.within
                window = _Window(list(within.losses), within.elapsed_s, within.waited_s)
            self._epoch(epoch, window)
            card = self._judge(epoch, window)
        if card is None:
            raise AssertionError("a recipe has at least one epoch")
        if self._log:
            self._log.end({"kept": card.kept, "step": card.step})
        return card

    def _restored(self, opened: tuple[Path, Card] | None) -> Trainer:
        run, recipe, built = self._run, self._run.recipe, self._built
        if opened is not None:
            folder, card = opened
            averages = run.ranks.agree(
                lambda: checkpoint.restore(folder, card, built.network, built.optimizer)
            )
            if built.average:
                built.average.load({k: v for k, v in averages.items() if v.is_floating_point()})
            self._history = card.history
        exchanged = parallel.wrap(
            built.network, run.ranks, recipe.parallel, done=opened[1].step if opened else 0
        )
        if recipe.training.compile:
            exchanged.compile()
        return Trainer(
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
        )

    def _epoch(self, epoch: int, window: _Window) -> None:
        """Take the updates of an epoch that are left."""
        run, training = self._run, self._run.recipe.training
        done = len(window.losses)
        self._trainer.network.train()
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
            rank=run.ranks.rank,
            ranks=run.ranks.world,
            skip=done,
            side=run.recipe.side(epoch, run.store.side),
        )
        for step in range(epoch * run.steps_per_epoch + done, (epoch + 1) * run.steps_per_epoch):
            asked = time.perf_counter()
            batch = next(source)
            waited = time.perf_counter() - asked
            rate = run.schedule.rate(step)
            with parallel.watched(run.ranks):
                window.losses.append(self._trainer.update(batch, rate, step))
            elapsed = time.perf_counter() - asked
            window.elapsed_s += elapsed
            window.waited_s += waited
            if not math.isfinite(window.losses[-1]):
                raise self._diverged(f"the loss is {window.losses[-1]}", step)
            self._tell(epoch, step, window.losses[-1], rate, waited / elapsed)
            left = (epoch + 1) * run.steps_per_epoch - step - 1
            if training.checkpoint_steps and left and (step + 1) % training.checkpoint_steps == 0:
                self._require_finite(step)
                self._save_within(epoch, step + 1, window)
        self._require_finite((epoch + 1) * run.steps_per_epoch - 1)

    def _require_finite(self, step: int) -> None:
        """Keep weights that are no numbers out of checkpoints."""
        if not self._trainer.finite():
            raise self._diverged("a weight is no number", step)

    def _diverged(self, what: str, step: int) -> ThoraxError:
        if not self._run.ranks.lead:
            return PeerError("rank-refused", "rank 0 says why")
        return UsageError(
            "training-diverged",
            f"{what} at update {step + 1} with learning rate "
            f"{self._run.schedule.rate(step):.3g}; lower the schedule's peak or base_per_256, or "
            "lengthen its warm-up",
        )

    def _tell(self, epoch: int, step: int, loss: float, rate: float, data_wait: float) -> None:
        training = self._run.recipe.training
        at = Progress(
            epoch=epoch + 1,
            epochs=training.epochs,
            step=step + 1,
            steps=self._run.steps,
            images=training.batch,
            loss=loss,
            learning_rate=rate,
            data_wait=data_wait,
        )
        if self._log:
            self._log.step(at)
        self._on_progress(at)

    def _save_within(self, epoch: int, step: int, window: _Window) -> None:
        self._trainer.merge()
        kept = checkpoint.epoch_name(self._best()) if self._history else ""
        self._save(
            Card(
                **self._common(),
                epoch=epoch,
                step=step,
                within=Within(
                    losses=tuple(window.losses),
                    elapsed_s=window.elapsed_s,
                    waited_s=window.waited_s,
                ),
                metrics={},
                kept=kept,
            )
        )

    def _judge(self, epoch: int, window: _Window) -> Card:
        """Validate, write the checkpoint of a whole epoch and return its card."""
        run = self._run
        rate = run.schedule.rate((epoch + 1) * run.steps_per_epoch - 1)
        self._trainer.merge()
        begin = time.perf_counter()
        average = self._trainer.average
        with average.swapped(self._trainer.network) if average else nullcontext():
            values = validate(run, self._trainer)
        entry = {
            "epoch": epoch + 1,
            "loss": math.fsum(window.losses) / len(window.losses),
            "val_mean_auroc": float(np.nanmean(values)),
            "learning_rate": rate,
            "images": run.steps_per_epoch * run.recipe.training.batch,
            "train_s": window.elapsed_s,
            "images_per_s": run.steps_per_epoch * run.recipe.training.batch / window.elapsed_s,
            "data_wait": window.waited_s / window.elapsed_s,
            "validate_s": time.perf_counter() - begin,
        }
        self._history = (*self._history, entry)
        card = Card(
            **self._common(),
            epoch=epoch + 1,
            step=(epoch + 1) * run.steps_per_epoch,
            metrics={
                "split": "val",
                "mean_auroc": entry["val_mean_auroc"],
                "auroc": {
                    name: None if math.isnan(value) else float(value)
                    for name, value in zip(run.store.label_set.findings, values, strict=True)
                },
            },
            kept=checkpoint.epoch_name(self._best()),
        )
        self._save(card)
        if self._log:
            self._log.epoch({"step": card.step, **entry, "auroc": card.metrics["auroc"]})
        self._on_progress(
            Progress(
                epoch=epoch + 1,
                epochs=run.recipe.training.epochs,
                step=card.step,
                steps=run.steps,
                images=0,
                loss=entry["loss"],
                learning_rate=rate,
                val_mean_auroc=entry["val_mean_auroc"],
            )
        )
        return card

    def _best(self) -> int:
        """Return the epoch that is the result so far."""
        if self._run.recipe.training.keep == "last":
            return len(self._history)
        return int(max(self._history, key=lambda entry: entry["val_mean_auroc"])["epoch"])

    def _save(self, card: Card) -> None:
        if self._run.ranks.lead:
            trainer = self._trainer
            checkpoint.save(
                self._out,
                trainer.network,
                card,
                trainer.optimizer,
                average=trainer.average.tensors() if trainer.average else None,
            )
            checkpoint.prune(self._out)

    def _common(self) -> dict[str, Any]:
        """Return what every card of the run says."""
        run = self._run
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
            "init": self._built.init,
            "history": self._history,
            "software": software(),
        }


def _build(run: Run) -> _Built:
    recipe = run.recipe
    network = networks.build(
        recipe.network.topology,
        classes=len(run.store.label_set),
        output_stride=recipe.network.output_stride,
        width=recipe.network.width,
        seed=recipe.training.seed,
    )
    _start_at_prevalence(network, run.store.labels[run.train])
    init = None
    if run.init is not None:
        loaded = pretrained.initialise(
            network, recipe.network.topology, run.init, run.store.label_set
        )
        init = {**asdict(loaded), "path": Path(loaded.path).name}
    network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _Built(
        network=network,
        optimizer=optimizers.build(network, recipe.optimizer),
        average=Average(network, recipe.ema) if recipe.ema else None,
        init=init,
    )


def _start_at_prevalence(network: Classifier, labels: npt.NDArray[np.int8]) -> None:
    """Let the untrained network answer how common each finding is (1708.02002, section 4.1)."""
    present = (labels == POSITIVE).sum(axis=0) + 0.5
    absent = (labels != UNKNOWN).sum(axis=0) + 1.0 - present
    with torch.no_grad():
        network.head.bias.copy_(torch.from_numpy(np.log(present / absent)))
