"""Prepare a run from its settings: model, engine and sampling."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TextIO

from p3dfeat._version import __version__
from p3dfeat.config import CENTRE, FLOW_MODEL, InputSpec, Sampling, crop_names, default_model, recorded
from p3dfeat.engines import Engine, check_runs_int8, is_kept, make_engine
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.head import Head
from p3dfeat.evaluation.learning.labelling import HeadLabels, Labelling, OwnLabels
from p3dfeat.events import Calibrated, Calibrating, Fetching
from p3dfeat.options import (
    ClassifySettings,
    CropOptions,
    DecodingOptions,
    EngineOptions,
    ExtractSettings,
    InputOptions,
    ModelOptions,
    SamplingOptions,
)
from p3dfeat.sources import Inputs, Shard, is_named_video, look_for
from p3dfeat.store import Settings, check_is_hdf5
from p3dfeat.text.urls import ADDRESS
from p3dfeat.types import Failure, Video
from p3dfeat.video import Decoders
from p3dfeat.workflows.calibrate import calibration_for
from p3dfeat.zoo import Model, load_model
from p3dfeat.zoo.download.cache import cache_folder_if_any

OTHER_FORMATS: Final = {
    **dict.fromkeys((".npy", ".npz"), "NumPy arrays"),
    **dict.fromkeys((".csv", ".tsv", ".txt"), "text"),
    **dict.fromkeys((".json", ".jsonl"), "JSON"),
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle"), "a pickle"),
    ".mat": "MATLAB",
    ".parquet": "Parquet",
    ".zarr": "Zarr",
    ".safetensors": "safetensors",
    ".arrow": "Arrow",
}
MakingReady = Fetching | Calibrating | Calibrated
OnEvent = Callable[[MakingReady], None]


def check_output(output: str | Path) -> None:
    """Raise UsageError for an output that is probably a mistake, so that its file is not changed.

    A shell expands ``-o *.mp4`` to ``-o a.mp4 b.mp4``. Raises FeatureFileError if the file is not HDF5.
    """
    text = str(output)
    if ADDRESS.match(text):
        raise UsageError(f"{text}: an address; features are written to a file here, -o feats.h5")
    if is_named_video(os.path.basename(text)):
        hint = "-o takes what follows it, of *.mp4 the first video; name a feature file, -o feats.h5"
        raise UsageError(f"{text}: a video's name, not a feature file's; {hint}")
    if (extension := os.path.splitext(text)[1].lower()) in OTHER_FORMATS:
        better = os.path.splitext(text)[0]
        raise UsageError(
            f"{text}: features are written as HDF5, not as {OTHER_FORMATS[extension]}; write -o {better}.h5, "
            "and read it with p3dfeat.open_features or h5py"
        )
    if text.endswith("/"):
        raise UsageError(f"{text}: a folder's name; features are written to a file, -o {text}feats.h5")
    if os.path.exists(text) and not os.path.isfile(text):
        what = "a folder" if os.path.isdir(text) else "a pipe or a device"
        raise UsageError(f"{text}: {what}, not a file; features are written to an HDF5 file, -o feats.h5")
    if text.startswith("-"):
        raise UsageError(f"{text}: an option in the place of the output; write -o feats.h5, or ./{text} for a file")
    check_is_hdf5(Path(output))


def found_by(
    options: InputOptions, inputs: Sequence[str], *, output: str | Path | None, stdin: TextIO | None
) -> Inputs:
    """The videos that ``inputs`` name; folders are searched as the options say."""
    return look_for(
        inputs,
        stdin=stdin,
        any_extension=options.any_extension,
        frames=options.frames,
        output=output,
        segment_origin=options.segment_origin,
    )


def of_shard(text: str | None, videos: list[Video], failures: list[Failure]) -> tuple[list[Video], list[Failure]]:
    """The videos of a shard such as "3/16", and the inputs among the failures that belong to it; None: all."""
    if text is None:
        return videos, failures
    shard = Shard.of(text)
    return shard.videos(videos), [failure for failure in failures if shard.holds(failure.source)]


def decoders_for(options: DecodingOptions, *, partial: bool = False, strict: bool = False) -> Decoders:
    """The decoder processes; for use in a with statement."""
    return Decoders(
        options.workers,
        decoder=options.decode_device,
        timeout=options.timeout,
        memory=options.decoder_memory,
        partial=partial,
        strict=strict,
        check=options.check,
    )


def model_for(options: ModelOptions, on_fetch: Callable[[Fetching], None] | None = None) -> Model:
    """The loaded model, downloaded if needed.

    Raises WeightsError, or UsageError if flow is asked for and it takes pictures, or flow cannot be computed.
    """
    model = options.model
    if options.flow and model in (None, default_model()):
        model = FLOW_MODEL
    loaded = model if isinstance(model, Model) else load_model(model, on_fetch=on_fetch)
    if options.flow and not loaded.sees_flow:
        raise UsageError(f"model {loaded.name}: takes pictures, not optical flow; leave --flow out")
    if loaded.sees_flow and find_spec("cv2") is None:
        raise UsageError(f"model {loaded.name}: takes optical flow; pip install 'p3dfeat[flow]'")
    return loaded


def sampling_for(options: SamplingOptions, model: Model, *, tail: str) -> Sampling:
    """The requested sampling, completed by the model's clip length and frame interval."""
    return model.sampling(
        clips=options.clips,
        stride=options.clip_stride,
        every=options.every,
        offset=options.offset,
        spacing=options.spacing,
        step=options.frame_interval,
        fps=options.fps,
        tail=tail,
    )


def spec_for(options: CropOptions, model: Model) -> InputSpec:
    """The model's preprocessing, with the requested crops."""
    return dataclasses.replace(model.card.input, crops=crop_names(options.crops, mirror=options.mirror))


def with_heads_model(settings: ClassifySettings) -> ClassifySettings:
    """The settings with the model and the frames that a classifier was trained on, unless others are asked for.

    The default model counts as none asked for. Raises UsageError beside a second model.
    """
    if settings.head is None:
        return settings
    if settings.fuse is not None:
        raise UsageError("fuse: a classifier has labels of its own; leave --fuse or --head out")
    head = Head.loaded(Path(settings.head))
    return dataclasses.replace(
        settings,
        model=head.model if settings.model in (None, default_model()) else settings.model,
        frame_interval=head.step if settings.frame_interval is None else settings.frame_interval,
        fps=head.fps if settings.fps is None else settings.fps,
    )


def labelling_for(settings: ClassifySettings, model: Model) -> tuple[Labelling, InputSpec]:
    """What labels the clips, and their preprocessing: with the crops that a classifier was trained on.

    Raises UsageError for a classifier that was trained on other features.
    """
    spec = spec_for(settings, model)
    if settings.head is None:
        return OwnLabels(model.card.labels), spec
    head = Head.loaded(Path(settings.head))
    if head.weights_sha256 != model.weights_sha256:
        raise UsageError(
            f"classifier {settings.head}: trained on features of {head.model}, whose weights are not those of "
            f"{model.name}; give --model {head.model}"
        )
    if settings.crops == 1 and not settings.mirror:
        spec = dataclasses.replace(spec, crops=tuple(head.preprocessing.get("crops", CENTRE)))
    now = json.loads(json.dumps(recorded(spec)))  # as files hold it: lists, not tuples
    unlike = sorted(name for name, value in head.preprocessing.items() if name != "crops" and now.get(name) != value)
    if unlike:
        raise UsageError(
            f"classifier {settings.head}: trained on clips with another {unlike[0]}: "
            f"{head.preprocessing[unlike[0]]}, not {now.get(unlike[0])}"
        )
    return HeadLabels(head), spec


def engine_for(
    options: EngineOptions,
    model: Model,
    videos: Sequence[Video] | None,
    *,
    layers: Sequence[str] = ("pool5",),
    short_run: bool = False,
    on_calibration: Callable[[Calibrating | Calibrated], None] = lambda event: None,
) -> Engine:
    """The engine of the model's network. int8 is calibrated on ``videos`` if needed, or refused without videos."""
    calibration = None
    if videos is not None:
        calibration = calibration_for(options.precision, model, videos, on_calibration)
    return make_engine(
        model.net,
        model.card.input,
        layers=tuple(layers),
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        short_run=short_run,
        cache_folder=cache_folder_if_any(),
        weights_sha256=model.weights_sha256,
        calibration=calibration,
    )


@dataclass(frozen=True)
class RunJob:
    """Settings with the model loaded and the engine created."""

    model: Model
    spec: InputSpec
    sampling: Sampling
    engine: Engine
    precision: str  # the engine's, except in a plan with int8 that is not calibrated yet
    limit: int  # maximum number of videos
    pool: str  # "none" or "mean"
    shard: str | None = None

    @classmethod
    def of(
        cls,
        settings: ExtractSettings,
        videos: Sequence[Video],
        on_event: Callable[[MakingReady], None] = lambda event: None,
        *,
        only_plan: bool = False,
        engine_of: "Callable[[Model, InputSpec, Sampling], Engine] | None" = None,
    ) -> "RunJob":
        """engine_of: makes another engine than that of this machine.

        only_plan: calibrate nothing. If int8 is not calibrated yet, plan with an fp32 engine.
        """
        loaded = model_for(settings, on_event)
        sampling, spec = sampling_for(settings, loaded, tail=settings.tail), spec_for(settings, loaded)
        layers = settings.layer_names
        limit = sys.maxsize if settings.max_videos is None else settings.max_videos
        if only_plan:
            calibration = calibration_for(settings.precision, loaded, videos, on_event)
            if calibration is not None:
                check_runs_int8(settings.engine, settings.device)
                if not is_kept(loaded.net, loaded.card.input, layers, calibration):
                    in_fp32 = EngineOptions(engine="openvino", device="cpu")
                    stand_in = engine_for(in_fp32, loaded, videos, layers=layers)
                    return cls(loaded, spec, sampling, stand_in, settings.precision, limit, settings.pool)
        if engine_of is not None:
            engine = engine_of(loaded, spec, sampling)
        else:
            engine = engine_for(settings, loaded, videos, layers=layers, on_calibration=on_event)
        return cls(loaded, spec, sampling, engine, engine.precision, limit, settings.pool, settings.shard)

    def recorded(self) -> Settings:
        """The settings as a feature file records them."""
        architecture, calibrated = self.model.card.architecture, self.engine.calibrated
        return Settings(
            model=self.model.name,
            weights_sha256=self.model.weights_sha256,
            weights_origin=self.model.origin,
            architecture=dataclasses.asdict(architecture) | {"stages": list(architecture.stages)},
            preprocessing=self.spec,
            sampling=self.sampling,
            layers=self.engine.layers,
            engine=self.engine.name,
            precision=self.precision,
            pool=self.pool,
            int8_sha256=None if calibrated is None else calibrated.sha256,
            int8_cosine=None if calibrated is None else calibrated.cosine,
            device=str(self.engine.device),
            p3dfeat_version=__version__,
            shard=self.shard,
        )
