"""`thorax verify` reads everything, names what is damaged, and changes nothing."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmarks.reliability_bits import Kind, kinds, make_cards
from tests.conftest import Thorax
from tests.power.meters import write_log

from thorax.artifact import Artifact
from thorax.cli.verify import verify
from thorax.data.store import Store
from thorax.errors import DataError, ModelError, UsageError
from thorax.files.documents import document_digest


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place < 0 else place] ^= 1
    path.write_bytes(data)


@pytest.fixture
def store(tiny_store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store.path, tmp_path / "store"))


def test_a_sound_store_is_sound_in_every_piece(store: Path) -> None:
    read: list[tuple[int, int]] = []
    found = verify(store, lambda done, total: read.append((done, total)))
    assert read[-1] == (64, 64)
    document = found.document()
    assert (document["command"], document["kind"], document["damaged"]) == ("verify", "store", [])
    names = ["store.json", "index.csv", "boxes.csv", "skipped.csv", "images.u8"]
    assert [(piece["name"], piece["status"]) for piece in document["pieces"]] == [
        (name, "sound") for name in names
    ]
    assert [piece["bytes"] for piece in document["pieces"]] == [
        (store / name).stat().st_size for name in names
    ]
    found.require_sound()


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("store.json", ["store.json", "index.csv", "boxes.csv", "skipped.csv", "images.u8"]),
        ("index.csv", ["index.csv", "images.u8"]),
        ("boxes.csv", ["boxes.csv"]),
        ("skipped.csv", ["skipped.csv"]),
        ("images.u8", ["images.u8"]),
    ],
)
def test_damage_to_a_store_is_named_and_what_it_leaves_unknown(
    store: Path, name: str, damaged: list[str]
) -> None:
    flip(store / name)
    found = verify(store)
    assert [piece.name for piece in found.damaged] == damaged[:1]
    assert [piece.name for piece in found.unknown] == damaged[1:]
    beside = f", {len(damaged) - 1} cannot be compared" if len(damaged) > 1 else ""
    with pytest.raises(DataError, match=rf"1 of 5 pieces is not what was written{beside}; {name}"):
        found.require_sound()


def test_what_may_not_be_read_is_not_called_damaged(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("index.csv"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    damage = next(piece.damage for piece in verify(store).pieces if piece.name == "index.csv")
    assert damage is not None
    assert "cannot be read (Permission denied); see to its rights and its disk" in damage
    assert "delete" not in damage
    assert "remove" not in damage


def test_a_missing_piece_and_a_cut_one_are_damage(store: Path) -> None:
    (store / "boxes.csv").unlink()
    os.truncate(store / "images.u8", 5)
    assert [(piece.name, piece.size_bytes) for piece in verify(store).damaged] == [
        ("boxes.csv", 0),
        ("images.u8", 5),
    ]


def test_a_file_of_a_folder_stands_for_the_folder(store: Path, tiny_fp32: Artifact) -> None:
    assert verify(store / "index.csv").path == store
    assert verify(tiny_fp32.xml).kind == "artifact"


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["import, its images decoded", "import, all but its name"])
def test_an_interrupted_import_is_verified_where_it_lies(name: str, tmp_path: Path) -> None:
    (kind,) = (kind for kind in kinds(tmp_path / "sources") if kind.name == name)
    partial = tmp_path / "store.partial"
    kind.make(partial)
    # The lines of the journal that a kill cut off are no damage.
    if "decoded" in name:
        with (partial / "progress.jsonl").open("ab") as journal:
            journal.write(b'{"number": 3')
    before = snapshot(tmp_path)
    found = verify(tmp_path / "store")
    assert (found.kind, found.path, found.damaged) == ("import", partial, ())
    flip(partial / "images.u8", 5)
    (piece,) = verify(partial).damaged
    assert piece.name == "images.u8"
    assert piece.damage is not None
    assert "import" in piece.damage
    flip(partial / "images.u8", 5)
    assert {name: content for name, (content, _) in snapshot(tmp_path).items()} == {
        name: content for name, (content, _) in before.items()
    }


@pytest.mark.parametrize("name", ["card.json", "model.xml", "model.bin"])
def test_damage_to_an_artifact_is_that_of_a_model(
    tiny_fp32: Artifact, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(tiny_fp32.path, tmp_path / "artifact"))
    found = verify(folder)
    assert (found.kind, len(found.pieces), found.damaged) == ("artifact", 3, ())
    flip(folder / name)
    assert verify(folder).damaged[0].name == name
    assert len(verify(folder).damaged) == 1
    assert len(verify(folder).unknown) == (2 if name == "card.json" else 0)
    with pytest.raises(ModelError, match=rf"verify-damaged.*{name}"):
        verify(folder).require_sound()
    (folder / name).unlink()
    if name != "card.json":
        assert [piece.name for piece in verify(folder).damaged] == [name]


def test_a_run_is_verified_with_its_checkpoints(tiny_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    found = verify(folder)
    assert (found.kind, found.damaged) == ("run", ())
    weights = next(piece.name for piece in found.pieces if piece.name.endswith("model.safetensors"))
    flip(folder / weights)
    with pytest.raises(ModelError, match=rf"verify-damaged.*{weights}"):
        verify(folder).require_sound()
    assert verify((folder / weights).parent).kind == "run"


def make_benchmark(folder: Path) -> Path:
    path = folder / "baseline.json"
    document = {"command": "benchmark", "images_per_s": 12.5}
    path.write_text(json.dumps({**document, "sha256": document_digest(document)}))
    return path


def make_document(folder: Path) -> Path:
    document: dict[str, object] = {"command": "validate", "mean_auroc": 0.8}
    path = folder / "result.json"
    path.write_text(json.dumps({**document, "sha256": document_digest(document)}))
    return path


def make_state(folder: Path) -> Path:
    make_cards(folder / "state")
    return folder / "state" / "cards.json"


def make_log(folder: Path) -> Path:
    path = folder / "watts.jsonl"
    write_log(path, [(0.0, 100.5), (1.0, 101.25), (2.5, 99.0)])
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_benchmark, "benchmark"),
        (make_document, "document"),
        (make_state, "fpga-state"),
        (make_log, "power-log"),
    ],
)
def test_any_changed_bit_of_a_document_is_damage(
    make: Callable[[Path], Path], kind: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    found = verify(path)
    assert (found.kind, [piece.name for piece in found.pieces]) == (kind, [path.name])
    found.require_sound()
    content = path.read_bytes()
    rng = random.Random(kind)
    for _ in range(60):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            verify(path).require_sound()
        except (DataError, UsageError):
            continue
        else:
            assert json.loads(changed) == json.loads(content), "only blanks may change unseen"


@pytest.mark.parametrize("text", ["{", "{" + "[" * 150_000, '{"a": 1e999}', '{"sha256": ""}'])
def test_a_document_that_cannot_be_what_was_written_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"verify-damaged.*result\.json"):
        verify(path).require_sound()


def test_of_a_document_without_a_digest_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"command": "validate"}')
    with pytest.raises(UsageError, match=r"verify-undigested.*nothing can be said"):
        verify(path)


@pytest.mark.parametrize("known", [{"x": "y"}, [1, 2], None, {"model.xml": 3}])
def test_a_card_that_knows_no_model_makes_no_artifact_sound(tmp_path: Path, known: object) -> None:
    card = {"files": known, "card_sha256": ""}
    card["card_sha256"] = document_digest(card, "card_sha256")
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="verify-damaged"):
        verify(tmp_path).require_sound()


def test_a_run_of_pipes_and_holes_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "begun.json").write_text("{}")
    (tmp_path / "tensorboard").mkdir()
    os.mkfifo(tmp_path / "tensorboard" / "events.out.tfevents.1")
    with (tmp_path / "train.jsonl").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match="verify-damaged"):
        verify(tmp_path).require_sound()


def test_what_is_nothing_of_ours_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("dear")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for place in ("text.txt", "empty", "pipe", "loop", "absent", "text.txt/below"):
        with pytest.raises(UsageError, match="verify-unknown"):
            verify(tmp_path / place)
    with pytest.raises(UsageError, match="verify-unknown"):
        verify(Path("/dev/zero"))


def test_the_command_answers_in_json_and_by_its_status(
    thorax: Thorax, store: Path, tiny_fp32: Artifact, tmp_path: Path
) -> None:
    done = thorax("verify", store, "--json")
    assert (done.returncode, json.loads(done.stdout)["damaged"]) == (0, [])
    flip(store / "images.u8", 0)
    done = thorax("verify", store, "--json")
    assert (done.returncode, json.loads(done.stdout)["damaged"]) == (3, ["images.u8"])
    assert done.stderr.splitlines()[-1].startswith("thorax: verify-damaged: ")
    table = thorax("verify", store)
    assert table.returncode == 3
    assert "phantom_11_000000.png" in " ".join(table.stdout.split())
    assert "Traceback" not in table.stderr
    check = thorax("data", "check", store)
    assert check.returncode == 3
    assert "store-damaged" in check.stderr
    folder = Path(shutil.copytree(tiny_fp32.path, tmp_path / "artifact"))
    flip(folder / "model.bin")
    assert thorax("verify", folder).returncode == 4
    assert thorax("verify", tmp_path / "absent").returncode == 2


def test_a_machine_without_torch_verifies_all_of_it(
    store: Path, tiny_run: Path, tiny_fp32: Artifact
) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'safetensors', 'nncf', 'matplotlib', 'onnx', 'ray'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from thorax.cli.verify import verify\n"
        "for path in sys.argv[1:]: verify(Path(path)).require_sound()\n"
    )
    paths = [str(path) for path in (store, tiny_run, tiny_fp32.path)]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_verify_agrees_with_every_reader_on_what_is_damaged(tmp_path: Path) -> None:
    """Whatever a reader refuses, verify refuses; what verify calls sound, a reader takes."""
    wanted = {"store", "artifact", "state of simulated cards"}
    for kind in (kind for kind in kinds(tmp_path / "sources") if kind.name in wanted):
        agree(kind, tmp_path / kind.name)


def agree(kind: Kind, scratch: Path) -> None:
    original, copy = scratch / "original", scratch / "copy"
    scratch.mkdir()
    kind.make(original)
    files = [path.name for path in sorted(original.iterdir())]
    rng = np.random.default_rng(5)
    for number in range(40):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy)
        name = files[number % len(files)]
        flip(copy / name, int(rng.integers((copy / name).stat().st_size)))
        try:
            verify(copy if kind.name != "state of simulated cards" else copy / name).require_sound()
            sound = True
        except (DataError, ModelError, UsageError):
            sound = False
        try:
            kind.use(copy)
            used = True
        except (DataError, ModelError):
            used = False
        assert sound == used, (kind.name, name)
