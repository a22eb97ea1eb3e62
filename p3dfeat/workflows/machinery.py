"""What computes the features of a run: this machine, or another room's machines."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, Self

from p3dfeat.options import ExtractSettings
from p3dfeat.types import Video
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.job import OnEvent, RunJob, decoders_for
from p3dfeat.workflows.plan import forecast


class Machinery(AbstractContextManager["Machinery"], Protocol):
    """Makes a run ready, and computes. It is used in a with statement."""

    def job(self, videos: Sequence[Video], on_event: OnEvent) -> RunJob:
        """The job with the model loaded and an engine that says how it computes."""
        ...

    def forecast(self, videos: Sequence[Video], sizes: Mapping[str, int], job: RunJob) -> dict[str, float]:
        """The expected number of clips of each video, by id; may be empty."""
        ...

    def describe(self, videos: Sequence[Video], job: RunJob) -> Generator[pipeline.Event, None, None]:
        """The events of the videos. Those of one video come together, in order."""
        ...


class ThisMachine:
    """Decoder processes and the engine of this machine."""

    def __init__(self, settings: ExtractSettings):
        self._settings, self._open = settings, ExitStack()

    def job(self, videos: Sequence[Video], on_event: OnEvent) -> RunJob:
        job = RunJob.of(self._settings, videos, on_event)
        settings = self._settings
        decoders = decoders_for(settings, partial=settings.on_error == "partial", strict=settings.strict)
        self._decoders = self._open.enter_context(decoders)
        return job

    def forecast(self, videos: Sequence[Video], sizes: Mapping[str, int], job: RunJob) -> dict[str, float]:
        return {} if job.sampling.clips else forecast(videos, sizes, job, self._decoders)

    def describe(self, videos: Sequence[Video], job: RunJob) -> Generator[pipeline.Event, None, None]:
        return pipeline.describe(
            videos, engine=job.engine, spec=job.spec, sampling=job.sampling, decoders=self._decoders, pool=job.pool
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
