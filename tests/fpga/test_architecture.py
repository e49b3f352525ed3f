"""Architectures: those that come along, files, and the strings of old bitstreams."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.config import write_effective
from thorax.errors import UsageError
from thorax.fpga.architecture import (
    OverlayPrecision,
    find_architecture,
    format_architecture,
    list_architectures,
    parse_architecture,
)
from thorax.fpga.formats import FORMATS

STRINGS = (
    "4x2x16x32_fp16_sb9408_fcd1024_actk4_poolk4_normk1_owk2_image300x300x8192_mbfr",
    "dla_8x16_fp11_sb10800_i1_actk2_poolk2_normk2_owk2_image224x224x4096_prelu_osk.aocx",
    "4X2X16X64_fp11_sb18823_i1_actk8_poolk8_owk8_image224x224",
)
"""As they stand in OpenVINO's and a board maker's documents."""


@pytest.mark.parametrize("text", STRINGS)
def test_a_string_comes_back_as_it_was(text: str) -> None:
    architecture = parse_architecture(text)
    plain = text.lower().removeprefix("dla_").removesuffix(".aocx")
    assert format_architecture(architecture) == plain
    assert parse_architecture(plain) == architecture


def test_a_string_says_sizes_depths_widths_and_the_largest_image() -> None:
    found = parse_architecture(STRINGS[0])
    sizes = (found.p_vector, found.q_vector, found.c_vector, found.k_vector)
    assert sizes == (4, 2, 16, 32)
    assert found.macs_per_cycle == 4096
    assert (found.precision, found.stream_buffer_depth, found.filter_cache_depth) == (
        "fp16", 9408, 1024,
    )  # fmt: skip
    aux = found.auxiliary
    assert (aux.activation_k, aux.pool_k, aux.norm_k, aux.output_writer_k) == (4, 4, 1, 2)
    ranges = found.ranges
    assert (ranges.max_height, ranges.max_width, ranges.max_channels) == (300, 300, 8192)
    assert found.flags == ("mbfr",)
    assert found.assumed == (
        "clock_hz", "interfaces", "memory", "interleave", "accumulator", "group_slicing",
    )  # fmt: skip
    assert found.assumptions == (*found.assumed, "overhead_cycles")
    assert "mbfr changes nothing here" in found.source


def test_what_a_string_leaves_open_is_listed_as_assumed() -> None:
    found = parse_architecture(STRINGS[1])
    assert (found.c_vector, found.k_vector) == (8, 16)
    assert {"p_vector", "q_vector", "filter_cache_depth"} <= set(found.assumed)
    assert found.ranges.activations == ("Relu", "PRelu")


@given(
    st.lists(st.integers(1, 64), min_size=4, max_size=4),
    st.sampled_from(["fp8", "fp9", "fp11", "fp12agx", "fp13agx", "fp16"]),
    st.integers(1, 99999),
    st.dictionaries(st.sampled_from(["fcd", "actk", "poolk", "normk", "owk"]),
                    st.integers(1, 4096)),
)  # fmt: skip
def test_any_string_comes_back(
    sizes: list[int], precision: str, depth: int, parts: dict[str, int]
) -> None:
    words = ["x".join(map(str, sizes)), precision, f"sb{depth}"]
    words += [f"{key}{value}" for key, value in parts.items()]
    architecture = parse_architecture("_".join(words))
    again = parse_architecture(format_architecture(architecture))
    assert again.model_copy(update={"name": architecture.name}) == architecture


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("4x2x16_fp11_sb9408", "'4x2x16'"),
        ("8x48", "'8x48'"),
        ("8x48_fp12_sb1", "'fp12'"),
        ("8x48_fp11", "at its end"),
        ("8x48_fp11_sb", "'sb'"),
        ("8x48_fp11_sb9_actk", "'actk'"),
        ("8x48_fp11_sb9_fast3", "'fast3'"),
        ("8x48_fp11_sb9_sb9", "sb once"),
        ("8x48_fp11_sb9_image224", "'image224'"),
        ("8x48_fp11_sb9_3d", "'3d'"),
        ("8x48_fp11_sb9_i2", "interfaces"),
        ("8x48_fp11_sb9_owk0", "output_writer_k"),
    ],
)
def test_a_string_that_is_wrong_is_refused_where_it_is_wrong(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part) as refused:
        parse_architecture(text)
    assert refused.value.code in ("fpga-architecture", "config-value")


@pytest.mark.parametrize("name", list_architectures())
def test_an_architecture_that_comes_along_says_where_it_is_known_from(name: str) -> None:
    found = find_architecture(name)
    assert found.name == name
    assert found.source
    assert set(found.assumed).isdisjoint(found.calibrated)


def test_at_most_two_architectures_are_calibrated_and_only_their_clocks() -> None:
    calibrated = {
        name: found.calibrated
        for name in list_architectures()
        if (found := find_architecture(name)).calibrated
    }
    assert calibrated == {"8x48-fp11": ("clock_hz",), "4x2x16x64-fp11": ("clock_hz",)}


def test_the_string_of_a_bitstream_is_the_architecture_that_comes_along() -> None:
    found = find_architecture("4x2x16x64-fp11")
    parsed = parse_architecture(STRINGS[2])
    for field in ("p_vector", "q_vector", "c_vector", "k_vector", "stream_buffer_depth"):
        assert getattr(found, field) == getattr(parsed, field)
    assert found.auxiliary == parsed.auxiliary


def test_a_file_holds_every_setting_and_comes_back(tmp_path: Path) -> None:
    written = tmp_path / "arch.toml"
    for name in list_architectures():
        architecture = find_architecture(name)
        write_effective(architecture, written, signed=True)
        assert find_architecture(str(written)) == architecture
    assert find_architecture(str(written)) == architecture


def test_a_file_that_was_edited_or_that_nobody_signed_says_so(tmp_path: Path) -> None:
    written = tmp_path / "arch.toml"
    architecture = find_architecture("8x48-fp11")
    write_effective(architecture, written, signed=True)
    written.write_text(written.read_text("utf-8").replace("clock_hz = 281", "clock_hz = 381"))
    edited = find_architecture(str(written))
    assert edited.clock_hz == 381e6
    assert edited.name == "8x48-fp11 (arch.toml, edited)"
    assert edited.source.startswith("arch.toml: edited since thorax fpga search wrote it")
    assert edited.source.endswith(f"said by the file: {architecture.source}")
    assert edited.calibrated == ()
    assert {"clock_hz", "c_vector", "memory"} <= set(edited.assumptions)
    write_effective(architecture, written)
    unsigned = find_architecture(str(written))
    assert unsigned.name == "8x48-fp11 (arch.toml, unsigned)"
    assert unsigned.source.startswith("arch.toml: not written by thorax fpga search")
    assert (unsigned.calibrated, unsigned.assumed) == ((), edited.assumed)


def test_a_misspelt_key_is_named_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "arch.toml"
    file.write_text('name = "x"\nc_vector = 8\nk_vectr = 8\nstream_buffer_depth = 1\n')
    with pytest.raises(UsageError, match="k_vector") as refused:
        find_architecture(str(file))
    assert refused.value.code == "config-key"


@pytest.mark.parametrize("key", ["assumed", "calibrated"])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [("auxiliary.pool", "auxiliary.pool_k"), ("clock", "clock_hz"), ("budget.dps", "budget.dsp")],
)
def test_a_wrong_name_of_what_is_assumed_is_told_with_the_nearest(
    tmp_path: Path, key: str, name: str, nearest: str
) -> None:
    file = tmp_path / "x.toml"
    head = 'name = "x"\nc_vector = 8\nk_vector = 8\nstream_buffer_depth = 1\n'
    file.write_text(f'{head}{key} = ["memory", "{name}"]\n')
    with pytest.raises(UsageError) as refused:
        find_architecture(str(file))
    assert f"{key} is ['memory', '{name}']" in str(refused.value)
    assert f"{name!r} is none; the nearest is {nearest!r}" in str(refused.value)


def test_what_is_no_architecture_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="8x48-fp11") as refused:
        find_architecture("fast")
    assert refused.value.code == "fpga-architecture"


def test_precisions_are_the_formats() -> None:
    assert set(get_args(OverlayPrecision)) == set(FORMATS)


def test_bytes_of_a_weight_are_those_of_whole_blocks() -> None:
    # 16 numbers of 7 bits and 5 bits of exponent are 117 bits: 15 bytes.
    assert find_architecture("4x2x16x64-fp11").weight_bytes == 15 / 16
    assert find_architecture("8x48-fp11").weight_bytes == 1
    assert find_architecture("4x2x16x32-fp16").weight_bytes == 25 / 16
    wide = find_architecture("8x48-fp11").model_copy(update={"precision": "fp16"})
    assert (wide.c_vector, wide.weight_bytes) == (8, 13 / 8)
