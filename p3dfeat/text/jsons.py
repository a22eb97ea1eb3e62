"""JSON: a writer whose lines every reader accepts, and a reader with limits for untrusted JSON."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

MOST_BYTES: Final = 4 << 20
MOST_LEVELS: Final = 100  # of nested lists and objects; recursive code can handle these
MOST_DIGITS: Final = 1000  # of a number that is read; a float has 17, and Python is slow for very long ones
MOST_BITS: Final = 2000  # of an integer that is written as a number: fewer than MOST_DIGITS


def json_line(record: Mapping[str, Any], *, encoding: str = "utf-8") -> str:
    """One line of JSON for any record. It never raises.

    NaN and infinities, which JSON does not have, become null. Arrays and scalars of numpy become lists and numbers.
    Bytes and objects of other types become text. Characters that are not printable, or that ``encoding`` does not
    have, are written as \\uXXXX; a reader gets the same text.

        >>> json_line({"id": "vidéo", "mean": float("nan")})
        '{"id": "vidéo", "mean": null}'
    """
    return json_text(record, encoding=encoding)


def json_text(value: Any, *, encoding: str = "utf-8") -> str:
    """As ``json_line``, for any value."""
    text = json.dumps(_plain(value, MOST_LEVELS), ensure_ascii=False, allow_nan=False)
    if _is_kept(text, encoding):
        return text
    # Only strings contain such characters: the rest of JSON is printable ASCII.
    return "".join(c if _is_kept(c, encoding) else json.dumps(c)[1:-1] for c in text)


def _is_kept(text: str, encoding: str) -> bool:
    if not text.isprintable():
        return False
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any, levels: int) -> Any:
    """The value, converted to types of the json module. levels: maximum number; deeper values are left out."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= MOST_BITS else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if levels == 0:
        return "..."
    if isinstance(value, Mapping):
        items = value.items()
        return {key if isinstance(key, str) else _text(key): _plain(item, levels - 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item, levels - 1) for item in value]
    try:
        inner = value.tolist()  # numpy's arrays and scalars, and similar types
    except Exception:  # it has no such method, or one that fails
        return _text(value)
    return _text(value) if type(inner) is type(value) else _plain(inner, levels)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # __str__ of other software may raise anything
        return object.__repr__(value)


def parse_json(
    data: str | bytes, *, most_bytes: int = MOST_BYTES, errors: Literal["strict", "replace"] = "strict"
) -> Any:
    """Parse JSON text, within limits. For all JSON from a disk or from another process.

    most_bytes: of ``data``. errors: handling of bytes that are not UTF-8. Raises only ValueError: for text that is too
    long, nested too deeply or not JSON; NaN, infinities and very long numbers are not JSON.

        >>> parse_json(b'{"pid": 7}')
        {'pid': 7}
    """
    if len(data) > most_bytes:
        raise ValueError(f"JSON of {len(data)} bytes; at most {most_bytes} are read")
    text = data.decode("utf-8", errors) if isinstance(data, bytes) else data
    try:
        found = json.loads(text, parse_constant=_no_constant, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise ValueError(f"JSON with more than {MOST_LEVELS} levels") from None
    layer = [found] if isinstance(found, dict | list) else []
    for _ in range(MOST_LEVELS):
        layer = [inner for outer in layer for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not layer:
            return found
    raise ValueError(f"JSON with more than {MOST_LEVELS} levels")


def _inside(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def parse_object(
    data: str | bytes, *, most_bytes: int = MOST_BYTES, errors: Literal["strict", "replace"] = "strict"
) -> dict[str, Any]:
    """As ``parse_json``, for JSON that must be an object. Raises ValueError."""
    found = parse_json(data, most_bytes=most_bytes, errors=errors)
    if not isinstance(found, dict):
        raise ValueError("JSON that is not an object")
    return found


def read_object(path: Path, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """As ``parse_object``, for a file of at most ``most_bytes``. Raises OSError, ValueError."""
    with open(path, "rb") as file:
        return parse_object(file.read(most_bytes + 1), most_bytes=most_bytes)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= MOST_DIGITS else math.inf
    if math.isinf(value):
        raise ValueError("a number that is too large or has too many digits")
    return value
