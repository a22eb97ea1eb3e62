"""Progress events and errors of downloads."""

from collections.abc import Callable

from p3dfeat.errors import WeightsError
from p3dfeat.events import Fetching
from p3dfeat.text.urls import without_secrets

OnFetch = Callable[[Fetching], None]


class NotFetchedError(WeightsError):
    """A URL did not give its file."""

    def __init__(self, url: str, reason: str):
        super().__init__(f"{without_secrets(url)}: {reason}")
        self.host, self.reason = without_secrets(url).partition("://")[2].partition("/")[0] or "nowhere", reason
