"""What keeps a video from taking more than its share: signs of life."""

from collections.abc import Callable

_on_tick: list[Callable[[], None]] = []  # what is called at each sign of life; nothing outside decoder processes


def tick() -> None:
    """Say that reading goes on: to be called from every loop that a file can make long, once a packet or frame.

    Cheap. Raises VideoError where the video has had its time.
    """
    for sign in _on_tick:
        sign()
