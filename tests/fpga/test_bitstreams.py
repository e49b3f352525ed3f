"""The registry of bitstreams."""

import pytest

from thorax.errors import UsageError
from thorax.fpga.bitstreams import BITSTREAMS, find_bitstream
from thorax.fpga.boards import BOARDS


def test_every_bitstream_is_for_a_board_that_is_known() -> None:
    for name, one in BITSTREAMS.items():
        assert one.name == name
        assert one.board in BOARDS


def test_a_bitstream_is_found_by_the_name_of_its_file_too() -> None:
    name = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
    assert find_bitstream(f"{name}.aocx") is find_bitstream(name)


def test_an_unknown_bitstream_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"fpga-bitstream: .*2019R1_RC_FP11_ResNet_SqueezeNet_VGG"):
        find_bitstream("2019R1_RC_FP11_ResNet")
