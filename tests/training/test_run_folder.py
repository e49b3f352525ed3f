"""The folder of a run: full disks, what cannot be deleted, changed bits, and a second writer."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from tests.training.test_fit import digests, variant

from thorax.data.store import Store
from thorax.errors import ModelError, ThoraxError, UsageError
from thorax.files.atomic import locked
from thorax.results.training import LOG, RECIPE
from thorax.training.card import (
    BEGUN,
    CARD,
    OPTIMIZER,
    WEIGHTS,
    newest,
    read_begun,
    read_card,
)
from thorax.training.fit import fit
from thorax.training.loop import Callbacks
from thorax.training.preemption import PreemptedError, Stop
from thorax.training.verify import damaged_lines, verify


def refused(store: Store, out: Path, *, resume: bool = False, **training: object) -> ThoraxError:
    with pytest.raises(ThoraxError) as caught:
        fit(variant("best", **training), store, out, resume=resume)
    assert "\n" not in caught.value.message
    return caught.value


def hidden(run: Path) -> list[str]:
    return [path.name for path in run.rglob(".*")]


def damage(run: Path) -> dict[str, str]:
    return {piece.name: piece.damage for piece in verify(run) if piece.damage}


@pytest.mark.parametrize("which", [1, 2, 5])
@pytest.mark.parametrize(
    "error",
    [
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
        OSError(28, "No space left on device"),
    ],
    ids=["library", "system"],
)
def test_a_full_disk_is_said_leaves_nothing_half_written_and_the_run_goes_on_later(
    tiny: None,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: int,
    error: Exception,
) -> None:
    straight = fit(variant("best"), store, tmp_path / "straight")
    real, calls = safetensors.torch.save_file, 0

    def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == which:
            path.write_bytes(b"half")
            raise error
        real(tensors, path)

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", save)
        said = refused(store, out)
    assert (said.code, said.exit_code) == ("checkpoint-unwritable", 4)
    assert "No space left on device" in said.message
    assert "free space" in said.message
    assert hidden(out) == []
    assert digests(fit(variant("best"), store, out, resume=True)) == digests(straight)


@pytest.mark.slow
def test_a_file_that_may_not_grow_ends_the_command_with_status_4(
    tiny_store: Store, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[network]\ntopology = "resnet18"\nwidth = 0.125\n[training]\nepochs = 1\nbatch = 22\n'
        'threads = 1\nworkers = 1\n[optimizer]\nkind = "sgd"\n'
        '[schedule]\nkind = "cosine"\npeak = 0.01\n'
    )
    words = ["train", recipe, "--data", tiny_store.path, "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "thorax", *map(str, words)]
    limited = ["bash", "-c", 'ulimit -f 200; exec "$@"', "bash", *command]
    done = subprocess.run(limited, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert "thorax: checkpoint-unwritable: " in done.stderr
    assert "File too large" in done.stderr
    assert hidden(tmp_path / "run") == []
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_old_checkpoint_that_cannot_be_deleted_is_said_once_and_training_goes_on(
    tiny: None, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = fit(variant("lars"), store, tmp_path / "straight")
    real = shutil.rmtree

    def rmtree(path: Path, ignore_errors: bool = False) -> None:
        if path.name == "epoch-0001":
            raise PermissionError(1, "Operation not permitted", str(path / WEIGHTS))
        real(path, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    told: list[str] = []
    out = tmp_path / "run"
    done = fit(variant("lars"), store, out, callbacks=Callbacks(on_message=told.append))
    assert digests(done) == digests(straight)
    [line] = [line for line in told if "cannot be deleted" in line]
    assert "epoch-0001" in line
    assert f"Operation not permitted: {WEIGHTS}" in line
    assert (out / "epoch-0001").is_dir()
    # Without its card it is not taken for a checkpoint again.
    assert not (out / "epoch-0001" / CARD).exists()
    monkeypatch.undo()


def test_what_a_killed_process_left_is_swept(tiny: None, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(variant("best"), store, out, callbacks=Callbacks(on_progress=_interrupt))
    left = out / ".epoch-0001-step-00000002.4194304.0123456789abcdef.partial"
    left.mkdir()
    (left / WEIGHTS).write_bytes(b"half")
    fit(variant("best"), store, out, resume=True)
    assert hidden(out) == []


def _interrupt(progress: object) -> None:
    raise KeyboardInterrupt


def test_a_folder_has_one_writer(tiny: None, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = fit(variant("best"), store, out)
    with locked(out):
        for resume in (False, True):
            error = refused(store, out, resume=resume)
            assert error.code == "run-locked"
            assert "process " in error.message
    assert fit(variant("best"), store, out, resume=True) == done
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with locked(fresh):
        assert refused(store, fresh).code == "run-locked"
    assert list(fresh.iterdir()) == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was asked to stop, and resumed to its end by the command's last word."""
    from tests.tiny_training import build_tiny, make_store

    from thorax.files.documents import document_digest
    from thorax.training import networks

    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(networks, "build", build_tiny)
        stop = Stop()
        stop.ask("a test")
        with pytest.raises(PreemptedError):
            fit(variant("averaged"), make_store(folder / "store"), folder / "run", stop=stop)
        done = fit(variant("averaged"), make_store(folder / "store"), folder / "run", resume=True)
    document = done.document()
    text = json.dumps({**document, "sha256": document_digest(document)})
    (folder / "run/train.json").write_text(text)
    return folder / "run"


def test_a_run_is_sound_in_every_piece(finished: Path) -> None:
    pieces = list(verify(finished))
    assert [piece.damage for piece in pieces] == [None] * len(pieces)
    every = {
        path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()
    }
    assert {piece.name for piece in pieces} == every
    assert all(piece.size_bytes == (finished / piece.name).stat().st_size for piece in pieces)
    newest_ = newest(finished)
    assert newest_ is not None
    assert [piece.name for piece in verify(newest_)] == [CARD, WEIGHTS, OPTIMIZER]


def flipped(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


FLIPS = 40


@pytest.mark.parametrize(
    "name",
    [
        BEGUN,
        RECIPE,
        LOG,
        "train.json",
        "tensorboard/events.out.tfevents.000000",
        *(f"epoch-0003/{name}" for name in (CARD, WEIGHTS, OPTIMIZER)),
    ],
)
def test_one_changed_bit_is_found_and_its_piece_named(
    finished: Path, tmp_path: Path, name: str
) -> None:
    chance = random.Random(name)
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = (run / name).read_bytes()
    for _ in range(FLIPS):
        flipped(run / name, chance)
        assert name in damage(run) or _means_the_same(before, (run / name).read_bytes())
        (run / name).write_bytes(before)
    assert damage(run) == {}


def _means_the_same(before: bytes, after: bytes) -> bool:
    """Return whether JSON says the same with a changed bit, as 1e-05 and 1E-05 do."""
    try:
        return bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


@pytest.mark.parametrize(("name", "read"), [(CARD, read_card), (BEGUN, read_begun)])
def test_no_changed_bit_of_the_facts_is_used(
    finished: Path, tmp_path: Path, name: str, read: Callable[[Path], object]
) -> None:
    chance = random.Random(1)
    source = finished / ("epoch-0003" if name == CARD else ".")
    shutil.copy(source / name, tmp_path / name)
    sound, before = read(tmp_path), (tmp_path / name).read_bytes()
    errors: list[ModelError] = []
    for _ in range(400):
        flipped(tmp_path / name, chance)
        try:
            assert read(tmp_path) == sound
        except ModelError as error:
            errors.append(error)
        (tmp_path / name).write_bytes(before)
    assert len(errors) > 380
    assert all(name in error.message for error in errors)
    assert {error.code for error in errors} <= {"checkpoint-damaged", "checkpoint-unreadable"}


def test_a_result_that_is_gone_is_missed(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    kept = read_card(run / "epoch-0003").kept
    shutil.rmtree(run / kept)
    assert kept in damage(run) or newest(run) is None or kept == "epoch-0003"
    (run / BEGUN).unlink()
    assert BEGUN in damage(run)


def test_a_log_that_a_kill_cut_off_is_not_damaged(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    events = run / "tensorboard/events.out.tfevents.000000"
    for path in (run / LOG, events):
        path.write_bytes(path.read_bytes()[:-5])
    assert damage(run) == {}
    assert damaged_lines(run / LOG) == []


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="checkpoint-missing"):
        list(verify(tmp_path))


def test_a_changed_recipe_is_repaired_and_a_changed_log_is_told(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = fit(variant("best"), store, out)
    recipe = (out / RECIPE).read_text()
    (out / RECIPE).write_text(recipe.replace("seed = 0", "seed = 1"))
    log = (out / LOG).read_text()
    (out / LOG).write_text(log.replace('"loss"', '"lose"', 1))
    told: list[str] = []
    assert (
        fit(variant("best"), store, out, resume=True, callbacks=Callbacks(on_message=told.append))
        == done
    )
    assert (out / RECIPE).read_text() == recipe
    assert any("recipe.toml was not what was written" in line for line in told)
    assert any("train.jsonl: line " in line for line in told)


def test_a_run_of_an_earlier_format_is_refused_with_the_truth(
    tiny: None, store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    fit(variant("best"), store, out)
    for path in (out / BEGUN, out / "epoch-0003" / CARD):
        document = json.loads(path.read_text())
        del document["sha256"]
        path.write_text(json.dumps({**document, "format": 1}))
    error = refused(store, out, resume=True)
    assert error.code == "checkpoint-unreadable"
    assert "it has format 1, this Thorax reads 2" in error.message
    with pytest.raises(ModelError, match="it has format 1"):
        read_card(out / "epoch-0003")


@pytest.fixture
def bf16_here(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Be a processor with BF16, until the answer is changed."""
    answer = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: answer)
    return answer


def test_a_run_in_the_precision_of_its_processor_goes_on_elsewhere_as_is_said(
    tiny: None, store: Store, tmp_path: Path, bf16_here: dict[str, bool]
) -> None:
    straight = fit(variant("best", precision="auto"), store, tmp_path / "straight")
    stop = Stop()
    stop.ask("a test")
    out = tmp_path / "run"
    with pytest.raises(PreemptedError):
        fit(variant("best", precision="auto"), store, out, stop=stop)
    assert fit(variant("best", precision="bf16"), store, tmp_path / "named") is not None
    bf16_here["avx512_bf16"] = False
    error = refused(store, out, resume=True, precision="auto")
    assert (type(error), error.code) == (UsageError, "resume-recipe")
    assert "add --set training.precision=bf16 (emulated here" in error.message
    assert refused(store, out, resume=True, precision="fp32").code == "resume-recipe"
    resumed = fit(variant("best", precision="bf16"), store, out, resume=True)
    assert digests(resumed) == digests(straight)


def test_before_the_first_checkpoint_too_the_precision_is_known(
    tiny: None, store: Store, tmp_path: Path, bf16_here: dict[str, bool]
) -> None:
    bf16_here["avx512_bf16"] = False
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(
            variant("best", precision="auto"),
            store,
            out,
            callbacks=Callbacks(on_progress=_interrupt),
        )
    bf16_here["avx512_bf16"] = True
    error = refused(store, out, resume=True, precision="auto")
    assert "add --set training.precision=fp32, or" in error.message
    fit(variant("best", precision="fp32"), store, out, resume=True)
