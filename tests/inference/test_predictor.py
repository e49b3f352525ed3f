"""Prediction: one way from file to findings, in order, in bounded memory, for whatever files."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest

from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.devices.engine import Engine, Outputs
from thorax.devices.engine import compile as compile_artifact
from thorax.devices.requests import Request
from thorax.errors import ImageError
from thorax.images.preprocess import InputSpec, prepare
from thorax.images.radiograph import Radiograph, read
from thorax.inference import predictor as predict
from thorax.inference.predictor import Predictor, calibrate
from thorax.inference.sources import find_sources
from thorax.metrics import Platt


@pytest.fixture(scope="module")
def engine(tiny_fp32: Artifact) -> Engine:
    return compile_artifact(tiny_fp32, hint="throughput")


@pytest.fixture(scope="module")
def predictor(engine: Engine) -> Predictor:
    return Predictor(engine)


@pytest.fixture(scope="module")
def files(phantoms: Path) -> list[Path]:
    return sorted(phantoms.glob("*.png"))


def test_one_array_goes_into_the_store_and_into_the_network(
    engine: Engine, tiny_store: Store, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[npt.NDArray[np.uint8]] = []
    infer = ov.InferRequest.infer

    def spy(
        request: ov.InferRequest, inputs: dict[int, npt.NDArray[np.uint8]], **how: bool
    ) -> object:
        fed.append(inputs[0].copy())
        return infer(request, inputs, **how)

    monkeypatch.setattr(ov.InferRequest, "infer", spy)
    spec = engine.artifact.card.input
    predictor = Predictor(engine)
    for number, name in enumerate(tiny_store.names[:16]):
        prediction = predictor.predict_file(phantoms / name)
        assert prediction.prepared is not None
        assert np.array_equal(prediction.prepared[0], tiny_store.images[number])
        assert np.array_equal(prediction.prepared, prepare(read(phantoms / name), spec))
        assert np.array_equal(fed[number][0], prediction.prepared)
        assert fed[number].dtype == np.uint8
    assert len(fed) == 16


def test_what_is_predicted_is_what_validation_sees(
    engine: Engine, predictor: Predictor, tiny_store: Store, phantoms: Path
) -> None:
    indices = np.arange(len(tiny_store), dtype=np.int64)
    wanted = calibrate(
        engine.infer_many(tiny_store.images, indices).probability, engine.artifact.card
    )
    answers = predictor.stream([phantoms / name for name in tiny_store.names])
    for row, answer in zip(wanted, answers, strict=True):
        assert list(answer.findings.values()) == row.tolist()
        assert tuple(answer.findings) == tiny_store.label_set.findings


def test_the_answer_is_what_the_trained_network_says(
    predictor: Predictor, tiny_run: Path, files: list[Path]
) -> None:
    import torch

    from thorax.training import checkpoint
    from thorax.training.networks import normalise

    loaded = checkpoint.load(tiny_run)
    for file in files[:8]:
        answer = predictor.predict_file(file)
        assert answer.prepared is not None
        with torch.inference_mode():
            images = normalise(torch.from_numpy(answer.prepared[None]), loaded.card.input)
            raw = torch.sigmoid(loaded.network(images)).numpy()
        card = predictor.engine.artifact.card
        assert list(answer.findings.values()) == pytest.approx(calibrate(raw, card)[0], abs=1e-4)


def test_the_mean_of_a_heat_map_is_the_logit_of_its_finding(
    predictor: Predictor, files: list[Path]
) -> None:
    card = predictor.engine.artifact.card
    for file in files[:8]:
        answer = predictor.predict_file(file)
        assert answer.heatmap is not None
        assert answer.heatmap.shape == (14, 3, 3)
        raw = 1 / (1 + np.exp(-answer.heatmap.astype(np.float64).mean(axis=(1, 2))))
        wanted = calibrate(raw[None].astype(np.float32), card)[0]
        assert list(answer.findings.values()) == pytest.approx(wanted, abs=1e-4)


def test_a_finding_is_positive_from_its_operating_point_on(
    predictor: Predictor, files: list[Path]
) -> None:
    thresholds = predictor.engine.artifact.card.thresholds
    assert thresholds
    seen = set()
    for answer in predictor.stream(files):
        for name, value in answer.findings.items():
            wanted = name in thresholds and value >= thresholds[name]
            assert (name in answer.positive) == wanted
            seen.add(wanted)
    assert seen == {True, False}


def test_a_calibration_is_of_its_own_finding_and_silence_leaves_the_score(
    tiny_fp32: Artifact,
) -> None:
    names = tiny_fp32.card.labels
    card = tiny_fp32.card.model_copy(update={"calibration": {names[3]: Platt(2.0, 1.0)}})
    scores = np.linspace(0.1, 0.9, 14, dtype=np.float32)[None]
    got = calibrate(scores, card)[0]
    logit = np.log(scores[0, 3].astype(float) / (1 - scores[0, 3].astype(float)))
    wanted = scores[0].astype(np.float64)
    wanted[3] = 1 / (1 + np.exp(-(2 * logit + 1)))
    assert got == pytest.approx(wanted, abs=1e-9)


def test_the_same_file_gives_the_same_bytes_every_time(
    predictor: Predictor, files: list[Path]
) -> None:
    once, again = predictor.predict_file(files[0]), predictor.predict_file(files[0])
    assert once.findings == again.findings
    assert once.heatmap is not None
    assert again.heatmap is not None
    assert np.array_equal(once.heatmap, again.heatmap)


# The stream.


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_answers_come_in_the_order_of_the_files(
    predictor: Predictor, files: list[Path], workers: int | None
) -> None:
    order = [files[number % len(files)] for number in np.random.default_rng(1).permutation(90)]
    assert [answer.image for answer in predictor.stream(order, workers=workers)] == [
        str(file) for file in order
    ]


def test_a_bad_file_is_an_answer_in_its_place_and_the_rest_goes_on(
    predictor: Predictor, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "web.dcm").write_text("<html></html>")
    (tmp_path / "cut.png").write_bytes(files[0].read_bytes()[:-40])
    bad = [tmp_path / name for name in ("empty.png", "web.dcm", "cut.png", "none.png")]
    mixed = [files[0], bad[0], bad[1], files[1], bad[2], bad[3], files[2]]
    answers = list(predictor.stream(mixed))
    codes = [answer.error[0] if answer.error else None for answer in answers]
    assert codes == [
        None, "image-empty", "image-format", None, "image-truncated", "image-missing", None,
    ]  # fmt: skip
    for answer in answers:
        assert (answer.error is None) == (len(answer.findings) == 14)
        assert (answer.error is None) == (answer.prepared is not None)


def test_only_a_bad_image_is_an_answer_and_a_bug_is_not(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(radiograph: Radiograph, spec: InputSpec) -> npt.NDArray[np.uint8]:
        raise ZeroDivisionError

    monkeypatch.setattr(predict, "prepare", broken)
    with pytest.raises(ZeroDivisionError):
        list(predictor.stream(files[:3]))


class Tracked(Radiograph):
    """Counts how many of its kind there are, and the most there ever were."""

    alive = 0
    most = 0
    read = 0
    lock = threading.Lock()

    @classmethod
    def reset(cls) -> None:
        cls.alive = cls.most = cls.read = 0

    @classmethod
    def open(cls, path: Path, *, patient: bool) -> "Tracked":
        made = read(path, patient=patient)
        with cls.lock:
            cls.read += 1
            cls.alive += 1
            cls.most = max(cls.most, cls.alive)
        return cls(made.grey8, made.meaning, made.source)

    def __del__(self) -> None:
        with self.lock:
            Tracked.alive -= 1


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> type[Tracked]:
    Tracked.reset()
    monkeypatch.setattr(predict, "read", Tracked.open)
    return Tracked


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_radiographs_are_in_memory_than_workers_hold(
    predictor: Predictor, files: list[Path], tracked: type[Tracked], workers: int
) -> None:
    taken = 0

    def paths() -> Iterator[Path]:
        nonlocal taken
        for number in range(60):
            taken += 1
            yield files[number % len(files)]

    ahead = [
        taken - answered for answered, _ in enumerate(predictor.stream(paths(), workers=workers))
    ]
    assert tracked.most <= workers
    assert max(ahead) <= 2 * workers
    assert (tracked.read, tracked.alive) == (60, 0)


def test_a_stream_closed_early_stops_reading_and_leaves_no_thread(
    predictor: Predictor, files: list[Path], tracked: type[Tracked]
) -> None:
    def endless() -> Iterator[Path]:
        while True:
            yield from files

    stream = predictor.stream(endless(), workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert tracked.read <= 4
    assert tracked.alive == 0
    assert not [name for name in threading.enumerate() if name.name.startswith("predict")]


def test_a_failure_of_the_list_of_files_itself_is_told(
    predictor: Predictor, files: list[Path]
) -> None:
    def paths() -> Iterator[Path]:
        yield from files[:2]
        raise ImageError("list-broken", "the list ends here")

    with pytest.raises(ImageError, match="list-broken"):
        list(predictor.stream(paths(), workers=2))


def test_no_file_is_no_answer(predictor: Predictor) -> None:
    assert list(predictor.stream([])) == []


@pytest.mark.parametrize("requests", [1, 3, 50])
def test_requests_in_flight_give_the_answers_of_the_stream_in_their_order(
    predictor: Predictor, files: list[Path], tmp_path: Path, requests: int
) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    order = [*files[:9], tmp_path / "empty.png", *files[20:30], files[0], tmp_path / "none.png"]
    wanted = list(predictor.stream(order))
    for got, one in zip(predictor.stream_async(order, requests=requests), wanted, strict=True):
        assert (got.image, got.findings, got.positive) == (one.image, one.findings, one.positive)
        assert (got.error, got.size) == (one.error, one.size)
        if one.heatmap is not None:
            assert got.heatmap is not None
            assert np.array_equal(got.heatmap, one.heatmap)


def test_no_more_requests_are_in_flight_than_asked_for(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started, most = predictor.engine.start, 0, 0

    def counted(images: npt.NDArray[np.uint8], **how: Any) -> Request[Outputs]:  # noqa: ANN401
        nonlocal started
        started += 1
        return start(images, **how)

    monkeypatch.setattr(predictor.engine, "start", counted)
    for answered, _ in enumerate(predictor.stream_async(files[:30], requests=4)):
        most = max(most, started - answered)
    assert (started, most) == (30, 4)


def test_requests_in_flight_are_given_up_when_nobody_listens(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = predictor.engine.start
    made: list[Request[Outputs]] = []

    def kept(images: npt.NDArray[np.uint8], **how: Any) -> Request[Outputs]:  # noqa: ANN401
        made.append(start(images, **how))
        return made[-1]

    monkeypatch.setattr(predictor.engine, "start", kept)
    stream = predictor.stream_async(itertools.cycle(files), requests=5)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert 5 <= len(made) <= 6
    assert all(request.wait(0).final for request in made)
    assert not [one for one in threading.enumerate() if one.name.startswith("predict")]


def test_a_network_without_heat_maps_still_answers(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = predictor.engine.infer

    def plain(images: npt.NDArray[np.uint8], *, profile: bool = False) -> Outputs:
        return Outputs(infer(images, profile=profile).probability, None, None)

    monkeypatch.setattr(predictor.engine, "infer", plain)
    answer = predictor.predict_file(files[0])
    assert answer.heatmap is None
    assert len(answer.findings) == 14


def test_an_image_of_a_store_is_answered_as_the_file_it_was_made_of(
    predictor: Predictor, tiny_store: Store, phantoms: Path
) -> None:
    sources = list(find_sources([tiny_store.path, phantoms / tiny_store.names[3]], 48))
    assert [str(source) for source in sources[:-1]] == [
        str(tiny_store.path / name) for name in tiny_store.names
    ]
    stored, read = predictor.predict_file(sources[3]), predictor.predict_file(sources[-1])
    assert stored.findings == read.findings
    assert stored.size == (48, 48)
    answers = predictor.stream_async(sources[:5], requests=2)
    assert [answer.findings for answer in answers][3] == read.findings


def test_a_damaged_image_of_a_store_is_one_answer_and_the_others_go_on(
    predictor: Predictor, tiny_store: Store, tmp_path: Path
) -> None:
    damaged = tmp_path / "store"
    shutil.copytree(tiny_store.path, damaged)
    with (damaged / "images.u8").open("r+b") as file:
        file.seek(2 * 48 * 48 + 100)
        value = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([value ^ 1]))
    answers = list(predictor.stream(list(find_sources([damaged], 48))[:4]))
    assert [answer.error and answer.error[0] for answer in answers] == [
        None, None, "store-damaged", None,
    ]  # fmt: skip


# Finding files.


def test_a_size_is_that_of_the_file(predictor: Predictor, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((30, 70), np.uint8))
    assert predictor.predict_file(tmp_path / "wide.png").size == (30, 70)
