"""Architectures that no one builds are refused with what is allowed, or modelled in numbers."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.networks import Builder

from thorax.config import check
from thorax.errors import UsageError
from thorax.fpga.architecture import Architecture, find_architecture
from thorax.fpga.estimate import analyze
from thorax.fpga.workload import describe

BASE: dict[str, Any] = find_architecture("4x2x16x64-fp11").model_dump(
    mode="json", exclude_none=True
)
EXTREME = (
    0, 1, 7, 4096, 65536, 2**31, 10**9, 10**30, -1, 1e-300, 1e-6, 0.5, 1e12, 1e15, 1e308, -0.0,
)  # fmt: skip


def places(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from places(value, (*path, key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key)


def network() -> Any:  # noqa: ANN401
    graph = Builder(32)
    return describe(graph.model(graph.conv(graph.conv(graph.image, 16, 3), 32, 3)))


LAYERS = network()


@given(
    st.dictionaries(st.sampled_from(list(places(BASE))), st.sampled_from(EXTREME), max_size=5),
    st.sampled_from([1, 65536]),
)
@settings(max_examples=100)
def test_an_overlay_of_extremes_is_refused_or_estimated_in_numbers(
    changes: dict[tuple[str, ...], float], batch: int
) -> None:
    table = json.loads(json.dumps(BASE))
    for (*path, last), value in changes.items():
        part = table
        for key in path:
            part = part[key]
        part[last] = value
    try:
        overlay = check(table, Architecture, "test")
    except UsageError as error:
        code: str | None = error.code
    else:
        code = None
    if code is not None:
        assert code == "config-value"
        return
    result = analyze("net", LAYERS, overlay, batch=batch, board=None)
    assert json.loads(result.to_json())


@pytest.mark.parametrize(
    "text",
    [
        "9" * 5000 + "x4_fp11_sb1",
        "4x2x16x64_fp11_sb" + "9" * 5000,
        "٣x٣_fp11_sb1",
        "4x2x16x64_fp11_sb999999999999",
        "4x2x16x64_fp11_sb1_image0x0",
        "0x0x0x0_fp11_sb0",
        "_" * 1000,
        "x" * 100_000,
        "/dev/zero",
        "",
    ],
    ids=lambda text: text[:20],
)
def test_a_string_that_is_none_is_refused_in_a_line_that_can_be_read(text: str) -> None:
    with pytest.raises(UsageError, match=r"^(fpga-architecture|config-value): ") as refused:
        find_architecture(text)
    assert len(str(refused.value)) < 1000
