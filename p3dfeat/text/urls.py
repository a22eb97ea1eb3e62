"""Addresses without secrets, for messages and files."""

import re
from typing import Final

COLLAPSED: Final = r"(?i:https?|ftps?|sftp|s3|gs|hf):/(?!/)"  # in a path that was made from an address
ADDRESS: Final = re.compile(rf"([\w+.-]+://|{COLLAPSED})([^/?#]*)(.*)", re.DOTALL)
# In a text: up to a blank, or to the start of another address. Directly after a colon, a scheme is part of a password.
SCHEME: Final = rf"(?:[a-zA-Z][a-zA-Z0-9+.-]{{0,20}}://|(?<![\w+.-]){COLLAPSED})"
IN_TEXT: Final = re.compile(rf"{SCHEME}(?:(?!(?<![\w:@+.-]){SCHEME})\S)+")
CLOSING: Final = re.compile(r"[)\]}>'\"`,.;:]*$")  # what may follow an address in a sentence
HIGHEST_PORT: Final = 65535


def without_secrets(url: str) -> str:
    """An address without user, password, query and fragment. A query may contain a signature.

    In a doubtful address, all text before its last @ is removed. Other text stays, up to a ? or #.

        >>> without_secrets("https://me:secret@example.org/a.mp4?key=1")
        'https://example.org/a.mp4'
    """
    match = ADDRESS.match(url)
    if match is None:
        return re.split("[?#]", url, maxsplit=1)[0]
    scheme, host, rest = match.groups()
    if is_doubtful(url):
        host, rest = "", url.rpartition("@")[2]
    return scheme + host.rpartition("@")[2] + re.split("[?#]", rest, maxsplit=1)[0]


def is_doubtful(url: str) -> bool:
    """Whether the password in an address may continue after the first slash, # or ?.

    This is so if an @ follows that may be the end of a password, and the text before it is hardly a host and port, or
    contains an @ itself.

        >>> is_doubtful("https://me:pass/word@example.org/a.mp4")
        True
        >>> is_doubtful("https://example.org/@me/a.mp4")
        False
    """
    match = ADDRESS.match(url)
    if match is None or "@" not in match[3]:
        return False
    host, rest = match[2], match[3]
    hardly_a_name = re.search("[^/]@", rest) is not None  # as in "/@me/a.mp4"
    if "@" in host:
        return hardly_a_name
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")  # [::1]
    if not colon:
        return False
    if not (port.isascii() and port.isdigit() and int(port[:9]) <= HIGHEST_PORT):
        return True
    return hardly_a_name and "." not in name and not name.endswith("]") and name.lower() != "localhost"


def scrubbed(text: str) -> str:
    """The text, with ``without_secrets`` applied to each address in it. For messages of libraries.

    >>> scrubbed("404 for url 'https://me:secret@example.org/a.mp4?key=1'")
    "404 for url 'https://example.org/a.mp4'"
    """
    return IN_TEXT.sub(_scrub, text)


def _scrub(match: re.Match[str]) -> str:
    closing = CLOSING.search(match[0])
    end = closing.start() if closing else len(match[0])
    return without_secrets(match[0][:end]) + match[0][end:]
