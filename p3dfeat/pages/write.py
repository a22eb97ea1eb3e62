"""Write a page to the disk: a whole one, or none."""

from pathlib import Path
from typing import Final

from p3dfeat.errors import UsageError
from p3dfeat.system.disk import write_whole

ENDINGS: Final = (".html", ".htm")


def check_page_name(output: Path) -> None:
    """Raise UsageError unless the output is named like a page: so that no feature file is replaced by mistake."""
    if output.suffix.lower() not in ENDINGS:
        raise UsageError(f"{output}: no name of a page; write -o {output.with_suffix('.html').name or 'page.html'}")
    if output.is_dir():
        raise UsageError(f"{output}: a folder; name a file in it, such as {output / 'page.html'}")


def write_page(output: Path, text: str) -> int:
    """Write a page, which replaces one of that name when it is complete; return its size in bytes.

    Raises OutputError if it cannot be written. Nothing is left of it then.
    """
    content = text.encode("utf-8")
    write_whole(output, content)
    return len(content)
