"""The text format, against protobuf's own reader."""

import pytest
from google.protobuf import descriptor_pb2, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax.importers.prototxt import ProtoError, parse

TEXT = r"""
name: "net"  # a comment with "quotes" and { braces }
layer { name: 'con\'v "1"' top: "a\tb\x41\101\\"; kernel_size: [3, 5], pad: 0x10
  convolution_param: < bias_term: false eps: 1e-5 alpha: .5f beta: -2 pool: AVE >
  include { phase: TEST }, include { phase: TRAIN } }
empty {}
"""


def test_everything_that_caffe_writes_is_read() -> None:
    net = parse(TEXT)
    assert net.text("name") == "net"
    layer = net.block("layer")
    assert layer.line == 3
    assert layer.text("name") == 'con\'v "1"'
    assert layer.text("top") == "a\tbAA\\"
    assert layer.integers("kernel_size") == [3, 5]
    assert layer.integer("pad", 0) == 16
    param = layer.block("convolution_param")
    assert not param.flag("bias_term", True)
    assert [param.number(name, 9) for name in ("eps", "alpha", "beta", "gone")] == [
        1e-5,
        0.5,
        -2,
        9,
    ]
    assert param.text("pool") == "AVE"
    assert [rule.text("phase") for rule in layer.blocks("include")] == ["TEST", "TRAIN"]
    assert net.block("empty").fields == net.block("absent").fields == {}


def test_what_nobody_asked_for_is_known() -> None:
    param = parse("eps: 1 odd: 2").block("none")
    assert param.unread() == []
    net = parse("eps: 1 odd: 2")
    net.number("eps", 0)
    assert net.unread() == ["odd"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a {", 1),
        ("\n\na }", 3),
        ("a {\n b: \n}", 3),
        ('a: "open\n', 1),
        ("a: [1, 2", 1),
        ("a: >", 1),
        (": 1", 1),
        ("a < b: 1 }", 1),
        ("a 1", 1),
        ("x {" * 40 + "}" * 40, 1),
        ("x {" * 100_000, 1),
    ],
)
def test_what_is_no_message_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ProtoError) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "1.5"), ("integer", "word"), ("integer", "4294967296"), ("integer", "9" * 5000),
        ("integer", "{}"), ("number", "1e"), ("number", "word"), ("flag", "2"), ("block", "1"),
        ("text", "{}"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_told(kind: str, value: str) -> None:
    net = parse(f"\na: {value}")
    default = {"integer": (0,), "number": (0.0,), "flag": (True,)}.get(kind, ())
    with pytest.raises(ProtoError) as caught:
        getattr(net, kind)("a", *default)
    assert caught.value.line == 2
    assert "a is " in str(caught.value)


@settings(deadline=None, derandomize=True)
@given(
    st.text(st.characters(codec="ascii"), max_size=20),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    st.floats(width=64, allow_nan=False),
    st.booleans(),
)
def test_what_protobuf_prints_is_read_back(
    name: str, numbers: list[int], real: float, flag: bool
) -> None:
    written = descriptor_pb2.FileDescriptorProto(name=name, public_dependency=numbers)
    option = written.options.uninterpreted_option.add(double_value=real)
    option.name.add(name_part="x", is_extension=flag)
    for one_line in (False, True):
        net = parse(text_format.MessageToString(written, as_one_line=one_line))
        assert net.text("name") == name
        assert net.integers("public_dependency") == numbers
        found = net.block("options").block("uninterpreted_option")
        assert found.number("double_value", 7) == real
        assert found.block("name").flag("is_extension", not flag) == flag


@settings(deadline=None, derandomize=True)
@given(st.text(st.sampled_from("ab:{}<>[],\" \n\\#'1"), max_size=40))
def test_any_text_is_a_message_or_an_error(text: str) -> None:
    try:
        found = parse(text).line
    except ProtoError as error:
        found = error.line
    assert 1 <= found <= text.count("\n") + 1
