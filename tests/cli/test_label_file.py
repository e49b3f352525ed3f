"""Finding names from a file, as other projects write them."""

import json
from pathlib import Path

import pytest

from thorax.cli.label_file import read_labels
from thorax.errors import UsageError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "Mass\n\n Effusion \r\n"),
        ("labels", "\ufeffMass\nEffusion"),
        ("list.json", json.dumps(["Mass", "Effusion"])),
        ("config.json", json.dumps({"id2label": {"1": "Effusion", "0": "Mass"}, "x": 1})),
        ("label2id.json", json.dumps({"label2id": {"Effusion": 1, "Mass": 0}})),
        ("within.json", json.dumps({"classes": ["Mass", "Effusion"]})),
        ("numbered.txt", "0 Mass\n1 Effusion\n"),
        ("commas.txt", "Mass, Effusion\n"),
        ("class_indices.json", json.dumps({"Effusion": 1, "Mass": 0})),
    ],
)
def test_labels_are_read_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert read_labels(tmp_path / name).findings == ("Mass", "Effusion")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.txt", "\n", "holds no name"),
        ("a.txt", "\0\x80", "no text in UTF-8"),
        ("a.csv", "id,label\n0,Mass\n", "several columns"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "3", "holds a int"),
        ("a.json", '["a", 1]', "holds 1 where a name"),
        ("a.json", '{"0": "a", "1": null}', "holds null where a name"),
        ("a.json", '{"0": "a", "2": "b"}', "holds 0, 2"),
        ("a.json", '{"architecture": "resnet"}', "holds architecture, which are not names"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=f"labels-file.*{why}"):
        read_labels(tmp_path / name)


def test_a_name_that_is_empty_in_json_keeps_its_place_and_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["Mass", "", "Effusion"]')
    with pytest.raises(UsageError, match="'Mass', '', 'Effusion'"):
        read_labels(tmp_path / "a.json")
