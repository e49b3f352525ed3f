"""Whether systems are read with their sources, and a doctor's figures as it measured them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.documents import DOCTOR, rank

from thorax.config import write_effective
from thorax.errors import DataError, UsageError
from thorax.files.documents import document_digest
from thorax.plan import system_files
from thorax.plan.published import ready
from thorax.plan.system_files import find_system, read_doctor
from thorax.plan.systems import change
from thorax.plan.training_time import train


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "mine"\nreference = "resnet50"\nranks_per_node = 2\n'
        "images_per_s = 30.0\nwithin = { alpha_s = 1e-6, beta_bytes_per_s = 1e10 }\n"
        "between = { alpha_s = 1e-5, beta_bytes_per_s = 1e9 }\n",
        "utf-8",
    )
    assert train(find_system(str(path)), "resnet50", 1).images_per_s == pytest.approx(30)


def test_an_unknown_system_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="the nearest is zenith") as caught:
        find_system("zenit")
    assert caught.value.code == "plan-system"


def test_what_a_doctor_measured_gives_what_it_expects(tmp_path: Path) -> None:
    from thorax.cluster.collectives import Link
    from thorax.cluster.link_model import expect
    from thorax.results.cluster import StepParts

    path = tmp_path / "doctor.json"
    path.write_text(json.dumps(DOCTOR), "utf-8")
    system = read_doctor(path)
    assert system.ranks_per_node == 2
    link = Link(DOCTOR["alpha_s"], DOCTOR["beta_bytes_per_s"])
    for known in expect(StepParts(**DOCTOR["step"]), link, [1, 2, 4, 64], images=8, batch=None):
        run = train(system, "resnet18", known.ranks)
        assert run.images_per_s == pytest.approx(known.images_per_s, rel=1e-9)
        assert run.efficiency == pytest.approx(known.efficiency, rel=1e-9)


def test_ranks_of_one_host_measured_no_link_between_hosts(tmp_path: Path) -> None:
    path = tmp_path / "doctor.json"
    path.write_text(json.dumps({**DOCTOR, "ranks": [rank("a")] * 2}), "utf-8")
    system = read_doctor(path)
    assert system.between is None
    assert any(one.startswith("between: assumed: none") for one in system.sources)
    assert train(system, "resnet18", 2).workers == 2
    with pytest.raises(UsageError, match="no link between nodes") as caught:
        train(system, "resnet18", 4)
    assert caught.value.code == "plan-link"
    linked = change(system, ["between.alpha_s=5e-5", "between.beta_bytes_per_s=1e9"])
    assert train(linked, "resnet18", 4).nodes == 2
    assert linked.sources[-1] == "between.beta_bytes_per_s: given, in place of the above"


def test_a_file_that_is_not_there_calibrates_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file or directory") as caught:
        read_doctor(tmp_path / "none.json")
    assert caught.value.code == "plan-calibration"
    assert "Error" not in str(caught.value)


def test_a_system_that_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    mine = ready(find_system("zenith")).model_copy(update={"models": (), "published": ()})
    write_effective(mine, path, signed=True)
    found = find_system(str(path))
    assert found.sources == ("file: mine.toml: as thorax plan cluster wrote it", *mine.sources)
    assert found.model_copy(update={"sources": mine.sources}) == mine
    assert len(found.choices) == 3
    # Read and written again it says so once.
    write_effective(found, path, signed=True)
    assert find_system(str(path)) == found


def test_a_system_that_is_written_with_a_change_differs_from_the_one_it_names(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.toml"
    mine = change(ready(find_system("zenith")), rates={"vgg16": 3.0}).model_copy(
        update={"models": (), "published": ()}
    )
    write_effective(mine, path, signed=True)
    found = find_system(str(path))
    assert found.title == f"{mine.title} (mine.toml, differs from zenith)"
    assert found.sources[0].startswith("file: mine.toml: differs from zenith in rates.vgg16; ")
    # What was changed is given, and all else is as Thorax has it.
    given = "rates of other topologies: given: by mine.toml, which says: assumed: the same products"
    assert [source for source in found.sources if source not in mine.sources][1:] == [
        f"{given} a second"
    ]
    write_effective(found, path, signed=True)
    assert find_system(str(path)) == found


FORGED: dict[str, dict[str, Any]] = {
    "by its name": {},
    "by another name": {"name": "nameless"},
    "with a source of its own": {"sources": ["images_per_s: published: Intel, 2018"]},
    "with choices left out": {"choices": ()},
}


@pytest.mark.parametrize("how", FORGED)
def test_a_right_digest_below_other_constants_publishes_nothing(tmp_path: Path, how: str) -> None:
    path = tmp_path / "mine.toml"
    zenith = ready(find_system("zenith"))
    forged = zenith.model_copy(
        update={"images_per_s": 200.0, "models": (), "published": (), **FORGED[how]}
    )
    write_effective(forged, path, signed=True)
    found = find_system(str(path))
    assert found.images_per_s == 200.0
    assert found.title == f"{zenith.title} (mine.toml, differs from zenith)"
    assert "images_per_s" in found.sources[0]
    (rate,) = (source for source in found.sources if source.startswith("images_per_s: "))
    assert rate.startswith("images_per_s: given: by mine.toml")
    assert ("choices: given: by mine.toml" in found.sources) is ("choices" in FORGED[how])


def test_a_published_row_below_a_right_digest_is_as_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    zenith = find_system("zenith")
    *others, last = zenith.published
    # As the model has it, so that the model would come out right.
    better = last.model_copy(update={"value": 16_213.0})
    write_effective(zenith.model_copy(update={"published": (*others, better)}), path, signed=True)
    found = find_system(str(path))
    assert found.title.endswith("(mine.toml, differs from zenith)")
    assert [row.source for row in found.published if row.source.startswith("said by ")] == [
        f"said by mine.toml: {last.source}"
    ]


def test_an_edited_system_is_told_in_its_title_and_sources(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    mine = change(find_system("zenith"), images_per_s=4.0).model_copy(
        update={"models": (), "published": ()}
    )
    write_effective(mine, path, signed=True)
    path.write_text(path.read_text("utf-8").replace("\nimages_per_s = 4.0", "\nimages_per_s = 9.0"))
    found = find_system(str(path))
    assert found.images_per_s == 9.0
    assert found.title == f"{mine.title} (mine.toml, edited)"
    assert "edited since" in found.sources[0]
    # Nobody knows which constants were edited, so none is as its source says.
    others = [source for source in found.sources[1:] if ": " in source]
    assert all(source.partition(": ")[2].startswith("given") for source in others)
    power = next(source for source in others if source.startswith("node_power_w"))
    assert power.startswith("node_power_w: given: by mine.toml, which says: published")
    # Written and edited again it is quoted once.
    write_effective(found, path)
    again = find_system(str(path))
    assert again.title == f"{mine.title} (mine.toml, edited) (mine.toml, unsigned)"
    assert again.sources[1:] == found.sources[1:]


def test_published_figures_of_a_copied_file_are_as_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    own = Path(system_files.__file__).parent / "systems" / "zenith.toml"
    path.write_text(own.read_text("utf-8"), "utf-8")
    found = find_system(str(path))
    assert found.title.endswith("(mine.toml, unsigned)")
    assert all(row.source.startswith("said by mine.toml: ") for row in found.published)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"alpha_s": None, "beta_bytes_per_s": None}, "of one rank, which has no link"),
        ({"step": None}, "is no document"),
        ({"ranks": []}, "is no document"),
    ],
)
def test_another_document_calibrates_nothing(
    tmp_path: Path, broken: dict[str, Any], told: str
) -> None:
    path = tmp_path / "doctor.json"
    path.write_text(json.dumps({**DOCTOR, **broken}), "utf-8")
    with pytest.raises(DataError, match=told) as caught:
        read_doctor(path)
    assert caught.value.code == "plan-calibration"


def test_a_file_that_is_no_json_calibrates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "doctor.json"
    path.write_text("[1, 2", "utf-8")
    with pytest.raises(DataError, match="is no document"):
        read_doctor(path)
    path.write_text("[1, 2]", "utf-8")
    with pytest.raises(DataError, match="is no document"):
        read_doctor(path)


def test_a_document_of_the_doctor_that_was_changed_is_refused_and_one_unsigned_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "doctor.json"
    document = dict(DOCTOR)
    document["sha256"] = document_digest(document)
    path.write_text(json.dumps(document))
    signed = read_doctor(path)
    assert "unsigned" not in signed.title
    path.write_text(json.dumps({**document, "alpha_s": 1e-9}))
    with pytest.raises(DataError, match="was changed since") as caught:
        read_doctor(path)
    assert caught.value.code == "plan-calibration"
    path.write_text(json.dumps({**document, "sha256": ""}))
    unsigned = read_doctor(path)
    assert unsigned.title == f"{signed.title} (doctor.json, unsigned)"
    assert any("without a digest" in source for source in unsigned.sources)
    assert any("jitter, within, between: measured: " in source for source in signed.sources)
    given = next(source for source in unsigned.sources if "jitter" in source)
    assert ": given: by doctor.json, which says: measured: " in given
