"""The registry of bitstreams says of each what is known, and what is assumed."""

import pytest

from thorax.errors import UsageError
from thorax.fpga.architecture import format_architecture, parse_architecture
from thorax.fpga.bitstreams import BITSTREAMS, bitstreams_for, find_bitstream
from thorax.fpga.boards import BOARDS
from thorax.fpga.formats import FORMATS

RESNET = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"


@pytest.mark.parametrize("name", BITSTREAMS)
def test_a_bitstream_is_what_its_name_says(name: str) -> None:
    one = find_bitstream(name)
    assert one.name == name
    assert one.board in BOARDS
    assert one.precision in FORMATS
    assert f"_{one.precision.upper()}_" in name
    assert all(topology in name for topology in one.topologies)
    assert ("Clamp" in one.activations) == ("Clamp" in name)


@pytest.mark.parametrize("name", BITSTREAMS)
def test_the_architecture_of_a_bitstream_has_its_precision_and_its_activations(name: str) -> None:
    one = find_bitstream(name)
    architecture = one.architecture
    assert architecture.precision == one.precision
    assert architecture.family == BOARDS[one.board].family
    assert set(architecture.ranges.activations) == set(one.activations)
    assert bool(architecture.auxiliary.norm_k) == one.normalisation
    assert one.block == architecture.c_vector
    assert architecture.name.endswith(one.precision)
    # No source tells which architecture a bitstream holds.
    assert "architecture" in one.assumed


def test_the_cards_of_2018_and_2019_have_the_architecture_whose_speed_theirs_is() -> None:
    old, new = find_bitstream("4-0_RC_FP11_Generic"), find_bitstream(RESNET)
    assert (old.architecture.name, old.block) == ("8x48-fp11", 8)
    assert (new.architecture.name, new.block) == ("4x2x16x64-fp11", 16)


def test_the_activations_of_2020_4_are_told_and_the_earlier_ones_assumed() -> None:
    told = find_bitstream("2020-4_PL2_FP11_YoloV3_ELU")
    assert told.activations == ("Relu", "PRelu", "Elu")
    assert told.assumed == ("architecture",)
    assert find_bitstream("2020-4_PL2_FP11_InceptionV1_ResNet_VGG").activations == ("Relu",)
    assert find_bitstream("2020-4_RC_FP11_AlexNet_GoogleNet_Generic").normalisation
    assert "activations" in find_bitstream(RESNET).assumed


@pytest.mark.parametrize("name", BITSTREAMS)
def test_all_that_a_bitstream_is_taken_to_hold_is_listed_as_assumed_or_calibrated(
    name: str,
) -> None:
    bitstream = find_bitstream(name)
    held = bitstream.architecture
    listed = {field.partition(".")[0] for field in (*held.assumptions, *held.calibrated)}
    told = {"name", "family", "precision", "weights", "budget", "flags", "source", "assumed",
            "calibrated"}  # fmt: skip
    assert listed | told == set(type(held).model_fields)
    assert listed.isdisjoint(told)
    known = "activations" not in bitstream.assumed
    assert ("ranges.max_kernel" in held.assumed) is known
    assert "ranges.activations" not in held.assumed
    assert "assumed of bitstream" in held.source
    # It is read back with its sizes, which all are assumed.
    assert parse_architecture(format_architecture(held)).vectors == held.vectors


def test_the_words_of_a_name_that_are_no_network_are_none() -> None:
    assert find_bitstream(RESNET).topologies == ("ResNet", "SqueezeNet", "VGG")
    assert find_bitstream("4-0_RC_FP11_Generic").topologies == ()


def test_every_board_of_the_time_has_bitstreams_and_the_later_ones_none() -> None:
    assert all(bitstreams_for(board) for board in ("pac-a10", "a10dk", "mustang-sg1"))
    assert bitstreams_for("de10-agilex") == ()


def test_a_bitstream_is_found_by_the_name_of_its_file_too() -> None:
    assert find_bitstream(f"{RESNET}.aocx") is find_bitstream(RESNET)


def test_case_tells_no_two_bitstreams_apart() -> None:
    assert len({name.lower() for name in BITSTREAMS}) == len(BITSTREAMS)
    assert find_bitstream(RESNET.lower()) is find_bitstream(RESNET)
    assert find_bitstream(f"{RESNET}.AOCX".upper()) is find_bitstream(RESNET)


def test_an_unknown_bitstream_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"fpga-bitstream: .*2019R1_RC_FP11_ResNet_SqueezeNet_VGG"):
        find_bitstream("2019R1_RC_FP11_ResNet")
