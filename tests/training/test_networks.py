"""Networks: other people's counts and names, and identities between output strides."""

import pytest
import torch
from torch import nn

from thorax.errors import UsageError
from thorax.images.preprocess import InputSpec
from thorax.training.networks import TOPOLOGIES, Classifier, Topology, build, normalise


@pytest.mark.parametrize(
    ("topology", "parameters", "entries"),
    [
        # num_params of torchvision's weight metadata; entries of its state_dict.
        ("resnet18", 11_689_512, 122),
        ("resnet50", 25_557_032, 320),
        ("densenet121", 7_978_856, 727),
        # vgg16_bn has 138,365,992, of which 123,642,856 are the three layers that are replaced.
        ("vgg16_bn", 138_365_992 - 123_642_856 + 512 * 1000 + 1000, 13 * 7 + 2),
    ],
)
def test_imagenet_shape_has_the_published_number_of_parameters(
    topology: Topology, parameters: int, entries: int
) -> None:
    network = build(topology, classes=1000, channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == entries


@pytest.mark.parametrize(
    ("topology", "shapes"),
    [
        (
            "resnet18",
            {
                "conv1.weight": (64, 1, 7, 7),
                "bn1.running_var": (64,),
                "layer1.1.conv2.weight": (64, 64, 3, 3),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1),
                "layer4.0.downsample.1.num_batches_tracked": (),
                "fc.weight": (14, 512),
            },
        ),
        (
            "resnet50",
            {
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer3.5.conv2.weight": (256, 256, 3, 3),
                "layer4.2.bn3.bias": (2048,),
                "fc.bias": (14,),
            },
        ),
        (
            "densenet121",
            {
                "features.conv0.weight": (64, 1, 7, 7),
                "features.norm0.weight": (64,),
                "features.denseblock1.denselayer1.norm1.weight": (64,),
                "features.denseblock3.denselayer24.conv1.weight": (128, 992, 1, 1),
                "features.denseblock4.denselayer16.conv2.weight": (32, 128, 3, 3),
                "features.transition3.conv.weight": (512, 1024, 1, 1),
                "features.norm5.running_mean": (1024,),
                "classifier.weight": (14, 1024),
            },
        ),
        (
            "vgg16_bn",
            {
                "features.0.weight": (64, 1, 3, 3),
                "features.1.running_mean": (64,),
                "features.7.weight": (128, 64, 3, 3),
                "features.24.weight": (512, 256, 3, 3),
                "features.40.bias": (512,),
                "features.41.weight": (512,),
                "classifier.weight": (14, 512),
            },
        ),
    ],
)
def test_state_dict_has_torchvisions_names_and_shapes(
    topology: Topology, shapes: dict[str, tuple[int, ...]]
) -> None:
    state = build(topology, classes=14).state_dict()
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def lively(network: Classifier) -> Classifier:
    """Give batch normalisation other statistics than those it starts with."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for positive in (module.weight.data, module.running_var):
                assert isinstance(positive, torch.Tensor)
                positive.uniform_(0.5, 1.5, generator=generator)
            for signed in (module.bias.data, module.running_mean):
                assert isinstance(signed, torch.Tensor)
                signed.uniform_(-0.2, 0.2, generator=generator)
    return network.eval()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_second_cell_at_stride_16_is_the_map_at_stride_32(topology: Topology) -> None:
    coarse = lively(build(topology, classes=3))
    fine = build(topology, classes=3, output_stride=16).eval()
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        small, large = coarse.feature_map(images), fine.feature_map(images)
    assert small.shape[2:] == (2, 2)
    assert large.shape[2:] == (4, 4)
    assert small.min() >= 0
    tolerance = 1e-5 * float(small.max())
    torch.testing.assert_close(large[:, :, ::2, ::2], small, rtol=0, atol=tolerance)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_mean_of_the_class_activation_map_is_the_logit(topology: Topology) -> None:
    network = lively(build(topology, classes=3))
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        cells = torch.einsum("ndhw,kd->nkhw", network.feature_map(images), network.head.weight)
        heat = cells + network.head.bias[:, None, None]
        logits = network(images)
    tolerance = 1e-5 * float(heat.abs().max())
    torch.testing.assert_close(heat.mean(dim=(2, 3)), logits, rtol=0, atol=tolerance)


def test_residual_blocks_start_as_the_identity() -> None:
    for topology in ("resnet18", "resnet50"):
        network = build(topology, classes=3).eval()
        x = torch.rand(1, 64 if topology == "resnet18" else 256, 4, 4)
        block = network.get_submodule("layer1.1")
        assert torch.equal(block(x), x)


def test_same_seed_same_weights_and_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    one, two, other = (build("resnet18", classes=2, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.head.weight, two.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_normalise_maps_mean_to_zero_and_keeps_bytes_exact() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    normal = normalise(images, InputSpec(16, mean=0.5, std=0.25))
    assert normal.dtype == torch.float32
    torch.testing.assert_close(normal.flatten()[[0, 255]], torch.tensor([-2.0, 2.0]))
    back = ((normal * 0.25 + 0.5) * 255).round().to(torch.uint8)
    assert torch.equal(back, images)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="allowed are resnet18"):
        build("resnet19", classes=2)
    with pytest.raises(UsageError, match="allowed are 32 and 16"):
        build("resnet18", classes=2, output_stride=8)


@pytest.mark.parametrize(
    ("topology", "width"), [("resnet18", 0), ("resnet18", 2), ("vgg16_bn", 0.5)]
)
def test_a_width_that_no_network_has_is_refused(topology: str, width: float) -> None:
    with pytest.raises(UsageError, match="network-width"):
        build(topology, classes=1, width=width)
