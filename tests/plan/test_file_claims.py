"""Which sources of a file hold: those that a file of Thorax's own has too, of the same numbers."""

from typing import Any

import pytest

from thorax.config import FileOrigin, Settings
from thorax.plan.file_claims import FileClaims, Shipped, judge, marked

ORIGIN = FileOrigin("mine.toml", "as written", "as thorax plan wrote it")


class Part(Settings):
    """A table within a plan."""

    rate: float = 1.0
    power_w: float | None = 2.0


class Plan(Settings):
    """A server or cluster with few constants."""

    name: str = "own"
    title: str = "Own, 2018"
    part: Part = Part()
    threads: int = 4
    sources: tuple[str, ...] = ("part.rate, part.power_w: published: a page", "threads: assumed")


OTHER = Plan(name="other", title="Other, 2019", part=Part(rate=100.0), threads=8)
SHIPPED = Shipped(("own", "other"), {"own": Plan(), "other": OTHER}.__getitem__, "title")


def judged(origin: FileOrigin = ORIGIN, **changes: Any) -> FileClaims:  # noqa: ANN401 - fields
    return judge(Plan().model_copy(update=changes), origin, SHIPPED)


def test_what_is_the_same_holds() -> None:
    claims = judged(title="Own, 2018, changed by --set", part=Part(rate=1.0 + 1e-12))
    assert claims == FileClaims("", ("file: mine.toml: as thorax plan wrote it", *Plan().sources),
                                "own")  # fmt: skip


def test_only_the_constant_that_differs_is_given() -> None:
    claims = judged(part=Part(rate=7.0))
    assert claims.mark == " (mine.toml, differs from own)"
    first, *others = claims.sources
    assert first.startswith("file: mine.toml: differs from own in part.rate; ")
    assert others == [
        "part.power_w: published: a page",
        "part.rate: given: by mine.toml, which says: published: a page",
        "threads: assumed",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"threads": 5, "sources": Plan().sources[:1]}, "threads: given: by mine.toml"),
        ({"part": Part(power_w=None)},
         "part.power_w: given: by mine.toml, which says: published: a page"),
        ({"title": "Another, 2018"}, "title: given: by mine.toml"),
        ({"sources": ("the rate: published: a book",)},
         "the rate: given: by mine.toml, which says: published: a book"),
        ({"threads": 5, "sources": ("threads: measured: cpu.json",)},
         "threads: given: by mine.toml, which says: measured: cpu.json"),
        ({"threads": 5, "sources": ("threads: given: --set",)}, "threads: given: --set"),
    ],
)  # fmt: skip
def test_what_differs_in_any_way_is_given(changes: dict[str, Any], line: str) -> None:
    claims = judged(**changes)
    assert claims.mark == " (mine.toml, differs from own)"
    assert line in claims.sources


def test_what_claims_to_be_published_is_held_against_the_nearest() -> None:
    assert judged(name="mine", part=Part(rate=7.0)).shipped == "own"
    assert judged(name="mine", title=OTHER.title, part=OTHER.part).shipped == "other"
    measured = ("part: measured: cpu.json", "threads: assumed")
    assert judged(name="mine", threads=5, sources=measured) == FileClaims(
        "", ("file: mine.toml: as thorax plan wrote it", *measured)
    )


def test_without_a_right_digest_everything_is_given() -> None:
    edited = FileOrigin("mine.toml", "edited", "edited since")
    claims = judged(edited)
    assert claims.mark == " (mine.toml, edited)"
    assert all(": given: by mine.toml, which says: " in source for source in claims.sources[1:])


def test_a_mark_stands_once() -> None:
    assert marked(marked("Own", " (a)"), " (a)") == "Own (a)"
    assert marked("Own", "") == "Own"
