"""Addresses as inputs, in the web and in object stores: the accepted addresses and the ids of their videos.

Only text from the user can be an address: an argument, or a line of a list or CSV. The id is host and path, or bucket
and path. A query may distinguish two videos, but it may also be a secret, so the id contains a hash of it.
"""

import hashlib
import os
import re
from typing import Final
from urllib.parse import urlsplit

from p3dfeat.errors import VideoError
from p3dfeat.sources.ids import Found, printable
from p3dfeat.text.lines import shortened
from p3dfeat.text.urls import is_doubtful, without_secrets
from p3dfeat.types import WEB_SCHEMES, is_in_store

SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]+)://|(data):", re.IGNORECASE)
LONGEST: Final = 8000  # characters, a usual limit of servers
QUERY: Final = re.compile(r"\?[^/]*=")
BUCKET: Final = re.compile(r"[\w.-]+", re.ASCII)
NOT_OF_STORE: Final = "not an address of a store; s3://bucket/path is one"
NO_ADDRESS: Final = "not an address; http://host/path is one, without spaces"


def is_address(text: str) -> bool:
    """Whether ``text`` is a remote address, or an address of another kind that is not also a file."""
    return text.lower().startswith(WEB_SCHEMES) or (SCHEME.match(text) is not None and not os.path.exists(text))


def found_at(
    text: str, start_seconds: float | None = None, end_seconds: float | None = None, given_id: str | None = None
) -> Found:
    """The video at an address. Raises VideoError if the address is not valid, or of another kind."""
    if is_in_store(text):
        return _found_in_store(text, start_seconds, end_seconds, given_id)
    scheme = SCHEME.match(text)
    if not text.lower().startswith(WEB_SCHEMES):
        kind = shortened((scheme[1] or scheme[2]).lower()) if scheme else "such"
        known = "http, https, s3, gs and hf"
        raise VideoError(f"{kind} addresses are not fetched, only {known}; download it and name the file")
    if is_doubtful(text):
        remedy = "write @ as %40, / as %2F, # as %23 and ? as %3F in user, password, path and query"
        raise VideoError(f"not clear where its password ends; {remedy}")
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port is not None else "")
    except ValueError:  # the error's text may contain a part of the password
        raise VideoError(NO_ADDRESS) from None
    if not parts.hostname or not text.isprintable() or " " in text or len(text) > LONGEST:
        raise VideoError(NO_ADDRESS)
    path = [part for part in parts.path.split("/") if part not in ("", ".", "..")] or ["index"]
    if parts.query:
        stem, dot, suffix = path[-1].rpartition(".")
        mark = "~" + hashlib.sha256(parts.query.encode()).hexdigest()[:8]
        path[-1] = f"{stem}{mark}{dot}{suffix}" if stem else path[-1] + mark
    url = text.partition("#")[0]
    return Found(url, printable(without_secrets(text)), "/".join((host, *path)), start_seconds, end_seconds, given_id)


def check_in_store(text: str) -> None:
    """Raise VideoError for an address of a store that is not valid."""
    path = text.partition("://")[2]
    bucket = path.partition("/")[0]
    if "::" in path:
        raise VideoError(NOT_OF_STORE)
    if "@" in bucket or ":" in bucket or QUERY.search(path):
        raise VideoError("holds a password or a query; a store takes credentials from the environment")
    if not BUCKET.fullmatch(bucket) or not text.isprintable() or len(text) > LONGEST:
        raise VideoError(NOT_OF_STORE)


def _found_in_store(text: str, start: float | None, end: float | None, given_id: str | None) -> Found:
    check_in_store(text)
    scheme, _, path = text.partition("://")
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return Found(f"{scheme.lower()}://{path}", printable(text), "/".join(parts), start, end, given_id)


def shown(text: str) -> str:
    """An address for messages: without secrets, and shortened if it is long."""
    return shortened(printable(without_secrets(text)))
