"""The list of a video stream's packets from the file's header, without reading the packets."""

import os
from dataclasses import replace
from operator import attrgetter
from typing import BinaryIO, Final, cast

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from p3dfeat.types import Int64Array
from p3dfeat.video.bitstreams.h264_fields import fields_of
from p3dfeat.video.bitstreams.hidden_frames import LONGEST_EMPTY, NO_SLICES, begins_with_slice, hidden_packets
from p3dfeat.video.containers import Container
from p3dfeat.video.containers.record import read_at
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.packets import NO_TIME, Packets
from p3dfeat.video.ranged import RangedReader

ENTRY: Final = attrgetter("pos", "size", "timestamp", "flags")
KEYFRAME, DISCARDED = 1, 2  # FFmpeg's AVINDEX_KEYFRAME and AVINDEX_DISCARD_FRAME
MOST_HEADS: Final = 512  # packets; more would take as long as reading a file from a hard disk
MOST_REMOTE_HEADS: Final = 16  # each is a request
HEAD_BYTES: Final = 8  # of a packet; they show the type of its first unit
MOST_TICKS: Final = 1 << 53  # larger times are damage


def packets_in_header(record: Container, stream: VideoStream, file: BinaryIO, begun: Packets) -> Packets | None:
    """The packets of a file as reading all of it lists them; None if the header does not show all of that.

    Positions, sizes and decoding times are those of FFmpeg's index. Presentation times come from the container's
    tables. Keyframes are those that the header lists; reading may find more.
    begun: the first packets, which were read. The list must begin with them.
    """
    if record.times_in_header is None or not len(begun) or fields_of(stream) is not None:
        return None
    entries = stream.index_entries
    count = len(entries)
    size_bytes = os.fstat(file.fileno()).st_size
    times = record.times_in_header(file, size_bytes, stream.id)
    if times is None or not count == stream.frames == len(times[0]) or not len(begun) <= count:
        return None
    rows = np.fromiter(map(ENTRY, entries), np.dtype((np.int64, 4)), count)
    positions, sizes, decoded, flags = rows.T.copy()
    tick()
    if sizes.min() <= 0 or positions.min() < 0 or (positions + sizes).max() > size_bytes:
        return None
    if abs(decoded).max() > MOST_TICKS or _may_hide(file, stream, positions, sizes):
        return None
    durations, offsets = times
    packets = Packets(
        presented=decoded + offsets + (begun.presented[0] - decoded[0] - offsets[0]),
        decoded=decoded,
        durations=durations,
        positions=positions,
        sizes=sizes,
        keys=flags & KEYFRAME > 0,
        shown=flags & DISCARDED == 0,
        broken=np.zeros(count, np.bool_),
        cut_away=flags & DISCARDED > 0,
        second=np.zeros(0, np.int64),
        held_until=NO_TIME,
    )
    keys = packets.keys[: len(begun)]
    same = packets.begin_with(replace(begun, keys=keys)) and not (keys & ~begun.keys).any()
    return packets if same else None


def _may_hide(file: BinaryIO, stream: VideoStream, positions: Int64Array, sizes: Int64Array) -> bool:
    """Whether a packet may show nothing: of H.264 and HEVC, the beginnings of the shortest packets are read.

    A sample of a valid file holds a picture (ISO/IEC 14496-15). Of packets that clips need, the decoder shows the rest.
    """
    hides = hidden_packets(stream)
    if hides is None:
        return False
    context = stream.codec_context
    coding, header = context.codec.canonical_name, context.extradata or b""
    if coding not in NO_SLICES:
        return True
    most = MOST_REMOTE_HEADS if isinstance(file, RangedReader) else MOST_HEADS
    short = np.argsort(sizes, kind="stable")[:most]
    for place in np.sort(short[sizes[short] <= LONGEST_EMPTY]).tolist():
        tick()
        if begins_with_slice(coding, header, read_at(file, positions[place], HEAD_BYTES)):
            continue
        packet = cast("Packet[VideoStream]", Packet(read_at(file, positions[place], sizes[place])))
        if hides(packet):
            return True
    return False
