"""Whether each number of a system has a source, and a changed one says that it was."""

import pytest

from thorax.errors import UsageError
from thorax.plan.system_files import find_system, list_systems
from thorax.plan.systems import System, change

KINDS = ("published", "derived", "assumed", "calibrated", "measured")


@pytest.mark.parametrize("name", list_systems())
def test_every_number_of_a_system_has_a_source_or_is_called_assumed(name: str) -> None:
    system = find_system(name)
    assert system.name == name
    told = " ".join(text.partition(":")[0] for text in system.sources)
    for text in system.sources:
        assert text.partition(":")[2].strip().startswith(KINDS), text
    given = system.model_fields_set - {
        "name", "title", "machine", "reference", "sources", "models", "published", "even",
        "lateness", "within", "between", "images_per_pass", "batch_per_worker", "epochs_batch",
    }  # fmt: skip
    for field in given:
        default = System.model_fields[field].default
        assert field in told or getattr(system, field) == default or field == "ranks_per_node"
    for row in system.published:
        assert row.source
    names = [row.name for row in system.published]
    assert len(names) == len(set(names))


def test_a_changed_field_is_checked_and_others_stay() -> None:
    zenith = find_system("zenith")
    assert change(zenith, images=None) is zenith
    assert change(zenith, images=5).images == 5
    with pytest.raises(UsageError, match="epochs_curve"):
        change(zenith, epochs_curve="steep")


def test_a_system_that_was_set_says_so_in_its_title() -> None:
    zenith = find_system("zenith")
    once = change(zenith, ["between.alpha_s=1"])
    assert once.title == f"{zenith.title}, changed by --set"
    assert change(once, ["between.alpha_s=2"]).title == once.title
    assert change(zenith, images=1000).title == zenith.title
