"""What any stream takes, and one whose reader has gone."""

from p3dfeat.errors import P3DFeatError


class PipeClosedError(P3DFeatError):
    """Whoever read our output has gone. Nothing is said of it; 141 is what a shell makes of SIGPIPE."""

    exit_code = 141


def encodable(text: str, encoding: str) -> str:
    """The text with what an encoding does not have shown escaped; file names need not even be text."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
