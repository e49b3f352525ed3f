"""The core in which OpenVINO itself sees the simulated cards.

Each card is OpenVINO's own CPU library under another name, presented by OpenVINO's proxy as a
device of its own: `FPGA`, `FPGA1`, `FPGA2`, `FPGA3`. So HETERO, asynchronous queues, the model
cache and the stock tools work unchanged; what makes it an FPGA (which layers it takes, and the
arithmetic it computes them in) is put into the graph before.
"""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.errors import DeviceError
from thorax.files.atomic import temporary_folder
from thorax.fpga.card import CARDS
from thorax.fpga.emulation import AFFINITY

FAMILY: Final = "FPGA"
OPENVINO: Final = ((2026, 4), (2026, 5))
"""From and below: the proxy's keys are undocumented, and these versions were tried."""

_NAME: Final = re.compile(r"FPGA(\d*)(?:\.(\d+))?(?:_CPU)?")


def is_fpga(device: str) -> bool:
    """Return whether a device string names an FPGA card, alone or among others."""
    _, _, rest = device.partition(":")
    return any(part.strip().split(".")[0] == FAMILY for part in (rest or device).split(","))


def alias(card: str) -> str:
    """Return OpenVINO's name of a card: `FPGA` and `FPGA.0` are FPGA, `FPGA.2` is FPGA2."""
    number = int(card.partition(".")[2] or 0)
    return f"{FAMILY}{number or ''}"


def card_name(device: str) -> str:
    """Return a card's name of OpenVINO's: FPGA2 and FPGA2_CPU are `FPGA.2`; others are as given."""
    match = _NAME.fullmatch(device)
    if match is None:
        return device
    return f"{FAMILY}.{match[1] or match[2] or 0}"


def require_version(version: str) -> None:
    """Refuse a version of OpenVINO in which the cards were never tried.

    Raises:
        DeviceError: `fpga-openvino`.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    lowest, below = OPENVINO
    if not lowest <= release < below:
        names = [".".join(map(str, limit)) for limit in OPENVINO]
        raise DeviceError(
            "fpga-openvino",
            f"OpenVINO is {version}; simulated FPGA cards are known to work from {names[0]} to "
            f"below {names[1]}: install openvino=={names[0]}.*",
        )


@functools.cache
def open_cards() -> ov.Core:
    """Return the process's core with the simulated cards, tested once.

    Raises:
        DeviceError: `fpga-openvino` where OpenVINO is of another version or has no library of this
            processor, `fpga-selftest` where the cards do not behave.
    """
    require_version(ov.__version__)
    core = make_core()
    self_test(core)
    return core


def make_core() -> ov.Core:
    """Return a core with the simulated cards, untested.

    Raises:
        DeviceError: `fpga-openvino`.
    """
    with listed_plugins() as listed:
        return ov.Core(listed)


@contextmanager
def listed_plugins() -> Iterator[Path]:
    """Write the cards' plug-ins to a file for a core to be made of, which is then removed.

    Raises:
        DeviceError: `fpga-openvino`.
    """
    libraries = sorted((Path(ov.__file__).parent / "libs").glob("*openvino_*_cpu_plugin.*"))
    if not libraries:
        raise DeviceError(
            "fpga-openvino",
            f"OpenVINO {ov.__version__} has no CPU library that a simulated card could compute "
            "with; install openvino from PyPI on a processor that it has one for",
        )
    plugins = "".join(
        f'<plugin name="{name}_CPU" location="{libraries[0]}"><properties>'
        f'<property key="PROXY_CONFIGURATION_ALIAS" value="{name}"/>'
        '<property key="PROXY_CONFIGURATION_PRIORITY" value="0"/>'
        "</properties></plugin>"
        for name in map(alias, CARDS)
    )
    with temporary_folder() as folder:
        listed = folder / "plugins.xml"
        listed.write_text(f"<ie><plugins>{plugins}</plugins></ie>", "utf-8")
        yield listed


def self_test(core: ov.Core) -> None:
    """Run a small graph whose every layer is another card's, and the last the CPU's.

    Promised then: each card is there, HETERO hands each layer to the device its affinity names and
    to no other, cards compute in float32 when told to, and the answer is right.

    Raises:
        DeviceError: `fpga-selftest`, saying which.
    """
    names = [alias(card) for card in CARDS]
    absent = sorted({*names} - {*core.available_devices})
    if absent:
        raise _failed(f"OpenVINO does not list {', '.join(absent)}")
    devices = [*names, "CPU"]
    model, factor = _probe(devices)
    float32 = {"INFERENCE_PRECISION_HINT": "f32"}
    config = {"DEVICE_PROPERTIES": dict.fromkeys(devices, float32), "PERF_COUNT": True}
    try:
        compiled = core.compile_model(model, f"HETERO:{','.join(devices)}", config)
        request = compiled.create_infer_request()
        image = np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4)
        request.infer({0: image})
        answer = request.get_output_tensor(0).data
        rows = {row.node_name for row in request.profiling_info}
        kinds = compiled.get_property("DEVICE_PROPERTIES")
    except RuntimeError as error:
        raise _failed(str(error).strip().splitlines()[-1]) from error
    if list(compiled.get_property("EXECUTION_DEVICES")) != devices:
        raise _failed(
            f"{devices} were to run, but {compiled.get_property('EXECUTION_DEVICES')} did"
        )
    for index, name in enumerate(devices):
        if f"subgraph{index}: layer-{name}" not in rows:
            raise _failed(f"the layer meant for {name} did not run there")
        if kinds[name]["INFERENCE_PRECISION_HINT"] != ov.Type.f32:
            raise _failed(f"{name} does not compute in float32 when told to")
    if not np.allclose(answer, factor * image, rtol=1e-5, atol=0):
        raise _failed("a small graph's answer is wrong")


def _probe(devices: list[str]) -> tuple[ov.Model, float]:
    """Return a chain of 1x1 convolutions, one a device, and what it multiplies its image by."""
    factor = 4 / 3
    image = ops.parameter([1, 2, 4, 4], np.float32, name="image")
    value = image
    for device in devices:
        weights = ops.constant(np.float32(factor) * np.eye(2, dtype=np.float32)[:, :, None, None])
        value = ops.convolution(value, weights, [1, 1], [0, 0], [0, 0], [1, 1])
        value.set_friendly_name(f"layer-{device}")
        for node in (weights, value):
            node.get_rt_info()[AFFINITY] = device
    result = ops.result(value, name="result")
    image.get_rt_info()[AFFINITY], result.get_rt_info()[AFFINITY] = devices[0], devices[-1]
    return ov.Model([result], [image], "probe"), factor ** len(devices)


def _failed(why: str) -> DeviceError:
    return DeviceError(
        "fpga-selftest",
        f"the simulated FPGA cards do not behave under OpenVINO {ov.__version__}: {why}; "
        "run on CPU, and report this",
    )
