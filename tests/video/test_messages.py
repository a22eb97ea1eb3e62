"""What a decoder says is believed only where it makes sense."""

import json
import os
from dataclasses import asdict

import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import OutOfMemoryError, VideoError
from p3dfeat.system import processes
from p3dfeat.types import Video, VideoEnd, VideoInfo, VideoStart
from p3dfeat.video.workers import process as process_module
from p3dfeat.video.workers.messages import ClipAt, Ended, NonsenseError, Ready, decoded, encoded
from p3dfeat.video.workers.pool import Decoders
from tests.videos import numbered_video

INFO = VideoInfo(1.5, 25.0, 37, 64, 48, 0, "1:1", "h264", "yuv420p", 1234, "0" * 16, "2026-01-01T00:00:00+00:00")
MESSAGES = [
    Ready(),
    VideoStart(3),
    ClipAt(0, 0.0, 0.5, 2, 7),
    Ended(VideoEnd(INFO, 37)),
    Ended(VideoEnd(INFO, 37), worn=True),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_arrives_as_it_was_said(message):
    line = encoded(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decoded(line) == message


@pytest.mark.parametrize("kind", [VideoError, OutOfMemoryError])
def test_an_error_arrives_with_its_kind_in_one_printable_line(kind):
    ended = decoded(encoded(Ended(kind("bad\n\x1b[31mfile\udc80" + "x" * 100_000), worn=True)))
    assert type(ended.outcome) is kind
    assert str(ended.outcome).startswith("bad [31mfile x")
    assert len(str(ended.outcome)) == 500
    assert ended.worn


def info(**changed):
    return {"is": "VideoEnd", "of": {"info": asdict(INFO) | changed, "frames_decoded": 1}}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff",
        b"[" * 60_000,
        b"1" * 60_000,
        b'"text"',
        b"[]",
        b"{}",
        {"is": "Video", "of": {}},
        {"is": "SystemExit", "of": "x"},
        {"is": ["VideoStart"], "of": {"num_clips": 1}},
        {"is": "VideoStart", "of": {}},
        {"is": "VideoStart", "of": {"num_clips": "3"}},
        {"is": "VideoStart", "of": {"num_clips": True}},
        {"is": "VideoStart", "of": {"num_clips": 10**30}},
        {"is": "VideoStart", "of": None},
        {"is": "VideoError", "of": 3},
        {"is": "ClipAt", "of": {"slot": 0.5, "start_seconds": 0, "end_seconds": 1, "padded_frames": 0}},
        {"is": "ClipAt", "of": {"slot": 0, "start_seconds": float("nan"), "end_seconds": 1, "padded_frames": 0}},
        {"is": "ClipAt", "of": {"slot": 0, "start_seconds": 10**400, "end_seconds": 1, "padded_frames": 0}},
        {"is": "VideoEnd", "of": {"info": None, "frames_decoded": 1}},
        info(codec="h264\0"),
        info(codec="\ud800"),
        info(codec="x" * 1000),
        info(duration_seconds=float("inf")),
        info(width=1 << 64),
        info(width=None),
    ],
)
def test_nonsense_is_known_for_what_it_is(said):
    with pytest.raises(NonsenseError):
        decoded(said if isinstance(said, bytes) else json.dumps(said).encode())


# How a decoder that a file has taken over could talk: lines after the second clip of the video "liar".
LIES = {
    "another beginning": VideoStart(3),
    "a slot that is not there": ClipAt(48, 0, 1, 0, 0),
    "a slot before the first": ClipAt(-1, 0, 1, 0, 0),
    "a clip of padding": ClipAt(0, 0, 1, 16, 0),
    "a frame before the first": ClipAt(0, 0, 1, 0, -1),
    "an end too soon": Ended(VideoEnd(INFO, 37)),
}
LIES_IN_PYTHON = {
    **{lie: repr(encoded(message)) for lie, message in LIES.items()},
    "the same slot twice": repr(2 * encoded(ClipAt(5, 0, 1, 0, 0))),
    "no JSON": r"b'<html>\n'",
    "a line without end": "b'x' * 200_000",
    "half a line, then silence": "b'half'",
}


def liar(said):
    """Code that makes a decoder say this, then wait, as if it had said all."""
    return (
        "import os, time, p3dfeat.video.workers.worker as w; read = w.read_clips; files = [];\n"
        "def lie(v, *a, **k):\n"
        "    items = read(v, *a, **k)\n"
        "    if v.id != 'liar': yield from items; return\n"
        "    yield next(items); yield next(items)\n"
        "    import json, sys\n"
        f"    os.write(json.loads(sys.argv[1])[2][0], {said}); time.sleep(600)\n"
        "w.read_clips = lie\n"
    )


@pytest.mark.parametrize("lie", LIES_IN_PYTHON)
def test_a_decoder_that_lies_costs_its_video_alone(tmp_path, monkeypatch, lie):
    code = liar(LIES_IN_PYTHON[lie])
    start = processes.START.replace("importlib.import", f"exec({code!r}); importlib.import", 1)
    monkeypatch.setattr(processes, "START", start)
    monkeypatch.setattr(process_module, "HANG_SECONDS", 1.0)  # what half a line comes to
    path = str(numbered_video(tmp_path / "v.mp4", 60))
    videos = [Video(name, path, name) for name in ("first", "liar", "last")]
    ended = {}
    with Decoders(1) as decoders:
        for video, item in decoders.read(videos, InputSpec(resize=(48, 64)), Sampling(clips=3)):
            if isinstance(item, VideoEnd | VideoError):
                ended[video.id] = item
    assert [id for id, item in ended.items() if isinstance(item, VideoError)] == ["liar"]
    assert list(ended) == ["first", "liar", "last"]
    reason = "hangs" if lie == "half a line, then silence" else "its decoder sent an invalid message"
    assert str(ended["liar"]).startswith(reason)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system cannot seal memory")
def test_a_decoder_cannot_take_the_shared_memory_away():
    with Decoders(1) as decoders:
        (process,) = decoders._processes
        with pytest.raises(PermissionError):
            os.ftruncate(process._memory_file, 0)
