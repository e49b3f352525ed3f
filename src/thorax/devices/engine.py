"""Compile an artifact for a device, and run it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov

from thorax.artifact import Artifact, Precision
from thorax.data.samples import Images
from thorax.devices.arithmetic import card_arithmetic, computes_in, multiplies_in
from thorax.devices.core import (
    is_multi,
    list_members,
    physical_devices,
    simulates,
    supports,
    thorax_name,
)
from thorax.devices.counters import Counter, CounterTotals
from thorax.devices.extensions import missing
from thorax.devices.graph import compile_real
from thorax.devices.placement import Numerics, Placement, compile_placed, place
from thorax.devices.process_core import open_core
from thorax.devices.requests import Lane, Pool, Request
from thorax.errors import DeviceError, ModelError, last_line
from thorax.fpga.plugin import is_fpga
from thorax.processors import processors, quota

INPUT: Final = "image"
PROBABILITY: Final = "probability"
HEATMAP: Final = "heatmap"
EMBEDDING: Final = "embedding"

Hint = Literal["latency", "throughput"]


@dataclass(frozen=True, slots=True)
class HostResources:
    """Processor threads and cache that an engine may use.

    Threads are of a CPU, shared by its streams and bound to no processor, so that several engines
    share a machine; None leaves both to the device, and other devices refuse it. `cache` is the
    folder in which OpenVINO keeps compiled models; None keeps none.
    """

    threads: int | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """Output tensors of a network for N images.

    Probabilities are float32 [N,K], 0-1, uncalibrated. The heat map, float32 [N,K,h,w], is evidence
    for each finding as a logit a cell, whose mean over the cells is the logit of the probability,
    and the embedding, float32 [N,D], the pooled features; None for a network without such a head.
    """

    probability: npt.NDArray[np.float32]
    heatmap: npt.NDArray[np.float32] | None
    embedding: npt.NDArray[np.float32] | None


class Engine(ABC):
    """An artifact compiled for a device; every method may be called from several threads.

    `device`, `devices`, `compute` and `simulated` are those of `thorax.results.shared.Engine`, read
    back from the devices; of a simulated card the format goes before: "fp11+f32". `arithmetic` is
    that of the layers that multiply, which of an INT8 artifact are integers. `streams`
    inferences of `batch` images each run side by side. `members` are what answers: this engine
    alone, or of `MULTI:` the engine of each member. `placement` is what runs on which device, where
    a simulated card is named; None of `MULTI:`, whose members have their own. `cards` are what each
    simulated card computes with that runs part of it, by name, as
    `thorax.devices.arithmetic.arithmetic_of` words it, "f32" without their numerics; fixed when the
    engine is compiled, whatever the cards are programmed with later.
    """

    arithmetic: str
    cards: Mapping[str, str]
    members: tuple["Single", ...]
    _pool: Pool[Outputs]

    def __init__(
        self,
        artifact: Artifact,
        device: str,
        *,
        devices: Sequence[str],
        arithmetic: Sequence[str],
        streams: int,
        batch: int,
        placement: Placement | None = None,
    ) -> None:
        self.artifact = artifact
        self.device = device
        self.devices = tuple(dict.fromkeys(devices))
        self.precision = artifact.card.precision
        self.compute = "+".join(dict.fromkeys(arithmetic))
        self.streams = streams
        self.batch = batch
        self.simulated = any(simulates(name) for name in self.devices)
        self.placement = placement
        self.cards = {} if placement is None else _cards(placement)

    def _share(self, members: Sequence["Single"]) -> None:
        """Answer with the requests of these from now on."""
        self.members = tuple(members)
        self._pool = Pool([member.requests for member in members])

    @abstractmethod
    def counters(self) -> list[Counter]:
        """Return the mean cost of each layer over the profiled runs."""

    def lend(self) -> AbstractContextManager[Lane]:
        """Lend a request of the least loaded member, waiting for one if need be."""
        return self._pool.lend()

    def infer(self, images: npt.NDArray[np.uint8], *, profile: bool = False) -> Outputs:
        """Run `batch` images and return copies of the outputs.

        Images are uint8 [N,1,S,S] as `thorax.images.preprocess.prepare` makes them, N = `batch`;
        `profile` adds the counters of this run to `counters` and needs `compile(counters=True)`.
        """
        with self.lend() as lane:
            lane.request.infer({0: images}, share_inputs=True)
            return self.members[lane.member].read(lane.request, profile=profile)

    def start(
        self,
        images: npt.NDArray[np.uint8],
        callback: Callable[[Request[Outputs]], object] | None = None,
        *,
        profile: bool = False,
    ) -> Request[Outputs]:
        """Start `batch` images and return at once; the answer comes with the request.

        Requests wait in a line while all streams are busy, and are begun in the order they came;
        where several run at once, a later one may be answered first. Images and `profile` are as
        `infer` takes them, but the images' buffer itself is read, not a copy: leave it as it is
        until the request is answered. The callback is called once, with the request, from another
        thread, when it is done, cancelled or failed.

        Example:
            >>> request = engine.start(images)               # doctest: +SKIP
            >>> request.wait(0).final                        # doctest: +SKIP
            False
            >>> request.result().probability.shape           # doctest: +SKIP
            (1, 14)
        """

        def run(lane: Lane, request: Request[Outputs]) -> Outputs:
            # OpenVINO cancels what `start_async` started, not what `infer` runs or will start.
            lane.request.start_async({0: images}, share_inputs=True)
            if request.stopped:
                lane.request.cancel()
            lane.request.wait()
            return self.members[lane.member].read(lane.request, profile=profile)

        return self._pool.start(run, callback)

    def infer_many(
        self,
        images: Images,
        indices: npt.NDArray[np.int64],
        on_progress: Callable[[int], None] | None = None,
    ) -> Outputs:
        """Run images of a stack, as many side by side as there are streams.

        Images are uint8 [N,S,S], a store's memory map, `indices` int64 [M] in the order of the
        answers; `on_progress` is called with 1 for each image done, from several threads.
        """

        def infer(index: np.int64) -> Outputs:
            outputs = self.infer(images[index][None, None])
            if on_progress:
                on_progress(1)
            return outputs

        with ThreadPoolExecutor(self.streams) as pool:
            rows = list(pool.map(infer, indices))
        return Outputs(
            np.concatenate([row.probability for row in rows]),
            _joined([row.heatmap for row in rows]),
            _joined([row.embedding for row in rows]),
        )


class Single(Engine):
    """An artifact compiled once.

    `compiled` is OpenVINO's, `requests` are as many of it as there are streams; those of a member
    of `MULTI:` the pool has.
    """

    def __init__(
        self,
        artifact: Artifact,
        device: str,
        compiled: ov.CompiledModel,
        *,
        batch: int,
        placement: Placement | None = None,
    ) -> None:
        # AUTO marks a device that stands in while another compiles: "(CPU)".
        named = [name.strip("()") for name in compiled.get_property("EXECUTION_DEVICES")]
        devices = [thorax_name(name) for name in named]
        super().__init__(
            artifact,
            device,
            devices=devices,
            arithmetic=computes_in(compiled, devices, placement.arithmetic if placement else {}),
            streams=int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")),
            batch=batch,
            placement=placement,
        )
        self.compiled = compiled
        integers = self.precision is Precision.INT8
        self.arithmetic = "+".join(multiplies_in(compiled)) if integers else self.compute
        self.requests = [compiled.create_infer_request() for _ in range(self.streams)]
        self._outputs = {name for port in compiled.outputs for name in port.get_names()}
        self._totals = CounterTotals()
        self._share([self])

    def read(self, request: ov.InferRequest, *, profile: bool) -> Outputs:
        """Return copies of what a request answered, and count its layers if that is asked."""
        if profile:
            self._totals.add(request.profiling_info)
        return Outputs(
            request.get_tensor(PROBABILITY).data.copy(),
            request.get_tensor(HEATMAP).data.copy() if HEATMAP in self._outputs else None,
            request.get_tensor(EMBEDDING).data.copy() if EMBEDDING in self._outputs else None,
        )

    def counters(self) -> list[Counter]:
        """Return the mean cost of each layer over the profiled runs."""
        return self._totals.mean()


class Several(Engine):
    """Engines of one artifact that share the work: whoever is least loaded answers.

    Members are in the order of the device string. They have given their requests away: ask them
    what they are, and nothing else.
    """

    def __init__(self, device: str, members: Sequence[Single]) -> None:
        super().__init__(
            members[0].artifact,
            device,
            devices=[name for member in members for name in member.devices],
            arithmetic=[part for member in members for part in member.compute.split("+")],
            streams=sum(member.streams for member in members),
            batch=members[0].batch,
        )
        parts = [part for member in members for part in member.arithmetic.split("+")]
        self.arithmetic = "+".join(dict.fromkeys(parts))
        self.cards = {name: text for member in members for name, text in member.cards.items()}
        self._share(members)

    def counters(self) -> list[Counter]:
        """Return the mean cost of each layer of each member over its own profiled runs."""
        return [
            replace(row, device=row.device or member.device)
            for member in self.members
            for row in member.counters()
        ]


def compile(
    artifact: Artifact,
    device: str = "CPU",
    *,
    hint: Hint = "latency",
    streams: int | None = None,
    batch: int = 1,
    counters: bool = False,
    numerics: Numerics = "bitstream",
    host: HostResources = HostResources(),
) -> Engine:
    """Compile a verified artifact.

    The precision is always set from the card and read back: no device is left to pick its own. A
    simulated FPGA computes in the format of its bitstream, whatever the artifact stores.

    Args:
        artifact: what `thorax.artifact.load` returned.
        device: "CPU", "GPU", "AUTO", "HETERO:GPU,CPU", "FPGA", "HETERO:FPGA,CPU", ...;
            "MULTI:FPGA.0,FPGA.1,CPU" compiles for each of several and lets whichever is least
            loaded answer.
        hint: whether one answer soon or many answers a second matter.
        streams: inferences side by side; None lets the device choose for the hint.
        batch: images of one inference.
        counters: measure every layer, at a small cost.
        numerics: "fp32" leaves the arithmetic of simulated cards out, to compare devices by.
        host: what it may use of the machine.

    Raises:
        DeviceError: `device-unknown`, `device-multi`, `precision-unsupported`, `device-compile`,
            `device-extension` when the graph has custom layers that nobody added; for a simulated
            card `fpga-unprogrammed`, `fpga-layer`, `fpga-openvino` or `fpga-selftest`.
        ModelError: `model-unreadable` when OpenVINO cannot read the graph, `model-batch` when
            the graph is written for one image, or its answers depend on the others of a batch.
    """
    several = is_multi(device)
    members = list_members(device) if several else (device,)
    for member in members:
        require_precision(artifact.card.precision, member, physical_devices(member))
    model = _read_model(artifact, batch)
    common: dict[str, Any] = {"INFERENCE_PRECISION_HINT": artifact.card.precision.compute}
    shared: dict[str, Any] = {"PERFORMANCE_HINT": hint.upper(), "PERF_COUNT": counters}
    if streams is not None:
        common["NUM_STREAMS"] = str(streams)
    if host.threads is not None:
        common |= {"INFERENCE_NUM_THREADS": host.threads, "ENABLE_CPU_PINNING": False}
    if host.cache is not None:
        shared["CACHE_DIR"] = str(host.cache)
    engines = []
    for member in members:
        limited = host.threads is None and member == "CPU" and quota() is not None
        # OpenVINO counts processors, and not what a container pays for.
        config = common | ({"INFERENCE_NUM_THREADS": processors()} if limited else {})
        placed = place(model, member, numerics=numerics) if simulates(member) else None
        if placed is not None:
            compiled = compile_placed(placed, config, shared)
        else:
            compiled = compile_real(model, member, config, shared)
        engines.append(Single(artifact, member, compiled, batch=batch, placement=placed))
    return Several(device, engines) if several else engines[0]


def _read_model(artifact: Artifact, batch: int) -> ov.Model:
    try:
        model = open_core().read_model(artifact.xml, artifact.bin)
    except RuntimeError as error:
        raise missing(artifact, error) or ModelError(
            "model-unreadable", f"{artifact.xml}: {last_line(error)}"
        ) from error
    if batch != 1:
        if artifact.card.one_by_one:
            raise ModelError(
                "model-batch",
                f"{artifact.path.name} takes one image at a time, not {batch}: in a batch its "
                "answers to one image would depend on the others",
            )
        try:
            model.reshape([batch, *list(model.inputs[0].shape)[1:]])
        except RuntimeError as error:
            raise ModelError(
                "model-batch",
                f"{artifact.path.name} takes one image at a time, not {batch}: {last_line(error)}",
            ) from error
        for port in model.outputs:
            # A graph that reads its first image alone would answer for none of the others.
            if port.get_shape()[0] != batch:
                raise ModelError(
                    "model-batch",
                    f"{artifact.path.name} takes one image at a time: of {batch} its output "
                    f"{port.any_name} answers {port.get_shape()[0]}",
                )
    return model


def _cards(placement: Placement) -> dict[str, str]:
    return {
        name: "f32" if placement.arithmetic[name] == "f32" else card_arithmetic(card)
        for name, card in placement.cards.items()
    }


def require_precision(precision: Precision, device: str, parts: Sequence[str]) -> None:
    """Refuse an artifact of a precision that a device would quietly compute in another.

    The parts are the physical devices of the device string, which the message names.

    Raises:
        DeviceError: `precision-unsupported`.
    """
    if precision is Precision.FP11 and not any(is_fpga(part) for part in parts):
        raise DeviceError(
            "precision-unsupported",
            f"{device} does not compute fp11, which is an FPGA's arithmetic; name a card, as "
            "HETERO:FPGA,CPU, or use an artifact of another precision",
        )
    for part in parts:
        if precision not in (Precision.BF16, Precision.INT8) or supports(part, precision):
            continue
        raise DeviceError(
            "precision-unsupported",
            f"{part} takes no {precision.value} artifact: a card computes floating point in "
            "the format of its bitstream; use an artifact of fp32, fp16 or fp11"
            if simulates(part)
            else f"device {part} does not compute {precision.value} natively and would quietly "
            "compute f32 instead; use an artifact of another precision (`thorax devices` "
            "lists what each device has)",
        )


def _joined(parts: list[npt.NDArray[np.float32] | None]) -> npt.NDArray[np.float32] | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None
