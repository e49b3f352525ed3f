"""What a run was begun with: the recipe for people, the facts for its resumption; without torch."""

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from thorax.config import write_effective
from thorax.errors import ModelError
from thorax.files import atomic
from thorax.results.training import RECIPE
from thorax.training.card import FORMAT, checked_text, read_checked

BEGUN: Final = "begun.json"
"""Beside the recipe, written last: what a resumption must have in common with the beginning."""


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


def unwritable(path: Path, error: OSError) -> ModelError:
    """Return the refusal of a folder or file of a run that cannot be written."""
    return ModelError(
        "checkpoint-unwritable",
        f"{path} cannot be written: {error.strerror or error}; free space and go on with "
        "--resume, or choose another --out",
    )
