"""What the user names -> videos with stable, unique ids.

An input is a file, a folder (searched to its depths), a glob, ``@list.txt``, ``-`` for paths on stdin, a CSV of
segments, or an http(s) address. Of folders, those that hold numbered pictures are videos where that is asked for.
"""

from p3dfeat.sources.find import Inputs, as_texts, find_videos, is_named_video, look_for
from p3dfeat.sources.ids import Known

__all__ = ["Inputs", "Known", "as_texts", "find_videos", "is_named_video", "look_for"]
