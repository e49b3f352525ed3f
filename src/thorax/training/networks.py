"""ResNet-18/50, DenseNet-121 and VGG-16 for radiographs, with torchvision's state_dict keys.

Every network is a `Classifier`: a feature map, its global mean, one linear head. That form makes
the class activation map exact (Zhou et al., CVPR 2016, Eq. 2): the head applied to each cell of
the feature map gives a heat map whose mean over the cells is the logit, bias included.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Literal, cast

import torch
from torch import Tensor, nn

from thorax.errors import UsageError
from thorax.images.preprocess import InputSpec

Topology = Literal["resnet18", "resnet50", "densenet121", "vgg16_bn"]
OutputStride = Literal[32, 16]

TOPOLOGIES: Final[tuple[Topology, ...]] = ("resnet18", "resnet50", "densenet121", "vgg16_bn")
OUTPUT_STRIDES: Final[tuple[OutputStride, ...]] = (32, 16)


def normalise(images: Tensor, spec: InputSpec) -> Tensor:
    """Return float32 [N,C,S,S], (bytes / 255 - mean) / std: what a `Classifier` takes.

    The only place this formula is written; training calls it and the exporter traces it. Images are
    uint8 [N,C,S,S], as `thorax.images.preprocess.prepare` makes them; mean and std are those that
    the network is trained with.
    """
    return (images.to(torch.float32) / 255.0 - spec.mean) / spec.std


class Classifier(nn.Module, ABC):
    """A network of three steps: feature map, global mean, linear head.

    `feature_map(x)` gives float [N,D,h,w] with h = S / output stride, `head` is the Linear from
    D to K logits, and calling the network gives logits float [N,K]. Input is float [N,C,S,S],
    already normalised by `normalise`.
    """

    @property
    @abstractmethod
    def head(self) -> nn.Linear:
        """The linear layer from D pooled features to K logits."""

    @abstractmethod
    def feature_map(self, images: Tensor) -> Tensor:
        """Return float [N,D,h,w], never negative, from normalised float [N,C,S,S]."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits float [N,K] from normalised float [N,C,S,S]."""
        return cast(Tensor, self.head(self.feature_map(images).mean(dim=(2, 3))))


class _BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, kernel=3, stride=stride, dilation=dilation[0])
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(width, width, kernel=3, dilation=dilation[1])
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return cast(Tensor, self.relu(y + (x if self.downsample is None else self.downsample(x))))


class _Bottleneck(nn.Module):
    """Version 1.5: the stride is in the 3x3 convolution (Goyal et al., 1706.02677, section 5.1)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: tuple[int, int]) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = _conv(inputs, width, kernel=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, kernel=3, stride=stride, dilation=dilation[0])
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, outputs, kernel=1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return cast(Tensor, self.relu(y + (x if self.downsample is None else self.downsample(x))))


class ResNet(Classifier):
    """ResNet (He et al., CVPR 2016) version 1.5; keys conv1, bn1, layer1..4, fc.

    The last gamma of every residual branch starts at 0, so each block starts as the identity
    (Goyal et al., 1706.02677, section 5.1).
    """

    def __init__(
        self,
        block: type[_BasicBlock] | type[_Bottleneck],
        depths: Sequence[int],
        *,
        classes: int,
        channels: int,
        output_stride: int,
        width: float,
    ) -> None:
        super().__init__()
        inputs = round(64 * width)
        self.conv1 = _conv(channels, inputs, kernel=7, stride=2)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages = []
        for stage, (depth, stride) in enumerate(
            zip(depths, (1, 2, 2, output_stride // 16), strict=True)
        ):
            planes = round(64 * width) << stage
            blocks: list[nn.Module] = []
            dense = 2 if stage == 3 and output_stride == 16 else 1
            for place in range(depth):
                first = place == 0
                dilation = (1 if first else dense, dense)
                blocks.append(block(inputs, planes, stride if first else 1, dilation))
                inputs = planes * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inputs, classes)
        _initialise(self)
        for module in self.modules():
            if isinstance(module, _BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            elif isinstance(module, _Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    @property
    def head(self) -> nn.Linear:
        """The layer torchvision calls `fc`."""
        return self.fc

    def feature_map(self, images: Tensor) -> Tensor:
        """Return float [N,D,h,w] from normalised float [N,C,S,S]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return cast(Tensor, self.layer4(self.layer3(self.layer2(self.layer1(x)))))


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = _conv(inputs, 4 * growth, kernel=1)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = _conv(4 * growth, growth, kernel=3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu2(self.norm2(y)))], dim=1)


class _Sequence(Classifier):
    """A network whose feature map is one sequence of layers."""

    features: nn.Sequential
    classifier: nn.Linear

    @property
    def head(self) -> nn.Linear:
        """What torchvision calls `classifier`, of VGG in place of three layers."""
        return self.classifier

    def feature_map(self, images: Tensor) -> Tensor:
        """Return float [N,D,h,w] from normalised float [N,C,S,S]."""
        return cast(Tensor, self.features(images))


class DenseNet(_Sequence):
    """DenseNet-BC (Huang et al., CVPR 2017); keys features.conv0 to norm5, classifier."""

    def __init__(
        self,
        depths: Sequence[int],
        *,
        growth: int,
        classes: int,
        channels: int,
        output_stride: int,
    ) -> None:
        super().__init__()
        width = 2 * growth
        self.features = nn.Sequential()
        self.features.add_module("conv0", _conv(channels, width, kernel=7, stride=2))
        self.features.add_module("norm0", nn.BatchNorm2d(width))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        for number, depth in enumerate(depths, start=1):
            block = nn.Sequential()
            dense = 2 if number == len(depths) and output_stride == 16 else 1
            for layer in range(1, depth + 1):
                block.add_module(f"denselayer{layer}", _DenseLayer(width, growth, dense))
                width += growth
            self.features.add_module(f"denseblock{number}", block)
            if number < len(depths):
                transition = nn.Sequential()
                transition.add_module("norm", nn.BatchNorm2d(width))
                transition.add_module("relu", nn.ReLU(inplace=True))
                transition.add_module("conv", _conv(width, width // 2, kernel=1))
                if number == len(depths) - 1 and output_stride == 16:
                    transition.add_module("edge", nn.ReplicationPad2d((0, 1, 0, 1)))
                    transition.add_module("pool", nn.AvgPool2d(2, stride=1))
                else:
                    transition.add_module("pool", nn.AvgPool2d(2))
                self.features.add_module(f"transition{number}", transition)
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.features.add_module("relu5", nn.ReLU(inplace=True))
        self.classifier = nn.Linear(width, classes)
        _initialise(self)


class VGG(_Sequence):
    """VGG (Simonyan and Zisserman, ICLR 2015) with batch norm; keys features.N, classifier.

    The convolutions are torchvision's, key by key. The three fully connected layers are replaced
    by a global mean and one Linear called `classifier`, because only then is the class activation
    map exact; so the head of a torchvision VGG does not fit here.
    """

    def __init__(
        self, stages: Sequence[Sequence[int]], *, classes: int, channels: int, output_stride: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for number, widths in enumerate(stages, start=1):
            for width in widths:
                layers.append(nn.Conv2d(inputs, width, 3, padding=1))
                layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                inputs = width
            if number == len(stages) and output_stride == 16:
                layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
                layers.append(nn.MaxPool2d(2, stride=1))
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)
        _initialise(self)


def build(
    topology: str,
    *,
    classes: int,
    channels: int = 1,
    output_stride: int = 32,
    width: float = 1.0,
    seed: int = 0,
) -> Classifier:
    """Return a freshly initialised network; the same arguments give the same weights.

    Output stride 16 takes the stride out of the last stage and dilates what follows by two (the
    "hole algorithm", Chen et al., ICLR 2015, section 3.1). Keys and shapes stay, and with the same
    weights every second cell of the feature map is exactly the map at 32.

    Args:
        topology: one of `TOPOLOGIES`.
        classes: K, the number of logits.
        channels: C, 1 for radiographs.
        output_stride: input side / feature map side, one of `OUTPUT_STRIDES`.
        width: share of the channels in every layer, of ResNets; torchvision's weights fit 1 alone.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        UsageError: `topology` or `output-stride` for one that does not exist, `network-width` for
            a width above 0 to 1 that the topology does not come in.

    Example:
        >>> network = build("resnet18", classes=14, output_stride=16)
        >>> network(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 14])
    """
    if output_stride not in OUTPUT_STRIDES:
        raise UsageError(
            "output-stride", f"output stride is {output_stride}; allowed are 32 and 16"
        )
    if width != 1 and (not 0 < width < 1 or not topology.startswith("resnet")):
        raise UsageError(
            "network-width",
            f"width is {width:g} for {topology}; allowed is 1, or above 0 to 1 for a ResNet",
        )
    size = {"classes": classes, "channels": channels, "output_stride": output_stride}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match topology:
            case "resnet18":
                return ResNet(_BasicBlock, (2, 2, 2, 2), **size, width=width)
            case "resnet50":
                return ResNet(_Bottleneck, (3, 4, 6, 3), **size, width=width)
            case "densenet121":
                return DenseNet((6, 12, 24, 16), growth=32, **size)
            case "vgg16_bn":
                return VGG(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3), **size)
    raise UsageError("topology", f"topology is {topology!r}; allowed are {', '.join(TOPOLOGIES)}")


def _conv(
    inputs: int, outputs: int, *, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """Return a convolution whose output is the input's size divided by the stride."""
    return nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        bias=False,
    )


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Return the projection of a block that changes the shape; its key must not exist otherwise."""
    # A block of the last stage at output stride 16 keeps its projection: it widens all the same.
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(_conv(inputs, outputs, kernel=1, stride=stride), nn.BatchNorm2d(outputs))


def _initialise(network: nn.Module) -> None:
    """Fill convolutions as He et al., ICCV 2015 (fan out, ReLU), the head with small weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
