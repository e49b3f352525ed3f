"""Start from weights that were learned elsewhere: torchvision's ImageNet files, or our own runs.

Radiographs have one channel, ImageNet networks three. A convolution is linear, so the first one
with its kernels summed over the input channels answers to a grey image what the original answers
to three equal channels; that holds for normalised input when mean and standard deviation are the
same in all channels, which is what `IMAGENET_MEAN` and `IMAGENET_STD` are for.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from thorax.errors import ModelError, UsageError, last_line
from thorax.files import atomic
from thorax.files.atomic import sha256
from thorax.files.documents import read_limited
from thorax.isolation.child import Child, ChildError, ChildStartError, ChildTimeoutError
from thorax.isolation.confinement import Allowance, occupied_bytes, path_of_python
from thorax.labels import LabelSet
from thorax.processors import processors
from thorax.training import checkpoint, weight_names, weights_file
from thorax.training.networks import Classifier
from thorax.training.weights_file import Weights, require_header

IMAGENET_MEAN: Final = (0.485 + 0.456 + 0.406) / 3
"""[input] mean for ImageNet weights: the mean of torchvision's three."""
IMAGENET_STD: Final = (0.229 + 0.224 + 0.225) / 3
"""[input] std for ImageNet weights: the mean of torchvision's three."""

_LONGEST_PLACE: Final = 200
_READER: Final = "thorax.training.weights_reader"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was taken from a file of weights.

    Attributes:
        path: of the file, or of the checkpoint folder.
        sha256: of the file, or of the folder's weights.
        tensors: copied.
        head: tensors of the network's head, left freshly initialised; none when it was copied.
        stem_summed: whether the first convolution was summed over the channels of its input.
        match: what was done to the names of the file, "" where they are the network's own.
    """

    path: str
    sha256: str
    tensors: int
    head: tuple[str, ...]
    stem_summed: bool
    match: str = ""


def initialise(
    network: Classifier, topology: str, path: Path, label_set: LabelSet | None = None
) -> Loaded:
    """Give a fresh network the weights of a file or of one of our checkpoints.

    Args:
        network: changed in place; untouched when an error is raised.
        topology: of the network, as a recipe names it.
        path: a state dict as torchvision and training loops save it (.pth, .pth.tar, .pt, .ckpt,
            .bin or .safetensors), a checkpoint folder, or a run.
        label_set: of the network. A checkpoint of the same findings in the same order gives its
            head too; any other's is left out, as ImageNet's always is.

    Raises:
        ModelError: as `load_imagenet` and `thorax.training.checkpoint.load`; `init-topology` for
            a checkpoint of another topology.
    """
    if not path.is_dir():
        return load_imagenet(network, path)
    found = checkpoint.load(path)
    if found.card.topology != topology:
        raise ModelError(
            "init-topology",
            f"{found.path} is a {found.card.topology} but the recipe trains a {topology}; choose "
            "another --init, or change network.topology",
        )
    same = label_set is not None and label_set.findings == found.card.label_set.findings
    return _take(
        network,
        found.network.state_dict(),
        path=found.path,
        digest=found.card.weights_sha256,
        keep_head=same,
    )


def load_imagenet(network: Classifier, path: Path) -> Loaded:
    """Give a network everything but the head of a torchvision ImageNet file.

    Every tensor must be there and fit by name and shape; nothing is dropped silently. Names are
    matched by `thorax.training.weight_names.match`: what stands before all of them, the spelling of
    old DenseNets, counters of batches that are missing from all, and a state dict that stands
    among other things are no matter. Files are read in a child process that can reach nothing
    else, pickles by PyTorch's restricted reader, which runs none of their code.

    The network is of the same topology and width, 1 for published weights, with one or three
    channels; it is changed in place, untouched when an error is raised. A file is .pth or .pt
    (pickle) or .safetensors.

    Raises:
        ModelError: `init-missing`, `init-unreadable`, `init-mismatch`; `init-timeout` or
            `init-crashed` when the file ended the child.

    Example:
        >>> network = build("resnet50", classes=14)  # doctest: +SKIP
        >>> load_imagenet(network, Path("resnet50-0676ba61.pth")).head  # doctest: +SKIP
        ('fc.weight', 'fc.bias')
    """
    weights = _read(path)
    try:
        matched = weight_names.match(
            weights.tensors, network.state_dict(), _head_name(network), keep_head=False
        )
    except weight_names.MatchError as error:
        raise _mismatch(path, str(error), error.advice) from error
    loaded = _take(network, matched.tensors, path=path, digest=sha256(path), keep_head=False)
    return replace(loaded, match=matched.explain(weights.place))


def _read(path: Path) -> Weights:
    """Return the tensors of a stranger's file, which a child reads that can do nothing else."""
    if not path.is_file():
        what = "is no regular file" if path.exists() else "does not exist"
        raise ModelError(
            "init-missing",
            f"{path} {what}; --init takes a state dict (.pth, .pt, .ckpt, .bin, .safetensors) or "
            "a checkpoint folder",
        )
    with atomic.temporary_folder() as folder:
        _convert(path, folder)
        written = folder / weights_file.NAME
        try:
            # The child may have left anything there, and may still change it.
            content = read_limited(written, _allowed(path).file_bytes, links=False)
            entries = require_header(written).get("__metadata__", {})
            place = str(entries.get(weights_file.PLACE, ""))[:_LONGEST_PLACE]
            return Weights(safetensors.torch.load(content), place)
        except (OSError, ValueError, AttributeError, SafetensorError) as error:
            raise _unreadable(path, last_line(error)) from error


def _convert(path: Path, folder: Path) -> None:
    """Have a child write the tensors of a file into a folder; it is gone afterwards."""
    allowed = _allowed(path)
    places = dict.fromkeys(("HOME", "TMPDIR"), str(folder))
    child = Child(_READER, {"OMP_NUM_THREADS": "1", **places})
    try:
        answer = child.ask(
            {
                "path": str(path.absolute()),
                "readable": [str(path.absolute()), os.path.realpath(path)],
                "folder": str(folder),
                "path_of_python": path_of_python(),
                "data_bytes": allowed.data_bytes,
                "file_bytes": allowed.file_bytes,
                "cpu_s": allowed.cpu_s,
            },
            b"",
            allowed.wall_s,
            0,
        )
    except ChildTimeoutError as error:
        raise ModelError(
            "init-timeout",
            f"reading {path} {error} (allowed are {allowed.cpu_s:.0f} s of processor time and "
            f"{allowed.wall_s:.0f} s in all); save a plain state dict anew",
        ) from error
    except ChildStartError as error:
        raise UsageError(
            "child-start", f"the process that reads weights {error}; make room, and repeat"
        ) from error
    except ChildError as error:
        raise ModelError(
            "init-crashed",
            f"the process that was reading {path} {error}; the file is damaged or made to harm, "
            "or memory ran out: save a plain state dict anew",
        ) from error
    finally:
        child.close()
    if "refusal" in answer.head:
        raise _unreadable(path, str(answer.head["refusal"]))


def _allowed(path: Path) -> Allowance:
    return Allowance.of(occupied_bytes(path), processors())


def _take(
    network: Classifier,
    tensors: Mapping[str, Tensor],
    *,
    path: Path,
    digest: str,
    keep_head: bool,
) -> Loaded:
    own = network.state_dict()
    prefix = f"{_head_name(network)}."
    head = () if keep_head else tuple(name for name in own if name.startswith(prefix))
    given = {name: value for name, value in tensors.items() if name not in head}
    stem = next(name for name, value in own.items() if value.ndim == 4)
    first = given.get(stem)
    summed = (
        first is not None
        and (first.ndim, first.shape[1:2], own[stem].shape[1]) == (4, (3,), 1)
        and first.is_floating_point()
    )
    if summed:
        given[stem] = given[stem].double().sum(dim=1, keepdim=True)
    missing = [
        name
        for name in own
        if name not in given and name not in head and not name.endswith(weight_names.COUNTER)
    ]
    _refuse(path, "lacks", missing)
    _refuse(path, "holds, without a place in the network,", [*(given.keys() - own.keys())])
    _refuse(
        path,
        "holds, in another shape than the network,",
        [
            f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}"
            for name, value in given.items()
            if value.shape != own[name].shape
        ],
    )
    _refuse(
        path,
        "holds, without finite numbers,",
        [
            name
            for name, value in given.items()
            if value.is_floating_point() != own[name].is_floating_point()
            or not bool(torch.isfinite(value).all())
        ],
    )
    network.load_state_dict(own | given)
    return Loaded(str(path), digest, len(given), head, summed)


def _refuse(path: Path, what: str, names: Sequence[str]) -> None:
    if names:
        raise _mismatch(path, f"{what} {weight_names.listed(sorted(names))}")


def _mismatch(path: Path, what: str, advice: str = "") -> ModelError:
    usual = (
        "give the weights of the recipe's network.topology; published ones fit network.width 1 "
        "alone"
    )
    return ModelError("init-mismatch", f"{path} {what}; {advice or usual}")


def _head_name(network: Classifier) -> str:
    return next(str(name) for name, module in network.named_modules() if module is network.head)


def _unreadable(path: Path, why: str) -> ModelError:
    return ModelError("init-unreadable", f"{path} cannot be read as weights: {why}")
