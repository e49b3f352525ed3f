"""Several devices that share the work: who is asked, in which order answers come, none is lost."""

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
import pytest

from thorax import artifact
from thorax.artifact import Artifact, Card, Precision
from thorax.devices import timing
from thorax.devices.engine import INPUT, PROBABILITY, Engine, Outputs, compile
from thorax.devices.process_core import open_core
from thorax.devices.requests import Lane, Pool, Request, Status
from thorax.errors import DeviceError
from thorax.fpga import card
from thorax.images.preprocess import InputSpec
from thorax.inference.predictor import Predictor

BITSTREAM = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
FOUR = "MULTI:" + ",".join(f"HETERO:FPGA.{number},CPU" for number in range(4))


class Idle:
    """A request that has nothing to do."""

    def cancel(self) -> None:
        pass


@pytest.fixture
def programmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cards with a bitstream."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for number in range(4):
        card.program(f"FPGA.{number}", BITSTREAM)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """One convolution and a head, 16 x 16 pixels: answers in no time."""
    return network(tmp_path_factory.mktemp("small"), side=16, channels=8, layers=1)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A second's work of a processor, in many layers."""
    return network(tmp_path_factory.mktemp("long"), side=128, channels=64, layers=40)


def network(folder: Path, *, side: int, channels: int, layers: int) -> Artifact:
    random = np.random.Generator(np.random.Philox(key=5))
    image = ops.parameter([1, 1, side, side], np.uint8, name=INPUT)
    layer = ops.multiply(ops.convert(image, np.float32), ops.constant(np.float32(1 / 255)))
    ones, given = [1, 1], 1
    for _ in range(layers):
        weights = random.normal(size=(channels, given, 3, 3)).astype(np.float32) * 0.05
        made = ops.convolution(layer, ops.constant(weights), ones, ones, ones, ones)
        layer, given = ops.relu(made), channels
    pooled = ops.reduce_mean(layer, ops.constant(np.array([2, 3])), False)
    head = random.normal(size=(channels, 2)).astype(np.float32)
    scores = ops.sigmoid(ops.matmul(pooled, ops.constant(head), False, False))
    scores.output(0).set_names({PROBABILITY})
    ov.save_model(ov.Model([scores], [image]), folder / artifact.XML, compress_to_fp16=False)
    told = Card(
        name="small", topology="small", label_set="two", labels=("A", "B"), input=InputSpec(side),
        precision=Precision.FP32, parameters=88, macs=18448, size_bytes=0,
    )  # fmt: skip
    return Artifact(folder, artifact.seal(folder, told))


def noise(count: int) -> npt.NDArray[np.uint8]:
    random = np.random.Generator(np.random.Philox(key=9))
    return random.integers(0, 256, (count, 1, 1, 16, 16), np.uint8)


def same(got: Outputs, wanted: Outputs) -> bool:
    return np.array_equal(got.probability, wanted.probability)


# Who is asked.


def lend(pool: Pool[int], count: int) -> list[int]:
    """Return whose lanes are lent when none comes back."""
    lent = [pool.lend() for _ in range(count)]
    return [lane.__enter__().member for lane in lent]


def test_the_least_loaded_member_is_asked_first() -> None:
    assert lend(Pool([[Idle()], [Idle()], [Idle()]]), 3) == [0, 1, 2]
    # One of four busy is less load than one of two.
    pool: Pool[int] = Pool([[Idle() for _ in range(2)], [Idle() for _ in range(4)]])
    assert len(pool) == 6
    assert lend(pool, 6) == [0, 1, 1, 0, 1, 1]


def test_members_that_are_all_idle_take_turns() -> None:
    pool: Pool[int] = Pool([[Idle()], [Idle()], [Idle()]])
    asked = []
    for _ in range(6):
        with pool.lend() as lane:
            asked.append(lane.member)
    assert asked == [0, 1, 2, 0, 1, 2]


def test_a_slow_member_does_not_hold_the_others_up() -> None:
    pool: Pool[int] = Pool([[Idle()], [Idle()]])
    go = threading.Event()
    served: Counter[int] = Counter()

    def run(lane: Lane, request: Request[int]) -> int:
        served[lane.member] += 1
        if lane.member == 0:
            assert go.wait(30)
        return lane.member

    requests = [pool.start(run) for _ in range(20)]
    for request in requests[1:]:
        assert request.wait(30) is Status.DONE
    assert requests[0].wait(0) is Status.RUNNING
    assert served == {0: 1, 1: 19}
    go.set()
    assert requests[0].result() == 0


def test_no_thread_stays_when_the_line_is_empty(small: Artifact) -> None:
    before = set(threading.enumerate())
    engine = compile(small, "MULTI:CPU")
    requests = [engine.start(image) for image in noise(20)]
    for request in requests:
        request.result()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert set(threading.enumerate()) == before


def test_a_program_that_ends_has_answered_what_it_started() -> None:
    program = (
        "from thorax.devices.requests import Pool\n"
        "pool = Pool([[None, None], [None]])\n"
        "for number in range(50):\n"
        "    pool.start(lambda lane, request: lane.member, lambda request: print(request.status))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.count("done") == 50
    assert done.stderr == ""


def test_a_request_that_no_thread_can_run_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool: Pool[int] = Pool([[Idle()]])
    told: list[Status] = []

    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.start(lambda lane, request: 1, lambda request: told.append(request.status))
    assert told == [Status.CANCELLED]
    assert pool.start(lambda lane, request: 2).result() == 2


# As an engine.


def test_a_thousand_requests_over_four_cards_are_all_answered_once(
    programmed: None, small: Artifact
) -> None:
    images = noise(1000)
    alone = compile(small, "HETERO:FPGA.0,CPU")
    wanted = [alone.infer(image) for image in images]
    engine = compile(small, FOUR)
    assert len(engine.members) == 4
    told: Counter[int] = Counter()
    lock = threading.Lock()

    def tell(request: Request[Outputs]) -> None:
        with lock:
            told[id(request)] += 1

    requests = []
    for number, image in enumerate(images):
        requests.append(engine.start(image, tell))
        if number % 5 == 0:
            requests[-1 - number // 50].cancel()
    for request in requests[600::9]:
        request.cancel()
    ends = [request.wait(60) for request in requests]
    counted = Counter(ends)
    assert counted[Status.DONE] + counted[Status.CANCELLED] == 1000
    assert counted[Status.DONE] > 0
    assert counted[Status.CANCELLED] > 0
    assert told == {id(request): 1 for request in requests}
    for request, end, one in zip(requests, ends, wanted, strict=True):
        if end is Status.DONE:
            assert same(request.result(), one)
        else:
            with pytest.raises(DeviceError, match="cancelled"):
                request.result()
    # Every lane came back.
    assert same(engine.start(images[0]).result(), wanted[0])


def test_many_images_over_four_cards_are_answered_in_their_order(
    programmed: None, small: Artifact
) -> None:
    stack = noise(200)[:, 0, 0]
    order = np.random.default_rng(3).permutation(200)
    wanted = compile(small, "HETERO:FPGA.0,CPU").infer_many(stack, order)
    assert same(compile(small, FOUR).infer_many(stack, order), wanted)


@pytest.mark.parametrize("device", ["CPU", "HETERO:FPGA.0,CPU"])
def test_a_request_that_runs_is_stopped_and_its_lane_answers_the_next(
    programmed: None, long: Artifact, device: str
) -> None:
    engine = compile(long, device, streams=1)
    image = np.zeros((1, 1, 128, 128), np.uint8)
    for _ in range(3):
        request = engine.start(image)
        while request.wait(0) is Status.WAITING:
            request.wait(0.001)
        request.cancel()
        assert request.wait(60) is Status.CANCELLED
    assert engine.start(image).result().probability.shape == (1, 2)


def test_an_image_of_another_size_is_a_request_that_fails(small: Artifact) -> None:
    engine = compile(small, streams=1)
    request = engine.start(np.zeros((1, 1, 3, 3), np.uint8))
    assert request.wait(60) is Status.FAILED
    with pytest.raises(DeviceError) as refused:
        request.result()
    assert refused.value.code == "request-failed"
    image = noise(1)[0]
    assert same(engine.start(image).result(), engine.infer(image))


def test_a_pool_says_what_all_of_its_members_are(programmed: None, small: Artifact) -> None:
    engine = compile(small, "MULTI:FPGA.0,FPGA.1,CPU")
    assert engine.device == "MULTI:FPGA.0,FPGA.1,CPU"
    # The CPU was named, so it runs what a card has no layers for.
    assert [one.device for one in engine.members] == [
        "HETERO:FPGA.0,CPU", "HETERO:FPGA.1,CPU", "CPU",
    ]  # fmt: skip
    assert set(engine.devices) == {"FPGA.0", "FPGA.1", "CPU"}
    parts = [part for one in engine.members for part in one.compute.split("+")]
    assert engine.compute == "+".join(dict.fromkeys(parts))
    assert engine.simulated is True
    assert engine.streams == sum(one.streams for one in engine.members)
    assert engine.precision is Precision.FP32


def test_a_pool_has_all_that_an_engine_has_and_reads_the_graph_once(
    programmed: None, small: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = open_core().read_model

    def note(xml: Path, weights: Path) -> ov.Model:
        read.append(xml)
        return real(xml, weights)

    monkeypatch.setattr(open_core(), "read_model", note)
    pool = compile(small, "MULTI:FPGA.0,FPGA.1,CPU")
    assert read == [small.xml]
    member = pool.members[0]
    # What belongs to one compiled graph is asked of the members, and the type says so.
    promised = {name for name in (*vars(pool), *dir(Engine)) if not name.startswith("_")}
    for name in promised:
        assert hasattr(pool, name), name
        assert hasattr(member, name), name
    own = {name for name in (*vars(member), *dir(member)) if not name.startswith("_")} - promised
    assert own == {"compiled", "requests", "read"}
    assert pool.counters() == []


def test_a_card_without_the_cpu_beside_it_is_not_helped(programmed: None, small: Artifact) -> None:
    with pytest.raises(DeviceError, match="Sigmoid") as refused:
        compile(small, "MULTI:FPGA.0,FPGA.1")
    assert refused.value.code == "fpga-layer"


def test_counters_say_which_member_they_are_of(small: Artifact) -> None:
    engine = compile(small, "MULTI:CPU,HETERO:CPU", counters=True)
    for image in noise(4):
        engine.start(image, profile=True).result()
    assert {row.device for row in engine.counters()} == {"CPU", "HETERO:CPU"}


def test_a_pool_is_measured_and_predicts_as_an_engine_does(
    tiny_fp32: Artifact, phantoms: Path
) -> None:
    engine = compile(tiny_fp32, "MULTI:CPU,HETERO:CPU", hint="throughput", streams=1)
    assert timing.images_per_s(engine, 0.01) > 0
    assert timing.answers_per_s(engine, 0.01) > 0
    files = sorted(phantoms.glob("*.png"))[:12]
    wanted = list(Predictor(compile(tiny_fp32)).stream(files))
    for got, one in zip(Predictor(engine).stream(files), wanted, strict=True):
        assert got.image == one.image
        assert got.findings == pytest.approx(one.findings, abs=1e-5)


def test_a_started_request_reads_the_buffer_of_its_caller(small: Artifact) -> None:
    image = noise(1)[0].copy()
    engine = compile(small, streams=1)
    answer = engine.start(image).result()
    with engine.lend() as lane:
        assert np.shares_memory(lane.request.get_tensor(INPUT).data, image)
    assert same(answer, engine.infer(image))


# What cannot be.


@pytest.mark.parametrize(
    ("device", "code"),
    [
        ("MULTI", "device-multi"),
        ("MULTI:", "device-multi"),
        ("MULTI:,", "device-multi"),
        ("MULTI:CPU,CPU", "device-multi"),
        ("MULTI:FPGA.0,FPGA,CPU", "device-multi"),
        ("MULTI:HETERO:FPGA.0,CPU,HETERO:FPGA.0,CPU", "device-multi"),
        ("MULTI:MULTI:CPU", "device-multi"),
        ("MULTI:CPU,ABACUS", "device-unknown"),
        ("MULTI:FPGA.9,CPU", "device-unknown"),
        ("MULTI:AUTO:FPGA.0,CPU", "device-auto"),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(small: Artifact, device: str, code: str) -> None:
    with pytest.raises(DeviceError) as refused:
        compile(small, device)
    assert refused.value.code == code
