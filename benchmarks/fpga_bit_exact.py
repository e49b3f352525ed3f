"""Claim: the graph quantizes as the specification does, to the bit, in every format.

    python -m benchmarks.fpga_bit_exact [--values 10000000]

Of each format at least so many values go through the reference in NumPy, the graph of standard
operations on CPU kernels in FP32, and a model in integers that shares no code with either; every
rounding and blocks of 4, 8, 16 and 32 channels. Half of the values are normal about 1, with
exponents a network has; the rest are adversarial: every exponent, ties of each rounding and their
neighbours, the edges of binary16, infinities, zeros of both signs. Every third tensor has no
negative values and is treated as such, every third is an image. What differs is counted bit by bit.
"""

import argparse
import itertools
import math
import time
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
import openvino.opset13 as ops
from tests.fpga import integer_model

from benchmarks.harness.result import parse_args, table, write
from thorax.devices.graph import compile_graph
from thorax.fpga.formats import FORMATS, Format
from thorax.fpga.numerics import ROUNDINGS, Rounding, quantize
from thorax.fpga.quantizer import Quantizer

BLOCKS: Final = (4, 8, 16, 32)
SHAPE: Final = (1, 64, 56, 56)
KINDS: Final = ("signed", "unsigned", "image")

Floats = npt.NDArray[np.float32]


def graph(form: Format, rounding: Rounding, block: int, kind: str) -> ov.CompiledModel:
    """Return the compiled quantizer of one tensor."""
    x = ops.parameter(list(SHAPE), np.float32)
    image, signed = kind == "image", kind != "unsigned"
    quantizer = Quantizer("q", None, form, rounding=rounding, image=image, signed=signed)
    return compile_graph(ov.Model([quantizer.insert(x.output(0), block=block)], [x]))


def values(seed: int, kind: str) -> Floats:
    """Return a tensor, half of it normal and half adversarial, in random order."""
    random = np.random.default_rng(seed)
    count = math.prod(SHAPE)
    # A pixel is all of one half: one huge value would decide what is left of a block.
    normal = random.standard_normal(count).astype(np.float32).reshape(SHAPE)
    hard = integer_model.adversarial(count, seed).reshape(SHAPE)
    mixed = np.where(random.random((1, 1, *SHAPE[2:])) < 0.5, normal, hard)
    return np.abs(mixed) if kind == "unsigned" else mixed


def differing(first: Floats, second: Floats) -> int:
    """Return how many values differ in any bit."""
    return int((first.view(np.uint32) != second.view(np.uint32)).sum())


def judge(form: Format, wanted: int) -> dict[str, Any]:
    """Return what was compared of a format and what differed."""
    cases = list(itertools.product(ROUNDINGS, BLOCKS))
    each = math.ceil(wanted / len(cases) / math.prod(SHAPE))
    compared = graphs_differ = integers_differ = 0
    start = time.perf_counter()
    for number, (rounding, block) in enumerate(cases):
        compiled = {kind: graph(form, rounding, block, kind) for kind in KINDS}
        for turn in range(each):
            kind = KINDS[turn % len(KINDS)]
            x = values(1000 * number + turn, kind)
            image = kind == "image"
            reference = quantize(x, block=block, precision=form, rounding=rounding, image=image)
            whole = integer_model.quantize(
                x,
                block=block,
                magnitude=form.magnitude_bits,
                twos_complement=form.twos_complement,
                rounding=rounding,
                image=image,
            )
            graphs_differ += differing(np.asarray(compiled[kind](x)[0]), reference)
            integers_differ += differing(whole, reference)
            compared += x.size
    return {
        "format": form.name,
        "exploratory": form.exploratory,
        "values": compared,
        "graph_differs": graphs_differ,
        "integers_differ": integers_differ,
        "duration_s": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=10_000_000, help="of each format, at least")
    options = parse_args(parser)
    rows = []
    for form in FORMATS.values():
        rows.append(judge(form, options.values))
        print(rows[-1], flush=True)
    path = write(
        "fpga_bit_exact",
        {
            "roundings": list(ROUNDINGS),
            "blocks": list(BLOCKS),
            "shape": list(SHAPE),
            "kinds": list(KINDS),
            "rows": rows,
            "reached": all(row["graph_differs"] == row["integers_differ"] == 0 for row in rows),
        },
        rehearsal=options.rehearsal,
    )
    keys = ("format", "values", "graph_differs", "integers_differ")
    table("Values that differ", keys, [[str(row[key]) for key in keys] for row in rows])
    print("written:", path)


if __name__ == "__main__":
    main()
