import pytest

from thorax.errors import UsageError
from thorax.fpga.formats import FORMATS, find_format


def test_fp11_is_a_sign_and_six_bits_of_magnitude() -> None:
    found = find_format("FP11")
    assert (found.bits, found.magnitude_bits, found.twos_complement) == (7, 6, False)
    assert found.largest == 63 * 2.0**10


def test_a_format_has_one_bit_more_than_its_magnitude() -> None:
    for found in FORMATS.values():
        assert found.bits == found.magnitude_bits + 1


def test_only_formats_without_a_device_are_exploratory() -> None:
    assert [one.name for one in FORMATS.values() if one.exploratory] == ["fp9", "fp8"]


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"fpga-format.*'fp12'.*fp12agx"):
        find_format("fp12")
