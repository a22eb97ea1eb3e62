"""Opening, decoding, seeking, sampling, resizing and cropping: the only place that imports av."""

from p3dfeat.video.clips import VideoEnd, VideoStart, plan, read_clips
from p3dfeat.video.index import VideoIndex, index_video
from p3dfeat.video.sampling import ClipPlan, plan_clips

__all__ = ["ClipPlan", "VideoEnd", "VideoIndex", "VideoStart", "index_video", "plan", "plan_clips", "read_clips"]
