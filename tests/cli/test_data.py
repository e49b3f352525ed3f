"""What `thorax data import` and `thorax score` say of tables, to a person and to a program."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.cli.command import typed

from thorax.data.store import Store

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "side.png", "stranger.png"):
        cv2.imwrite(str(tmp_path / name), PICTURE)
        PICTURE[0, 0] += 1
    return tmp_path


def test_an_import_says_how_it_read_and_what_it_left_out(
    scans: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = scans.parent / "labels.csv"
    table.write_text(
        "sep=;\nimage;patient;view;age;Cardiomegally;Zebra\n"
        "A;1;PA;58;1,0;-1\nb.jpg;2;AP;40;;0\nside;2;LATERAL;40;1;1\ngone;3;PA;1;1;1\n"
    )
    words = [
        *("data", "import", "folder", scans, "--labels", table, "--size", 32),
        *("--uncertain", "ones", "--out", scans.parent / "store"),
    ]
    status, out, _ = typed(capfd, monkeypatch, *words, "--json")
    made = json.loads(out)
    assert status == 0
    assert made["labels"] == {
        "Cardiomegally": {"positive": 1, "negative": 0, "unknown": 1},
        "Zebra": {"positive": 1, "negative": 1, "unknown": 0},
    }
    assert made["left_out"] == {
        "view-not-frontal": 1,
        "image-missing": 1,
        "label-missing": 1,
    }
    assert made["views"] == {"PA": 1, "AP": 1}
    assert [note["code"] for note in made["warnings"]] == ["finding-misspelt"]
    assert len(made["conventions"]) == 2
    # The same again answers the same, in words for a person.
    status, out, _ = typed(capfd, monkeypatch, *words)
    assert status == 0
    for text in ("close to the finding Cardiomegaly", "view-not-frontal", "--uncertain ones"):
        assert text in out


def test_an_option_of_no_known_word_is_refused_with_those_there_are(
    scans: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = scans.parent / "labels.csv"
    table.write_text("image,patient,Mass\na,1,1\n")
    words = ("data", "import", "folder", scans, "--labels", table, "--out", scans.parent / "s")
    for option, word, code in (
        ("--uncertain", "maybe", "option-choice"),
        ("--blank", "zero", "option-choice"),
        ("--views", "side", "option-choice"),
        ("--findings", "Mass,Mass", "label-set"),
    ):
        status, _, err = typed(capfd, monkeypatch, *words, option, word)
        assert status == 2
        assert f"thorax: {code}: " in err


def test_files_are_scored_against_each_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l.csv").write_text("image,patient,Mass\na,1,1\nb,2,0\nc,3,1\nd,4,0\n")
    (tmp_path / "p.csv").write_text("image,Mass\na,.9\nb,.2\nc,.1\nx,.1\n")
    (tmp_path / "q.csv").write_text("image,Mass\na,.9\nb,.2\nc,.8\nd,.5\n")
    words = [
        *("score", tmp_path / "p.csv", "--labels", tmp_path / "l.csv"),
        *("--against", tmp_path / "q.csv", "--samples", 100),
    ]
    status, _, err = typed(capfd, monkeypatch, *words)
    assert (status, "image-unlabelled" in err, "--common" in err) == (3, True, True)
    status, out, _ = typed(capfd, monkeypatch, *words, "--common", "--json")
    made = json.loads(out)
    assert (made["images"], made["unlabelled_images"], made["unpredicted_images"]) == (3, 1, 1)
    assert made["against"][0]["mean_difference"]["value"] == 0.5
    status, out, _ = typed(capfd, monkeypatch, *words, "--common")
    assert "AUROC drop: AUROC of p.csv minus AUROC of q.csv, same images" in out
    assert made["against"][0]["auroc_drop"]["value"] == -0.5
    assert "not scored: 1 predictions of images without labels" in out


def test_a_baseline_is_told_beside_a_network_to_a_person_and_a_program(
    tiny_store: Store,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test = tiny_store.select("test")
    names = tiny_store.label_set.findings
    rows = [(tiny_store.names[k], *(0.5 + tiny_store.labels[k] / 4)) for k in test]
    table = tmp_path / "network.csv"
    # With the columns that `classify --csv` has beside those of findings.
    rows = [("image", *names, "positive", "warnings"), *((*row, "Mass", "") for row in rows)]
    lines = [",".join(map(str, row)) for row in rows]
    table.write_text("\n".join(lines) + "\n")
    words = ("data", "baseline", tiny_store.path, "--against", table, "--samples", 100)
    status, out, err = typed(capfd, monkeypatch, *words)
    assert status == 0
    assert "fitting means of 16 x 16 blocks" in err
    assert "Network minus it" in out
    # Sentences follow the table, each with a full stop.
    table_lines = itertools.takewhile(lambda line: not line.endswith("."), out.splitlines())
    assert max(map(len, table_lines)) <= 100
    status, out, _ = typed(capfd, monkeypatch, *words, "--json")
    made = json.loads(out)
    assert (status, made["command"]) == (0, "data baseline")
    assert made["network"]["mean_auroc"]["value"] == 1
    status, _, err = typed(capfd, monkeypatch, *words[:3], "--against", tmp_path / "absent.csv")
    assert (status, "thorax: " in err) == (3, True)


@pytest.mark.parametrize(("view", "import_all"), [("Lateral", True), ("FRONTAL", False)])
def test_phantoms_say_how_to_import_them_in_whatever_case_their_view_was_typed(
    view: str,
    import_all: bool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["phantom", tmp_path / "drawn", "--count", 1, "--size", 16, "--view", view]
    status, out, err = typed(capfd, monkeypatch, *words)
    assert status == 0
    assert ("--views all" in out + err) == import_all
