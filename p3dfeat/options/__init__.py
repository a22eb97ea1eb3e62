"""What commands can be asked for. The command line and the Python functions both follow from it."""

from p3dfeat.options.commands import (
    BenchSettings,
    ClassifySettings,
    CompareSettings,
    ExtractSettings,
    OnError,
    VerifySettings,
)
from p3dfeat.options.declaring import Option, Options, option, options_of, values_of, with_options
from p3dfeat.options.shared import (
    MODEL_HELP,
    DecodeDevice,
    DecodingOptions,
    EngineName,
    EngineOptions,
    FolderOptions,
    InputOptions,
    Inputs,
    ModelOptions,
    Precision,
    SamplingOptions,
    SegmentOrigin,
    WorkerOptions,
)

__all__ = [
    "MODEL_HELP",
    "BenchSettings",
    "ClassifySettings",
    "CompareSettings",
    "DecodeDevice",
    "DecodingOptions",
    "EngineName",
    "EngineOptions",
    "ExtractSettings",
    "FolderOptions",
    "InputOptions",
    "Inputs",
    "ModelOptions",
    "OnError",
    "Option",
    "Options",
    "Precision",
    "SamplingOptions",
    "SegmentOrigin",
    "VerifySettings",
    "WorkerOptions",
    "option",
    "options_of",
    "values_of",
    "with_options",
]
