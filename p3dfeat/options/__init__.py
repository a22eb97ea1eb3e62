"""The options of all commands. The command line and the Python functions are derived from them."""

from p3dfeat.options.commands import (
    BenchSettings,
    ClassifySettings,
    CompareSettings,
    ExtractSettings,
    OnChanged,
    OnError,
    RemoveSettings,
    VerifySettings,
)
from p3dfeat.options.declaring import Option, Options, option, options_of, values_of, with_options
from p3dfeat.options.exploring import DuplicatesSettings, SimilarSettings
from p3dfeat.options.exporting import ExportSettings, LayoutName
from p3dfeat.options.mapping import MapMethod, MapSettings
from p3dfeat.options.shared import (
    MODEL_HELP,
    CropOptions,
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
    "CropOptions",
    "DecodeDevice",
    "DecodingOptions",
    "DuplicatesSettings",
    "EngineName",
    "EngineOptions",
    "ExportSettings",
    "ExtractSettings",
    "FolderOptions",
    "InputOptions",
    "Inputs",
    "LayoutName",
    "MapMethod",
    "MapSettings",
    "ModelOptions",
    "OnChanged",
    "OnError",
    "Option",
    "Options",
    "Precision",
    "RemoveSettings",
    "SamplingOptions",
    "SegmentOrigin",
    "SimilarSettings",
    "VerifySettings",
    "WorkerOptions",
    "option",
    "options_of",
    "values_of",
    "with_options",
]
