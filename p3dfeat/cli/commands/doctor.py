"""p3dfeat doctor"""

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.errors import WeightsError


@command(quiet=False)
def doctor() -> None:
    """Check this installation: versions, devices, codecs, weights, and a test run of the embedded model."""
    from p3dfeat.workflows.doctor import doctor as diagnose

    found = diagnose()
    if out.wants_json:
        out.json(found.as_json())
    else:
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in found.as_json().items():
            table.add_row(name.removesuffix("_passed").replace("_", " "), _text(value))
        out.show(table)
    if not found.self_test_passed:
        raise WeightsError(f"self test: off by {found.self_test_error:.1e}; this installation computes wrong numbers")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "passed", False: "FAILED"}[value] if isinstance(value, bool) else str(value)
