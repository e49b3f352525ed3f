"""The facts of a checkpoint and of a run's beginning, and the checkpoints of a run, without torch.

`checkpoint.json` holds a digest of itself and those of the weights beside it: one changed bit of a
checkpoint is found, and named, before anything of it is used.
"""

import contextlib
import itertools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from thorax.config import write_effective
from thorax.errors import ModelError, ThoraxError
from thorax.files import atomic
from thorax.files.atomic import sha256
from thorax.files.documents import document_digest, parse_json
from thorax.images.preprocess import InputSpec
from thorax.labels import LabelSet
from thorax.results.training import RECIPE

CARD: Final = "checkpoint.json"
WEIGHTS: Final = "model.safetensors"
OPTIMIZER: Final = "optimizer.safetensors"
BEGUN: Final = "begun.json"
"""Beside the recipe, written last: what a resumption must have in common with the beginning."""
FORMAT: Final = 2
"""Of `checkpoint.json` and `begun.json`; 1 had no digest."""

_EPOCH: Final = re.compile(r"epoch-(\d{4,})")
_NAME: Final = re.compile(r"epoch-(\d{4,})(?:-step-(\d{8,}))?")
_LONGEST: Final = 16 << 20
"""Bytes of JSON beyond which a file is none of ours."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Within(BaseModel):
    """How far an epoch has come.

    Attributes:
        losses: of its updates, nats, over all ranks.
        elapsed_s: training time so far.
        waited_s: of it, spent waiting for data.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    losses: list[float] = []
    elapsed_s: float = 0.0
    waited_s: float = 0.0


class CheckpointCard(BaseModel):
    """The facts of a checkpoint.

    Attributes:
        topology: one of `thorax.training.networks.TOPOLOGIES`.
        output_stride: the one it was trained with.
        width: share of the channels of the published network.
        label_set: names of the K logits.
        input: what the network takes.
        precision: arithmetic it was trained in.
        recipe: the effective configuration it was trained by.
        data: name, label counts and sizes of the store, to refuse another one at resume.
        epoch: whole epochs done.
        step: updates done.
        within: of an epoch under way: losses of its updates so far, nats, and its clocks; None
            after a whole one.
        ranks: how many ran the training when this was written.
        schedule: the resolved schedule.
        init: what the weights started from, None for a random start.
        metrics: on the validation split, after this epoch; `auroc` by label, None = undefined.
        history: one entry an epoch: epoch, loss, val_mean_auroc, learning_rate, images_per_s.
        kept: name of the epoch folder that is the run's result so far, empty before there is one.
        software: versions it was written by.
        weights_sha256: digest of `model.safetensors`.
        optimizer_sha256: digest of `optimizer.safetensors`.
        sha256: digest of all the rest of the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[2] = FORMAT
    topology: str
    output_stride: int
    width: float = 1.0
    label_set: LabelSet
    input: InputSpec
    precision: Literal["fp32", "bf16"]
    recipe: dict[str, Any]
    data: dict[str, Any]
    epoch: int
    step: int
    within: Within | None = None
    ranks: int = 1
    schedule: dict[str, Any] = {}
    init: dict[str, Any] | None = None
    metrics: dict[str, Any]
    history: tuple[dict[str, float], ...]
    kept: str
    software: dict[str, str]
    weights_sha256: str = ""
    optimizer_sha256: str = ""
    sha256: str = ""


class Begun(BaseModel):
    """What a run was begun with, to refuse another one at resume.

    Attributes:
        recipe: the effective one.
        recipe_sha256: digest of `recipe.toml`, as which it was written for people.
        precision: arithmetic of convolutions, where the recipe leaves it to the processor too.
        data: identity of the store.
        init: what the weights started from, None = at random.
        launch: the launcher's name for the job, None where it has none.
        sha256: digest of all the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[2] = FORMAT
    recipe: dict[str, Any]
    recipe_sha256: str = ""
    precision: Literal["fp32", "bf16"]
    data: dict[str, Any]
    init: dict[str, str] | None
    launch: str | None
    sha256: str = ""


def epoch_name(epoch: int) -> str:
    """Return the folder name of the checkpoint written after so many epochs."""
    return f"epoch-{epoch:04d}"


def name(card: CheckpointCard) -> str:
    """Return the folder name of a checkpoint."""
    if card.within is None:
        return epoch_name(card.epoch)
    return f"{epoch_name(card.epoch + 1)}-step-{card.step:08d}"


def read_card(folder: Path) -> CheckpointCard:
    """Read the facts of a checkpoint folder.

    Raises:
        ModelError: `checkpoint-missing`, `checkpoint-unreadable` or `checkpoint-damaged`.
    """
    card = read_checked(folder / CARD, CheckpointCard, "restore it, or train again")
    try:
        if not card.label_set.findings:
            raise ValueError("it has no labels")
        if card.kept and not _EPOCH.fullmatch(card.kept):
            raise ValueError(f"kept is {card.kept!r}, not the name of an epoch folder")
    except ValueError as error:
        raise unreadable(folder / CARD, str(error)) from error
    return card


def checked_text(model: BaseModel) -> str:
    """Return a model that has a field `sha256` as JSON that holds a digest of itself."""
    document = json.loads(model.model_dump_json())
    document["sha256"] = document_digest(document)
    return json.dumps(document, indent=2) + "\n"


def read_checked(path: Path, model: type[ModelT], remedy: str) -> ModelT:
    """Return what `checked_text` wrote into a file of a run; the remedy is for one damaged.

    Raises:
        ModelError: `checkpoint-missing`, `checkpoint-unreadable` or `checkpoint-damaged`.
    """
    content = _read(path)
    try:
        document = parse_json(content)
    except ValueError as error:
        raise unreadable(path, f"{error}; {remedy}") from error
    if not isinstance(document, dict) or not isinstance(document.get("sha256"), str):
        number = document.get("format") if isinstance(document, dict) else None
        old = f"it has format {number!r}, this Thorax reads {FORMAT}"
        bare = "it holds no digest of itself"
        what = old if isinstance(number, int) and number != FORMAT else bare
        raise unreadable(path, f"{what}; {remedy}")
    if document_digest(document) != document["sha256"]:
        raise ModelError(
            "checkpoint-damaged",
            f"{path} is not what was written (its own SHA-256 differs); {remedy}",
        )
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise unreadable(path, f"{place}: {first['msg']}") from error
    except (ThoraxError, ValueError) as error:
        raise unreadable(path, str(error)) from error


def require_digest(path: Path, digest: str) -> None:
    """Refuse a file that is not as the card of its checkpoint says.

    Raises:
        ModelError: `checkpoint-missing`, `checkpoint-unreadable` or `checkpoint-damaged`.
    """
    _require_file(path)
    try:
        found = sha256(path)
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    if found != digest:
        raise ModelError(
            "checkpoint-damaged",
            f"{path} is not what was written (SHA-256 differs from {CARD}); restore it, resume "
            "from an older checkpoint, or train again",
        )


def read_begun(out: Path) -> Begun | None:
    """Return what the run of a folder was begun with, None if there is none.

    Raises:
        ModelError: `checkpoint-unreadable` or `checkpoint-damaged`.
    """
    path = out / BEGUN
    if not path.exists():
        return None
    return read_checked(
        path, Begun, f"restore it, or begin another run from these weights by --init {out}"
    )


def begin(out: Path, recipe: BaseModel, begun: Begun) -> None:
    """Write what a run is begun with into its folder; only with the last file is it one.

    Raises:
        ModelError: `checkpoint-unwritable`.
    """
    try:
        write_effective(recipe, out / RECIPE)
        digest = atomic.sha256(out / RECIPE)
        atomic.write_text(
            out / BEGUN, checked_text(begun.model_copy(update={"recipe_sha256": digest}))
        )
    except OSError as error:
        raise unwritable(out, error) from error


def repair_recipe(out: Path, recipe: BaseModel, begun: Begun) -> bool:
    """Write `recipe.toml` again if it is not what was written, and return whether it was not.

    Raises:
        ModelError: `checkpoint-unwritable`.
    """
    try:
        if (out / RECIPE).is_file() and atomic.sha256(out / RECIPE) == begun.recipe_sha256:
            return False
    except OSError as error:
        raise unwritable(out, error) from error
    begin(out, recipe, begun)
    return True


def newest(run: Path) -> Path | None:
    """Return the checkpoint folder of a run with the most updates done, None if it has none."""
    return next(iter(newest_first(run)), None)


def newest_whole(
    run: Path, on_message: Callable[[str], None]
) -> tuple[Path, CheckpointCard] | None:
    """Return the newest checkpoint that is as it was written, None if the run has none at all.

    `on_message` is told of each damaged one that was passed over.

    Raises:
        ModelError: that of the newest when every one is damaged.
    """
    first: ModelError | None = None
    for folder in newest_first(run):
        try:
            card = read_card(folder)
            require_digest(folder / WEIGHTS, card.weights_sha256)
            require_digest(folder / OPTIMIZER, card.optimizer_sha256)
        except ModelError as error:
            first = first or error
            on_message(f"passed over {folder.name}: {error.message}")
            continue
        return folder, card
    if first is not None:
        raise first
    return None


def newest_first(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, that with the most updates first."""
    if not run.is_dir():
        return []
    found = [
        # A whole epoch comes after every step within it.
        ((int(match[1]), int(match[2]) if match[2] else math.inf), folder)
        for folder in run.iterdir()
        if (match := _NAME.fullmatch(folder.name)) and (folder / CARD).is_file()
    ]
    return [folder for _, folder in sorted(found, reverse=True)]


def resolve(path: Path) -> Path:
    """Return the checkpoint folder meant by a checkpoint or run folder.

    Raises:
        ModelError: `checkpoint-missing`, or as `read_card`.
    """
    if (path / CARD).is_file():
        return path
    last = newest(path)
    if last is None:
        raise ModelError(
            "checkpoint-missing",
            f"{path} holds no checkpoint ({CARD}), nor a run with one; make one by `train`",
        )
    kept = read_card(last).kept
    if not kept:
        raise ModelError(
            "checkpoint-missing", f"{path} has not finished its first epoch; resume it by `train`"
        )
    return path / kept


def _readable(run: Path) -> Iterator[tuple[Path, CheckpointCard]]:
    for folder in newest_first(run):
        with contextlib.suppress(ModelError):
            yield folder, read_card(folder)


def prune(run: Path) -> list[str]:
    """Delete all checkpoints of a run but the two newest and those they keep, and leftovers.

    Returns:
        A line for each that could not be deleted; a run can do without that.
    """
    stay: set[str] = set()
    for folder, card in itertools.islice(_readable(run), 2):
        stay |= {folder.name, card.kept}
    if not stay:
        return []
    refused: list[str] = []
    with contextlib.suppress(OSError):
        for entry in list(run.iterdir()):
            meant = atomic.meant_by(entry.name)
            if meant is not None and _NAME.fullmatch(meant):
                # What a killed process left; one that stood in a checkpoint's place comes back.
                atomic.recover(run / meant)
            elif _NAME.fullmatch(entry.name) and entry.name not in stay:
                refused += delete(entry)
    return refused


def discard_after(run: Path, folder: Path) -> list[str]:
    """Delete the checkpoints newer than one: damaged, or of a future that will be done again.

    Returns:
        A line for each that could not be deleted.
    """
    newer = itertools.takewhile(lambda entry: entry != folder, newest_first(run))
    return [line for entry in newer for line in delete(entry)]


def delete(folder: Path) -> Iterator[str]:
    """Delete a checkpoint, its card first so that none looks whole; yield why it cannot be."""
    try:
        (folder / CARD).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except OSError as error:
        where = Path(str(error.filename)).name if error.filename else folder.name
        yield (
            f"{folder} cannot be deleted ({error.strerror or error}: {where}); training goes on "
            "without that, delete it by hand"
        )


def _read(path: Path) -> bytes:
    _require_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error
    if len(content) > _LONGEST:
        raise unreadable(path, f"it has more than the {_LONGEST} bytes that are expected")
    return content


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError("checkpoint-missing", f"{path} is missing or no regular file")


def unreadable(path: Path, why: str) -> ModelError:
    """Return the refusal of a file of a checkpoint that cannot be read."""
    return ModelError("checkpoint-unreadable", f"{path} cannot be read: {why}")


def unwritable(path: Path, why: object) -> ModelError:
    """Return the refusal of a folder or file of a run that cannot be written."""
    return ModelError(
        "checkpoint-unwritable",
        f"{path} cannot be written: {getattr(why, 'strerror', None) or why}; free space and go on "
        "with --resume, or choose another --out",
    )
