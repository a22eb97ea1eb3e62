"""Opening, decoding, seeking, sampling, resizing and cropping: the only place that imports av."""

from typing import TYPE_CHECKING, Final

from p3dfeat._lazy import lazy

if TYPE_CHECKING:
    from p3dfeat.video.reading.clips import plan, read_clips
    from p3dfeat.video.reading.index import VideoIndex, index_video
    from p3dfeat.video.reading.sampling import clip_starts
    from p3dfeat.video.workers.pool import Decoders
    from p3dfeat.video.workers.process import Read
    from p3dfeat.video.workers.task import check_decoding

_HOMES: Final = {
    "Decoders": "workers.pool",
    "Read": "workers.process",
    "VideoIndex": "reading.index",
    "check_decoding": "workers.task",
    "clip_starts": "reading.sampling",
    "index_video": "reading.index",
    "plan": "reading.clips",
    "read_clips": "reading.clips",
}
__getattr__ = lazy(__name__, _HOMES)

__all__ = ["Decoders", "Read", "VideoIndex", "check_decoding", "clip_starts", "index_video", "plan", "read_clips"]
