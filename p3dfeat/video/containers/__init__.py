"""The supported containers, with one record each.

A record with a long check has its own module; records that look for an end mark share ``ended.py``.
To add a container, write its record in a module here and list it below. FFmpeg opens only listed containers.
Add its file extension to ``p3dfeat/sources/find.py``, which decides which files of a folder are videos.
"""

from typing import Final

from p3dfeat.video.containers.asf import ASF
from p3dfeat.video.containers.avi import AVI
from p3dfeat.video.containers.ended import APNG, GIF, MXF, OGG, Y4M
from p3dfeat.video.containers.matroska import MATROSKA
from p3dfeat.video.containers.mp4 import MP4
from p3dfeat.video.containers.mpegts import MPEGTS
from p3dfeat.video.containers.record import Container, Delivered

BARE: Final = ("h264", "hevc", "vvc", "m4v", "mpegvideo", "mjpeg", "obu", "vc1", "h263", "h261", "dirac", "cavsvideo")

_RECORDS: Final = (
    *(MP4, MATROSKA, AVI, ASF, OGG, GIF, Y4M, MPEGTS, APNG, MXF),
    Container("nut", stores_dts=False),
    # Program streams have times for some frames only. After a seek, FFmpeg guesses the others differently.
    Container("mpeg", seekable=False, is_recording=True),
    *(Container(name, shown="made up", stores_dts=False, is_recording=True) for name in BARE),
)
# These need no record. Not listed, and so not opened, are playlists and scripts (hls, dash, concat, sdp ...), pictures
# and picture sequences, sound, subtitles, game formats, devices, and formats that open files beside the named one
# (mlv, vobsub).
_OTHERS: Final = (
    *("flv", "gxf", "dv", "ivf", "rm", "wtv", "nsv", "nuv", "pva", "ty", "dhav", "lxf", "smjpeg"),
    *("evc", "mjpeg_2000", "av1", "dnxhd", "avs2", "avs3", "apv"),
)
FORMATS: Final = (*(record.name.partition(",")[0] for record in _RECORDS), *_OTHERS)  # the formats FFmpeg may open
_BY_NAME: Final = {record.name: record for record in _RECORDS}


def container_of(name: str) -> Container:
    """The record of the container that FFmpeg calls ``name``. The default is a record that trusts its times."""
    return _BY_NAME.get(name) or Container(name)


__all__ = ["FORMATS", "Container", "Delivered", "container_of"]
