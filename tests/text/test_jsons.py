"""JSON that every reader takes, and a reader that nothing overcomes."""

import json
from pathlib import PurePath

import numpy as np
import pytest

from p3dfeat.text.jsons import MOST_DIGITS, MOST_LEVELS, json_line, parse_json, parse_object


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


class Odd:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (float("nan"), None),
        ([1.5, {"a": float("inf")}], [1.5, {"a": None}]),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, float("nan")]), [1.0, None]),
        (np.array(["a", None], dtype=object), ["a", None]),
        ((1, "two"), [1, "two"]),
        ({1: "one", None: 2}, {"1": "one", "None": 2}),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        (PurePath("a/b"), "a/b"),
        (1 << 5000, hex(1 << 5000)),
        (True, True),
    ],
)
def test_any_value_becomes_plain_json(value, read):
    assert json.loads(json_line({"value": value}), parse_constant=pytest.fail) == {"value": read}


def test_no_record_is_refused():
    endless: list[object] = []
    endless.append(endless)
    for value in (endless, Odd(), np.ndarray, np.longdouble(1), {Odd(): 1}, iter(())):
        assert "\n" not in json_line({"value": value})


TEXTS = ["vidéo 日本 🎬", "a\nb\x00\x1b\x7f\x85\x9b", "\u2028\u2029\u202e\u2066", "\udcff", 'a"\\b', "\U000e0041x"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_line_is_printable_in_its_encoding_and_reads_back_as_it_was(text, encoding):
    line = json_line({text: text}, encoding=encoding)
    assert line.isprintable()
    assert json.loads(line.encode(encoding).decode(encoding)) == {text: text}


def test_a_reader_sees_the_text_and_only_codes_are_escaped():
    assert json_line({"id": "vidéo 🎬\u202e\n"}) == r'{"id": "vidéo 🎬\u202e\n"}'
    assert json_line({"id": "\U000e0041"}) == r'{"id": "\udb40\udc41"}'


def test_keys_keep_their_order():
    assert json_line({"b": 1, "a": 2}) == '{"b": 1, "a": 2}'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
        ("NaN", "NaN is not JSON"),
        ('{"a": [-Infinity]}', "-Infinity is not JSON"),
        ("1e999", "too large"),
        (f"0.{'1' * MOST_DIGITS}", "too many digits"),
        ("1" * (MOST_DIGITS + 1), "a number of 1001 digits"),
        (nested(MOST_LEVELS + 1), "more than 100 levels"),
        ('{"a":' * 101 + "1" + "}" * 101, "more than 100 levels"),
        (nested(100_000), "more than 100 levels"),
        ("[" * 100_000, "more than 100 levels"),
        (b'"\xff"', "can't decode"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"' + b"x" * 5000 + b'"', "JSON of 5002 bytes; at most 5000"),
    ],
)
def test_what_is_not_sound_json_is_a_value_error_and_nothing_else(data, message):
    with pytest.raises(ValueError, match=message):
        parse_json(data, most_bytes=5000 if b"xxxxx" in (data if isinstance(data, bytes) else b"") else 1 << 20)


def test_sound_json_is_read():
    assert parse_json('{"a": [1, -2.5, "é", null, true]}'.encode()) == {"a": [1, -2.5, "é", None, True]}
    assert parse_json(nested(MOST_LEVELS)) == json.loads(nested(MOST_LEVELS))
    assert parse_json("9" * MOST_DIGITS) == 10**MOST_DIGITS - 1
    assert parse_json(b'"a\xff"', errors="replace") == "a\ufffd"


@pytest.mark.parametrize("data", ["[]", "1", '"a"', "null"])
def test_an_object_is_an_object(data):
    with pytest.raises(ValueError, match="not an object"):
        parse_object(data)
    assert parse_object('{"a": 1}') == {"a": 1}


def test_what_is_written_can_be_read():
    deep: dict[str, object] = {}
    for _ in range(300):
        deep = {"a": deep}
    assert parse_object(json_line({"deep": deep, "long": 10**600, "most": 1 << 2000}))
