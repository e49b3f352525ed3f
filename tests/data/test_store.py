"""A store holds what the sources hold, survives being killed, and refuses to be damaged."""

import csv
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from thorax.data import nih
from thorax.data.check import check
from thorax.data.folder import rows as folder_rows
from thorax.data.loader import BatchOrder, batches
from thorax.data.samples import Box, Sample, Skipped
from thorax.data.split import by_patient
from thorax.data.store import Store, open_store, verify_images, write
from thorax.data.store_set import open_stores
from thorax.errors import DataError, UsageError
from thorax.files.atomic import locked
from thorax.files.documents import document_digest
from thorax.images import radiograph
from thorax.images.preprocess import InputSpec, prepare
from thorax.labels import NIH14, LabelSet
from thorax.phantoms import dataset
from thorax.phantoms.phantom import draw

Image = npt.NDArray[np.uint8]
Noise = Callable[..., list[Image]]
MakeRows = Callable[..., list[Sample]]
MakeStore = Callable[..., Store]

SPEC = InputSpec(32)


def content(store: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(store.iterdir())
    }


def test_a_store_holds_what_prepare_makes_of_each_file(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows([*noise(3, side=40), *(image[:20] for image in noise(3, side=50))])
    summary = write(rows, tmp_path / "store", SPEC, NIH14, source="test")
    store = open_store(tmp_path / "store")
    assert (summary.images, summary.patients, summary.skipped) == (6, 6, ())
    assert (len(store), store.side, store.source, store.label_set) == (6, 32, "test", NIH14)
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(
            store.images[index], prepare(radiograph.read(row.path), SPEC)[0]
        )
        np.testing.assert_array_equal(store.labels[index], row.labels)
        assert store.digests[index] == hashlib.sha256(row.path.read_bytes()).hexdigest()
    assert store.names == tuple(row.image for row in rows)
    assert store.patients == tuple(row.patient for row in rows)
    assert store.views == tuple(row.view for row in rows)
    assert store.splits == tuple(by_patient(rows))
    assert not (tmp_path / "store.partial").exists()


def test_a_store_cannot_be_written_to(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(2))
    with pytest.raises(ValueError, match="read-only"):
        store.images[0][0] = 0
    whole = np.array(store.images)
    whole[0] += 1
    assert (store.images[0] == whole[0] - 1).all()
    with pytest.raises(ValueError, match="is a copy"):
        np.array(store.images, copy=False)
    with pytest.raises(ValueError, match="read-only"):
        store.labels[0] = 0


def test_select_gives_the_rows_of_a_split(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(4), splits=("train", "test", "train", "test"))
    assert store.select("train").tolist() == [0, 2]
    assert store.select("test").tolist() == [1, 3]
    assert store.select("val").dtype == np.int64
    assert store.select("val").tolist() == []
    with pytest.raises(UsageError, match="split-name"):
        store.select("training")


def test_a_box_still_frames_its_lesion_in_the_prepared_square(
    make_rows: MakeRows, tmp_path: Path
) -> None:
    image = np.zeros((200, 100), np.uint8)
    image[40:80, 20:60] = 255
    own = Box("Mass", 20, 40, 40, 40)
    framed = Box("Mass", 204.8, 204.8, 409.6, 204.8)
    rows = make_rows([image, image])
    rows = [
        replace(rows[0], boxes=(own,)),
        replace(rows[1], boxes=(framed,), box_frame=(1024, 1024)),
    ]
    write(rows, tmp_path / "store", InputSpec(100), NIH14)
    store = open_store(tmp_path / "store")
    for index in range(2):
        (box,) = store.boxes[index]
        bright = np.argwhere(store.images[index] > 127)
        top, left = bright.min(0)
        bottom, right = bright.max(0) + 1
        edges = (box.x, box.y, box.x + box.width, box.y + box.height)
        assert edges == pytest.approx((left, top, right, bottom), abs=0.01)


def test_bad_files_are_listed_and_take_no_place(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    good = noise(8)
    rows = make_rows([b"", good[1], b"\x89PNG\r\n\x1a\n junk", *good[3:7], b"<html>"])
    before = Skipped("other.png", "label-missing", "no row")
    summary = write(rows, tmp_path / "store", SPEC, NIH14, skipped=[before])
    store = open_store(tmp_path / "store")
    assert [skip.image for skip in summary.skipped] == [
        "other.png",
        "0000.png",
        "0002.png",
        "0007.png",
    ]
    assert all(skip.code and skip.message for skip in summary.skipped)
    assert sorted(store.names) == [f"{number:04d}.png" for number in (1, 3, 4, 5, 6)]
    for index, name in enumerate(store.names):
        np.testing.assert_array_equal(store.images[index], good[int(name[:4])])
        np.testing.assert_array_equal(store.labels[index], rows[int(name[:4])].labels)
    verify_images(store)


def test_nothing_readable_makes_no_store(make_rows: MakeRows, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"store-empty.*none of 2 images.*0000\.png"):
        write(make_rows([b"", b"x"]), tmp_path / "store", SPEC, NIH14)
    assert not (tmp_path / "store").exists()
    with pytest.raises(DataError, match="store-empty"):
        write([], tmp_path / "none", SPEC, NIH14)


def test_progress_counts_every_file_once(noise: Noise, make_rows: MakeRows, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    rows = make_rows([*noise(5), b"bad"])
    write(
        rows,
        tmp_path / "s",
        SPEC,
        NIH14,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 6) for done in range(1, 7)]


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from thorax.data import store
from thorax.labels import NIH14
from thorax.images.preprocess import InputSpec

def stop(done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

rows = pickle.loads(Path(sys.argv[1]).read_bytes())
store.write(rows, Path(sys.argv[2]), InputSpec(32), NIH14, on_progress=stop)
"""


def test_an_import_killed_anywhere_goes_on_to_the_same_bytes(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    images: list[Image | bytes] = list(noise(700))
    for bad in (3, 299, 650):
        images[bad] = b"not an image"
    rows = make_rows(images, patients=[f"p{number // 3}" for number in range(700)])
    write(rows, tmp_path / "whole", SPEC, NIH14)
    (tmp_path / "rows").write_bytes(pickle.dumps(rows))
    out = tmp_path / "killed"
    for when in (10, 300, 600):
        call = [sys.executable, "-c", KILLED, str(tmp_path / "rows"), str(out), str(when)]
        died = subprocess.run(call, check=False, capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert not out.exists()
        with pytest.raises(DataError, match=r"store-unfinished.*run the same import again"):
            open_store(out)
    first: list[int] = []
    write(rows, out, SPEC, NIH14, on_progress=lambda done, total: first.append(done))
    assert first[0] > 256, "the images before the kill were decoded again"
    told, expected = content(out), content(tmp_path / "whole")
    assert told == expected


def test_a_kill_during_the_last_steps_is_recovered_from(
    noise: Noise, make_rows: MakeRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows([noise(6)[0], b"bad", *noise(6)[2:]])
    write(rows, tmp_path / "whole", SPEC, NIH14)

    class KilledError(Exception):
        """Stands for a process that ends here."""

    def killed(*_: object) -> None:
        raise KilledError

    out = tmp_path / "killed"
    for step in ("_write_tables", "write_facts", "_publish"):
        with monkeypatch.context() as patch:
            patch.setattr(f"thorax.data.store.{step}", killed)
            with pytest.raises(KilledError):
                write(rows, out, SPEC, NIH14)
        assert not out.exists()
    write(rows, out, SPEC, NIH14)
    assert content(out) == content(tmp_path / "whole")


def test_a_file_repaired_after_an_interruption_is_taken(
    noise: Noise, make_rows: MakeRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = noise(4)
    rows = make_rows([images[0], b"bad", *images[2:]])
    with monkeypatch.context() as patch:
        patch.setattr("thorax.data.store.write_facts", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(rows, tmp_path / "store", SPEC, NIH14)
    make_rows(images)
    assert write(rows, tmp_path / "store", SPEC, NIH14).skipped == ()
    store = open_store(tmp_path / "store")
    np.testing.assert_array_equal(store.images, images)
    verify_images(store)


def test_the_same_import_again_only_answers(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows([*noise(3), b"bad"])
    first = write(rows, tmp_path / "store", SPEC, NIH14)
    before = (tmp_path / "store" / "images.u8").stat().st_mtime_ns
    assert write(rows, tmp_path / "store", SPEC, NIH14) == first
    assert (tmp_path / "store" / "images.u8").stat().st_mtime_ns == before


def test_another_import_into_the_same_place_is_refused(
    noise: Noise, make_rows: MakeRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(noise(3))
    with monkeypatch.context() as patch:
        patch.setattr("thorax.data.store._publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(rows, tmp_path / "store", SPEC, NIH14)
    others = [replace(rows[0], patient="another"), *rows[1:]]
    for changed, spec in ((rows, InputSpec(16)), (rows[:2], SPEC), (others, SPEC)):
        with pytest.raises(DataError, match="store-other-import"):
            write(changed, tmp_path / "store", spec, NIH14)
    write(rows, tmp_path / "store", SPEC, NIH14)
    for changed, spec in ((rows, InputSpec(16)), (rows[:2], SPEC), (others, SPEC)):
        with pytest.raises(DataError, match="store-exists"):
            write(changed, tmp_path / "store", spec, NIH14)


def test_a_folder_that_is_not_ours_is_left_alone(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "thesis.txt").write_text("dear")
    with pytest.raises(DataError, match="store-other-import"):
        write(make_rows(noise(1)), tmp_path / "store", SPEC, NIH14)
    assert (tmp_path / "store.partial" / "thesis.txt").read_text() == "dear"


def test_two_imports_at_once_are_refused(noise: Noise, make_rows: MakeRows, tmp_path: Path) -> None:
    rows, refused = make_rows(noise(2)), []

    def again(done: int, total: int) -> None:
        with pytest.raises(DataError, match="store-locked"):
            write(rows, tmp_path / "store", SPEC, NIH14)
        refused.append(done)

    write(rows, tmp_path / "store", SPEC, NIH14, on_progress=again)
    assert refused == [1, 2]


def test_the_lock_of_a_killed_import_holds_nobody_up(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(noise(4))
    (tmp_path / "rows").write_bytes(pickle.dumps(rows))
    out = tmp_path / "store"
    call = [sys.executable, "-c", KILLED, str(tmp_path / "rows"), str(out), "2"]
    assert subprocess.run(call, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert (tmp_path / ".store.lock").exists()
    write(rows, out, SPEC, NIH14)
    assert sorted(path.name for path in out.iterdir()) == [
        *("boxes.csv", "images.u8", "index.csv", "skipped.csv", "store.json")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "rows", "store"]


def test_who_holds_a_store_is_said(noise: Noise, make_rows: MakeRows, tmp_path: Path) -> None:
    rows = make_rows(noise(1))
    with (
        locked(tmp_path / "store"),
        pytest.raises(DataError, match=rf"store-locked.*process {os.getpid()} on "),
    ):
        write(rows, tmp_path / "store", SPEC, NIH14)


def test_what_a_stranger_put_beside_an_import_is_not_deleted(
    noise: Noise, make_rows: MakeRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(noise(2))
    with monkeypatch.context() as patch:
        patch.setattr("thorax.data.store._publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(rows, tmp_path / "store", SPEC, NIH14)
    (tmp_path / "store.partial" / "thesis.txt").write_text("dear")
    write(rows, tmp_path / "store", SPEC, NIH14)
    assert (tmp_path / "store" / "thesis.txt").read_text() == "dear"


def test_a_place_that_is_no_store_is_said_to_be_none(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"store-exists.*no store; choose another"):
        write(make_rows(noise(1)), tmp_path, SPEC, NIH14)


def test_names_that_would_end_a_line_come_back(noise: Noise, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = LabelSet("odd", ("Mass/Tumour", "a,b", 'say "x"', "line\rend", "new\nline"))
    names = ["a\rb.png", "c\nd.png", 'e"f.png', "g,h.png", "\x1b[31mred.png", "'; --.png"]
    rows = []
    for name, image in zip(names, noise(len(names)), strict=True):
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        boxes = (Box("line\rend", 1.0, 2.0, 3.0, 4.0),)
        labels = np.array([1, 0, -1, 1, 0], np.int8)
        rows.append(Sample(name, folder / name, f"p\r{name}", labels, view="PA", boxes=boxes))
    bad = Sample("bad\r.png", folder / "bad\r.png", "p", np.zeros(5, np.int8))
    left_out = Skipped("x" * 200_000, "image-missing", "it is\rnot there " + "x" * 200_000)
    summary = write([*rows, bad], tmp_path / "store", SPEC, odd, skipped=[left_out])
    store = open_store(tmp_path / "store")
    assert list(store.names) == names
    assert list(store.patients) == [row.patient for row in rows]
    assert store.label_set == odd
    assert [boxes[0].finding for boxes in store.boxes] == ["line\rend"] * len(names)
    assert [skip.image[:5] for skip in summary.skipped] == ["xxxxx", "bad\r."]
    assert write([*rows, bad], tmp_path / "store", SPEC, odd, skipped=[left_out]) == summary


def test_rows_that_contradict_each_other_are_refused(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    rows = make_rows(noise(2))
    with pytest.raises(DataError, match="image-twice"):
        write([rows[0], rows[0]], tmp_path / "store", SPEC, NIH14)
    with pytest.raises(DataError, match="labels-width"):
        write(rows, tmp_path / "store", SPEC, LabelSet("one", ("Mass",)))


def test_a_disk_that_refuses_is_a_data_error(
    noise: Noise, make_rows: MakeRows, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="store-write"):
        write(make_rows(noise(1)), tmp_path / "file" / "store", SPEC, NIH14)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.u8", lambda data: data[:-1]),
        ("images.u8", lambda data: data + b"\0"),
        ("index.csv", lambda data: data.replace(b",train,", b",test,", 1)),
        ("boxes.csv", lambda data: data + b"0000.png,Mass,1,2,3,4\n"),
        ("skipped.csv", lambda data: b""),
        ("store.json", lambda data: data[: len(data) // 2]),
        ("store.json", lambda data: b"[]"),
        ("store.json", lambda data: json.dumps({**json.loads(data), "count": 7}).encode()),
        ("store.json", lambda data: json.dumps({**json.loads(data), "side": None}).encode()),
        ("store.json", lambda data: b'{"format": 2}'),
    ],
)
def test_a_damaged_store_is_refused(
    noise: Noise, make_store: MakeStore, name: str, damage: Callable[[bytes], bytes]
) -> None:
    store = make_store(noise(3), splits=("train",) * 3)
    (store.path / name).write_bytes(damage((store.path / name).read_bytes()))
    with pytest.raises(DataError, match="store-damaged"):
        open_store(store.path)


@pytest.mark.parametrize("name", ["images.u8", "index.csv", "boxes.csv", "skipped.csv"])
def test_a_store_with_a_missing_part_is_refused(
    noise: Noise, make_store: MakeStore, name: str
) -> None:
    store = make_store(noise(2))
    (store.path / name).unlink()
    with pytest.raises(DataError, match="store-damaged"):
        open_store(store.path)


def test_one_changed_pixel_is_found(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(3))
    data = bytearray((store.path / "images.u8").read_bytes())
    data[1500] ^= 1
    (store.path / "images.u8").write_bytes(data)
    with pytest.raises(DataError, match="store-damaged"):
        verify_images(open_store(store.path))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_changed_pixel_reaches_no_reader(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(6), splits=("train",) * 6)
    flip(store.path / "images.u8", 4 * 32 * 32 + 7)
    message = r"store-damaged.*image '0004\.png'.*import again"
    for read in (
        lambda: store.images[4],
        lambda: store.images[np.array([0, 4])],
        lambda: store.images[2:],
        lambda: list(store.images),
        lambda: np.asarray(store.images),
        lambda: list(batches(store, store.select("train"), BatchOrder(batch=2))),
        lambda: check(store),
        lambda: verify_images(open_stores([store.path])),
    ):
        with pytest.raises(DataError, match=message):
            read()
    assert [int(image[0, 0]) for image in store.images[np.array([3, 5])]] == [
        int(noise(6)[number][0, 0]) for number in (3, 5)
    ]


def test_images_are_cut_as_an_array_is(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(4))
    whole = np.stack(noise(4))
    for key in (
        np.s_[2, :3], np.s_[1:3, None], np.s_[:, :5, 2:4], np.s_[3, 1, 2], np.s_[:2, None, None],
        np.s_[1:, ..., 0], np.s_[(1,)],
    ):  # fmt: skip
        np.testing.assert_array_equal(store.images[key], whole[key])


def test_a_change_after_the_first_reading_is_found_too(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(2))
    assert list(store.images)
    flip(store.path / "images.u8", 0)
    with pytest.raises(DataError, match=r"store-damaged.*'0000\.png'"):
        store.images[0]


def test_every_damaged_image_is_named_and_many_are_counted(
    noise: Noise, make_store: MakeStore
) -> None:
    store = make_store(noise(12))
    for row in (1, 3):
        flip(store.path / "images.u8", row * 32 * 32)
    with pytest.raises(DataError, match=r"2 images of .*: '0001\.png', '0003\.png'; delete"):
        verify_images(store)
    for row in range(4, 12):
        flip(store.path / "images.u8", row * 32 * 32)
    with pytest.raises(DataError, match=r"10 images of .*'0006\.png' and 5 more"):
        verify_images(store)


TRUNCATED = """
import os, sys
from pathlib import Path
from thorax.data.store import open_store

store = open_store(Path(sys.argv[1]))
store.images[5]
os.truncate(store.path / "images.u8", 100)
store.images[5]
"""


def test_a_store_cut_short_in_use_is_an_error_and_no_signal(
    noise: Noise, make_store: MakeStore
) -> None:
    store = make_store(noise(6, side=64))
    call = [sys.executable, "-c", TRUNCATED, str(store.path)]
    ended = subprocess.run(call, check=False, capture_output=True, text=True)
    assert ended.returncode == 1, ended
    assert "store-damaged" in ended.stderr.splitlines()[-1]
    assert "'0005.png', 5 of images.u8, is cut off" in ended.stderr.splitlines()[-1]


def test_a_store_that_is_deleted_in_use_is_read_to_its_end(
    noise: Noise, make_store: MakeStore
) -> None:
    store = make_store(noise(3))
    shutil.rmtree(store.path)
    np.testing.assert_array_equal(np.asarray(store.images), noise(3))


def test_what_a_reader_gets_is_its_own(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(3))
    several = store.images[np.array([0, 2])]
    several[:] = 0
    np.testing.assert_array_equal(np.asarray(store.images), noise(3))
    with pytest.raises(IndexError, match="row 3 of 3"):
        store.images[3]
    with pytest.raises(IndexError):
        store.images[np.array([0, 3])]


def test_an_image_file_that_is_a_pipe_is_not_waited_for(
    noise: Noise, make_store: MakeStore
) -> None:
    store = make_store(noise(2))
    for name in ("images.u8", "index.csv"):
        (store.path / name).unlink()
        os.mkfifo(store.path / name)
        with pytest.raises(DataError, match=rf"store-damaged.*{name}"):
            open_store(store.path)


def test_what_is_no_store_and_what_is_a_later_one_say_so(
    noise: Noise, make_store: MakeStore, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"store-missing.*data import"):
        open_store(tmp_path)
    store = make_store(noise(1))
    facts = json.loads((store.path / "store.json").read_text())
    for other in (1, 99, None, "2"):
        (store.path / "store.json").write_text(json.dumps({**facts, "format": other}))
        with pytest.raises(DataError, match=r"store-format.*reads 2 and 3; import again"):
            open_store(store.path)


def test_a_store_of_before_age_and_sex_is_read(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(3))
    index = store.path / "index.csv"
    rows = list(csv.reader(index.read_text().splitlines()))
    assert rows[0][3:7] == ["view", "age", "sex", "warnings"]
    index.write_text("".join(",".join([*row[:4], *row[7:]]) + "\n" for row in rows))
    facts = json.loads((store.path / "store.json").read_text())
    facts["tables"]["index.csv"] = hashlib.sha256(index.read_bytes()).hexdigest()
    facts |= {"format": 2}
    facts["sha256"] = document_digest(facts)
    (store.path / "store.json").write_text(json.dumps(facts))
    old = open_store(store.path)
    assert (old.ages, old.sexes, old.warnings) == ((None,) * 3, (None,) * 3, ((),) * 3)
    assert (old.names, old.views, old.digests) == (store.names, store.views, store.digests)
    assert (np.asarray(old.images) == np.asarray(store.images)).all()
    assert (old.labels == store.labels).all()


def test_a_store_is_seen_with_the_findings_of_a_model(noise: Noise, make_store: MakeStore) -> None:
    store = make_store(noise(20))
    lesion = Box("Pleural_Thickening", 1.0, 2.0, 3.0, 4.0)
    store = replace(store, boxes=((lesion, Box("Mass", 1, 2, 3, 4)), *store.boxes[1:]))
    model = LabelSet("model", ("Pleural Thickening", "Lung Opacity", "Edema"))
    seen = store.relabelled(32, model)
    assert seen.label_set == model
    for column, name in ((0, "Pleural_Thickening"), (2, "Edema")):
        assert (seen.labels[:, column] == store.labels[:, NIH14.index(name)]).all()
    assert (seen.labels[:, 1] == -1).all()
    assert seen.boxes[0] == (replace(lesion, finding="Pleural Thickening"),)
    assert store.relabelled(32, NIH14) is store
    with pytest.raises(UsageError, match="store-side"):
        store.relabelled(64, model)
    with pytest.raises(UsageError, match=r"store-labels.*answers none of it.*Lung Lesion"):
        store.relabelled(32, LabelSet("other", ("Lung Lesion",)))


def test_age_and_sex_are_kept(
    noise: Noise, make_rows: Callable[..., list[Sample]], tmp_path: Path
) -> None:
    rows = make_rows(noise(2))
    rows[0] = replace(rows[0], age=58, sex="F", view="LATERAL")
    write(rows, tmp_path / "store", InputSpec(32), NIH14)
    store = open_store(tmp_path / "store")
    assert (store.ages, store.sexes, store.views[0]) == ((58, None), ("F", None), "LATERAL")


@pytest.mark.parametrize(
    "change",
    [
        {"source": "elsewhere"},
        {"count": 2},
        {"side": 16},
        {"labels": {"name": "nih14", "findings": list(NIH14.findings[::-1])}},
        {"more": 1},
    ],
)
def test_no_fact_of_a_store_can_be_changed_unseen(
    noise: Noise, make_store: MakeStore, change: dict[str, object]
) -> None:
    store = make_store(noise(3))
    facts = json.loads((store.path / "store.json").read_text())
    (store.path / "store.json").write_text(json.dumps({**facts, **change}))
    with pytest.raises(DataError, match=r"store-damaged.*store\.json is not what was written"):
        open_store(store.path)


@pytest.mark.parametrize("text", ["[" * 150_000, '{"format": 2, "count": 1e999}', "{}", "null"])
def test_facts_that_are_no_facts_are_damage(noise: Noise, make_store: MakeStore, text: str) -> None:
    store = make_store(noise(1))
    (store.path / "store.json").write_text(text)
    with pytest.raises(DataError, match="store-damaged"):
        open_store(store.path)


def test_a_model_for_other_images_or_findings_is_refused(
    noise: Noise, make_store: MakeStore
) -> None:
    store = make_store(noise(1))
    store.require(32, NIH14)
    with pytest.raises(UsageError, match="store-side"):
        store.require(64, NIH14)
    with pytest.raises(UsageError, match="store-labels"):
        store.require(32, LabelSet("one", ("Mass",)))


def test_phantoms_keep_their_labels_patients_and_boxes(tmp_path: Path) -> None:
    dataset.write(tmp_path / "phantoms", count=12, side=128, seed=3, workers=1)
    rows = folder_rows(
        tmp_path / "phantoms",
        labels=tmp_path / "phantoms" / "labels.csv",
        boxes=tmp_path / "phantoms" / "boxes.csv",
    )
    write(rows, tmp_path / "store", InputSpec(64), NIH14, source="phantom")
    store = open_store(tmp_path / "store")
    for index in range(12):
        drawn = draw(3, index, side=128)
        assert store.patients[index] == drawn.patient
        assert store.views[index] == drawn.view
        np.testing.assert_array_equal(store.labels[index], NIH14.row(drawn.findings))
        for box, original in zip(store.boxes[index], drawn.boxes, strict=True):
            assert box.finding == original.finding
            assert (box.x, box.width) == pytest.approx(
                (original.x / 2, original.width / 2), abs=0.01
            )


@pytest.mark.realdata
def test_the_real_radiographs_import_whole_and_clean(realdata: Path, tmp_path: Path) -> None:
    rows = nih.rows(
        realdata / "nih" / "images-256",
        labels=realdata / "nih" / "Data_Entry_2017_v2020.csv.gz",
        split=realdata / "nih" / "official_split.csv.gz",
        boxes=realdata / "nih" / "BBox_List_2017.csv.gz",
    )
    summary = write(rows, tmp_path / "store", InputSpec(256), NIH14, source="nih")
    assert (summary.images, summary.skipped) == (1285, ())
    report = check(open_store(tmp_path / "store"))
    report.require_clean()
    assert sum(report.splits.values()) == 1285
    # The release itself has this film twice, as two follow-ups of one patient.
    assert [group.images for group in report.duplicates] == [
        ("00002658_001.png", "00002658_002.png")
    ]
    assert report.near_duplicates == ()
    shutil.rmtree(tmp_path / "store")


def test_a_link_that_leads_nowhere_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    rows = [Sample("a.png", tmp_path / "a.png", "a", np.zeros(14, np.int8))]
    with pytest.raises(DataError, match=r"store-exists.*leads nowhere"):
        write(rows, tmp_path / "loop", InputSpec(16), NIH14, source="noise")
    assert not list(tmp_path.glob("*.partial"))
