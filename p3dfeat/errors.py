"""Every error p3dfeat raises on purpose, each with the exit code its command ends with.

P3DFeatError                 1  (never raised itself)
├── UsageError               2  a wrong option, name, list or output
│   └── ShapeError           2  a tensor or input size that a network cannot take
├── VideoError               3  one video could not be read; the run goes on with the others
│   ├── NotAVideoError       3  it is a file of another kind
│   ├── OutOfTimeError       3  it took longer than a video may, or its decoder hung
│   └── OutOfMemoryError     3  it takes more memory than its decoder may
├── NothingReadError         4  no input could be read at all
├── DecoderError             2  processes that decode cannot be started
├── WeightsError             5  weights missing, unreachable or wrong
├── FeatureFileError         2  a file that is not ours, is damaged, or was made with other settings
└── OutputError              2  the result cannot be written: permissions, a full disk

A message is one line: subject, problem, remedy. ``clip.mp4: no video stream; is it an audio file?``
"""

from p3dfeat.text.urls import scrubbed


class P3DFeatError(Exception):
    """Base of every error a user can cause or must know of. Its text is one line, without secrets of addresses."""

    exit_code = 1

    def __init__(self, text: object = ""):
        super().__init__(scrubbed(str(text)))


class UsageError(P3DFeatError):
    """A wrong option, name or list."""

    exit_code = 2


class ShapeError(UsageError):
    """A tensor, clip length or picture size that a network cannot take."""


class VideoError(P3DFeatError):
    """One video could not be read."""

    exit_code = 3


class NotAVideoError(VideoError):
    """A file of another kind: a text, a picture, sound alone."""


class OutOfTimeError(VideoError):
    """One video took longer than it may, or its decoder hung."""


class OutOfMemoryError(VideoError):
    """One video takes more memory than its decoder may."""


class NothingReadError(P3DFeatError):
    """No input could be read at all."""

    exit_code = 4


class DecoderError(P3DFeatError):
    """Processes that decode cannot be started."""

    exit_code = 2


class WeightsError(P3DFeatError):
    """Weights are missing, unreachable or wrong."""

    exit_code = 5


class FeatureFileError(UsageError):
    """A feature file that is not ours, is damaged, or was made with other settings."""


class OutputError(P3DFeatError):
    """The result cannot be written."""

    exit_code = 2


class P3DFeatWarning(UserWarning):
    """Something a user should know that stops nothing. Its text is one line; the command line prints it on stderr."""
