"""Layers of the SSD detector (Liu et al., ECCV 2016), as its fork of Caffe has them."""

from typing import Final

from thorax.ir.caffe_layer import Build

BUILD: Final[dict[str, Build]] = {}
"""By type in capitals."""

BOTTOMS: Final[dict[str, tuple[int, int]]] = {}
"""How many blobs a layer may take, where it is not one."""
