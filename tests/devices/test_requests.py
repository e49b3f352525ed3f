"""One request, one answer: what is waited for, asked, cancelled, called back and told."""

import logging
import threading

import pytest

from thorax.devices.requests import Lane, Pool, Request, Status
from thorax.errors import DeviceError


class Device:
    """Runs a request until it is let go or told to stop."""

    def __init__(self) -> None:
        self.running, self.go = threading.Event(), threading.Event()
        self.stopped = False

    def run(self, lane: Lane, request: Request[int]) -> int:
        self.running.set()
        assert self.go.wait(30)
        if self.stopped:
            raise RuntimeError("Infer Request was canceled")
        return 7

    def cancel(self) -> None:
        self.stopped = True
        self.go.set()


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def pool(device: Device) -> Pool[int]:
    return Pool([[device]])


def test_a_request_is_asked_without_waiting_and_waited_for(pool: Pool[int], device: Device) -> None:
    first, second = pool.start(device.run), pool.start(device.run)
    assert device.running.wait(30)
    assert first.wait(0) is Status.RUNNING
    assert second.wait(0) is Status.WAITING
    assert second.wait(0.01) is Status.WAITING
    device.go.set()
    assert (first.wait(30), second.wait(30)) == (Status.DONE, Status.DONE)
    assert (first.result(), second.result()) == (7, 7)


def test_one_that_waits_is_cancelled_at_once_and_one_that_runs_is_told_to_stop(
    pool: Pool[int], device: Device
) -> None:
    told: list[Request[int]] = []
    first, second = pool.start(device.run, told.append), pool.start(device.run, told.append)
    assert device.running.wait(30)
    second.cancel()
    assert second.wait(0) is Status.CANCELLED
    assert told == [second]
    first.cancel()
    assert first.wait(30) is Status.CANCELLED
    assert told == [second, first]
    for request in (first, second):
        request.cancel()
        with pytest.raises(DeviceError) as refused:
            request.result()
        assert refused.value.code == "request-cancelled"
    assert told == [second, first]


def test_what_is_done_is_not_cancelled(pool: Pool[int], device: Device) -> None:
    device.go.set()
    request = pool.start(device.run)
    assert request.wait(30) is Status.DONE
    request.cancel()
    assert (request.wait(0), request.result(), device.stopped) == (Status.DONE, 7, False)


@pytest.mark.parametrize("error", [RuntimeError("first\nthe last line"), ZeroDivisionError()])
def test_a_failure_is_the_answer_and_the_next_request_has_its_own(
    pool: Pool[int], device: Device, error: Exception
) -> None:
    def fail(lane: Lane, request: Request[int]) -> int:
        raise error

    told: list[Status] = []
    failed = pool.start(fail, lambda request: told.append(request.status))
    assert failed.wait(30) is Status.FAILED
    assert told == [Status.FAILED]
    if isinstance(error, RuntimeError):
        with pytest.raises(DeviceError, match="the last line") as refused:
            failed.result()
        assert refused.value.code == "request-failed"
        assert refused.value.__cause__ is error
    else:
        with pytest.raises(ZeroDivisionError):
            failed.result()
    device.go.set()
    assert pool.start(device.run).result() == 7


def test_what_a_callback_raises_is_told_and_raised_by_the_result(
    pool: Pool[int], device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Request[int]) -> None:
        raise KeyError("mine")

    device.go.set()
    with caplog.at_level(logging.ERROR):
        request = pool.start(device.run, broken)
        assert request.wait(30) is Status.DONE
    assert "KeyError: 'mine'" in caplog.text
    with pytest.raises(KeyError, match="mine"):
        request.result()
    # What was wrong with the request itself is told first.
    cancelled = pool.start(device.run, broken)
    cancelled.cancel()
    if cancelled.wait(30) is Status.CANCELLED:
        with pytest.raises(DeviceError):
            cancelled.result()


def test_a_callback_may_ask_for_its_answer_and_start_and_await_others(
    pool: Pool[int], device: Device
) -> None:
    answers: list[int] = []

    def more(request: Request[int]) -> None:
        answers.append(request.result())
        assert request.wait() is Status.DONE
        # The one lane is free again: nobody waits for himself here.
        answers.append(pool.start(device.run).result())

    device.go.set()
    request = pool.start(device.run, more)
    assert request.wait(30) is Status.DONE
    assert answers == [7, 7]


def test_an_answer_waits_for_its_callback(pool: Pool[int], device: Device) -> None:
    through = threading.Event()

    def slow(request: Request[int]) -> None:
        assert go.wait(30)
        through.set()

    go = threading.Event()
    device.go.set()
    request = pool.start(device.run, slow)
    assert request.wait(0.01) in (Status.WAITING, Status.RUNNING, Status.DONE)
    go.set()
    request.wait()
    assert through.is_set()


def test_cancelling_and_answering_at_once_give_one_answer(device: Device) -> None:
    pool: Pool[int] = Pool([[device, device], [device]])
    device.go.set()
    told: list[Request[int]] = []
    lock = threading.Lock()

    def tell(request: Request[int]) -> None:
        with lock:
            told.append(request)

    def stop(turn: int) -> None:
        for request in requests[turn::2]:
            request.cancel()

    requests = [pool.start(lambda lane, request: 7, tell) for _ in range(300)]
    threads = [threading.Thread(target=stop, args=[turn]) for turn in range(2)]
    for thread in threads:
        thread.start()
    ends = [request.wait(30) for request in requests]
    for thread in threads:
        thread.join()
    assert all(end.final for end in ends)
    assert len(told) == len(requests) == len({id(request) for request in told})
    for request, end in zip(requests, ends, strict=True):
        assert request.status is end
