"""What devices compute in is said by its own name, and cards say what may change their answers."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import openvino as ov
import pytest

from thorax.artifact import Artifact, Precision
from thorax.devices.arithmetic import arithmetic_of, computes_in
from thorax.devices.core import supports
from thorax.devices.describe import describe
from thorax.devices.engine import compile
from thorax.fpga.bitstreams import BITSTREAMS
from thorax.fpga.card import erase, program
from thorax.fpga.emulation import VERSION
from thorax.fpga.numerics import quantize

RESNET = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
FP16 = "2020-4_RC_FP16_ResNet_YoloV3"
HINT = "INFERENCE_PRECISION_HINT"


def compiled(**properties: object) -> ov.CompiledModel:
    """What a device answers that is not here: a processor with BF16, a graphics card."""
    told = {"SUPPORTED_PROPERTIES": list(properties), **properties}
    return cast(ov.CompiledModel, SimpleNamespace(get_property=told.__getitem__))


@pytest.mark.parametrize(
    ("kind", "name"), [(ov.Type.bf16, "bf16"), (ov.Type.f16, "f16"), (ov.Type.f32, "f32")]
)
def test_each_element_type_is_called_by_its_own_name(kind: ov.Type, name: str) -> None:
    assert computes_in(compiled(**{HINT: kind}), ["CPU"], {}) == [name]
    parts: dict[str, Any] = {"GPU": {HINT: ov.Type.f16}, "CPU": {HINT: kind}}
    assert computes_in(compiled(DEVICE_PROPERTIES=parts), ["CPU", "GPU"], {}) == [name, "f16"]


def test_a_card_computes_in_its_format_and_the_processor_beside_it_in_its_own() -> None:
    parts = {"FPGA_CPU": {HINT: ov.Type.f32}, "CPU": {HINT: ov.Type.bf16}}
    answer = computes_in(compiled(DEVICE_PROPERTIES=parts), ["FPGA.0", "CPU"], {"FPGA.0": "fp11"})
    assert answer == ["fp11", "bf16"]


def test_cards_say_their_bitstream_before_and_after_an_artifact_is_compiled(
    cards: Path, tiny_fp32: Artifact
) -> None:
    told = arithmetic_of("HETERO:FPGA,CPU")
    assert told == {"FPGA.0": f"{RESNET}, fp11 in blocks of 16, emulation {VERSION}"}
    engine = compile(tiny_fp32, "HETERO:FPGA,CPU")
    assert engine.cards == told
    program("FPGA.0", FP16)
    assert arithmetic_of("FPGA") != told
    assert engine.cards == told, "what is compiled stays as it is"
    assert compile(tiny_fp32, "HETERO:FPGA,CPU", numerics="fp32").cards == {"FPGA.0": "f32"}


@pytest.mark.skipif(not supports("CPU", Precision.INT8), reason="this CPU computes no int8")
def test_integers_are_told_of_an_int8_artifact_and_floats_of_the_rest(
    tiny_fp32: Artifact, tiny_int8: Artifact
) -> None:
    told = describe(compile(tiny_int8))
    assert (told.precision, told.compute) == ("int8", "f32")
    assert told.arithmetic.split("+")[0] == "int8"
    assert {*told.arithmetic.split("+")} <= {"int8", "f32"}
    assert describe(compile(tiny_fp32)).arithmetic == "f32"
    assert compile(tiny_int8, "MULTI:CPU").arithmetic == told.arithmetic


def test_cards_of_a_pool_are_told_one_by_one(cards: Path, tiny_fp32: Artifact) -> None:
    program("FPGA.1", FP16)
    erase("FPGA.2")
    told = arithmetic_of("MULTI:FPGA.0,FPGA.1,CPU")
    assert list(told) == ["FPGA.0", "FPGA.1"]
    assert told["FPGA.1"].startswith(f"{FP16}, fp16 in blocks of ")
    assert compile(tiny_fp32, "MULTI:FPGA.0,FPGA.1,CPU").cards == told
    assert arithmetic_of("FPGA.2") == {"FPGA.2": "not programmed"}


def test_without_a_card_there_is_nothing_to_tell(tiny_fp32: Artifact) -> None:
    assert arithmetic_of("CPU") == arithmetic_of("AUTO") == {}
    assert compile(tiny_fp32).cards == {}


def test_other_answers_of_the_emulation_are_another_version() -> None:
    """Fails when rules of rounding, or what a bitstream computes, change: raise VERSION then."""
    random = np.random.Generator(np.random.Philox(key=5))
    whole = random.integers(-(2**24), 2**24, (2, 40, 3, 3))
    image = np.ldexp(whole, random.integers(-40, -8, (2, 40, 1, 1))).astype(np.float32)
    digest = hashlib.sha256()
    for one in BITSTREAMS.values():
        overlay = one.architecture
        digest.update(f"{one.name} {overlay.precision} {overlay.c_vector}".encode())
        made = quantize(image, block=overlay.c_vector, precision=overlay.precision)
        digest.update(np.ascontiguousarray(made, "<f4").tobytes())
    assert (VERSION, digest.hexdigest()[:16]) == (1, "51e487b1733496e2")
