"""Names that projects give the weights of one network, matched without a doubt or refused."""

from collections.abc import Iterable, Mapping

import pytest
import torch
from torch import Tensor

from thorax.training import weight_names
from thorax.training.weight_names import MatchError

LAYERS: Mapping[str, tuple[int, ...]] = {
    "features.conv0": (4, 3, 3, 3),
    "features.denseblock1.denselayer1.norm1": (4,),
    "features.denseblock1.denselayer1.conv1": (4, 4, 1, 1),
    "features.norm5": (4,),
    "classifier": (3, 4),
}
NAMES = [f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")]
COUNTERS = ["features.norm5.num_batches_tracked"]
BLOCK = "features.denseblock1.denselayer1"


def saved(prefix: str = "", names: Iterable[str] = NAMES) -> dict[str, Tensor]:
    """Return a file's tensors, each with the place of its name as its value."""
    return {
        f"{prefix}{name}": torch.full(
            LAYERS[name.rpartition(".")[0]] if name.endswith("weight") else (1,), float(index)
        )
        for index, name in enumerate(names)
    }


def renamed(tensors: Mapping[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    for old, new in pairs:
        tensors = {
            name.replace(f"{old}.", f"{new}.", 1) if name.startswith(f"{old}.") else name: value
            for name, value in tensors.items()
        }
    return dict(tensors)


def match(tensors: Mapping[str, Tensor], *, keep_head: bool = True) -> weight_names.Match:
    return weight_names.match(tensors, [*NAMES, *COUNTERS], "classifier", keep_head=keep_head)


OLD = ((f"{BLOCK}.norm1", f"{BLOCK}.norm.1"), (f"{BLOCK}.conv1", f"{BLOCK}.conv.1"))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (saved(), ""),
        (saved("module."), "module. taken off"),
        (saved("module._orig_mod."), "module._orig_mod. taken off"),
        (saved("densenet121."), "densenet121. taken off"),
        (saved("my.own.backbone."), "my.own.backbone. taken off"),
        (renamed(saved(), *OLD), f"{BLOCK}.norm.1 taken for {BLOCK}.norm1 and 1 more"),
        (renamed(saved(), ("classifier", "classifier.0")), "classifier.0 taken for classifier"),
        (renamed(saved(), ("classifier", "classifier.1.fc")), "classifier.1.fc taken for"),
        (renamed(saved(), ("classifier", "last_linear")), "last_linear taken for classifier"),
        (
            {
                f"module.densenet121.{name}": value
                for name, value in renamed(saved(), *OLD, ("classifier", "classifier.0")).items()
            },
            "module.densenet121. taken off",
        ),
        (renamed(saved("net."), ("net.classifier", "head")), "head taken for classifier"),
        (saved("model.") | {"criterion.pos_weight": torch.ones(3)}, "left out: criterion."),
        (saved("model.") | {"val_auroc.preds": torch.ones(3)}, "left out: val_auroc.preds"),
        (saved("module.") | {"n_averaged": torch.tensor(4)}, "left out: n_averaged"),
        (saved() | {COUNTERS[0]: torch.tensor(4)}, ""),
    ],
)
def test_every_spelling_is_the_same_network(tensors: dict[str, Tensor], words: str) -> None:
    matched = match(tensors)
    wanted = saved()
    assert all(torch.equal(matched.tensors[name], value) for name, value in wanted.items())
    assert words in matched.explain()
    assert bool(words) == bool(matched.explain())


def test_a_network_within_a_class_takes_the_names_of_the_bare_one() -> None:
    own = [f"densenet121.{name}" for name in NAMES]
    for prefix in ("", "densenet121.", "module.densenet121.", "backbone."):
        matched = weight_names.match(saved(prefix), own, "densenet121.classifier")
        assert list(matched.tensors) == own
    assert "densenet121. put before" in matched.explain()


def test_a_head_that_is_not_wanted_is_left_out_and_told() -> None:
    for tensors in (saved("module."), renamed(saved(), ("classifier", "classifier.1"))):
        matched = match(tensors, keep_head=False)
        assert list(matched.tensors) == NAMES[:-2]
        assert all("classifier" in name for name in matched.remaining)
        assert "left out" in matched.explain()


@pytest.mark.parametrize(
    ("tensors", "what", "advice"),
    [
        (saved("encoder_q.") | saved("encoder_k."), "2 times, behind encoder_k", "one of them"),
        (saved() | saved("ema."), "2 times, behind ema., names of their own", "one of them"),
        (saved("net.") | {"to_rgb.weight": torch.ones(3, 1, 1, 1)}, "net. before", "begin with"),
        (saved("net.") | {"norm.weight": torch.ones(4)}, "such as norm.weight", "begin with"),
        (saved() | {"extra.weight": torch.ones(2, 2, 1, 1)}, "without a place.* extra", ""),
        (
            renamed(saved(), ("classifier", "fc.0")) | {"fc.3.weight": torch.ones(3, 3)},
            r"a head of 2 linear layers \(fc.0.weight, fc.3.weight\)",
            "module:function",
        ),
        (
            renamed(saved(), ("features.norm5", "features.norm_5")),
            r"features.norm_5.weight.*lacks features.norm5.weight \(nearest: features.norm_5.weig",
            "",
        ),
        (
            saved() | {f"{BLOCK}.norm.1.weight": torch.ones(4)},
            "norm1.weight twice, in two spellings",
            "",
        ),
    ],
)
def test_what_may_be_a_layer_is_never_left_out(
    tensors: dict[str, Tensor], what: str, advice: str
) -> None:
    with pytest.raises(MatchError, match=what) as refused:
        match(tensors)
    assert advice in refused.value.advice
    assert bool(advice) == bool(refused.value.advice)


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_checkpoint_wrapped_module"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_wrappers_of_some_layers_are_looked_through(wrapper: str, prefix: str) -> None:
    block = f"{prefix}features.denseblock1"
    tensors = renamed(saved(prefix), (block, f"{block}.{wrapper}"))
    assert set(tensors) != set(saved(prefix))
    matched = match(tensors)
    assert matched.prefix == prefix
    assert {name: float(value.max()) for name, value in matched.tensors.items()} == {
        name: float(index) for index, name in enumerate(NAMES)
    }
    assert wrapper in matched.explain()


def test_a_layer_that_is_called_like_a_wrapper_is_a_layer() -> None:
    names = ["module.conv.weight", "head.module.weight"]
    tensors = {name: torch.ones(1) for name in names}
    assert set(weight_names.match(tensors, names).tensors) == set(names)
