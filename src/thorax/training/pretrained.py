"""Start from weights that were learned elsewhere: torchvision's ImageNet files, or our own runs.

Radiographs have one channel, ImageNet networks three. A convolution is linear, so the first one
with its kernels summed over the input channels answers to a grey image what the original answers
to three equal channels; that holds for normalised input when mean and standard deviation are the
same in all channels, which is what `IMAGENET_MEAN` and `IMAGENET_STD` are for.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from thorax.errors import ModelError, last_line
from thorax.files import sha256
from thorax.labels import LabelSet
from thorax.training import checkpoint
from thorax.training.networks import VGG, Classifier, DenseNet
from thorax.training.tensors import require_header

IMAGENET_MEAN: Final = (0.485 + 0.456 + 0.406) / 3
"""[input] mean for ImageNet weights: the mean of torchvision's three."""
IMAGENET_STD: Final = (0.229 + 0.224 + 0.225) / 3
"""[input] std for ImageNet weights: the mean of torchvision's three."""

_WRAPPERS: Final = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
"""Under which others keep a state dict among other things; the first that is there counts."""
_PREFIXES: Final = ("module.", "_orig_mod.", "model.")
"""Before every name: of data parallelism and averages, of torch.compile, of Lightning."""
_DOTTED: Final = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)")
"""DenseNet files older than torchvision 0.2 call `norm1` `norm.1`; so do those it still serves."""
_COUNTER: Final = "num_batches_tracked"
"""Came with PyTorch 0.4.1; files that are older, and torchvision still serves, lack it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was taken from a file of weights.

    Attributes:
        path: of the file, or of the checkpoint folder.
        sha256: of the file, or of the folder's weights.
        tensors: copied.
        head: tensors of the network's head, left freshly initialised; none when it was copied.
        stem_summed: whether the first convolution was summed over the channels of its input.
    """

    path: str
    sha256: str
    tensors: int
    head: tuple[str, ...]
    stem_summed: bool


def initialise(
    network: Classifier, topology: str, path: Path, label_set: LabelSet | None = None
) -> Loaded:
    """Give a fresh network the weights of a file or of one of our checkpoints.

    Args:
        network: changed in place; untouched when an error is raised.
        topology: of the network, as a recipe names it.
        path: a torchvision state dict (.pth, .pt or .safetensors), a checkpoint folder, or a run.
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

    Every tensor must be there and fit by name and shape; nothing is dropped silently. Allowed are
    the names of old DenseNet files, counters of batches missing from all, `module.`,
    `_orig_mod.` and `model.` before every name, and a state dict that stands among other things
    under `state_dict`, `model`, `model_state_dict`, `state_dict_ema` or `model_ema`. Pickle
    files are read by PyTorch's restricted reader, which runs none of their code.

    Args:
        network: of the same topology and width, 1 for published weights, with one or three
            channels; changed in place, untouched when an error is raised.
        path: .pth or .pt (pickle) or .safetensors.

    Raises:
        ModelError: `init-missing`, `init-unreadable` or `init-mismatch`.

    Example:
        >>> network = build("resnet50", classes=14)  # doctest: +SKIP
        >>> load_imagenet(network, Path("resnet50-0676ba61.pth")).head  # doctest: +SKIP
        ('fc.weight', 'fc.bias')
    """
    tensors = _named_as_ours(_state_dict(_read(path), path), network, path)
    return _take(network, tensors, path=path, digest=sha256(path), keep_head=False)


def _read(path: Path) -> object:
    if not path.is_file():
        raise ModelError(
            "init-missing",
            f"{path} does not exist; --init takes a state dict (.pth, .pt, .safetensors) or a "
            "checkpoint folder",
        )
    try:
        if path.suffix == ".safetensors":
            require_header(path)
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (SafetensorError, ValueError) as error:
        raise _unreadable(path, last_line(error)) from error
    except Exception as error:
        # A damaged or hostile pickle may raise anything at all.
        text = str(error)
        if "Unsupported" in text:
            match = re.search(r"GLOBAL ([\w.]+)", text)
            wanted = f" ({match[1]})" if match else ""
            why = f"it asks for code{wanted}, which is not run; save a plain state dict"
        else:
            why = f"{type(error).__name__}: {text.splitlines()[0] if text else 'damaged'}"
        raise _unreadable(path, why) from error


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, out of what they are wrapped in."""
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        raise _unreadable(path, f"it holds a {type(content).__name__}, not a state dict")
    for name, value in content.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise _unreadable(path, f"{name!r} is a {type(value).__name__}, not a plain tensor")
    tensors: dict[str, Tensor] = dict(content)
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_quantized or value.is_meta)
    )


def _named_as_ours(
    tensors: Mapping[str, Tensor], network: Classifier, path: Path
) -> dict[str, Tensor]:
    """Return the tensors without a foreign head, dots of old DenseNet names taken out."""
    head = _head_name(network)
    layers = ("", ".0", ".3", ".6") if isinstance(network, VGG) else ("",)
    foreign = {f"{head}{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    named: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name in foreign:
            continue
        match = _DOTTED.fullmatch(name) if isinstance(network, DenseNet) else None
        ours = f"{match[1]}{match[2]}" if match else name
        if ours in named:
            raise ModelError("init-mismatch", f"{path} holds {ours} twice, in two spellings")
        named[ours] = value
    return named


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
    summed = _needs_sum(given.get(stem), own[stem])
    if summed:
        given[stem] = given[stem].double().sum(dim=1, keepdim=True)
    missing = [
        name
        for name in own
        if name not in given and name not in head and not name.endswith(_COUNTER)
    ]
    _refuse_prefix(path, missing, given)
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


def _needs_sum(stem: Tensor | None, own: Tensor) -> bool:
    return (
        stem is not None
        and stem.ndim == 4
        and stem.shape[1] == 3
        and own.shape[1] == 1
        and stem.is_floating_point()
    )


def _refuse_prefix(path: Path, missing: Sequence[str], given: Mapping[str, Tensor]) -> None:
    """Name what stands before the names of a file that would have all that is missing."""
    for name in given:
        if missing and name.endswith(missing[0]):
            prefix = name.removesuffix(missing[0])
            if all(f"{prefix}{one}" in given for one in missing):
                other = next((one for one in given if not one.startswith(prefix)), None)
                beside = f", beside others such as {other}" if other else ""
                raise ModelError(
                    "init-mismatch",
                    f"{path} has {prefix} before the network's names{beside}; save the tensors "
                    f"that begin with {prefix} alone, without it",
                )


def _refuse(path: Path, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ModelError(
            "init-mismatch",
            f"{path} {what} {', '.join(sorted(names)[:3])}{more}; give the weights of the "
            "recipe's network.topology; published ones fit network.width 1 alone",
        )


def _head_name(network: Classifier) -> str:
    return next(str(name) for name, module in network.named_modules() if module is network.head)


def _unreadable(path: Path, why: str) -> ModelError:
    return ModelError("init-unreadable", f"{path} cannot be read as weights: {why}")
