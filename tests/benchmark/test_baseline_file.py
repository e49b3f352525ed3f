"""What is read as a baseline is a benchmark whose figures are figures, and can show a loss."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.benchmark.documents import digested, run

from thorax.benchmark.baseline import read_baseline
from thorax.errors import DataError
from thorax.files.documents import parse_json
from thorax.results.benchmark import BenchmarkResult, read_undamaged


def test_a_benchmark_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    document = digested(run(100.0, {"more": "of a newer version is passed over"}))
    path.write_text(json.dumps(document))
    assert parse_json(read_undamaged(path)) == document
    baseline = read_baseline(path)
    assert baseline.document() == BenchmarkResult.read(document).document()
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(document, indent=2).encode())
    assert read_baseline(path) == baseline


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "baseline-unreadable"),
        ("[]", "baseline-not-a-benchmark"),
        ('{"command": "validate", "images_per_s": 3}', "baseline-not-a-benchmark"),
    ],
)
def test_what_is_no_benchmark_is_no_baseline(tmp_path: Path, content: str, code: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=f"{code}: .*x.json"):
        read_baseline(path)


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"images_per_s": 0}, "images_per_s"),
        ({"images_per_s": True}, "images_per_s"),
        ({"images_per_s": -1.0}, "images_per_s"),
        ({"images_per_s_per_w": 0.0}, "images_per_s_per_w"),
        ({"latency_ms": [1, 2]}, "latency_ms"),
        ({"latency_ms": {"p99": 0.0}}, "latency_ms.p99"),
        ({"slices": {"images_per_s": ["90"] * 20, "latency_p99_ms": [1.0] * 20}}, "slices"),
        ({"environment": {"devices": ["CPU"]}}, "environment.devices"),
    ],
)
def test_a_figure_that_is_none_is_refused_by_its_name(
    tmp_path: Path, changed: dict[str, Any], where: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(digested(run(100.0, changed))))
    with pytest.raises(DataError, match=rf"baseline-not-a-benchmark: .*\({where}"):
        read_baseline(path)


@pytest.mark.parametrize(
    "slices", [None, {"images_per_s": [], "latency_p99_ms": []},
               {"images_per_s": [1.0] * 9, "latency_p99_ms": [1.0] * 9}],
)  # fmt: skip
def test_a_document_without_a_spread_is_refused_for_no_loss_against_it_would_be_sure(
    tmp_path: Path, slices: dict[str, Any] | None
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(digested(run(100.0, {"slices": slices}))))
    with pytest.raises(DataError, match=r"baseline-no-slices: .*x\.json has fewer than 10 slices"):
        read_baseline(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "benchmark", "images_per_s": Infinity}',
        '{"command": "benchmark", "images_per_s": NaN}',
        '{"command": "benchmark", "images_per_s": 1e999}',
        '{"a":' * 100_000,
        '{"command": "benchmark", "x": ' + "9" * 5000 + "}",
        "",
    ],
)
def test_numbers_and_depths_that_no_benchmark_prints_are_no_document(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match="baseline-unreadable") as refused:
        read_baseline(path)
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("depth", [200, 500, 900, 3000, 10_000])
def test_a_document_that_is_nested_is_never_a_fault_of_the_reader(
    tmp_path: Path, depth: int
) -> None:
    path = tmp_path / "x.json"
    deep = '{"a":' * depth + "1" + "}" * depth
    path.write_text('{"command": "benchmark", "sha256": "0", "x": ' + deep + "}")
    with pytest.raises(DataError, match=r"baseline-(damaged|unreadable)"):
        read_baseline(path)


def test_a_document_without_a_digest_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(run(100.0)))
    with pytest.raises(
        DataError, match=r"baseline-damaged: .*x.json has no sha256.*measure it anew"
    ):
        read_baseline(path)


def test_no_changed_bit_of_a_baseline_is_taken_for_a_figure(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    document = digested({**run(100.0), "slices": None})
    whole = json.dumps(document, indent=2).encode()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place * 5 % 8
        path.write_bytes(changed)
        read = None
        with suppress(DataError):
            read = parse_json(read_undamaged(path))
        # An exponent in the other case, or a space of another kind: the same document.
        assert read in (None, document)
