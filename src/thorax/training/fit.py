"""One training run: a recipe and a store to a checkpoint, on one process or on many ranks.

Everything random is a function of the recipe's seed: the same recipe, store, version, processor,
number of ranks and of threads give the same weights, and a run stopped anywhere and resumed gives
those of one that was not. Another number of ranks gives the same to the rounding of sums, where
the recipe fixes `training.micro_batch`.
"""

import math
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from thorax import __version__
from thorax.data.loader import batches
from thorax.data.store import Store
from thorax.errors import UsageError
from thorax.labels import POSITIVE, UNKNOWN
from thorax.metrics import auroc
from thorax.training import checkpoint, networks, optimizers, parallel, pretrained
from thorax.training.batch_norm import RunningStatistics
from thorax.training.checkpoint import Card, Within
from thorax.training.ema import Average
from thorax.training.networks import Classifier
from thorax.training.parallel import Ranks
from thorax.training.recipe import Recipe
from thorax.training.run import Run, facts, identity, open_run, prepare
from thorax.training.sam import Ascent
from thorax.training.step import Trainer
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
        PeerError: `rank-refused` or `rank-lost`.
    """
    ranks = ranks or Ranks()
    run = ranks.agree(lambda: prepare(recipe, store, ranks, init))
    tell = on_message if ranks.lead else lambda text: None
    opened = ranks.broadcast(
        ranks.agree(
            lambda: open_run(run, out, resume=resume, on_message=tell) if ranks.lead else None
        )
    )
    warnings = parallel.check(
        recipe.parallel, ranks, warmup_steps=run.schedule.warmup_steps, steps=run.steps
    )
    processors = parallel.bind(ranks, recipe.training.threads)
    about = {**facts(run), **parallel.describe(ranks, processors), "warnings": warnings}
    with ExitStack() as stack:
        log = None
        if ranks.lead:
            for line in (*run.schedule.lines(), *about["processors"], *warnings):
                tell(line)
            log = stack.enter_context(open_log(out, after=opened[1].step if opened else 0))
        session = _Session(run, out, log, on_progress if ranks.lead else lambda progress: None)
        card = session.train(opened, about)
    return ranks.broadcast(_result(out, card) if ranks.lead else None)  # type: ignore[return-value]


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


@dataclass(slots=True)
class _Window:
    """An epoch as far as it has come.

    Attributes:
        before: losses of updates before a resumption, nats, over all ranks.
        losses: this rank's parts of those since.
        elapsed_s: training time.
        waited_s: of it, spent waiting for data.
    """

    before: tuple[float, ...]
    losses: list[float]
    elapsed_s: float
    waited_s: float


class _Session:
    """What trains from one checkpoint to the end of the run."""

    def __init__(
        self, run: Run, out: Path, log: Log | None, on_progress: Callable[[Progress], None]
    ) -> None:
        self._run = run
        self._out = out
        self._log = log
        self._on_progress = on_progress
        self._history: tuple[dict[str, float], ...] = ()
        self._init: dict[str, Any] | None = None

    def train(self, opened: tuple[Path, Card] | None, about: dict[str, Any]) -> Card:
        run, recipe = self._run, self._run.recipe
        trainer = self._trainer = self._built(opened)
        if self._log:
            self._log.start({**about, "init": self._init})
        card = opened[1] if opened else None
        first = card.epoch if card else 0
        if first < recipe.training.epochs:
            trainer.rehearse(recipe.side(first, run.store.side))
        for epoch in range(first, recipe.training.epochs):
            window = _Window((), [], 0.0, 0.0)
            if card is not None and card.within is not None:
                within = card.within
                window = _Window(within.losses, [], within.elapsed_s, within.waited_s)
            rate = self._epoch(epoch, window)
            card = self._judge(epoch, window, rate)
        if card is None:
            raise AssertionError("a recipe has at least one epoch")
        if self._log:
            self._log.end({"kept": card.kept, "step": card.step})
        return card

    def _built(self, opened: tuple[Path, Card] | None) -> Trainer:
        run, recipe = self._run, self._run.recipe
        network = networks.build(
            recipe.network.topology,
            classes=len(run.store.label_set),
            output_stride=recipe.network.output_stride,
            width=recipe.network.width,
            seed=recipe.training.seed,
        )
        _start_at_prevalence(network, run.store.labels[run.train])
        if opened is None and run.init is not None:
            path = run.init
            loaded = run.ranks.agree(
                lambda: pretrained.initialise(
                    network, recipe.network.topology, path, run.store.label_set
                )
            )
            self._init = {**asdict(loaded), "path": Path(loaded.path).name}
        network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = optimizers.build(network, recipe.optimizer)
        averaged = {}
        if opened is not None:
            folder, card = opened
            averaged = run.ranks.agree(lambda: checkpoint.restore(folder, card, network, optimizer))
            self._history, self._init = card.history, card.init
        average = Average(network, recipe.ema) if recipe.ema else None
        if average and averaged:
            average.load({k: v for k, v in averaged.items() if v.is_floating_point()})
        exchanged = parallel.wrap(network, run.ranks, recipe.parallel)
        if recipe.training.compile:
            exchanged.compile()
        return Trainer(
            network=network,
            exchanged=exchanged,
            optimizer=optimizer,
            statistics=RunningStatistics(network),
            ascent=Ascent(recipe.sam) if recipe.sam else None,
            average=average,
            ranks=run.ranks,
            spec=run.spec,
            device=run.device,
            bf16=run.bf16,
            micro_batch=run.micro_batch,
            smoothing=recipe.loss.label_smoothing,
        )

    def _epoch(self, epoch: int, window: _Window) -> float:
        """Take the updates of an epoch that are left and return the last learning rate."""
        run, training = self._run, self._run.recipe.training
        done = len(window.before)
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
        rate = run.schedule.rate(epoch * run.steps_per_epoch + max(0, done - 1))
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
                raise UsageError(
                    "training-diverged",
                    f"the loss is {window.losses[-1]} at step {step + 1} with learning rate "
                    f"{rate:.3g}; lower the schedule's peak or base_per_256, or lengthen its "
                    "warm-up",
                )
            self._tell(epoch, step, window.losses[-1] * run.ranks.world, rate, waited / elapsed)
            left = (epoch + 1) * run.steps_per_epoch - step - 1
            if training.checkpoint_steps and left and (step + 1) % training.checkpoint_steps == 0:
                self._save_within(epoch, step + 1, window)
        return rate

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

    def _losses(self, window: _Window) -> tuple[float, ...]:
        """Return the losses of the epoch's updates over all ranks."""
        parts = self._run.ranks.gather(window.losses)
        return (*window.before, *(math.fsum(part) for part in zip(*parts, strict=True)))

    def _save_within(self, epoch: int, step: int, window: _Window) -> None:
        self._trainer.merge()
        losses = self._losses(window)
        before = self._history[-1] if self._history else None
        kept = checkpoint.epoch_name(self._best()) if before else ""
        self._save(
            Card(
                **self._common(),
                epoch=epoch,
                step=step,
                within=Within(losses=losses, elapsed_s=window.elapsed_s, waited_s=window.waited_s),
                metrics={},
                kept=kept,
            )
        )

    def _judge(self, epoch: int, window: _Window, rate: float) -> Card:
        """Validate, write the checkpoint of a whole epoch and return its card."""
        run = self._run
        self._trainer.merge()
        losses = self._losses(window)
        begin = time.perf_counter()
        average = self._trainer.average
        with average.swapped(self._trainer.network) if average else nullcontext():
            values = _validate(run, self._trainer)
        entry = {
            "epoch": epoch + 1,
            "loss": math.fsum(losses) / len(losses),
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
            "precision": "bf16" if run.bf16 else "fp32",
            "recipe": run.recipe.model_dump(mode="json"),
            "data": identity(run.store),
            "ranks": run.ranks.world,
            "schedule": run.schedule.document(),
            "init": self._init,
            "history": self._history,
            "software": {
                "thorax": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }


def _validate(run: Run, trainer: Trainer) -> npt.NDArray[np.float64]:
    """Return float64 [K] on every rank, NaN where the validation split lacks a class.

    Each rank scores its own groups of the split, cut as one process would cut it.
    """
    trainer.network.eval()
    size, ranks = run.micro_batch, run.ranks
    groups = [run.val[first : first + size] for first in range(0, len(run.val), size)]
    own = np.concatenate([run.val[:0], *groups[ranks.rank :: ranks.world]])
    scores = []
    with torch.inference_mode():
        for batch in batches(run.store, own, batch=size, workers=run.recipe.training.workers):
            logits = trainer.logits(torch.from_numpy(batch.images).to(run.device))
            scores.append(logits.float().cpu().numpy())
    empty = np.empty((0, len(run.store.label_set)), np.float32)
    parts = ranks.gather((own, np.concatenate([empty, *scores])))
    indices, gathered = merge_scores(parts)
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


def _start_at_prevalence(network: Classifier, labels: npt.NDArray[np.int8]) -> None:
    """Let the untrained network answer how common each finding is (1708.02002, section 4.1)."""
    present = (labels == POSITIVE).sum(axis=0) + 0.5
    absent = (labels != UNKNOWN).sum(axis=0) + 1.0 - present
    with torch.no_grad():
        network.head.bias.copy_(torch.from_numpy(np.log(present / absent)))
