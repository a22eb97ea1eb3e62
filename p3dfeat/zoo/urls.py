"""What is said of web addresses, and of what comes from them."""

import re
from collections.abc import Callable

from p3dfeat.errors import WeightsError

OnBytes = Callable[[int, int | None], None]  # bytes done, bytes in all if known


class NotFetchedError(WeightsError):
    """A URL did not give its file."""

    def __init__(self, url: str, reason: str):
        super().__init__(f"{without_secrets(url)}: {reason}")
        self.host, self.reason = without_secrets(url).partition("://")[2].partition("/")[0] or url, reason


def without_secrets(url: str) -> str:
    """A URL as it may be shown and kept: without user, password and query, which may hold a signature."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1", url.partition("?")[0].partition("#")[0])
