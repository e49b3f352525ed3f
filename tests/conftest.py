"""Fixtures that every test may ask for."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from thorax.artifact import Artifact, Precision
from thorax.data.store import Store

# Networks of tests are small: two threads wait for each other longer than they compute, most of all
# where other programs run. Training takes the threads of its recipe all the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tables are as wide as in a pipe, whatever terminal the tests were started from.
os.environ.pop("COLUMNS", None)

# Where tests run in the background of a shell, Ctrl-C is ignored, and commands would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, and no judgement by the clock of a machine that others use too.
settings.register_profile(
    "thorax", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("thorax")

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "data"

SIDE = 48
"""Of the images of the tiny store, pixels."""

Thorax = Callable[..., "subprocess.CompletedProcess[str]"]


COSTLY = {"thorax", "phantoms", "convert", "fragile", "recipe", "exported", "realdata"}
"""Fixtures that train a network, draw phantoms or start `thorax` in processes of their own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --quick, which `make quick` gives: a word on a change within a minute or so."""
    parser.addoption("--quick", action="store_true", help="leave out what takes long to set up")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with files that hold a slow test; with --quick, keep what needs no network or process.

    Files are spread over processes in this order, so none is left with a long one at the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if not config.getoption("--quick"):
        return

    def takes_long(item: pytest.Item) -> bool:
        marked = any(item.get_closest_marker(name) for name in ("slow", "child", "realdata"))
        starts = hasattr(getattr(item, "module", None), "subprocess")
        return marked or starts or not COSTLY.isdisjoint(getattr(item, "fixturenames", ()))

    costly = [item for item in items if takes_long(item)]
    config.hook.pytest_deselected(items=costly)
    items[:] = [item for item in items if item not in set(costly)]


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real radiographs, DICOM files and models; the test is skipped without it."""
    if not REALDATA.is_dir():
        pytest.skip("real data are absent: they are looked for in ../shared/data")
    return REALDATA


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What simulated cards are programmed with here is no matter of the machine's user."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


BITSTREAM = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four programmed cards: the folder of their state."""
    from thorax.fpga.card import program

    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    program("all", BITSTREAM)
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since some moment, to be set by hand."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


@pytest.fixture(scope="session")
def thorax() -> Thorax:
    """Run `thorax` as a user types it, in a process of its own, and return what came of it."""

    def run(*words: object, **options: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-m", "thorax", *map(str, words)],
            **{"capture_output": True, "text": True, "timeout": 120, "check": False, **options},
        )

    return run


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 64 phantoms of 64 x 64 pixels with labels.csv and boxes.csv."""
    from thorax.phantoms import dataset

    out = tmp_path_factory.mktemp("phantoms") / "phantoms"
    dataset.write(out, count=64, side=64, seed=11, workers=1)
    return out


@pytest.fixture(scope="session")
def tiny_store(phantoms: Path) -> Store:
    """The phantoms, imported at 48 x 48: 44 to train, 12 to validate, 8 to test."""
    from thorax.data import folder, store
    from thorax.images.preprocess import InputSpec
    from thorax.labels import NIH14

    out = phantoms.parent / "store"
    rows = folder.rows(phantoms, labels=phantoms / "labels.csv", boxes=phantoms / "boxes.csv")
    patients = list(dict.fromkeys(row.patient for row in rows))
    turn = {patient: number % 16 for number, patient in enumerate(patients)}
    splits = ["train"] * 11 + ["val"] * 3 + ["test"] * 2
    placed = [replace(row, split=splits[turn[row.patient]]) for row in rows]
    store.write(placed, out, InputSpec(SIDE), NIH14, source="phantom", workers=1)
    return store.open_store(out)


@pytest.fixture(scope="session")
def tiny_run(tiny_store: Store) -> Path:
    """A run of one epoch of a ResNet-18 at output stride 16: heat maps of 3 x 3 cells."""
    from thorax.training.fit import fit
    from thorax.training.optimizers import Sgd
    from thorax.training.recipe import Network, Recipe, Training
    from thorax.training.schedules import Cosine

    recipe = Recipe(
        network=Network(topology="resnet18", output_stride=16),
        training=Training(epochs=1, batch=8, seed=3, workers=1, threads=1),
        optimizer=Sgd(kind="sgd"),
        schedule=Cosine(kind="cosine", peak=0.05, warmup_epochs=0.5),
    )
    out = tiny_store.path.parent / "run"
    fit(recipe, tiny_store, out)
    return out


@pytest.fixture(scope="session")
def tiny_fp32(tiny_run: Path, tiny_store: Store) -> Artifact:
    """The run as an fp32 artifact, with operating points. Not to be changed: copy it."""
    from thorax.quantization.optimize import optimize

    return optimize(tiny_run, tiny_run.parent / "fp32", Precision.FP32, store=tiny_store).artifact


@pytest.fixture(scope="session")
def tiny_int8(tiny_run: Path, tiny_store: Store) -> Artifact:
    """The run as an int8 artifact, calibrated on its store. Not to be changed: copy it."""
    from thorax.quantization.optimize import optimize

    return optimize(tiny_run, tiny_run.parent / "int8", Precision.INT8, store=tiny_store).artifact
