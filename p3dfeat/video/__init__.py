"""Opening, decoding, seeking, sampling, resizing and cropping: the only place that imports av."""

from p3dfeat.video.clips import VideoEnd, VideoStart, plan, read_clips
from p3dfeat.video.index import VideoIndex, index_video

__all__ = ["VideoEnd", "VideoIndex", "VideoStart", "index_video", "plan", "read_clips"]
