"""From the user's inputs to videos with stable, unique ids.

An input is a file, a folder (searched recursively), a glob, ``@list.txt``, ``-`` for paths on stdin, a CSV of
segments, or an http(s) address. On request, a folder of numbered pictures is one video.
"""

from p3dfeat.sources.find import Inputs, as_texts, find_videos, is_named_video, look_for
from p3dfeat.sources.ids import Known
from p3dfeat.sources.shards import Shard

__all__ = ["Inputs", "Known", "Shard", "as_texts", "find_videos", "is_named_video", "look_for"]
