"""python -m p3dfeat, and what the command p3dfeat runs."""

from typing import NoReturn

from p3dfeat.cli.interrupts import interrupts


def main() -> NoReturn:
    """Heed signals first, since the rest takes a moment to load."""
    interrupts.install()
    try:
        from p3dfeat.cli.app import main as command
    except KeyboardInterrupt:
        interrupts.end(interrupts.exit_code)
    command()


if __name__ == "__main__":
    main()
