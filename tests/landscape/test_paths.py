"""The line between two networks and the plane around one, at points that are known."""

import copy

import pytest
import torch

from thorax.data.store import Store
from thorax.errors import UsageError
from thorax.images.preprocess import InputSpec
from thorax.landscape.paths import filter_direction, line, plane
from thorax.landscape.surface import draw, estimate_batch_norm, judge
from thorax.training.networks import Classifier, build

SPEC = InputSpec(32)


def network(seed: int = 1, classes: int = 3) -> Classifier:
    made = build("resnet18", classes=classes, width=0.125, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in made.named_buffers():
            if "running" in name:
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return made


def test_the_ends_of_the_line_are_the_networks_which_stay_as_they_are(store: Store) -> None:
    train, val = draw(store, "train", 8), draw(store, "val", 8)
    ends = (network(1), network(2))
    before = [copy.deepcopy(one.state_dict()) for one in ends]
    told: list[int] = []
    points = line(*ends, train, val, SPEC, points=4, on_progress=told.append)
    assert [point.a for point in points] == [-1, 0, 1, 2]
    assert told == [40] * 4
    for state, one in zip(before, ends, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
    for one, point in zip(ends, points[1:3], strict=True):
        assert point.train_interpolated == judge(one, train, SPEC)
        assert point.val_interpolated == judge(one, val, SPEC)
        estimate_batch_norm(one, train, SPEC)
        assert (point.train, point.val) == (judge(one, train, SPEC), judge(one, val, SPEC))


def test_no_line_joins_networks_of_other_layers(store: Store) -> None:
    train = draw(store, "train", 4)
    with pytest.raises(UsageError, match="sharpness-topology"):
        line(network(), network(classes=2), train, train, SPEC)


def test_a_rescaled_filter_rescales_its_part_of_the_direction_and_no_other() -> None:
    plain, scaled = network(), network()
    with torch.no_grad():
        scaled.get_parameter("layer1.0.conv1.weight")[2] *= 8.0
    one, other = (filter_direction(each, seed=4) for each in (plain, scaled))
    for name, part in one.items():
        wanted = part.clone()
        if name == "layer1.0.conv1.weight":
            wanted[2] *= 8.0
        assert torch.equal(other[name], wanted), name
    weight = plain.get_parameter("layer1.0.conv1.weight")
    torch.testing.assert_close(
        one["layer1.0.conv1.weight"].flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1)
    )
    assert not one["bn1.weight"].any()
    assert not one["fc.bias"].any()
    assert not torch.equal(one["fc.weight"], filter_direction(plain, seed=5)["fc.weight"])


def test_the_plane_does_not_see_the_scale_of_a_batch_normed_filter(store: Store) -> None:
    subset = draw(store, "train", 8)
    plain, scaled = network(), network()
    with torch.no_grad():
        scaled.get_parameter("layer4.1.conv1.weight").mul_(64.0)
    one, other = (plane(each, subset, SPEC, points=3) for each in (plain, scaled))
    assert one.offsets == other.offsets == (-1.0, 0.0, 1.0)
    for row, twin in zip(one.loss, other.loss, strict=True):
        assert row == pytest.approx(twin, rel=1e-3)
    middle = copy.deepcopy(plain)
    estimate_batch_norm(middle, subset, SPEC)
    assert one.loss[1][1] == judge(middle, subset, SPEC).loss
