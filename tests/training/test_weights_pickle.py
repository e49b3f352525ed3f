"""What training loops save beside weights is passed over; nothing of it is made or run."""

import argparse
import datetime
import pathlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from thorax.training import weights_file, weights_pickle

BESIDE = {
    "epoch": np.int64(3),
    "best": np.float64(0.83),
    "rows": np.arange(3.0),
    "state": np.random.RandomState(1).get_state(),
    "args": argparse.Namespace(lr=1e-3, data=pathlib.PurePosixPath("/data")),
    "begun": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "history": defaultdict(list, loss=[0.5]),
}


@pytest.mark.parametrize("archive", [True, False])
def test_what_lies_beside_weights_is_passed_over(tmp_path: Path, archive: bool) -> None:
    content = {**BESIDE, "state_dict": {"a": torch.ones(2)}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=archive)
    weights = weights_file.find(weights_file._read(tmp_path / "a.pth"))
    assert weights.place == "state_dict"
    assert list(weights.tensors) == ["a"]


@pytest.mark.parametrize("code", weights_pickle._TYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_the_tensors_of_their_values(tmp_path: Path, code: str, order: str) -> None:
    array = np.arange(6).reshape(3, 2).astype(code, order=order)  # type: ignore[call-overload]
    torch.save({"a": array, "empty": array[:0]}, tmp_path / "a.pth")
    weights = weights_file.find(weights_file._read(tmp_path / "a.pth"))
    np.testing.assert_array_equal(weights.tensors["a"].numpy(), array)
    assert weights.tensors["empty"].shape == (0, 2)


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.array([None]), np.arange(3, dtype=">f4"), np.zeros(1, "c8")]
)
def test_arrays_of_anything_else_are_no_weights(
    tmp_path: Path, array: np.ndarray[tuple[int], np.dtype[np.generic]]
) -> None:
    torch.save({"a": array}, tmp_path / "a.pth")
    with pytest.raises(weights_file.NotWeightsError, match="not a plain tensor"):
        weights_file.find(weights_file._read(tmp_path / "a.pth"))


def test_state_dicts_of_which_none_is_the_networks_are_named() -> None:
    state = {"a": torch.ones(1)}
    with pytest.raises(weights_file.NotWeightsError, match=r"2 state dicts \(teacher, student\)"):
        weights_file.find({"epoch": 3, "teacher": state, "student": state})


def test_stand_ins_are_there_while_a_file_is_read_and_not_after(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "args": argparse.Namespace(b=1)}, tmp_path / "a.pth")
    with weights_pickle.stand_ins():
        content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert type(content["args"]) is weights_pickle.Inert
    assert not hasattr(content["args"], "b")
    with pytest.raises(Exception, match=r"argparse\.Namespace"):
        torch.load(tmp_path / "a.pth", weights_only=True)
