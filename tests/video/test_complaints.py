"""What FFmpeg says of damage ends the reading of that video, and of no other."""

import re
import threading

import av
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Video
from p3dfeat.video import read_clips
from p3dfeat.video.reading.ffmpeg_log import MOST_LINES, Complaints
from tests.videos import CODINGS, numbered_video

SPEC = InputSpec(channels="luma", resize=(96, 128))


@pytest.fixture
def damaged(tmp_path):
    """300 frames of Motion JPEG, with holes in some of them."""
    path = numbered_video(tmp_path / "damaged.avi", 300, coding=CODINGS["mjpeg"])
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for place, size in packets[90::7]:
        data[place + size - 12 : place + size] = bytes(12)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("threads", [1, 4])
def test_what_a_decoder_complains_of_is_remarked_and_a_failure_where_one_is_strict(damaged, threads):
    video, dense = Video("v", str(damaged), "v"), Sampling(clips=None, stride=16)
    end = list(read_clips(video, SPEC, dense, threads=threads))[-1]
    assert re.fullmatch(r"near frame \d+: mjpeg: .+", end.info.remarks[0])
    with pytest.raises(VideoError, match=r"near frame \d+: mjpeg: .+") as caught:
        list(read_clips(video, SPEC, dense, threads=threads, strict=True))
    assert "\n" not in str(caught.value)


def test_threads_that_complain_while_a_reader_is_given_up_do_not_hold_it(damaged):
    """They need Python's lock to speak; whoever waits for them to end must not be holding it."""

    def give_up_early() -> None:
        for _ in range(30):
            items = read_clips(Video("v", str(damaged), "v"), SPEC, Sampling(clips=None, stride=16), threads=8)
            next(items), next(items)
            items.close()

    thread = threading.Thread(target=give_up_early, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_what_is_said_of_one_video_is_not_held_against_another(damaged, numbered):
    other = read_clips(Video("o", str(numbered), "o"), SPEC, Sampling(clips=None, stride=16), threads=1)
    next(other)
    end = list(read_clips(Video("v", str(damaged), "v"), SPEC, Sampling(clips=None, stride=16), threads=1))[-1]
    assert end.info.remarks
    *clips, end = other
    assert (len(clips), end.info.remarks) == (10, ())


def test_only_so_much_is_remembered_and_nothing_reaches_the_terminal(capfd):
    complaints = Complaints()
    with complaints.listening():
        for number in range(2 * MOST_LINES):
            av.logging.log(av.logging.ERROR, "h264", f"error {number}\nand more")
    complaints.close()
    assert len(complaints.lines) == MOST_LINES
    assert complaints.worst() == "h264: error 0 and more"
    assert complaints.worst() is None
    assert capfd.readouterr() == ("", "")


def test_what_is_said_of_whole_videos_too_is_no_damage():
    complaints = Complaints()
    with complaints.listening():
        av.logging.log(av.logging.ERROR, "h264", "mmco: unref short failure")
        av.logging.log(av.logging.ERROR, "aac", "Input buffer exhausted before END element found")
    complaints.close()
    assert complaints.worst(but_not={"aac"}) is None
