"""The times and the order of frames, from the times of their packets."""

from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from av.video.stream import VideoStream

from p3dfeat.types import Int64Array, SecondsArray
from p3dfeat.video.containers import Container, container_of
from p3dfeat.video.packets import NO_TIME, Packets

MOST_REORDERED: Final = 20  # packets that a decoder takes before it shows the first; x264 and x265 need 16 at most


def with_leading_times(packets: Packets) -> Packets:
    """Add times to packets after the first keyframe that have none, as in a Matroska file that starts before 0."""
    known = packets.presented != NO_TIME
    untimed = np.flatnonzero(~known & packets.shown)
    first = packets.first
    if not len(untimed) or not known[first] or untimed[-1] - first > MOST_REORDERED or known.sum() < 2:
        return packets
    presented = packets.presented.copy()
    usual = max(1, int(np.median(np.diff(np.sort(presented[known])))))
    presented[untimed] = presented[first] - usual * np.arange(len(untimed), 0, -1)
    return replace(packets, presented=presented)


def presentation_times(
    record: Container, stream: VideoStream, packets: Packets, shown: np.ndarray
) -> Int64Array | None:
    """The frames' presentation times in order, or None if they do not distinguish the frames."""
    times = packets.presented[shown]
    if NO_TIME in times or record.shown == "made up":
        return None
    if record.shown == "in order" and stream.codec_context.has_b_frames:
        return None
    if packets.parts[-1] and (record.stores_dts or not packets.has_fields):
        return None
    times = np.sort(times)
    return times if np.all(np.diff(times) > 0) else None


def frame_numbers(packets: Packets, shown: np.ndarray) -> Int64Array:
    """The number of each packet's frame in display order. A second field has the number of its first field."""
    numbers = np.full(len(packets), -1, np.int64)
    places = np.flatnonzero(shown)
    numbers[places[np.argsort(packets.presented[places], kind="stable")]] = np.arange(len(places))
    numbers[packets.second] = numbers[packets.second - 1]
    return numbers


def frame_times(packets: Packets, places: Int64Array, stream: VideoStream) -> SecondsArray:
    """The display times of the frames of the packets ``places``, from the usable times of the packets.

    These are the presentation times if they are stored, else the decoding times, in order, else the stream's frame
    rate. A joined recording starts at the end of the one before it.
    """
    record, tick_seconds = container_of(stream.container.format.name), float(stream.time_base or 0)
    kinds = [packets.presented] * (record.shown == "stored") + [packets.decoded] * record.stores_dts
    parts = packets.parts[places] if record.stores_dts else np.zeros(len(places), np.int64)
    for times in (kind[places] for kind in kinds):
        rows = [_told_apart(np.sort(times[parts == part] * 2)) for part in np.unique(parts)]
        if NO_TIME not in times and all(np.all(np.diff(row) > 0) for row in rows):
            for before, row in pairwise(rows):
                if row[0] <= before[-1]:
                    row += before[-1] - row[0] + (before[-1] - before[0]) // max(1, len(before) - 1)
            joined = np.concatenate(rows)
            if np.all(np.diff(joined) > 0):
                return np.asarray(joined * tick_seconds / 2, np.float64)
    return np.arange(len(places)) / _rate(stream)


def _told_apart(times: Int64Array) -> Int64Array:
    """Sorted times in half ticks. If two are equal, the second moves half way to the next time."""
    same = np.flatnonzero(np.diff(times[:-1]) == 0) + 1
    times[same] = (times[same] + times[same + 1]) // 2
    return times


def usual_duration(seconds: SecondsArray, packets: Packets, stream: VideoStream) -> float:
    """The usual time between two frames, in seconds."""
    typical = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return typical or float(packets.durations[-1]) * float(stream.time_base or 0) or 1 / _rate(stream)


def _rate(stream: VideoStream) -> float:
    """Frames per second, from the stream's header if the container has no times, or else FFmpeg's estimate."""
    has_clock = container_of(stream.container.format.name).stores_dts
    rates = (None if has_clock else stream.codec_context.framerate, stream.average_rate, stream.guessed_rate)
    return float(next((rate for rate in rates if rate), 25))
