"""Names of the package and their modules; see p3dfeat/_lazy.py."""

from p3dfeat.video.reading.clips import plan as plan
from p3dfeat.video.reading.clips import read_clips as read_clips
from p3dfeat.video.reading.index import VideoIndex as VideoIndex
from p3dfeat.video.reading.index import index_video as index_video
from p3dfeat.video.reading.sampling import clip_starts as clip_starts
from p3dfeat.video.reading.sampling import num_intervals as num_intervals
from p3dfeat.video.workers.decode_progress import Read as Read
from p3dfeat.video.workers.pool import Decoders as Decoders
from p3dfeat.video.workers.task import check_decoding as check_decoding
