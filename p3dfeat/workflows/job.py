"""What ``extract`` is asked for, and what that takes: a model, an engine, and a plan of clips."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from p3dfeat._version import __version__
from p3dfeat.config import DECODER_MEMORY, ON_ERROR, InputSpec, Sampling
from p3dfeat.engines import Engine, check_runs_int8, is_kept, make_engine
from p3dfeat.errors import UsageError
from p3dfeat.sources import Inputs, is_named_video, look_for
from p3dfeat.store import Settings, check_is_hdf5
from p3dfeat.text.urls import ADDRESS
from p3dfeat.types import SEGMENT_ORIGINS, Calibrated, Calibrating, Fetching, Video
from p3dfeat.video import Decoders, check_decoding
from p3dfeat.workflows.calibrate import calibration_for
from p3dfeat.zoo import Model, load_model
from p3dfeat.zoo.download.cache import cache_folder_if_any

MakingReady = Fetching | Calibrating | Calibrated


def check_output(output: str | Path) -> None:
    """Raise UsageError for an output that was hardly meant to be one, and is to be kept as it is.

    A shell makes ``-o a.mp4 b.mp4`` of ``-o *.mp4``, and FeatureFileError is raised for what holds something else.
    """
    text = str(output)
    if ADDRESS.match(text):
        raise UsageError(f"{text}: an address; features are written to a file here, -o feats.h5")
    if is_named_video(os.path.basename(text)):
        hint = "-o takes what follows it, of *.mp4 the first video; name a feature file, -o feats.h5"
        raise UsageError(f"{text}: a video's name, not a feature file's; {hint}")
    if os.path.exists(text) and not os.path.isfile(text):
        what = "a folder" if os.path.isdir(text) else "a pipe or a device"
        raise UsageError(f"{text}: {what}, not a file; features are written to an HDF5 file, -o feats.h5")
    if text.startswith("-"):
        raise UsageError(f"{text}: an option in the place of the output; write -o feats.h5, or ./{text} for a file")
    check_is_hdf5(Path(output))


@dataclass(frozen=True)
class ExtractSettings:
    """What is computed of videos, and how; ``extract`` says what each field means."""

    model: str | Path | Model | None = None
    layers: tuple[str, ...] = ("pool5",)
    clips: int | None = None
    stride: int | None = None
    step: int | None = None
    fps: float | None = None
    tail: str = "pad"
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    decoder: str = "auto"
    timeout: float | None = None
    decoder_memory: float = DECODER_MEMORY
    limit: int | None = None
    overwrite: bool = False
    on_error: str = "skip"
    strict: bool = False
    any_extension: bool = False
    frames: float | None = None
    segment_origin: str = SEGMENT_ORIGINS[0]

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR:
            raise UsageError(f"on_error {self.on_error!r}: unknown; known are {', '.join(ON_ERROR)}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit {self.limit}: must be at least 1")
        check_decoding(self.workers, self.decoder, self.timeout, self.decoder_memory)

    def look_for(self, inputs: Sequence[str], output: str | Path | None, stdin: TextIO | None) -> Inputs:
        """The videos that ``inputs`` name; those of folders are found as the settings say."""
        return look_for(
            inputs,
            stdin=stdin,
            any_extension=self.any_extension,
            frames=self.frames,
            output=output,
            segment_origin=self.segment_origin,
        )

    def decoders(self) -> Decoders:
        """The processes that read the videos; for use in a with statement."""
        return Decoders(
            self.workers,
            decoder=self.decoder,
            timeout=self.timeout,
            memory=self.decoder_memory,
            partial=self.on_error == "partial",
            strict=self.strict,
        )


@dataclass(frozen=True)
class Job:
    """Settings with their model loaded and their engine made."""

    model: Model
    sampling: Sampling
    engine: Engine
    precision: str  # the engine's, but for a plan of int8 that is not calibrated yet
    limit: int  # of videos

    @classmethod
    def of(
        cls,
        settings: ExtractSettings,
        videos: Sequence[Video],
        on_event: Callable[[MakingReady], None] = lambda event: None,
        *,
        only_plan: bool = False,
    ) -> "Job":
        """With only_plan nothing is calibrated: what is not yet is planned with an engine of fp32."""
        model = settings.model
        loaded = model if isinstance(model, Model) else load_model(model, on_fetch=on_event)
        loaded.check_sees_pictures()
        sampling = loaded.sampling(
            clips=settings.clips,
            stride=settings.stride,
            step=settings.step,
            fps=settings.fps,
            tail=settings.tail,
        )
        net, spec, layers = loaded.net, loaded.card.input, settings.layers
        calibration = calibration_for(settings.precision, loaded, videos, on_event)
        limit = sys.maxsize if settings.limit is None else settings.limit
        if only_plan and calibration is not None:
            check_runs_int8(settings.engine, settings.device)
            if not is_kept(net, spec, layers, calibration):
                stand_in = make_engine(net, spec, layers=layers, engine="openvino", device="cpu")
                return cls(loaded, sampling, stand_in, settings.precision, limit)
        engine = make_engine(
            net,
            spec,
            layers=layers,
            engine=settings.engine,
            device=settings.device,
            precision=settings.precision,
            batch_size=settings.batch_size,
            cache_folder=cache_folder_if_any(),
            weights_sha256=loaded.weights_sha256,
            calibration=calibration,
        )
        return cls(loaded, sampling, engine, engine.precision, limit)

    @property
    def spec(self) -> InputSpec:
        return self.model.card.input

    def recorded(self) -> Settings:
        """What a feature file says of how its numbers were made."""
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
            int8_sha256=None if calibrated is None else calibrated.sha256,
            int8_cosine=None if calibrated is None else calibrated.cosine,
            device=str(self.engine.device),
            p3dfeat_version=__version__,
        )
