"""What each rank runs in the tests of parallel training: `torchrun ranks.py TASK FOLDER`."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.tiny_training import build_tiny, make_store

from thorax.data.store import Store
from thorax.errors import ThoraxError
from thorax.training import networks, parallel
from thorax.training.fit import fit
from thorax.training.log import Progress
from thorax.training.loop import Callbacks
from thorax.training.parallel import Ranks
from thorax.training.preemption import PreemptedError, Stop
from thorax.training.recipe import Recipe

networks.build = build_tiny  # type: ignore[assignment]

RECIPE: dict[str, dict[str, Any]] = {
    "network": {"topology": "vgg16_bn"},
    "training": {
        "epochs": 2,
        "batch": 12,
        "micro_batch": 2,
        "workers": 1,
        "threads": 1,
        "keep": "last",
    },
    "optimizer": {"kind": "sgd"},
    "schedule": {"kind": "cosine", "peak": 0.05, "warmup_epochs": 0.5},
    "augmentation": {"flip": 0.5, "rotation_deg": 10.0},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sam": {"sam": {"rho": 0.05}},
    "averaged": {"ema": {"decay": 0.9}},
    "lars": {"optimizer": {"kind": "lars"}, "loss": {"label_smoothing": 0.1}},
    "bf16": {"parallel": {"compression": "bf16"}},
    "fp16": {"parallel": {"compression": "fp16"}},
    "powersgd": {"parallel": {"compression": "powersgd", "powersgd_start": 2}},
}


def drawn() -> Store:
    """Return 24 training images of which some labels are unknown, so that ranks know unequally."""
    store: Store = make_store(Path("store"), val=13)
    rng = np.random.default_rng(5)
    store.labels[:24][rng.random((24, 3)) < 0.3] = -1
    return store


def train(folder: Path, name: str, ranks: Ranks, messages: list[str]) -> None:
    """Train a variant into a folder of its name."""
    recipe = Recipe.model_validate_json(json.dumps(RECIPE | VARIANTS[name]))
    out = folder / f"{name}-{ranks.world}"
    fit(recipe, drawn(), out, ranks=ranks, callbacks=Callbacks(on_message=messages.append))


def everything(folder: Path, ranks: Ranks) -> None:
    """Train every variant, and record what collectives answer."""
    messages: list[str] = []
    for name in VARIANTS:
        train(folder, name, ranks, messages)
    one_update(folder, ranks)
    tensor = torch.full((3,), float(ranks.rank))
    ranks.average([tensor])
    codes = []
    for refused in (0, ranks.world - 1):

        def act(refused: int = refused) -> None:
            if ranks.rank >= refused:
                raise ThoraxError("test-refusal", "not here")

        try:
            ranks.agree(act)
        except ThoraxError as error:
            codes.append(error.code)
    told = ranks.gather(codes)
    if ranks.lead:
        answers = {
            "average": tensor.tolist(),
            "refusals": told,
            "broadcast": ranks.broadcast("lead"),
            "messages": messages,
        }
        (folder / "answers.json").write_text(json.dumps(answers))
    else:
        ranks.broadcast("other")


def four_updates(folder: Path, ranks: Ranks) -> None:
    """Train with each optimizer, four updates of the small network."""
    for name in ("plain", "sam", "averaged", "lars"):
        train(folder, name, ranks, [])


def one_update(folder: Path, ranks: Ranks) -> None:
    """Train a ResNet-18 for one update of all images."""
    once = {**RECIPE["training"], "epochs": 1, "batch": 24}
    changed = {**RECIPE, "network": {"topology": "resnet18"}, "training": once}
    changed["schedule"] = {"kind": "cosine", "peak": 0.05, "warmup_epochs": 0.0}
    recipe = Recipe.model_validate_json(json.dumps(changed))
    fit(recipe, drawn(), folder / f"resnet18-{ranks.world}", ranks=ranks)


def straight(folder: Path, ranks: Ranks) -> None:
    """Train with a checkpoint every update."""
    _stepwise(folder, ranks)


def killed(folder: Path, ranks: Ranks) -> None:
    """Train the same, but a rank is killed once, within the second epoch: of two the lead."""

    def kill(at: Progress) -> None:
        if at.step == 3 and not ranks.restarts:
            os.kill(others[0 if ranks.world == 2 else -1], signal.SIGKILL)

    others = ranks.gather(os.getpid())
    _stepwise(folder, ranks, on_progress=kill)
    if ranks.lead:
        (folder / "restarts").write_text(str(ranks.restarts))


def warned(folder: Path, ranks: Ranks) -> None:
    """Train straight on; and in turns, in each of which another rank is asked to stop."""
    recipe = Recipe.model_validate_json(json.dumps(RECIPE | VARIANTS["averaged"]))
    fit(recipe, drawn(), folder / "straight", ranks=ranks)
    for turn in (1, 2, 3):
        stop = Stop()

        def ask(at: Progress, turn: int = turn, stop: Stop = stop) -> None:
            if ranks.lead and turn == 2 and at.images:
                stop.ask("the lead")

        if ranks.rank == ranks.world - 1 and turn != 2:
            stop.ask("the last rank")
        try:
            fit(
                recipe,
                drawn(),
                folder / "run",
                ranks=ranks,
                stop=stop,
                resume=turn > 1,
                callbacks=Callbacks(on_progress=ask),
            )
        except PreemptedError as error:
            if ranks.gather(error.step) != [error.step] * ranks.world:
                raise AssertionError("the ranks stopped after different updates") from error
        else:
            raise AssertionError("the ranks did not stop")
    fit(recipe, drawn(), folder / "run", ranks=ranks, resume=True)


def _stepwise(
    folder: Path, ranks: Ranks, on_progress: Callable[[Progress], None] = lambda at: None
) -> None:
    changed = {
        **RECIPE,
        **VARIANTS["averaged"],
        "training": {**RECIPE["training"], "checkpoint_steps": 1},
    }
    recipe = Recipe.model_validate_json(json.dumps(changed))
    fit(recipe, drawn(), folder / "run", ranks=ranks, callbacks=Callbacks(on_progress=on_progress))


def unlike(folder: Path, ranks: Ranks) -> None:
    """Give the last rank other labels, then a gradient that is no number; note what each says."""
    recipe = Recipe.model_validate_json(json.dumps(RECIPE))
    codes = []
    store = drawn()
    if ranks.rank == ranks.world - 1:
        store.labels[:, 0] = 1 - store.labels[:, 0]
    try:
        fit(recipe, store, folder / "unlike", ranks=ranks)
    except ThoraxError as error:
        codes.append(error.code)
    wild = {**RECIPE, "schedule": {"kind": "cosine", "peak": 1e30, "warmup_epochs": 0.0}}
    try:
        fit(Recipe.model_validate_json(json.dumps(wild)), drawn(), folder / "wild", ranks=ranks)
    except ThoraxError as error:
        codes.append(error.code)
    told = ranks.gather(codes)
    if ranks.lead:
        (folder / "codes.json").write_text(json.dumps(told))


def require_no_group() -> None:
    """Refuse a thread of the group that is left: it may abort a rank while Python ends."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    if left := [name for name in names if "gloo" in name]:
        raise AssertionError(f"threads outlive their group: {', '.join(left)}")


if __name__ == "__main__":
    with parallel.join("cpu") as group:
        globals()[sys.argv[1]](Path(sys.argv[2]), group)
    require_no_group()
