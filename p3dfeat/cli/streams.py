"""Text for streams of any encoding, and the error for a closed pipe."""

from p3dfeat.errors import P3DFeatError


class PipeClosedError(P3DFeatError):
    """The reader of the output has closed the pipe. There is no message; 141 is a shell's exit code for SIGPIPE."""

    exit_code = 141


def encodable(text: str, encoding: str) -> str:
    """The text, with characters escaped that an encoding does not have; file names may not even be valid text."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
