"""Which result files are evidence, which are passed over with a reason, and which are damaged."""

import json
import math
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import pytest
from benchmarks.harness import load, result
from benchmarks.harness.side_by_side import _positive, _share
from benchmarks.record.admission import why_damaged, why_not
from benchmarks.record.evidence import Evidence, EvidenceError

NAME = "speed_amd-epyc-2-cores-bf16_2026-12-01T1555"


def measured(**keys: object) -> dict[str, Any]:
    """Return a result that compares two sides, by the rules of now."""
    return {
        "claim": "speed",
        "commit": "3336858d70fb",
        "hardware": {"cpu": "A CPU", "processors": 2, "instructions": ["avx2"]},
        "load": {"others_share": 0.03, "allowed_share": 0.1},
        "comparisons": [comparison()],
        **keys,
    }


def comparison(**wall: object) -> dict[str, Any]:
    return {"name": "a over b", "wall": {"ratio": 1.1, "low": 1.0, "high": 1.2, **wall}}


def test_a_result_of_committed_code_on_a_quiet_machine_counts() -> None:
    assert why_damaged(NAME, measured()) is None
    assert why_not(measured()) is None
    assert why_not({"claim": "of old", "comparisons": [{"ratio": 2.0}]}) is None


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"load": {"others_share": 0.93, "allowed_share": 0.1}}, "more load of others"),
        ({"load": {"others_share": 0.2, "allowed_share": 0.3}}, "more load of others"),
        ({"load": {"others_share": 0.2, "allowed_share": math.nan}}, "more load of others"),
        ({"load": {"others_share": math.nan, "allowed_share": 0.1}}, "more load of others"),
        ({"load": {"allowed_share": 0.1}}, "more load of others"),
        ({"load": None}, "beside which load"),
        ({"commit": None}, "of which commit"),
        ({"commit": "3336858d70fb-DIRTY"}, "not committed"),
        ({"runs": [{"commit": "abcdef0"}, {"commit": "abcdef0-dirty"}]}, "not committed"),
        ({"commits": {"before": "abcdef0", "after": "abcdef0-dirty"}}, "not committed"),
        ({"for_record": False}, "rehearsal"),
    ],
)
def test_what_is_no_evidence_is_passed_over_with_the_reason(
    keys: dict[str, Any], why: str, tmp_path: Path
) -> None:
    assert why in str(why_not(measured(**keys)))
    (tmp_path / f"{NAME}.json").write_text(json.dumps(measured(**keys)), "utf-8")
    evidence = Evidence(tmp_path)
    assert evidence.claims == []
    assert why in evidence.passed_over[f"{NAME}.json"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "damaged"),
        (json.dumps(measured())[:-40], "damaged"),
        ("[]", "no object with a claim"),
        (json.dumps({"date": "2026-12-01"}), "no object with a claim"),
        (json.dumps(measured(comparisons={})), "no list"),
        (json.dumps(measured(hardware=None)), "of which hardware"),
        (json.dumps(measured(comparisons=[comparison(ratio=math.nan)])), "no positive number"),
        (json.dumps(measured(comparisons=[comparison(ratio="1.0")])), "no positive number"),
        (json.dumps(measured(comparisons=[comparison(low=-1.0)])), "no positive number"),
        (json.dumps(measured(comparisons=[{"name": "a", "wall": {}}])), "no positive number"),
        (json.dumps(measured(comparisons=[comparison(ratio=0.5)])), "outside its interval"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.json").write_text(text, "utf-8")
    with pytest.raises(EvidenceError, match=f"{NAME}.json is damaged: .*") as caught:
        Evidence(tmp_path)
    assert why in str(caught.value)


@pytest.mark.parametrize("name", ["foo", "speed_machine_2099-13-45T9999", "speed_2026-12-01"])
def test_a_name_without_claim_machine_and_date_is_refused(name: str) -> None:
    assert why_damaged(name, measured()) == "its name is no CLAIM_MACHINE_DATE"


def test_seconds_and_shares_that_no_run_can_have_are_refused() -> None:
    for text in ("nan", "inf", "-1", "0"):
        with pytest.raises(ArgumentTypeError, match="no positive number"):
            _positive(text)
    for text in ("nan", "-1", "2"):
        with pytest.raises(ArgumentTypeError, match="no share"):
            _share(text)
    assert (_positive("0.5"), _share("0.1")) == (0.5, 0.1)
    with pytest.raises(SystemExit, match="others used 90%"):
        load.require("claim", 0.9, "beside it", math.nan)


def test_the_record_is_no_folder_of_rehearsals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import argparse
    import sys

    monkeypatch.setattr(sys, "argv", ["claim", "--rehearsal", str(result.RESULTS)])
    with pytest.raises(SystemExit):
        result.parse_args(argparse.ArgumentParser())
    assert "--rehearsal is the folder of the record" in capsys.readouterr().err
