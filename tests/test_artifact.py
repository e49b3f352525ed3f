"""Artifacts: what is written is read, what was changed is refused, nothing is halved."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.killed import ended_at_every_call

from thorax import artifact
from thorax.artifact import BIN, CARD, XML, Accuracy, Artifact, Card, HeatmapGrid, Precision
from thorax.errors import ModelError
from thorax.files import atomic
from thorax.images.preprocess import InputSpec
from thorax.labels import INTENDED_USE
from thorax.metrics import Platt

FULL = Card(
    name="resnet18-fp32",
    topology="resnet18",
    label_set="pair",
    labels=("Mass", "Edema"),
    input=InputSpec(48, 0.1, 0.3),
    precision=Precision.FP32,
    heatmap=HeatmapGrid(stride=16, offset=0.5),
    thresholds={"Mass": 0.25, "Edema": 1 / 3},
    calibration={"Mass": Platt(1.25, -0.1), "Edema": Platt(1.0, 0.0)},
    accuracy=Accuracy(
        store="s", split="val", images=7, mean_auroc=0.5, auroc={"Mass": 0.5, "Edema": None}
    ),
    auroc_drop=0.0,
    parameters=11,
    macs=13,
    size_bytes=0,
    provenance={"framework": "thorax", "deep": {"list": [1, 2.5, None, "ü"]}},
)


def write(out: Path, weights: bytes = bytes(range(256)), card: Card = FULL) -> Artifact:
    with artifact.new_folder(out) as folder:
        (folder / XML).write_text("<net/>\n")
        (folder / BIN).write_bytes(weights)
        artifact.seal(folder, card)
    return artifact.load(out)


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    return write(tmp_path / "model")


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        artifact.load(path)
    assert "\n" not in caught.value.message
    return caught.value


def rewrite(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    card = json.loads((folder / CARD).read_text())
    change(card)
    (folder / CARD).write_text(json.dumps(card))


def test_a_card_comes_back_as_it_was_written(made: Artifact) -> None:
    sealed = {"files", "card_sha256", "size_bytes"}
    assert made.card.model_dump(exclude=sealed) == FULL.model_dump(exclude=sealed)
    assert made.card.size_bytes == 256
    assert set(made.card.files) == {XML, BIN}
    assert artifact.load(made.path) == made


def test_the_graph_stands_for_its_folder(made: Artifact) -> None:
    assert artifact.load(made.xml) == made


def test_a_card_with_nothing_optional_comes_back_too(tmp_path: Path) -> None:
    bare = {"heatmap", "thresholds", "calibration", "accuracy", "auroc_drop"}
    card = Card.model_validate(FULL.model_dump(exclude=bare | {"provenance"}))
    loaded = write(tmp_path / "bare", card=card).card
    assert all(getattr(loaded, name) is None for name in bare)
    assert loaded.provenance == {}


@pytest.mark.parametrize("name", [XML, BIN])
def test_one_bit_anywhere_in_a_file_is_found(made: Artifact, name: str) -> None:
    path = made.path / name
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        for bit in (0, 7):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            error = refusal(made.path)
            assert error.code == "artifact-tampered"
            assert name in error.message
    path.write_bytes(whole)
    assert artifact.load(made.path) == made


@pytest.mark.parametrize("change", [lambda whole: whole[:-1], lambda whole: whole + b"\0"])
@pytest.mark.parametrize("name", [XML, BIN])
def test_a_shorter_or_longer_file_is_found(
    made: Artifact, name: str, change: Callable[[bytes], bytes]
) -> None:
    path = made.path / name
    path.write_bytes(change(path.read_bytes()))
    assert refusal(made.path).code == "artifact-tampered"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("thresholds", {"Mass": 0.26, "Edema": 1 / 3}),
        ("thresholds", None),
        ("calibration", None),
        ("labels", ["Edema", "Mass"]),
        ("input", {"side": 48, "mean": 0.1, "std": 0.31}),
        ("precision", "bf16"),
        ("heatmap", {"stride": 16, "offset": 0.0}),
        ("auroc_drop", 0.001),
        ("macs", 14),
        ("provenance", {}),
        ("intended_use", "A medical device."),
    ],
)
def test_every_value_of_the_card_is_sealed(made: Artifact, key: str, value: object) -> None:
    rewrite(made.path, lambda card: card.update({key: value}))
    error = refusal(made.path)
    assert (error.code, CARD in error.message) == ("artifact-tampered", True)


def test_a_card_of_before_a_field_was_added_is_still_whole(made: Artifact) -> None:
    stored = json.loads((made.path / CARD).read_bytes())
    del stored["activation"]
    plain = json.dumps({**stored, "card_sha256": ""}, sort_keys=True)
    stored["card_sha256"] = hashlib.sha256(plain.encode()).hexdigest()
    (made.path / CARD).write_text(json.dumps(stored), "utf-8")
    assert artifact.load(made.path).card.activation == "sigmoid"


def test_a_digest_replaced_in_the_card_does_not_help(made: Artifact) -> None:
    other = write(made.path.with_name("other"), weights=b"other weights")
    (made.path / BIN).write_bytes(other.bin.read_bytes())
    rewrite(made.path, lambda card: card.update(files=other.card.files))
    assert refusal(made.path).code == "artifact-tampered"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("precision", "fp8"),
        ("parameters", "many"),
        ("surprise", 1),
        ("input", {"side": 8, "mean": 0.5, "std": 0.25}),
        ("input", {"side": 48, "mean": 0.5, "std": 0.0}),
    ],
)
def test_a_card_that_makes_no_sense_is_a_bad_artifact(
    made: Artifact, key: str, value: object
) -> None:
    rewrite(made.path, lambda card: card.update({key: value}))
    assert refusal(made.path).code == "artifact-card"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{" * 100_000])
def test_a_card_that_is_no_card_is_a_bad_artifact(made: Artifact, content: bytes) -> None:
    (made.path / CARD).write_bytes(content)
    assert refusal(made.path).code == "artifact-card"


@pytest.mark.parametrize("name", [XML, BIN, CARD])
def test_a_missing_file_is_named(made: Artifact, name: str) -> None:
    (made.path / name).unlink()
    error = refusal(made.path)
    assert (error.code, name in error.message) == ("artifact-incomplete", True)
    (made.path / name).mkdir()
    assert refusal(made.path).code == "artifact-incomplete"


def test_no_artifact_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nothing")
    assert (error.code, "thorax optimize" in error.message) == ("artifact-missing", True)
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file").code == "artifact-missing"


def test_an_artifact_that_may_not_be_read_is_no_bug(
    made: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(artifact, "sha256", refuse)
    assert refusal(made.path).code == "artifact-unreadable"


def test_the_digest_is_of_graph_weights_precision_and_input_alone(made: Artifact) -> None:
    card = made.card
    for key in ("thresholds", "name", "provenance", "card_sha256"):
        assert card.model_copy(update={key: None}).digest == card.digest
    others = [
        card.model_copy(update={"files": {**card.files, XML: "0"}}),
        card.model_copy(update={"files": {**card.files, BIN: "0"}}),
        card.model_copy(update={"precision": Precision.BF16}),
        card.model_copy(update={"input": InputSpec(49, 0.1, 0.3)}),
        card.model_copy(update={"input": InputSpec(48, 0.2, 0.3)}),
        card.model_copy(update={"input": InputSpec(48, 0.1, 0.2)}),
    ]
    assert len({card.digest, *(other.digest for other in others)}) == 7


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_artifact_is_replaced_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "model"
    write(out, b"old")
    assert write(out, b"new").bin.read_bytes() == b"new"
    assert names(out) == sorted([XML, BIN, CARD])
    assert names(tmp_path) == ["model"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "model"
    old = write(out, b"old")

    def stop(target: Path) -> None:
        with artifact.new_folder(target) as folder:
            (folder / XML).write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop(out)
    assert artifact.load(out) == old
    assert names(tmp_path) == ["model"]
    with pytest.raises(RuntimeError, match="half way"):
        stop(tmp_path / "first")
    assert names(tmp_path) == ["model"]


def test_the_old_artifact_returns_when_the_new_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    old = write(out, b"old")
    rename = Path.rename
    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ModelError) as caught:
        write(out, b"new")
    assert caught.value.code == "artifact-unwritable"
    assert artifact.load(out) == old
    assert names(tmp_path) == ["model"]


def test_a_killed_writer_leaves_the_old_artifact_and_no_new_one(tmp_path: Path) -> None:
    out = tmp_path / "model"
    old = write(out, b"old")
    script = (
        "import os, signal, sys; from pathlib import Path; from thorax import artifact\n"
        "with artifact.new_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'model.bin').write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert artifact.load(out) == old
    (staging,) = tmp_path.glob(".*.partial")
    assert refusal(staging).code == "artifact-incomplete"
    assert write(out, b"new").bin.read_bytes() == b"new"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("what", ["folder", "file", "store"])
def test_what_is_no_artifact_is_never_overwritten(tmp_path: Path, what: str) -> None:
    out = tmp_path / "precious"
    if what == "file":
        out.write_text("thesis")
    else:
        out.mkdir()
        (out / ("store.json" if what == "store" else "thesis")).write_text("thesis")
    with pytest.raises(ModelError) as caught, artifact.new_folder(out):
        pytest.fail("the block must not begin")
    assert caught.value.code == "artifact-exists"
    kept = out if out.is_file() else next(out.iterdir())
    assert kept.read_text() == "thesis"
    assert names(tmp_path) == ["precious"]


def test_an_artifact_that_shares_its_folder_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "model"
    old = write(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ModelError) as caught, artifact.new_folder(out):
        pytest.fail("the block must not begin")
    assert caught.value.code == "artifact-exists"
    assert artifact.load(out) == old
    assert (out / "notes.txt").read_text() == "mine"


def test_an_empty_folder_and_missing_parents_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert write(tmp_path / "empty").path == tmp_path / "empty"
    assert write(tmp_path / "a" / "b" / "c").path.is_dir()


def test_a_place_that_cannot_be_written_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError) as caught:
        write(tmp_path / "file" / "model")
    assert caught.value.code == "artifact-unwritable"


def test_a_digest_is_what_sha256sum_says(made: Artifact) -> None:
    told = subprocess.run(
        ["sha256sum", *(os.fspath(path) for path in (made.xml, made.bin))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told[::2] == [made.card.files[XML], made.card.files[BIN]]


def test_the_graph_alone_says_what_it_is_in_the_model_api_convention(tiny_int8: Artifact) -> None:
    from xml.etree import ElementTree

    info = ElementTree.parse(tiny_int8.xml).getroot().find("rt_info/model_info")
    assert info is not None
    told = {entry.tag: entry.attrib["value"] for entry in info}
    assert told["labels"].split() == list(tiny_int8.card.labels)
    assert told["thorax_precision"] == "int8"
    assert told["resize_type"] == "fit_to_window_letterbox"
    assert told["intended_use"] == INTENDED_USE


def test_a_kill_between_any_two_calls_leaves_a_card_with_its_old_or_new_settings(
    tmp_path: Path,
) -> None:
    script = (
        "from thorax import artifact\n"
        "from thorax.artifact import Tuning, hold, keep_tuning, load\n"
        "found = Tuning(device='CPU', hardware='x', processors=2, streams=2, batch=1,\n"
        "    latency_limit_ms=None, images_per_s=10.0, p99_ms=1.0, simulated=False,\n"
        "    measured='2026-11-30', thorax='0.1.0', openvino='x')\n"
        "made = load(folder / 'model'); count()\n"
        "with hold(made): keep_tuning(load(folder / 'model'), found)\n"
    )
    seen = []
    for place in ended_at_every_call(
        script, tmp_path, lambda place: write(place / "model", b"weights")
    ):
        seen.append(len(artifact.load(place / "model").card.tuned))
        with artifact.hold(artifact.load(place / "model")):
            artifact.seal(place / "model", artifact.load(place / "model").card)
        assert names(place / "model") == sorted((BIN, CARD, XML))
    assert set(seen) == {0, 1}
    assert len(seen) > 6


def test_a_link_that_leads_nowhere_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ModelError) as caught, artifact.new_folder(tmp_path / "loop"):
        pytest.fail("the block must not begin")
    assert caught.value.code == "artifact-exists"
    assert "leads nowhere" in caught.value.message
    assert names(tmp_path) == ["loop"]


def test_a_card_names_one_by_one_only_where_it_is_so(tiny_fp32: Artifact) -> None:
    plain = tiny_fp32.card
    assert "one_by_one" not in plain.model_dump(mode="json")
    limited = plain.model_copy(update={"one_by_one": True})
    assert limited.model_dump(mode="json")["one_by_one"] is True
    assert limited.answers_digest != plain.answers_digest
    assert Card.model_validate(limited.model_dump(mode="json")).one_by_one
