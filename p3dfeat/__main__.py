"""python -m p3dfeat, and the entry point of the command p3dfeat."""

import sys
from typing import NoReturn

from p3dfeat.errors import UsageError
from p3dfeat.system.platforms import check_system


def main() -> NoReturn:
    """Handle signals first, because the other imports take a moment."""
    try:
        check_system()
    except UsageError as error:
        print(error, file=sys.stderr)  # noqa: T201  # there is no command line yet
        sys.exit(error.exit_code)
    from p3dfeat.cli.interrupts import interrupts

    interrupts.install()
    try:
        from p3dfeat.cli.app import main as command
    except KeyboardInterrupt:
        interrupts.end(interrupts.exit_code)
    command()


if __name__ == "__main__":
    main()
