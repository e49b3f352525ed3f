"""Weights of strangers are read where they can neither reach, run, fill nor hold up anything."""

import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from thorax.errors import ModelError, UsageError
from thorax.isolation import confinement
from thorax.training import pretrained, weights_file
from thorax.training.networks import build


def pickled(path: Path, instructions: bytes) -> None:
    """Write a PyTorch file whose pickle is these instructions (pickletools names them)."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + instructions + b".")
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")


def long(value: int) -> bytes:
    """Return the instruction that pushes a number."""
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def failure(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        pretrained.load_imagenet(build("resnet18", classes=3, width=0.125), path)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 700
    return caught.value


def spread(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)


def filled(path: Path) -> None:
    # 8 GiB, which the machine might well give.
    pickled(path, b"}X\x01\0\0\0acbuiltins\nbytearray\n" + long(1 << 33) + b"\x85Rs")


def filled_by_a_tensor(path: Path) -> None:
    side = long(1 << 17)
    pickled(path, b"}X\x01\0\0\0actorch\nTensor\n" + side + side + b"\x86Rs")


def calling(path: Path) -> None:
    pickled(path, b"cos\nsystem\nX\x04\0\0\0true\x85R")


def modelled(path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), path)


def garbled(path: Path) -> None:
    pickled(path, b"\x93")


def named_long(path: Path) -> None:
    torch.save({"\x1b[2J" + "a" * 100_000: 3}, path)


def many(path: Path) -> None:
    torch.save({str(number): number for number in range(30_000)}, path)


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (spread, "its tensors have 4,398,046,511,104 bytes"),
        (filled, "more memory than a file of its size may take"),
        (filled_by_a_tensor, "more memory than a file of its size may take"),
        (calling, r"asks for code \(os.system\), which is not run"),
        (modelled, r"asks for code \(torch.nn.modules.linear.Linear\), which is not run"),
        (garbled, "its pickle is not one of weights: Unsupported operand 147; save"),
        (named_long, "is a int, not a plain tensor"),
        (many, "names 30000 tensors"),
    ],
)
def test_a_hostile_file_is_refused_in_one_line(
    write: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.pth")
    error = failure(tmp_path / "a.pth")
    assert error.code == "init-unreadable"
    assert re.search(why, error.message), error.message


def test_a_file_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "CPU_S", 8.0)
    # A tuple that holds the one before twice, 60 deep: to hash it, as the key of a dict, takes
    # 2**60 steps.
    deep = b")" + b"q\x00h\x00\x86" * 60
    pickled(tmp_path / "a.pth", b"}" + deep + b"K\x01s")
    assert failure(tmp_path / "a.pth").code == "init-timeout"


def test_a_reader_that_dies_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    (tmp_path / "dying.py").write_text(
        "from thorax.isolation import child\ndef main(): child.answer(lambda head, data: 1 / 0)\n"
    )
    monkeypatch.setattr("thorax.isolation.child._ROOT", str(tmp_path))
    monkeypatch.setattr(pretrained, "_READER", "dying")
    assert failure(tmp_path / "a.pth").code == "init-crashed"


def test_a_reader_that_does_not_start_is_no_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    monkeypatch.setattr(pretrained, "_READER", "thorax.training.none")
    with pytest.raises(UsageError) as refused:
        pretrained._read(tmp_path / "a.pth")
    assert refused.value.code == "child-start"


@pytest.mark.parametrize("left", ["fifo", "link", "folder"])
def test_what_a_child_leaves_in_the_place_of_weights_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    safetensors.torch.save_file({"secret": torch.ones(1)}, tmp_path / "secret.safetensors")

    def convert(_: Path, folder: Path) -> None:
        place = folder / weights_file.NAME
        if left == "fifo":
            os.mkfifo(place)
        elif left == "link":
            place.symlink_to(tmp_path / "secret.safetensors")
        else:
            place.mkdir()

    monkeypatch.setattr(pretrained, "_convert", convert)
    assert failure(tmp_path / "a.pth").code == "init-unreadable"


def test_nothing_is_left_of_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    network = build("resnet18", classes=3, width=0.125)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    pretrained.load_imagenet(network, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"")
    failure(tmp_path / "b.pth")
    assert not list(folder.iterdir())


def test_tensors_are_written_as_they_are(tmp_path: Path) -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    given: dict[str, Tensor] = {
        "turned": shared.T,
        "the same": shared,
        "a part": shared[1:, 2],
        "bf16": shared.bfloat16(),
        "a number": torch.tensor(7),
        "a parameter": torch.nn.Parameter(shared),
        "of nothing": torch.zeros(0, 3),
    }
    torch.save(given, tmp_path / "a.pth")
    out = tmp_path / weights_file.NAME
    assert weights_file.convert(tmp_path / "a.pth", out) is None
    written = safetensors.torch.load_file(out)
    assert written.keys() == given.keys()
    for name, tensor in given.items():
        assert torch.equal(written[name], tensor)
        assert written[name].dtype == tensor.dtype
