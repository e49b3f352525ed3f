"""Radiographs that were drawn, imported and checked: `thorax phantom` and `thorax data`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from thorax.errors import DataError
from thorax.results.schema import Part, Result
from thorax.results.shared import ReadWarning


class PhantomResult(Result):
    """Synthetic radiographs that `thorax phantom` drew."""

    command: Literal["phantom"] = "phantom"
    images: int
    labels: str
    """Table of their labels."""
    boxes: str
    """Table of their lesion boxes."""


class SkippedImage(Part):
    """One image that was left out."""

    image: str
    """The name it goes by in tables."""
    code: str
    """Why, as a program reads it."""
    message: str
    """Why, in a line for a person."""


class LabelCounts(Part):
    """How many images of a split, or of an import, show a finding."""

    positive: int
    negative: int
    unknown: int


class ImportResult(Result):
    """Store that `thorax data import` made."""

    command: Literal["data import"] = "data import"
    store: str
    """Its folder."""
    images: int
    patients: int
    skipped: tuple[SkippedImage, ...]
    """Every file that was left out."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """How many were, by reason."""
    splits: dict[str, int] = Field(default_factory=dict)
    """Images in each split, of those that have any."""
    views: dict[str, int] = Field(default_factory=dict)
    """Images by view; `unknown` where nothing says it."""
    labels: dict[str, LabelCounts] = Field(default_factory=dict)
    """Every finding, in label order."""
    label_set: str = ""
    """Name of the set of these findings: a built-in one, or `custom`."""
    boxes: int = 0
    """Lesion boxes."""
    conventions: tuple[str, ...] = ()
    """How labels, splits and patients were read, a sentence each."""
    warnings: tuple[ReadWarning, ...] = ()
    """What is doubtful in it."""


class Leak(Part):
    """A patient in more than one split."""

    patient: str
    splits: tuple[str, ...]


class Copies(Part):
    """Images that show one exposure."""

    images: tuple[str, ...]
    """Their names, two or more."""
    patients: tuple[str, ...]
    """Whose they are said to be, one an image."""
    splits: tuple[str, ...]
    """Where they are, one an image."""
    correlation: float
    """1 where files or pixels are equal, else how far the fine structure agrees."""
    changes: tuple[str, ...] = ()
    """How each is turned against the first: "mirrored", "inverted", ...; "" where it is not."""
    across: bool
    """Whether they are in more than one split."""


class CheckResult(Result):
    """What `thorax data check` found in a store."""

    command: Literal["data check"] = "data check"
    clean: bool
    """Whether what one split has learned cannot be known in another. Copies within a split are
    listed but do no harm to a measurement."""
    images: int
    patients: int
    splits: Mapping[str, int]
    """Images in each split, of those that have any."""
    leaks: tuple[Leak, ...]
    """Patients in more than one split."""
    duplicates: tuple[Copies, ...]
    """Groups whose source files are equal byte for byte."""
    near_duplicates: tuple[Copies, ...]
    """Groups that show one exposure though their files differ."""
    labels: Mapping[str, Mapping[str, LabelCounts]]
    """Every finding in every split that has images."""

    def require_clean(self) -> None:
        """Refuse a store whose splits know of each other.

        Raises:
            DataError: `store-leaks`.
        """
        if not self.clean:
            across = sum(group.across for group in (*self.duplicates, *self.near_duplicates))
            raise DataError(
                "store-leaks",
                f"{len(self.leaks)} patients and {across} groups of copies are in more "
                "than one split; put each patient, and all copies of an image, into one",
            )
