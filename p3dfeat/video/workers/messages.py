"""The messages of a decoder process, in lines of JSON, and their checks.

The process reads untrusted files, so its messages are not trusted. At worst they give wrong numbers for a video.
"""

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from math import isfinite
from typing import Any, Final, cast

from p3dfeat.errors import VideoError
from p3dfeat.text.jsons import parse_object
from p3dfeat.types import VideoEnd, VideoStart
from p3dfeat.video.findings import MOST_REMARKS

MESSAGE_BYTES: Final = 1 << 16
LARGEST: Final = 1 << 53  # of numbers: both JSON readers and HDF5's integers can hold it
TEXT_CHARACTERS: Final = 500  # of a reason or a name, which are shown on terminals and stored in ledgers


class NonsenseError(Exception):
    """A decoder sent an invalid message."""


@dataclass(frozen=True)
class Ready:
    """The process has started."""


@dataclass(frozen=True)
class ClipAt:
    """The next clip's pixels are in this slot of the shared memory."""

    slot: int
    start_seconds: float
    end_seconds: float
    padded_frames: int
    first_frame: int


@dataclass(frozen=True)
class Ended:
    """A video has ended. worn: the process now ends, too, and must be replaced."""

    outcome: VideoEnd | VideoError
    worn: bool = False


Message = Ready | VideoStart | ClipAt | Ended

_RECORDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in (Ready, VideoStart, ClipAt, VideoEnd)}


def encoded(message: Message) -> bytes:
    """A message as a line of JSON."""
    if not isinstance(message, Ended):
        said: dict[str, Any] = {"is": type(message).__name__, "of": asdict(message)}
    elif isinstance(message.outcome, VideoError):
        said = {"is": type(message.outcome).__name__, "of": one_line(str(message.outcome)), "worn": message.worn}
    else:
        said = {"is": "VideoEnd", "of": asdict(message.outcome), "worn": message.worn}
        said["of"]["info"] = {name: _plain(value) for name, value in said["of"]["info"].items()}
    return json.dumps(said).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [one_line(text) for text in value]
    return one_line(value) if isinstance(value, str) else value


def decoded(line: bytes) -> Message:
    """The message of a line. Raises NonsenseError."""
    try:
        said = parse_object(line)
        kind, content, worn = said["is"], said["of"], said.get("worn", False) is True
        if kind in _RECORDS:
            record: Message | VideoEnd = _record(_RECORDS[kind], content)
            return Ended(record, worn) if isinstance(record, VideoEnd) else record
        return Ended(_error_kinds()[kind](one_line(content)), worn)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise NonsenseError(repr(line[:80])) from None


def _error_kinds() -> dict[str, type[VideoError]]:
    kinds: list[type[VideoError]] = [VideoError, *VideoError.__subclasses__()]
    return {kind.__name__: kind for kind in kinds}


def _record(kind: type[Any], content: dict[str, Any]) -> Any:
    """A dataclass instance with checked field types. Raises ValueError, TypeError, KeyError or OverflowError."""
    return kind(**{field.name: _value(content[field.name], field.type) for field in fields(kind)})


def _value(value: Any, wanted: Any) -> Any:
    if is_dataclass(wanted):
        return _record(cast(type[Any], wanted), value)
    if wanted == tuple[str, ...]:
        if not isinstance(value, list) or len(value) > MOST_REMARKS:
            raise TypeError(value)
        return tuple(_value(text, str) for text in value)
    if wanted is float and type(value) is int:
        value = float(value)
    if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
        raise TypeError(value)
    fits = (
        (isfinite(value) and abs(value) <= LARGEST)
        if isinstance(value, int | float)
        else value is None or (value.isprintable() and len(value) <= TEXT_CHARACTERS)
    )
    if not fits:
        raise ValueError(value)
    return value


def one_line(text: str) -> str:
    """A text for messages: printable, on one line, of limited length. Raises TypeError if it is not a text."""
    if not isinstance(text, str):
        raise TypeError(text)
    shown = "".join(character if character.isprintable() else " " for character in text[: 2 * TEXT_CHARACTERS])
    return " ".join(shown.split())[:TEXT_CHARACTERS]
