"""All errors that p3dfeat raises on purpose, each with the exit code of the command.

P3DFeatError                 1  (never raised itself)
├── UsageError               2  a wrong option, name, list or output
│   └── ShapeError           2  a tensor or input size that a network cannot take
├── VideoError               3  one video could not be read; the run continues with the others
│   ├── NotAVideoError       3  it is not a video
│   ├── OutOfTimeError       3  it exceeded the time limit, or its decoder hung
│   └── OutOfMemoryError     3  it exceeded the memory limit of its decoder
├── NothingReadError         4  no input could be read at all
├── DecoderError             2  decoder processes cannot be started
├── ClusterError             2  a cluster cannot compute: no nodes, or nodes that differ
├── WeightsError             5  weights missing, unreachable or wrong
├── FeatureFileError         2  not a p3dfeat file, damaged, or created with other settings
└── OutputError              2  the result cannot be written: permissions, a full disk

A message is one line: subject, problem, remedy. ``clip.mp4: no video stream; is it an audio file?``
"""

from p3dfeat.text.urls import scrubbed


class P3DFeatError(Exception):
    """Base of all errors that a user can cause or must know. The text is one line; secrets in URLs are removed."""

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
    """The file is not a video: it is text, a picture, or only sound."""


class OutOfTimeError(VideoError):
    """One video exceeded the time limit, or its decoder hung."""


class OutOfMemoryError(VideoError):
    """One video exceeded the memory limit of its decoder."""


class NothingReadError(P3DFeatError):
    """No input could be read at all."""

    exit_code = 4


class DecoderError(P3DFeatError):
    """Decoder processes cannot be started."""

    exit_code = 2


class ClusterError(P3DFeatError):
    """A cluster cannot compute: no nodes, or nodes that differ."""

    exit_code = 2


class WeightsError(P3DFeatError):
    """Weights are missing, unreachable or wrong."""

    exit_code = 5


class FeatureFileError(UsageError):
    """The feature file is not a p3dfeat file, is damaged, or was created with other settings."""


class OutputError(P3DFeatError):
    """The result cannot be written."""

    exit_code = 2


class P3DFeatWarning(UserWarning):
    """A warning for the user; the run continues. The text is one line; the command line prints it on stderr."""
