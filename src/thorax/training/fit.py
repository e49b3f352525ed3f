"""One training run: a recipe and a store to a checkpoint, on one process or on many ranks.

Everything random is a function of the recipe's seed: the same recipe, store, version, processor,
number of ranks and of threads give the same weights, and a run stopped anywhere and resumed gives
those of one that was not (GPU kernels may add up in another order each time). Another number of
ranks gives the same to the rounding of sums, where the recipe fixes `training.micro_batch`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from thorax.data.store import Store
from thorax.errors import DataError
from thorax.files.atomic import LockedError, locked
from thorax.labels import POSITIVE, UNKNOWN
from thorax.results.training import LOG, EpochRecord, TrainResult
from thorax.training import memory, networks, optimizers, parallel, pretrained
from thorax.training.card import CheckpointCard, read_card, unwritable
from thorax.training.ema import Average
from thorax.training.log import Log, open_log
from thorax.training.loop import Built, Callbacks, TrainingLoop
from thorax.training.networks import Classifier
from thorax.training.parallel import Ranks
from thorax.training.preemption import Stop
from thorax.training.prepare import TrainingRun, prepare, resume_or_create, same_everywhere
from thorax.training.processors import bind, describe
from thorax.training.recipe import Recipe
from thorax.training.verify import damaged_lines


def fit(
    recipe: Recipe,
    store: Store,
    out: Path,
    *,
    resume: bool = False,
    init: Path | None = None,
    ranks: Ranks | None = None,
    stop: Stop | None = None,
    callbacks: Callbacks | None = None,
) -> TrainResult:
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
        stop: a wish to end early, heeded at the next update; None = nobody has one.
        callbacks: who hears of it on the lead; None = nobody.

    Raises:
        UsageError: `run-exists`, `resume-missing`, `resume-recipe`, `resume-init`, `batch-ranks`,
            `powersgd-start`, `training-memory` or `training-diverged`.
        DataError: `split-empty`, `split-small`, `val-one-class`, `resume-data` or `run-locked`.
        DeviceError: `device-absent`.
        PreemptedError: a checkpoint was written and the run ended, as `stop` asked.
        ModelError: `checkpoint-unwritable`, or as `checkpoint.load` when resuming, or as
            `pretrained.initialise`.
        PeerError: `ranks-differ`, `rank-refused` or `rank-lost`.
    """
    ranks = ranks or Ranks()
    run = ranks.agree(lambda: prepare(recipe, store, ranks, init))
    same_everywhere(run)
    warnings = ranks.agree(lambda: _warnings(run))
    processors = bind(ranks, recipe.training.threads)
    # All that can be refused is refused before the folder of the run is made.
    built = ranks.agree(lambda: _build(run))
    callbacks = callbacks if callbacks and ranks.lead else Callbacks()
    tell = callbacks.on_message
    with ExitStack() as held:
        ranks.from_lead(lambda: held.enter_context(_locked(out, ranks)))
        opened = ranks.from_lead(
            lambda: resume_or_create(run, out, init=built.init, resume=resume, on_message=tell)
        )
        about = _about(run, built, describe(ranks, processors), [*warnings, *_match(built)])
        for line in (*run.schedule.lines(), *about["processors"], *about["warnings"]):
            tell(line)
        log = held.enter_context(_log(out, opened, tell)) if ranks.lead else None
        loop = TrainingLoop(run, built, out, log, stop or Stop(), callbacks)
        with memory.required(*_needs(run)):
            card = loop.train(opened, about)
        return ranks.from_lead(lambda: _result(out, card))


def _match(built: Built) -> list[str]:
    """Return the line that tells what was done to the names of the weights it began with."""
    init = built.init or {}
    return [f"{init['path']}: {init['match']}"] if init.get("match") else []


def _warnings(run: TrainingRun) -> Sequence[str]:
    schedule, settings = run.schedule, run.recipe.parallel
    return parallel.check(
        settings, run.ranks, warmup_steps=schedule.warmup_steps, steps=schedule.steps
    )


def _about(
    run: TrainingRun, built: Built, processors: Mapping[str, Any], warnings: Sequence[str]
) -> dict[str, Any]:
    return {
        "topology": run.recipe.network.topology,
        "precision": run.precision,
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "micro_batch": run.micro_batch,
        "groups": run.recipe.training.batch // run.ranks.world // run.micro_batch,
        "schedule": run.schedule.document(),
        "steps": run.schedule.steps,
        "torch": torch.__version__,
        **run.data,
        **processors,
        "init": built.init,
        "warnings": [*warnings, *processors["warnings"]],
    }


def _log(
    out: Path, opened: tuple[Path, CheckpointCard] | None, on_message: Callable[[str], None]
) -> AbstractContextManager[Log]:
    if (out / LOG).is_file() and (lines := damaged_lines(out / LOG)):
        on_message(f"warning: {out / LOG}: line {lines[0]} is not what was written; curves may lie")
    return open_log(out, after=opened[1].step if opened else 0)


@contextmanager
def _locked(out: Path, ranks: Ranks) -> Iterator[None]:
    """Hold the folder of a run, so that no second process writes into it."""
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            # A lead that is started anew may find the one before at its end.
            held.enter_context(locked(out, wait=ranks.restarts > 0))
        except LockedError as error:
            raise DataError(
                "run-locked",
                f"{out} is being trained by {error.holder}; wait for it or stop it, or choose "
                "another --out",
            ) from error
        except OSError as error:
            raise unwritable(out, error) from error
        yield


def _result(out: Path, card: CheckpointCard) -> TrainResult:
    folder = out / card.kept
    kept = read_card(folder)
    return TrainResult(
        checkpoint=folder,
        topology=kept.topology,
        epoch=kept.epoch,
        steps=card.step,
        ranks=card.ranks,
        images_per_s=sum(entry["images"] for entry in card.history)
        / sum(entry["train_s"] for entry in card.history),
        mean_auroc=kept.metrics["mean_auroc"],
        auroc=kept.metrics["auroc"],
        history=tuple(map(EpochRecord.model_validate, card.history)),
    )


def _needs(run: TrainingRun) -> tuple[str, str]:
    """Return what training holds in memory at once, in words, and what makes that smaller."""
    side = max(run.store.side, *(part.side for part in run.recipe.resize), 0)
    return (
        f"{run.micro_batch:,} images of {side:,} x {side:,} pixels that pass a network of width "
        f"{run.recipe.network.width:g} together",
        "set training.micro_batch smaller, or the sides of resize, network.width or the images of "
        "the store",
    )


def _build(run: TrainingRun) -> Built:
    with memory.required(*_needs(run)):
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
        return Built(
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
