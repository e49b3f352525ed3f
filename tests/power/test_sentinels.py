"""What no sensor reads: the numbers that mean "not available", and more than can be drawn."""

import pytest

from thorax.errors import PeerError
from thorax.power.sentinels import is_sentinel, whole_watts

SENTINELS = (32767, 65534, 65535, 2**31 - 1, 2**32 - 2, 2**32 - 1, 2**63 - 1, 2**64 - 2, 2**64 - 1)


@pytest.mark.parametrize("value", SENTINELS)
def test_all_ones_are_no_reading_as_a_whole_number_and_as_a_float(value: int) -> None:
    assert is_sentinel(value)
    assert is_sentinel(float(value))
    with pytest.raises(PeerError) as refused:
        whole_watts(value, "the BMC")
    assert refused.value.code == "meter-answer"


@pytest.mark.parametrize("value", [0.1, 255, 1023, 4095, 32766, 32768, 65533, 65536])
def test_what_a_machine_may_draw_is_believed(value: float) -> None:
    assert whole_watts(value, "the BMC") == value


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), float("inf"), 1e6 + 1])
def test_what_none_draws_is_refused(value: float) -> None:
    with pytest.raises(PeerError) as refused:
        whole_watts(value, "the BMC")
    assert refused.value.code == "meter-answer"


def test_a_ceiling_that_is_known_is_kept() -> None:
    assert whole_watts(800.0, "the BMC", most_w=800.0) == 800.0
    with pytest.raises(PeerError, match="801 W, and 800 W is the most"):
        whole_watts(801.0, "the BMC", most_w=800.0)
