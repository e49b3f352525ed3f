"""The networks that HETERO is tried with: structures of the originals, thinner, random weights."""

import numpy as np
import openvino as ov
import openvino.opset1 as first_ops
import openvino.opset13 as ops

THINNER = 4
"""Channels of the originals over those here."""


class Builder:
    """A network in the making, [1,3,S,S] in, K probabilities out."""

    def __init__(self, side: int, seed: int = 0) -> None:
        self.random = np.random.Generator(np.random.Philox(key=seed))
        self.image = ops.parameter([1, 3, side, side], np.float32, name="image")
        self.made = 0

    def _named(self, node: ov.Node, kind: str) -> ov.Node:
        self.made += 1
        node.set_friendly_name(f"{kind}-{self.made}")
        return node

    def conv(self, value: ov.Node, channels: int, kernel: int, stride: int = 1) -> ov.Node:
        """A convolution with its bias, as batch normalisation leaves it."""
        given, pad = int(value.output(0).get_shape()[1]), kernel // 2
        scale = (2 / (given * kernel**2)) ** 0.5
        weights = self.random.normal(size=(channels, given, kernel, kernel)) * scale
        folded = self._named(
            ops.convolution(
                value,
                ops.constant(weights.astype(np.float32)),
                [stride, stride],
                [pad, pad],
                [pad, pad],
                [1, 1],
            ),
            "conv",
        )
        bias = self.random.normal(size=(1, channels, 1, 1)) * 0.1
        return self._named(ops.add(folded, ops.constant(bias.astype(np.float32))), "bias")

    def relu(self, value: ov.Node) -> ov.Node:
        return self._named(ops.relu(value), "relu")

    def add(self, one: ov.Node, other: ov.Node) -> ov.Node:
        return self._named(ops.add(one, other), "sum")

    def concat(self, *values: ov.Node) -> ov.Node:
        return self._named(ops.concat(list(values), 1), "concat")

    def max_pool(self, value: ov.Node, window: int, stride: int) -> ov.Node:
        pad = (window - 1) // 2 if window % 2 else 0
        made = first_ops.max_pool(
            value, [stride, stride], [pad, pad], [pad, pad], [window, window], "floor"
        )
        return self._named(made, "max_pool")

    def mean_pool(self, value: ov.Node) -> ov.Node:
        made = ops.avg_pool(value, [2, 2], [0, 0], [0, 0], [2, 2], True, "floor")
        return self._named(made, "avg_pool")

    def softplus(self, value: ov.Node) -> ov.Node:
        """What no card of 2018 has."""
        return self._named(ops.softplus(value), "unsupported")

    def model(self, value: ov.Node, classes: int = 14) -> ov.Model:
        pooled = self._named(
            ops.reduce_mean(value, ops.constant(np.array([2, 3])), False), "pooled"
        )
        given = int(value.output(0).get_shape()[1])
        weights = self.random.normal(size=(classes, given)).astype(np.float32) * 0.05
        linear = self._named(ops.matmul(pooled, ops.constant(weights), False, True), "linear")
        probability = ops.sigmoid(linear)
        probability.set_friendly_name("probability")
        return ov.Model([ops.result(probability, name="answer")], [self.image], "network")


def resnet50(side: int = 64) -> ov.Model:
    """He et al., arXiv 1512.03385, table 1."""
    net = Builder(side)
    value = net.max_pool(net.relu(net.conv(net.image, 64 // THINNER, 7, 2)), 3, 2)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = (64 << stage) // THINNER
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            way = net.relu(net.conv(value, inner, 1))
            way = net.conv(net.relu(net.conv(way, inner, 3, stride)), 4 * inner, 1)
            short = value if block else net.conv(value, 4 * inner, 1, stride)
            value = net.relu(net.add(way, short))
    return net.model(value)


def densenet121(side: int = 64) -> ov.Model:
    """Huang et al., arXiv 1608.06993, table 1; normalisation before each activation is a bias."""
    net, growth = Builder(side), 32 // THINNER
    value = net.max_pool(net.relu(net.conv(net.image, 2 * growth, 7, 2)), 3, 2)
    for stage, layers in enumerate((6, 12, 24, 16)):
        for _ in range(layers):
            way = net.relu(net.conv(net.relu(value), 4 * growth, 1))
            value = net.concat(value, net.conv(way, growth, 3))
        if stage < 3:
            half = int(value.output(0).get_shape()[1]) // 2
            value = net.mean_pool(net.conv(net.relu(value), half, 1))
    return net.model(net.relu(value))


def vgg16(side: int = 64) -> ov.Model:
    """Simonyan and Zisserman, arXiv 1409.1556, D, a mean for its classifier."""
    net = Builder(side)
    value = net.image
    for channels, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            value = net.relu(net.conv(value, channels // THINNER, 3))
        value = net.max_pool(value, 2, 2)
    return net.model(value)


def googlenet(side: int = 64) -> ov.Model:
    """Szegedy et al., arXiv 1409.4842, table 1: four branches and their concatenation."""
    net = Builder(side)
    value = net.max_pool(net.relu(net.conv(net.image, 64 // THINNER, 7, 2)), 3, 2)
    value = net.relu(net.conv(value, 64 // THINNER, 1))
    value = net.max_pool(net.relu(net.conv(value, 192 // THINNER, 3)), 3, 2)
    table = (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64), (256, 160, 320, 32, 128, 128),
    )  # fmt: skip
    for row in table:
        a, b, c, d, e, f = (channels // THINNER for channels in row)
        value = net.concat(
            net.relu(net.conv(value, a, 1)),
            net.relu(net.conv(net.relu(net.conv(value, b, 1)), c, 3)),
            net.relu(net.conv(net.relu(net.conv(value, d, 1)), e, 5)),
            net.relu(net.conv(net.max_pool(value, 3, 1), f, 1)),
        )
    return net.model(value)


def interrupted(side: int = 64) -> ov.Model:
    """Two residual blocks with a layer that no card has on the way, but not on the short cut."""
    net = Builder(side)
    value = net.relu(net.conv(net.image, 32, 7, 2))
    for _ in range(2):
        way = net.conv(net.softplus(net.conv(value, 32, 3)), 32, 3)
        value = net.relu(net.add(way, value))
    return net.model(value)


NETWORKS = {made.__name__: made for made in (resnet50, densenet121, vgg16, googlenet, interrupted)}
