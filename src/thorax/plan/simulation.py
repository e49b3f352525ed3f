"""Discrete-event simulation of images on their way through stations, in virtual time.

No clock is read and nobody sleeps: the same network, arrivals and seed give the same answer to the
last bit. Stations serve first come, first served, and are never idle while somebody waits.
"""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Arrivals = Literal["poisson", "constant"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Visit:
    """A stay of a batch at a station.

    Attributes:
        station: number of it.
        image_s: seconds for each image of the batch.
        batch_s: seconds once a batch.
        exponential: whether that is the mean of an exponential distribution, and not the time.
    """

    station: int
    image_s: float
    batch_s: float = 0.0
    exponential: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """A device with its own queue: images wait there for a request, and go with it as a batch.

    Attributes:
        route: stations in order; one may come several times.
        images_per_s: that it makes when kept busy, by which images are dispatched.
        batch: images of a full batch.
        max_delay_s: that an image waits for its batch to fill.
        requests: batches on their way at once.
    """

    route: tuple[Visit, ...]
    images_per_s: float = 1.0
    batch: int = 1
    max_delay_s: float = 0.0
    requests: int = 1 << 30

    @property
    def alone_s(self) -> float:
        """Seconds that an image takes that meets nobody, but for the delay of its batch."""
        return sum(visit.batch_s + visit.image_s for visit in self.route)


@dataclass(frozen=True, slots=True)
class Network:
    """Stations, and devices whose routes go through them.

    Attributes:
        servers: how many batches each station serves at once.
        lanes: at least one.
    """

    servers: tuple[int, ...]
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What happened to the images that left, in the order that they arrived in.

    Attributes:
        arrivals_s: float64 [N], virtual seconds; of a saturated run, when its batch began.
        departures_s: float64 [N], virtual seconds.
        lanes: int64 [N], which device each went through.
        busy_s: seconds of service that each station gave, of all its servers together.
        batches: how many were formed.
    """

    arrivals_s: Floats
    departures_s: Floats
    lanes: npt.NDArray[np.int64]
    busy_s: tuple[float, ...]
    batches: int

    @property
    def latencies_s(self) -> Floats:
        """Of each image from its arrival to its departure."""
        return self.departures_s - self.arrivals_s

    @property
    def window_s(self) -> float:
        """From the first arrival to the last departure."""
        return float(self.departures_s.max() - self.arrivals_s[0])

    def images_per_s(self, warm_up: float = 0.1) -> float:
        """Return the rate of departures from a share of them on; the last instant is left out.

        Several images may leave in one instant, and a run may end in the midst of one.
        """
        departures_s = np.sort(self.departures_s)
        begin_s, end_s = departures_s[int(len(departures_s) * warm_up)], departures_s[-1]
        begin, end = np.searchsorted(departures_s, (begin_s, end_s))
        return float((end - begin) / (end_s - begin_s))


def arrive(arrivals: Arrivals, images_per_s: float, images: int, seed: int = 0) -> Floats:
    """Return when images arrive, float64 [images], ascending.

    For one seed the arrivals of two rates differ by a factor alone, so that rates compare.
    """
    if arrivals == "constant":
        return np.arange(images) / images_per_s
    drawn = np.random.Generator(np.random.Philox(key=seed))
    return np.cumsum(drawn.exponential(size=images)) / images_per_s


def simulate(network: Network, arrivals_s: Floats, *, seed: int = 0) -> Run:
    """Return what happens to images that arrive at given times, float64 [N], ascending; all leave.

    Each goes to the device that would answer it first: where it is, if there is room, done after
    the time of an image alone, and else when those before it are done. Of equal ones that is the
    one with the fewest images. `seed` is of exponential times of service.
    """
    loop = _Loop(network, arrivals_s, seed)
    for image, arrival_s in enumerate(arrivals_s.tolist()):
        loop.run(arrival_s)
        loop.take(image, arrival_s)
    loop.run(float("inf"))
    return loop.result(len(arrivals_s))


def saturate(network: Network, images: int, *, seed: int = 0) -> Run:
    """Return what happens while every request of every device is under way with full batches.

    Every lane has a number of requests that is meant. It ends when so many images have left.
    """
    loop = _Loop(network, np.empty(0), seed, saturated=True)
    for lane in loop.lanes:
        for _ in range(lane.lane.requests):
            loop.refill(lane, 0.0)
    loop.run(float("inf"), until=images)
    return loop.result(loop.answered)


@dataclass(slots=True)
class _Station:
    free: int
    queue: "deque[_Batch]" = field(default_factory=deque)
    busy_s: float = 0.0


@dataclass(slots=True)
class _Device:
    number: int
    lane: Lane
    waiting: deque[int] = field(default_factory=deque)
    inside: int = 0
    requests: int = 0
    timer_s: float = -1.0


@dataclass(slots=True)
class _Batch:
    device: _Device
    images: list[int]
    place: int = 0


class _Loop:
    """The state of a run: who waits where, and what happens next."""

    def __init__(
        self, network: Network, arrivals_s: Floats, seed: int, *, saturated: bool = False
    ) -> None:
        self.stations = [_Station(count) for count in network.servers]
        self.lanes = [_Device(number, lane) for number, lane in enumerate(network.lanes)]
        self.saturated = saturated
        self.arrivals_s: list[float] = arrivals_s.tolist()
        self.departures_s: list[float] = [0.0] * len(self.arrivals_s)
        self.through: list[int] = [0] * len(self.arrivals_s)
        self.answered = 0
        self.batches = 0
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, _Batch | _Device]] = []
        self._number = 0

    def run(self, before_s: float, until: int | None = None) -> None:
        """Let happen what happens up to a time, or until so many images have left."""
        events = self._events
        while events and events[0][0] <= before_s and (until is None or self.answered < until):
            now, _, what = heapq.heappop(events)
            if isinstance(what, _Batch):
                self._complete(what, now)
            else:
                what.timer_s = -1.0
                self._release(what, now)

    def take(self, image: int, now: float) -> None:
        if len(self.lanes) == 1:
            chosen = self.lanes[0]
        else:
            chosen = min(
                self.lanes,
                key=lambda device: (
                    max(device.lane.alone_s, (device.inside + 1) / device.lane.images_per_s),
                    device.inside,
                ),
            )
        chosen.inside += 1
        chosen.waiting.append(image)
        self.through[image] = chosen.number
        self._release(chosen, now)

    def refill(self, device: _Device, now: float) -> None:
        for _ in range(device.lane.batch):
            device.waiting.append(len(self.arrivals_s))
            self.arrivals_s.append(now)
            self.departures_s.append(float("inf"))
            self.through.append(device.number)
            device.inside += 1
        self._release(device, now)

    def result(self, images: int) -> Run:
        departures_s = np.array(self.departures_s)
        gone = np.flatnonzero(np.isfinite(departures_s))
        assert len(gone) == images == self.answered, "every image leaves once"
        return Run(
            np.array(self.arrivals_s)[gone],
            departures_s[gone],
            np.array(self.through, np.int64)[gone],
            tuple(station.busy_s for station in self.stations),
            self.batches,
        )

    def _release(self, device: _Device, now: float) -> None:
        """Form the batches that may leave: full, or with an image that waited long enough."""
        lane, waiting = device.lane, device.waiting
        while waiting and device.requests < lane.requests:
            if len(waiting) < lane.batch:
                due = self.arrivals_s[waiting[0]] + lane.max_delay_s
                if due > now:
                    if device.timer_s != due:
                        device.timer_s = due
                        self._push(due, device)
                    return
            count = min(lane.batch, len(waiting))
            device.requests += 1
            self.batches += 1
            self._enter(_Batch(device, [waiting.popleft() for _ in range(count)]), now)

    def _enter(self, batch: _Batch, now: float) -> None:
        station = self.stations[batch.device.lane.route[batch.place].station]
        if station.free:
            station.free -= 1
            self._serve(batch, station, now)
        else:
            station.queue.append(batch)

    def _serve(self, batch: _Batch, station: _Station, now: float) -> None:
        visit = batch.device.lane.route[batch.place]
        time_s = visit.batch_s + len(batch.images) * visit.image_s
        if visit.exponential:
            time_s *= self._random.expovariate(1.0)
        station.busy_s += time_s
        self._push(now + time_s, batch)

    def _complete(self, batch: _Batch, now: float) -> None:
        device = batch.device
        station = self.stations[device.lane.route[batch.place].station]
        batch.place += 1
        if station.queue:
            self._serve(station.queue.popleft(), station, now)
        else:
            station.free += 1
        if batch.place < len(device.lane.route):
            self._enter(batch, now)
            return
        for image in batch.images:
            self.departures_s[image] = now
        self.answered += len(batch.images)
        device.inside -= len(batch.images)
        device.requests -= 1
        if self.saturated:
            self.refill(device, now)
        else:
            self._release(device, now)

    def _push(self, at_s: float, what: _Batch | _Device) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_s, self._number, what))
