"""Names that others give the tensors of a network, matched to the network's own.

A state dict of the same network differs in what stands before every name (data parallelism,
torch.compile, Lightning, a class that holds the network), in how old versions spelled a layer, and
in where its head lies (a Sequential with dropout and a sigmoid). What cannot be matched without a
doubt is refused, with the nearest names.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from torch import Tensor

COUNTER: Final = "num_batches_tracked"
"""Came with PyTorch 0.4.1; files that are older, and torchvision still serves, lack it."""

_DOTTED: Final = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)")
"""DenseNet files older than torchvision 0.2 call `norm1` `norm.1`; so do those it still serves."""
_WRAPPERS: Final = frozenset(
    ("module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
)
"""Parts of names that data parallelism, torch.compile and checkpointing of some layers put in."""
_ANCHORS: Final = 6
"""Names of the network, spread over it, that are looked for behind a prefix."""
_NO_LAYER: Final = re.compile(
    r"(?:.*\.)?(?:\w*_)?(?:criterion|criterions|loss|losses|metric|metrics|auroc|auc|accuracy|acc|f1"
    r"|precision|recall|average_precision|confusion)(?:_\w+)?\..*"
    r"|(?:.*\.)?(?:pos_weight|n_averaged)",
    re.IGNORECASE,
)
"""Tensors of losses and of measures, which compute no answer."""
_SHOWN: Final = 3
_NEAREST: Final = 0.5


class MatchError(ValueError):
    """Names that do not match: the message says which; `advice` what to do, "" what is usual."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Match:
    """Tensors of a file under the names of a network.

    Attributes:
        tensors: by the network's names.
        prefix: what stood before the names of the file, "" where nothing did.
        added: what the network's names have before them and those of the file had not.
        renamed: names of the file, without the prefix, whose place has another name.
        remaining: names of the file that are no layer of the network, and were left out.
    """

    tensors: Mapping[str, Tensor]
    prefix: str = ""
    added: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    remaining: tuple[str, ...] = ()

    def explain(self, place: str = "") -> str:
        """Return in one line what was done to the names; "" where nothing was.

        `place` is where in the file the tensors lay, as `weights_file.Weights.place` says it.
        """
        parts = [f"weights are those of {place}"] if place else []
        if self.prefix:
            parts.append(f"{self.prefix} taken off their names")
        if self.added:
            parts.append(f"{self.added} put before their names")
        layers = {
            old.rpartition(".")[0]: new.rpartition(".")[0] for old, new in self.renamed.items()
        }
        if layers:
            old, new = next(iter(layers.items()))
            more = f" and {len(layers) - 1} more layers alike" if len(layers) > 1 else ""
            parts.append(f"{old} taken for {new}{more}")
        if self.remaining:
            parts.append(f"left out: {listed(self.remaining)}")
        return "; ".join(parts)


def match(
    tensors: Mapping[str, Tensor],
    names: Iterable[str],
    head: str | None = None,
    *,
    keep_head: bool = True,
) -> Match:
    """Return the tensors of a file under a network's names.

    Args:
        tensors: of the file, by its names.
        names: of the network's parameters and buffers. Those that the file lacks are for the
            caller to judge; shapes are too.
        head: the network's last linear layer, such as `fc`: it may lie deeper, or elsewhere, in
            the file, where it is the only linear layer without another place.
        keep_head: whether that head is wanted; if not, what stands in its place is left out.

    Raises:
        MatchError: a name stands twice, the file holds the network several times, or a tensor
            that is no loss or measure has no place.
    """
    own = list(names)
    wanted = [name for name in own if not name.endswith(COUNTER)]
    spelled = _spellings(tensors, own)
    prefix, added = _prefix(set(spelled.values()), wanted)
    known = set(own)
    places: dict[str, str] = {}
    outside: list[str] = []
    for name, plain in spelled.items():
        place = f"{added}{plain.removeprefix(prefix)}" if plain.startswith(prefix) else ""
        if place not in known:
            outside.append(name)
        elif place in places.values():
            raise MatchError(f"holds {place} twice, in two spellings")
        else:
            places[name] = place
    if head is not None:
        _place_head(tensors, places, outside, known, head)
    heads: list[str] = []
    if head is not None and not keep_head:
        within = f"{prefix}{head.removeprefix(added)}."
        heads = [name for name, place in places.items() if place.startswith(f"{head}.")]
        places = {name: place for name, place in places.items() if name not in heads}
        heads += [name for name in outside if name.startswith(within)]
        outside = [name for name in outside if name not in heads]
    missing = [name for name in wanted if name not in places.values()]
    _refuse_remaining(tensors, outside, prefix, missing)
    return Match(
        tensors={place: tensors[name] for name, place in places.items()},
        prefix=prefix,
        added=added,
        renamed={
            name.removeprefix(prefix): place
            for name, place in places.items()
            if f"{added}{name.removeprefix(prefix)}" != place
        },
        remaining=tuple(sorted((*outside, *heads))),
    )


def listed(names: Sequence[str]) -> str:
    """Return the first of several names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name of a file that is most like one of the network, in brackets; or nothing."""
    alike = difflib.get_close_matches(name, list(names), n=1, cutoff=_NEAREST)
    return f" (nearest: {alike[0]})" if alike else ""


def _spellings(names: Iterable[str], own: Sequence[str]) -> dict[str, str]:
    """Return names as they are spelled today, without wrappers that stand within some of them.

    What stands before all names is left: it is the prefix that is told.
    """
    wrappers = _WRAPPERS - {part for name in own for part in name.split(".")}
    spelled = {name: _spelled(name) for name in names}
    parts = {name: plain.split(".") for name, plain in spelled.items()}
    before = len(_shared_prefixes([*spelled.values()])) - 1
    for name, plain in parts.items():
        inner = [part for part in plain[before:] if part not in wrappers]
        spelled[name] = ".".join((*plain[:before], *inner))
    return spelled


def _spelled(name: str) -> str:
    dotted = _DOTTED.fullmatch(name)
    return f"{dotted[1]}{dotted[2]}" if dotted else name


def _prefix(spelled: set[str], wanted: Sequence[str]) -> tuple[str, str]:
    """Return what stands before the network's names in a file, and what the file lacks of them."""
    counts: dict[tuple[str, str], int] = {}
    for added in _shared_prefixes(wanted):
        short = [name.removeprefix(added) for name in wanted]
        anchors = short[:: max(1, len(short) // _ANCHORS)]
        prefixes = {
            name.removesuffix(anchor)
            for name in spelled
            for anchor in anchors
            if name == anchor or name.endswith(f".{anchor}")
        }
        for prefix in prefixes:
            counts[prefix, added] = sum(f"{prefix}{name}" in spelled for name in short)
    most = max(counts.values(), default=0)
    # The same names may be had by taking off more and putting it back.
    pairs = {
        f"{prefix}{wanted[0].removeprefix(added)}": (prefix, added)
        for (prefix, added), count in sorted(counts.items(), key=lambda item: -len(item[0][1]))
        if count == most
    }
    if len(pairs) > 1 and most > len(wanted) // 2:
        places = [prefix or "names of their own" for prefix, _ in pairs.values()]
        raise MatchError(
            f"holds the network {len(pairs)} times, behind {listed(sorted(places))}",
            "save the tensors of one of them alone",
        )
    return min(pairs.values(), key=lambda pair: len(pair[0]), default=("", ""))


def _shared_prefixes(wanted: Sequence[str]) -> list[str]:
    """Return what all names begin with, from nothing to the most, by whole parts."""
    parts = [name.split(".")[:-1] for name in wanted]
    prefixes = [""]
    for heads in zip(*parts, strict=False):
        if len(set(heads)) > 1:
            break
        prefixes.append(f"{prefixes[-1]}{heads[0]}.")
    return prefixes


def _place_head(
    tensors: Mapping[str, Tensor],
    places: dict[str, str],
    outside: list[str],
    known: set[str],
    head: str,
) -> None:
    """Give the head the only linear layer of a file that has no other place; in place."""
    if f"{head}.weight" in places.values():
        return
    linear = [
        name.removesuffix(".weight")
        for name in outside
        if name.endswith(".weight") and tensors[name].ndim == 2
    ]
    within = [name for name in linear if f".{name}".rpartition(".")[0].endswith(f".{head}")]
    chosen = within or linear
    if len(chosen) != 1:
        return
    for kind in ("weight", "bias"):
        name, place = f"{chosen[0]}.{kind}", f"{head}.{kind}"
        if name in outside and place in known:
            outside.remove(name)
            places[name] = place


def _refuse_remaining(
    tensors: Mapping[str, Tensor], outside: Sequence[str], prefix: str, missing: Sequence[str]
) -> None:
    """Refuse tensors that may be layers, which would be missing from every answer."""
    layers = [
        name
        for name in outside
        if not _NO_LAYER.fullmatch(name)
        # A counter of steps, or of batches.
        and (tensors[name].ndim or tensors[name].is_floating_point())
    ]
    if not layers:
        return
    linear = [name for name in layers if name.endswith(".weight") and tensors[name].ndim == 2]
    if len(linear) > 1 and missing and all(tensors[name].ndim < 3 for name in layers):
        raise MatchError(
            f"holds a head of {len(linear)} linear layers ({listed(linear)}), and not what stands "
            "between them",
            "give --topology module:function of your own code",
        )
    if prefix:
        kinds = Counter(name.startswith(prefix) for name in layers)
        if not kinds[True]:
            raise MatchError(
                f"has {prefix} before the network's names, beside others such as {listed(layers)}",
                f"save the tensors that begin with {prefix} alone",
            )
    lacking = f"; it lacks {missing[0]}{nearest(missing[0], layers)}" if missing else ""
    raise MatchError(f"holds, without a place in the network, {listed(layers)}{lacking}")
