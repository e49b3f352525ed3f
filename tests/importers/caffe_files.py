"""Caffe files for tests, written byte by byte from caffe.proto; and a network with its torch twin.

Nothing here is shared with the reader.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import torch
from torch.nn import functional

from thorax.importers.options import compile_here

Array = npt.NDArray[np.float32]
Weights = Mapping[str, Sequence[Array]]


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        byte, number = number & 0x7F, number >> 7
        out.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(out)


def chunk(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def blob(
    values: Array, *, packed: bool = True, doubles: bool = False, legacy: bool = False
) -> bytes:
    """Return a BlobProto; `legacy` has num, channels, height and width in place of a shape."""
    out = b""
    if legacy:
        sides = [1] * (4 - values.ndim) + list(values.shape)
        out += b"".join(varint(n << 3) + varint(side) for n, side in enumerate(sides, 1))
    elif packed:
        out += chunk(7, chunk(1, b"".join(map(varint, values.shape))))
    else:
        out += chunk(7, b"".join(varint(1 << 3) + varint(side) for side in values.shape))
    number, code, wire = (8, "<d", 1) if doubles else (5, "<f", 5)
    numbers = [struct.pack(code, value) for value in values.ravel().tolist()]
    if packed:
        return out + chunk(number, b"".join(numbers))
    return out + b"".join(varint(number << 3 | wire) + value for value in numbers)


def caffemodel(weights: Weights, *, v1: bool = False, **kind: bool) -> bytes:
    """Return a NetParameter that holds no more than names and weights."""
    layer, name, blobs = (2, 4, 6) if v1 else (100, 1, 7)
    out = chunk(1, b"net")
    for key, values in weights.items():
        inner = chunk(name, key.encode())
        if v1:
            inner += varint(5 << 3) + varint(4)
        inner += b"".join(chunk(blobs, blob(value, **kind)) for value in values)
        out += chunk(layer, inner)
    return out


def write(folder: Path, text: str, weights: Weights, **kind: bool) -> Path:
    """Write net.prototxt and net.caffemodel; return the second."""
    (folder / "net.prototxt").write_text(text)
    path = folder / "net.caffemodel"
    path.write_bytes(caffemodel(weights, **kind))
    return path


def run(model: ov.Model, *images: Array) -> dict[str, Array]:
    """Return the outputs by name, computed in f32."""
    names = [port.any_name for port in model.outputs]
    return dict(zip(names, compile_here(model)(images), strict=True))


@dataclass(slots=True)
class Twin:
    """A network that is described in prototxt and computed by torch, layer for layer.

    Attributes:
        text: the prototxt.
        weights: by layer.
        values: of each blob, by torch.
        random: of the weights.
    """

    text: str
    weights: dict[str, list[Array]]
    values: dict[str, torch.Tensor]
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

    @classmethod
    def of(cls, *shape: int) -> "Twin":
        """Begin with the input `data`."""
        dims = " ".join(f"dim: {side}" for side in shape)
        text = f'name: "twin"\ninput: "data"\ninput_shape {{ {dims} }}\n'
        image = np.random.default_rng(4).normal(size=shape).astype(np.float32)
        return cls(text, {}, {"data": torch.from_numpy(image)})

    @property
    def image(self) -> Array:
        return np.asarray(self.values["data"].numpy())

    def layer(
        self,
        kind: str,
        name: str,
        bottoms: str | Sequence[str],
        value: torch.Tensor,
        body: str = "",
        *,
        top: str | None = None,
        weights: Sequence[torch.Tensor] = (),
    ) -> str:
        """Add a layer whose answer is known; return the blob that it makes."""
        bottoms = [bottoms] if isinstance(bottoms, str) else bottoms
        ends = " ".join(f'bottom: "{name}"' for name in bottoms)
        self.text += (
            f'layer {{ name: "{name}" type: "{kind}" {ends} top: "{top or name}" {body} }}\n'
        )
        if weights:
            self.weights[name] = [np.asarray(weight.numpy()) for weight in weights]
        self.values[top or name] = value
        return top or name

    def noise(self, *shape: int, size: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(self.random.normal(0, size, shape).astype(np.float32))

    def conv(
        self,
        name: str,
        bottom: str,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int = 0,
        group: int = 1,
        bias: bool = True,
    ) -> str:
        data = self.values[bottom]
        inputs = data.shape[1] // group
        weight = self.noise(outputs, inputs, kernel, kernel, size=(2 / inputs) ** 0.5 / kernel)
        offset = self.noise(outputs, size=0.1) if bias else None
        value = functional.conv2d(data, weight, offset, stride, pad, groups=group)
        body = (
            f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} "
            f"pad: {pad} group: {group} bias_term: {str(bias).lower()} "
            'weight_filler { type: "xavier" } }'
        )
        learned = [weight] if offset is None else [weight, offset]
        return self.layer("Convolution", name, bottom, value, body, weights=learned)

    def relu(self, bottom: str) -> str:
        value = torch.relu(self.values[bottom])
        return self.layer("ReLU", f"relu_{bottom}", bottom, value, top=bottom)

    def pool(
        self, name: str, bottom: str, kind: str, kernel: int, stride: int = 1, pad: int = 0
    ) -> str:
        pool: Any = functional.max_pool2d if kind == "MAX" else functional.avg_pool2d
        value = pool(self.values[bottom], kernel, stride, pad, ceil_mode=True)
        body = f"pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad} }}"
        return self.layer("Pooling", name, bottom, value, body)

    def global_mean(self, name: str, bottom: str) -> str:
        value = self.values[bottom].mean((2, 3), keepdim=True)
        body = "pooling_param { pool: AVE global_pooling: true }"
        return self.layer("Pooling", name, bottom, value, body)

    def lrn(self, name: str, bottom: str) -> str:
        value = functional.local_response_norm(self.values[bottom], 5, alpha=1e-2)
        return self.layer("LRN", name, bottom, value, "lrn_param { local_size: 5 alpha: 0.01 }")

    def norm(self, name: str, bottom: str, *, top: str | None = None) -> str:
        """Add BatchNorm and Scale, both in place where no top is named."""
        size, total = self.values[bottom].shape[1], 999.98
        mean, variance = self.noise(size, size=0.2), self.noise(size).abs() + 0.5
        gamma, beta = self.noise(size).abs() + 0.2, self.noise(size, size=0.2)
        plain = functional.batch_norm(self.values[bottom], mean, variance, eps=1e-5)
        sums = [mean * total, variance * total, torch.tensor([total])]
        body = "batch_norm_param { use_global_stats: true }"
        top = top or bottom
        self.layer("BatchNorm", f"bn_{name}", bottom, plain, body, top=top, weights=sums)
        value = plain * gamma[:, None, None] + beta[:, None, None]
        body = "scale_param { bias_term: true }"
        return self.layer(
            "Scale", f"scale_{name}", top, value, body, top=top, weights=[gamma, beta]
        )

    def linear(self, name: str, bottom: str, outputs: int) -> str:
        data = self.values[bottom].flatten(1)
        weight = self.noise(outputs, data.shape[1], size=data.shape[1] ** -0.5)
        offset = self.noise(outputs, size=0.1)
        body = f"inner_product_param {{ num_output: {outputs} }}"
        value = functional.linear(data, weight, offset)
        return self.layer("InnerProduct", name, bottom, value, body, weights=[weight, offset])

    def dropout(self, bottom: str) -> str:
        body = "dropout_param { dropout_ratio: 0.5 }"
        return self.layer(
            "Dropout", f"drop_{bottom}", bottom, self.values[bottom], body, top=bottom
        )

    def concat(self, name: str, bottoms: Sequence[str]) -> str:
        return self.layer(
            "Concat", name, bottoms, torch.cat([self.values[name] for name in bottoms], 1)
        )

    def sum(self, name: str, bottoms: Sequence[str]) -> str:
        value = self.values[bottoms[0]] + self.values[bottoms[1]]
        return self.layer("Eltwise", name, bottoms, value)

    def softmax(self, name: str, bottom: str) -> str:
        return self.layer("Softmax", name, bottom, torch.softmax(self.values[bottom], 1))
