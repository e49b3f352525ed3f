"""Well-known networks as graphs without trained weights, for what has been published of them."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import openvino as ov
import openvino.opset1 as opset1
import openvino.opset13 as ops


class Stack:
    """A graph that is built layer by layer; weights are zeros that take no memory."""

    def __init__(self, channels: int, side: int) -> None:
        """Begin with an image of float [1,C,S,S]."""
        self.image = ops.parameter([1, channels, side, side], np.float32, name="image")
        self.count = 0

    def conv(
        self,
        data: ov.Node,
        filters: int,
        kernel: int,
        stride: int = 1,
        *,
        pad: int | None = None,
        groups: int = 1,
        relu: bool = True,
        add: ov.Node | None = None,
    ) -> ov.Node:
        """Convolve with bias, then add a map and rectify where asked to."""
        self.count += 1
        channels = int(data.get_output_shape(0)[1])
        border = kernel // 2 if pad is None else pad
        where = ([stride] * 2, [border] * 2, [border] * 2, [1, 1])
        size = [filters // groups, channels // groups, kernel, kernel]
        if groups == 1:
            made = ops.convolution(data, _zeros(size), *where)
        else:
            made = ops.group_convolution(data, _zeros([groups, *size]), *where)
        made.set_friendly_name(f"conv{self.count}")
        made = ops.add(made, _zeros([1, filters, 1, 1]))
        if add is not None:
            made = ops.add(made, add)
        return ops.relu(made) if relu else made

    def pool(
        self, data: ov.Node, kernel: int, stride: int, *, pad: int = 0, up: bool = False
    ) -> ov.Node:
        """Take the largest of each window, the last one incomplete where rounded up."""
        rounding = "ceil" if up else "floor"
        where = ([stride] * 2, [pad] * 2, [pad] * 2, [kernel] * 2, rounding)
        return opset1.max_pool(data, *where)

    def linear(self, data: ov.Node, classes: int, *, relu: bool = False) -> ov.Node:
        """Multiply all values of a map, or of a row, with weights."""
        values = int(np.prod(data.get_output_shape(0)[1:]))
        row = ops.reshape(data, ops.constant(np.array([1, values])), special_zero=False)
        made = ops.matmul(row, _zeros([classes, values]), False, True)
        made = ops.add(made, _zeros([1, classes]))
        return ops.relu(made) if relu else made

    def close(self, data: ov.Node) -> ov.Model:
        """Return the graph that ends here."""
        return ov.Model([ops.result(data)], [self.image], "network")


def _zeros(shape: Sequence[int]) -> ov.Node:
    # Shared memory: pages of zeros that nobody reads are never made.
    return ov.op.Constant(np.zeros(shape, np.float32), shared_memory=True)


def _mean(data: ov.Node) -> ov.Node:
    return ops.reduce_mean(data, ops.constant(np.array([2, 3])), keep_dims=True)


def resnet(
    depths: Sequence[int], *, bottleneck: bool = True, late_stride: bool = False
) -> ov.Model:
    """Residual network of He et al. (arXiv 1512.03385).

    A block strides in its first convolution, as the authors' Caffe models do, or in its 3 x 3
    convolution, as those of PyTorch and TensorFlow.
    """
    net = Stack(3, 224)
    data = net.pool(net.conv(net.image, 64, 7, 2), 3, 2, pad=1)
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        out = 4 * width if bottleneck else width
        for block in range(depth):
            stride = 2 if stage and not block else 1
            short = data
            if data.get_output_shape(0)[1] != out or stride > 1:
                short = net.conv(data, out, 1, stride, relu=False)
            if bottleneck:
                first, then = (1, stride) if late_stride else (stride, 1)
                inner = net.conv(net.conv(data, width, 1, first), width, 3, then)
                data = net.conv(inner, out, 1, add=short)
            else:
                data = net.conv(net.conv(data, width, 3, stride), width, 3, add=short)
    return net.close(net.linear(_mean(data), 1000))


def resnet18() -> ov.Model:
    """ResNet-18."""
    return resnet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> ov.Model:
    """ResNet-50."""
    return resnet((3, 4, 6, 3))


def resnet50_late() -> ov.Model:
    """ResNet-50 with strides in its 3 x 3 convolutions."""
    return resnet((3, 4, 6, 3), late_stride=True)


def resnet101() -> ov.Model:
    """ResNet-101."""
    return resnet((3, 4, 23, 3))


def vgg16() -> ov.Model:
    """VGG-16 of Simonyan and Zisserman (arXiv 1409.1556)."""
    net = Stack(3, 224)
    data = net.image
    for filters, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            data = net.conv(data, filters, 3)
        data = net.pool(data, 2, 2)
    data = net.linear(net.linear(data, 4096, relu=True), 4096, relu=True)
    return net.close(net.linear(data, 1000))


def alexnet() -> ov.Model:
    """AlexNet of Krizhevsky et al. (NIPS 2012), with its two groups."""
    net = Stack(3, 227)
    data = net.pool(net.conv(net.image, 96, 11, 4, pad=0), 3, 2)
    data = net.pool(net.conv(data, 256, 5, groups=2), 3, 2)
    data = net.conv(net.conv(data, 384, 3), 384, 3, groups=2)
    data = net.pool(net.conv(data, 256, 3, groups=2), 3, 2)
    data = net.linear(net.linear(data, 4096, relu=True), 4096, relu=True)
    return net.close(net.linear(data, 1000))


def googlenet() -> ov.Model:
    """GoogLeNet of Szegedy et al. (arXiv 1409.4842)."""
    net = Stack(3, 224)
    data = net.pool(net.conv(net.image, 64, 7, 2), 3, 2, up=True)
    data = net.pool(net.conv(net.conv(data, 64, 1), 192, 3), 3, 2, up=True)
    for sizes in (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (),
        (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), (),
        (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    ):  # fmt: skip
        if not sizes:
            data = net.pool(data, 3, 2, up=True)
            continue
        one, three_in, three, five_in, five, pooled = sizes
        data = ops.concat(
            [
                net.conv(data, one, 1),
                net.conv(net.conv(data, three_in, 1), three, 3),
                net.conv(net.conv(data, five_in, 1), five, 5),
                net.conv(net.pool(data, 3, 1, pad=1), pooled, 1),
            ],
            1,
        )
    return net.close(net.linear(_mean(data), 1000))


def squeezenet() -> ov.Model:
    """SqueezeNet 1.1 of Iandola et al. (arXiv 1602.07360 and its repository)."""
    net = Stack(3, 227)
    data = net.pool(net.conv(net.image, 64, 3, 2, pad=0), 3, 2, up=True)
    fires = ((16, 64), (16, 64), (), (32, 128), (32, 128), (), (48, 192), (48, 192), (64, 256),
             (64, 256))  # fmt: skip
    for sizes in fires:
        if not sizes:
            data = net.pool(data, 3, 2, up=True)
            continue
        inner = net.conv(data, sizes[0], 1)
        data = ops.concat([net.conv(inner, sizes[1], 1), net.conv(inner, sizes[1], 3)], 1)
    return net.close(_mean(net.conv(data, 1000, 1)))


def mobilenet() -> ov.Model:
    """MobileNet V1 of Howard et al. (arXiv 1704.04861)."""
    net = Stack(3, 224)
    data = net.conv(net.image, 32, 3, 2)
    for filters, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
        (1024, 1),
    ):  # fmt: skip
        channels = int(data.get_output_shape(0)[1])
        data = net.conv(net.conv(data, channels, 3, stride, groups=channels), filters, 1)
    return net.close(net.linear(_mean(data), 1000))


NETWORKS: Final[dict[str, Callable[[], ov.Model]]] = {
    "ResNet-18": resnet18,
    "ResNet-50": resnet50,
    "ResNet-101": resnet101,
    "GoogLeNet": googlenet,
    "VGG16": vgg16,
    "AlexNet": alexnet,
    "SqueezeNet 1.1": squeezenet,
    "MobileNetV1": mobilenet,
}
