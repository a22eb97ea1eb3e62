"""Opening, decoding, seeking, sampling, resizing and cropping: the only place that imports av."""

from typing import TYPE_CHECKING, Final

from p3dfeat._lazy import lazy

if TYPE_CHECKING:
    from p3dfeat.video.clips import plan, read_clips
    from p3dfeat.video.decoders import Decoders
    from p3dfeat.video.index import VideoIndex, index_video
    from p3dfeat.video.process import Read
    from p3dfeat.video.sampling import clip_starts
    from p3dfeat.video.task import check_decoding

_HOMES: Final = {
    "Decoders": "decoders",
    "Read": "process",
    "VideoIndex": "index",
    "check_decoding": "task",
    "clip_starts": "sampling",
    "index_video": "index",
    "plan": "clips",
    "read_clips": "clips",
}
__getattr__ = lazy(__name__, _HOMES)

__all__ = ["Decoders", "Read", "VideoIndex", "check_decoding", "clip_starts", "index_video", "plan", "read_clips"]
