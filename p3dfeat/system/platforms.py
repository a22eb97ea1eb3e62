"""The systems that p3dfeat runs on."""

from typing import Final

from p3dfeat.errors import UsageError

SERVED: Final = "p3dfeat runs on Linux and macOS; on Windows use it inside WSL2"


def check_system() -> None:
    """Raises UsageError on a system that p3dfeat does not run on."""
    try:
        import fcntl  # noqa: F401
        import resource  # noqa: F401
    except ImportError:
        raise UsageError(SERVED) from None
