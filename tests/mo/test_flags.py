"""The small languages of the classic flags, by properties."""

import contextlib
import string

import hypothesis.strategies as st
import pytest
from hypothesis import given

from thorax.errors import UsageError
from thorax.mo import flags
from thorax.mo.flags import Axes, Entry, Values

NAMES = st.text(string.ascii_letters + string.digits + "_/.", min_size=1, max_size=12)
NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5)
SHAPES = st.lists(st.one_of(st.just(-1), st.integers(1, 4096)), max_size=5)
BRACKETS = st.sampled_from([("[", "]"), ("(", ")")])
BLANK = st.sampled_from(["", " "])


@given(st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=4), BRACKETS, BLANK)
def test_named_numbers_come_back_as_they_were_written(
    numbers: dict[str, list[float]], brackets: tuple[str, str], blank: str
) -> None:
    left, right = brackets
    text = f"{blank},".join(
        f"{blank}{name}{left}{f'{blank},'.join(map(repr, values))}{right}"
        for name, values in numbers.items()
    )
    wanted = tuple(Values(name, tuple(values)) for name, values in numbers.items())
    assert flags.parse_values(text, "--mean_values") == wanted


@given(st.lists(NUMBERS, min_size=1, max_size=4), BRACKETS)
def test_numbers_without_names_keep_their_order(
    numbers: list[list[float]], brackets: tuple[str, str]
) -> None:
    left, right = brackets
    text = ",".join(f"{left}{','.join(map(repr, values))}{right}" for values in numbers)
    wanted = tuple(Values("", tuple(values)) for values in numbers)
    assert flags.parse_values(text, "--scale_values") == wanted


@given(st.lists(SHAPES, min_size=1, max_size=4), BRACKETS, st.sampled_from([",", ", ", " "]))
def test_shapes_come_back_as_they_were_written(
    shapes: list[list[int]], brackets: tuple[str, str], comma: str
) -> None:
    left, right = brackets
    text = ",".join(f"{left}{comma.join(map(str, shape))}{right}" for shape in shapes)
    assert flags.parse_shapes(text) == tuple(map(tuple, shapes))


ENTRIES = st.builds(
    Entry,
    st.one_of(NAMES, NAMES.map("0:{}".format), NAMES.map("{}:1".format)),
    st.one_of(st.none(), SHAPES.map(tuple)),
    st.one_of(st.none(), st.sampled_from(["f32", "f16", "i64", "i32", "u8", "boolean"])),
    st.one_of(st.none(), NUMBERS.map(tuple)),
)


def write(entry: Entry) -> str:
    shape = "" if entry.shape is None else "[" + ",".join(map(str, entry.shape)) + "]"
    element = "" if entry.element is None else f"{{{entry.element}}}"
    value = ""
    if entry.value is not None:
        value = f"->{entry.value[0]!r}" if len(entry.value) == 1 else f"->{list(entry.value)}"
    return f"{entry.name}{shape}{element}{value}"


@given(st.lists(ENTRIES, min_size=1, max_size=4, unique_by=lambda entry: entry.name))
def test_inputs_come_back_as_they_were_written(entries: list[Entry]) -> None:
    assert flags.parse_inputs(",".join(map(write, entries))) == tuple(entries)


def test_the_examples_of_the_old_help_are_understood() -> None:
    assert flags.parse_inputs("input_1[1,100],sequence_len->150,is_training->False") == (
        Entry("input_1", (1, 100)),
        Entry("sequence_len", None, None, (150.0,)),
        Entry("is_training", None, None, (0.0,)),
    )
    assert flags.parse_inputs("0:node_name1[3,4],node_name2:1[2]{i32}->[20,15]") == (
        Entry("0:node_name1", (3, 4)),
        Entry("node_name2:1", (2,), "i32", (20.0, 15.0)),
    )
    assert flags.parse_values("data[255,255,255],info[255,255,255]", "") == (
        Values("data", (255.0,) * 3),
        Values("info", (255.0,) * 3),
    )
    assert flags.parse_layouts("name1(nhwc->nchw),name2(cn->nc)") == (
        Axes("name1", "NHWC", "NCHW"),
        Axes("name2", "CN", "NC"),
    )
    assert flags.parse_layouts("in1([n,h,w,c]),in2(nc)")[0] == Axes("in1", "NHWC", "NHWC")
    assert flags.parse_layouts("?c??") == (Axes("", "?C??", "?C??"),)
    assert flags.parse_shapes("(1,227,227,3),[?,4]") == ((1, 227, 227, 3), (-1, 4))


@given(st.permutations("NCHW"), st.permutations("NCHW"), NAMES)
def test_layouts_come_back_as_they_were_written(
    source: list[str], target: list[str], name: str
) -> None:
    one, other = "".join(source), "".join(target)
    assert flags.parse_layouts(f"{one.lower()}->{other}") == (Axes("", one, other),)
    assert flags.parse_layouts(f"{name}({one})") == (Axes(name, one, one),)


PARSERS = [
    lambda text: flags.parse_values(text, "--mean_values"),
    flags.parse_shapes,
    flags.parse_inputs,
    flags.parse_names,
    flags.parse_layouts,
]


@given(st.sampled_from(PARSERS), st.text(string.ascii_letters + string.digits + "[](){},:->?. -"))
def test_any_other_text_is_a_usage_error(parse: object, text: str) -> None:
    with contextlib.suppress(UsageError):
        parse(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    "text", ["", "1,2", "[]", "[a]", "[nan]", "[1", "a[1],a[2]", "a[1],[2]", "[1]x", "[[1]]"]
)
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        flags.parse_values(text, "--mean_values")
    assert caught.value.code == "mo-values"


@pytest.mark.parametrize("text", ["", "1,3", "[0,3]", "[1.5]", "[1,-2]", "[1,3", "x[1]", "[1..3]"])
def test_shapes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        flags.parse_shapes(text)
    assert caught.value.code == "mo-shape"


@pytest.mark.parametrize("flag", sorted(flags.RETIRED))
def test_a_retired_flag_is_told_what_became_of_it(flag: str) -> None:
    with pytest.raises(UsageError) as caught:
        flags.refuse_unknown([f"{flag}=x"], ["--input"])
    assert caught.value.code == "mo-retired"
    assert caught.value.message.startswith(f"{flag} does nothing any more: ")


def test_a_misspelt_flag_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="the nearest is --mean_values"):
        flags.refuse_unknown(["--mean_value"], ["--mean_values", "--scale"])
