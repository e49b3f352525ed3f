"""Whether each number of a system has a source, and a changed one says that it was."""

import pytest

from thorax.errors import UsageError
from thorax.plan.published import ready
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


def fitted(system: System) -> dict[str, str]:
    """Return what a system says of where images/s and the cost of an update are from."""
    parts = (source.partition(": ") for source in system.sources)
    return {name: text for name, _, text in parts if name in ("images_per_s", "update_s")}


@pytest.mark.parametrize(
    "setting",
    ["between.beta_bytes_per_s=1e9", "algorithm=tree", "overlap=false", "images_per_pass=8",
     "between={alpha_s=1e-5, beta_bytes_per_s=1e9}", "jitter=0.1", "forward_share=0.5"],
)  # fmt: skip
def test_numbers_that_were_fitted_beside_another_machine_are_assumed(setting: str) -> None:
    zenith = ready(find_system("zenith"))
    key = setting.partition("=")[0]
    for text in fitted(change(zenith, [setting])).values():
        assert text.startswith(f"assumed: fitted with another {key}, to ResNet-50, 512 ranks")
    # The same through an option.
    if key == "algorithm":
        assert fitted(change(zenith, algorithm="tree")) == fitted(change(zenith, [setting]))


def test_a_number_that_is_given_leaves_the_one_that_was_fitted_beside_it_assumed() -> None:
    zenith = ready(find_system("zenith"))
    made = change(zenith, ["update_s=0.001"])
    assert fitted(made)["images_per_s"].startswith("assumed: fitted with another update_s, to ")
    assert made.sources[-1] == "update_s: given, in place of the above"


def test_what_no_fit_depended_on_leaves_numbers_calibrated() -> None:
    zenith = ready(find_system("zenith"))
    same = zenith.between
    assert same is not None
    for setting in ("node_power_w=300", f"between.alpha_s={same.alpha_s}", "rates.vgg16=3"):
        assert fitted(change(zenith, [setting])) == fitted(zenith)
    # Another run on the same machine does not make its numbers others.
    for text in fitted(change(zenith, images=1000)).values():
        assert text.startswith("calibrated: ")
        assert text.endswith("; fitted with another images")


def test_a_title_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="title is 3"):
        change(find_system("zenith"), ["title=3"])


def test_a_title_that_is_set_keeps_what_a_file_is() -> None:
    loaded = find_system("zenith").model_copy(update={"title": "mine (m.toml, unsigned)"})
    made = change(loaded, ['title="Other nodes"'])
    assert made.title == "Other nodes (m.toml, unsigned), changed by --set"
