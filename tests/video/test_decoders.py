"""Decoder processes give what reading in this process gives, in order; one that dies costs the video it was reading."""

import os
import signal
import subprocess
import sys
import time
from itertools import chain

import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import DecoderError, UsageError, VideoError
from p3dfeat.options import ExtractSettings
from p3dfeat.system import processes
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video import read_clips
from p3dfeat.video.workers import pool as decoders_module
from p3dfeat.video.workers import process as process_module
from p3dfeat.video.workers.pool import Decoders
from p3dfeat.video.workers.task import CLIPS_AHEAD, Task
from tests.videos import numbered_video

SPEC = InputSpec(resize=(48, 64), crop=(40, 40))
SAMPLING = Sampling(clips=3)


@pytest.fixture
def videos(tmp_path):
    return [Video(f"v{n}", str(numbered_video(tmp_path / f"{n}.mp4", 20 + 7 * n)), f"v{n}") for n in range(6)]


def taken(items):
    """Items whose clips no longer lie in shared memory, as text that can be compared."""
    found = []
    for video, item in items:
        if isinstance(item, Clip):
            pixels = item.frames.tobytes()
            found.append((video.id, item.frames.shape, hash(pixels), item.start_seconds, item.end_seconds))
        else:
            found.append((video.id, repr(item)))
    return found


def here(videos, sampling=SAMPLING):
    for video in videos:
        for item in read_clips(video, SPEC, sampling):
            yield video, item


def pids(decoders):
    return [process._process.pid for process in decoders._processes]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_processes_give_what_reading_here_gives_in_the_same_order(videos, workers):
    with Decoders(workers) as decoders:
        assert taken(decoders.read(videos, SPEC, SAMPLING)) == taken(here(videos))


def test_the_same_processes_read_again_for_another_task(videos):
    other = Sampling(stride=5, clips=None, length=8)
    with Decoders(2) as decoders:
        first = taken(decoders.read(videos, SPEC, SAMPLING))
        before = pids(decoders)
        assert taken(decoders.read(videos, SPEC, other)) == taken(here(videos, other))
        assert taken(decoders.read(videos, SPEC, SAMPLING)) == first
        assert pids(decoders) == before


def test_more_clips_than_the_shared_memory_holds(tmp_path):
    video = Video("v", str(numbered_video(tmp_path / "v.mp4", 135)), "v")
    dense = Sampling(stride=1, clips=None)
    with Decoders(2) as decoders:
        found = taken(decoders.read([video, video], SPEC, dense))
    assert len(found) == 2 * (120 + 2)
    assert 2 * CLIPS_AHEAD < 120
    assert found == taken(here([video, video], dense))


def test_a_video_that_cannot_be_read_costs_itself_alone(tmp_path, videos):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    among = [*videos[:2], Video("broken", str(broken), "broken"), *videos[2:]]
    with Decoders(2) as decoders:
        found = list(decoders.read(among, SPEC, SAMPLING))
    failed = [(video.id, str(item)) for video, item in found if isinstance(item, VideoError)]
    assert failed == [("broken", failed[0][1])]
    assert "not a video" in failed[0][1]
    assert [video.id for video, item in found if isinstance(item, VideoEnd)] == [video.id for video in videos]


def test_a_process_that_crashes_costs_the_video_it_was_reading(tmp_path, videos):
    long = Video("long", str(numbered_video(tmp_path / "long.mp4", 200)), "long")
    dense = Sampling(stride=1, clips=None)  # more clips than it can be ahead: it is certainly still at it
    ended = {}
    with Decoders(1) as decoders:
        for video, item in decoders.read([videos[0], long, *videos[1:]], SPEC, dense):
            if video is long and isinstance(item, VideoStart):
                os.kill(pids(decoders)[0], signal.SIGSEGV)
            if isinstance(item, VideoEnd | VideoError):
                ended[video.id] = item
    assert list(ended) == ["v0", "long", "v1", "v2", "v3", "v4", "v5"]
    assert str(ended["long"]) == "its decoder crashed (SIGSEGV)"
    assert [id for id, item in ended.items() if isinstance(item, VideoError)] == ["long"]


def test_a_process_that_is_killed_from_outside_costs_nothing(tmp_path, videos):
    """Its video is read again from the beginning; what had been said of it is not said again."""
    long = Video("long", str(numbered_video(tmp_path / "long.mp4", 200)), "long")
    dense = Sampling(stride=1, clips=None)
    among = [videos[0], long, *videos[1:]]
    killed, found = 0, []
    with Decoders(2) as decoders:
        for video, item in decoders.read(among, SPEC, dense):
            found += taken([(video, item)])
            if video is long and isinstance(item, Clip) and killed == 0:
                for process in decoders._processes:
                    os.kill(process._process.pid, signal.SIGKILL)
                    killed += 1
    assert killed
    assert found == taken(here(among, dense))


def test_a_video_whose_processes_are_killed_time_and_again_fails(videos, monkeypatch):
    code = (
        "import os, p3dfeat.video.workers.worker as w; read = w.read_clips; "
        "w.read_clips = lambda v, *a, **k: os.kill(os.getpid(), 9) if v.id == 'v1' else read(v, *a, **k);"
    )
    monkeypatch.setattr(processes, "START", processes.START.replace("importlib.", code + "importlib."))
    with Decoders(1) as decoders:
        found = list(decoders.read(videos, SPEC, SAMPLING))
    assert [(v.id, str(item)) for v, item in found if isinstance(item, VideoError)] == [
        ("v1", "its decoder was killed (SIGKILL), perhaps because memory ran out")
    ]
    assert [v.id for v, item in found if isinstance(item, VideoEnd)] == ["v0", "v2", "v3", "v4", "v5"]


def test_clips_of_a_process_that_died_can_still_be_taken(tmp_path, videos):
    long = Video("long", str(numbered_video(tmp_path / "long.mp4", 200)), "long")
    dense = Sampling(stride=1, clips=None)
    found = []
    whole = [(v.id, item.frames.tobytes()) for v, item in here([videos[0]], dense) if isinstance(item, Clip)]
    with Decoders(1) as decoders:
        for video, item in decoders.read([videos[0], long, videos[1]], SPEC, dense):
            found.append((video.id, item.frames.tobytes() if isinstance(item, Clip) else type(item)))
            if found == [("v0", VideoStart), *whole, ("v0", VideoEnd)]:
                time.sleep(1)  # many of the next video are told meanwhile
                os.kill(pids(decoders)[0], signal.SIGSEGV)
    whole += [(v.id, item.frames.tobytes()) for v, item in here([videos[1]], dense) if isinstance(item, Clip)]
    assert [entry for entry in found if entry[0] != "long" and isinstance(entry[1], bytes)] == whole
    assert [entry for entry in found if not isinstance(entry[1], bytes) and entry[1] is not VideoStart] == [
        ("v0", VideoEnd),
        ("long", VideoError),
        ("v1", VideoEnd),
    ]


def test_a_process_that_died_while_it_had_nothing_to_do_costs_nothing(videos):
    with Decoders(1) as decoders:
        first = taken(decoders.read(videos, SPEC, SAMPLING))
        os.kill(pids(decoders)[0], signal.SIGKILL)
        decoders._processes[0]._process.wait()
        assert taken(decoders.read(videos, SPEC, SAMPLING)) == first


def test_a_process_that_dies_when_it_has_said_all_costs_nothing(videos):
    """Its last words and its end can be heard together: nobody listens while a net runs."""
    found = []
    with Decoders(1) as decoders:
        for _, item in decoders.read(videos[:1] * 3, SPEC, Sampling(clips=1)):
            found.append(type(item))
            if isinstance(item, VideoStart) and len(found) == 1:
                time.sleep(1)  # by now it has finished this video, and waits for the next
                os.kill(pids(decoders)[0], signal.SIGKILL)
                decoders._processes[0]._process.wait()
    assert found == [VideoStart, Clip, VideoEnd] * 3


def test_a_video_that_kills_every_process_fails_alone(videos, monkeypatch):
    code = (
        "import os, p3dfeat.video.workers.worker as w; read = w.read_clips; "
        "w.read_clips = lambda v, *a, **k: os.abort() if v.id == 'v1' else read(v, *a, **k);"
    )
    start = processes.START.replace("importlib.", code + "importlib.")
    monkeypatch.setattr(processes, "START", start)
    with Decoders(2) as decoders:
        found = list(decoders.read(videos, SPEC, SAMPLING))
    assert [(v.id, str(item)) for v, item in found if isinstance(item, VideoError)] == [
        ("v1", "its decoder crashed (SIGABRT)")
    ]
    assert [v.id for v, item in found if isinstance(item, VideoEnd)] == ["v0", "v2", "v3", "v4", "v5"]


def test_nothing_is_imported_from_the_current_folder(videos, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    with Decoders(1) as decoders:
        assert taken(decoders.read(videos, SPEC, SAMPLING)) == taken(here(videos))


def test_a_python_that_is_not_there_is_an_error_in_a_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(DecoderError, match=r"cannot be started \(No such file"):
        Decoders(1)


def test_a_smaller_task_leaves_clips_of_a_larger_one_alone(videos):
    with Decoders(1) as decoders:
        kept = [item.frames for _, item in decoders.read(videos[:1], SPEC, SAMPLING) if isinstance(item, Clip)]
        list(decoders.read(videos[:1], InputSpec(resize=(8, 8)), Sampling(clips=1)))
        assert all(frames.sum() >= 0 for frames in kept)


@pytest.mark.parametrize(
    ("name", "option", "value"), [("workers", "workers", 0), ("decoder", "decode_device", "vaapi")]
)
def test_wrong_settings_are_refused_before_anything_is_started(name, option, value):
    with pytest.raises(UsageError, match=name):
        Decoders(**{name: value})
    with pytest.raises(UsageError, match=option.replace("_", " ")):
        ExtractSettings(**{option: value})


def test_large_clips_are_fewer_ahead():
    task = Task(InputSpec(resize=(1000, 1000)), SAMPLING)
    assert task.slots == 2
    assert Task(SPEC, SAMPLING).slots == CLIPS_AHEAD


def test_processes_end_when_nobody_listens_any_more(videos):
    with Decoders(3) as decoders:
        reading = decoders.read(videos, SPEC, Sampling(stride=1, clips=None))
        next(reading)
        started = pids(decoders)
        reading.close()
        assert not [pid for pid in started if pid not in pids(decoders) and alive(pid)]
        assert taken(decoders.read(videos, SPEC, SAMPLING)) == taken(here(videos))
        started += pids(decoders)
    assert not [pid for pid in started if alive(pid)]


def test_processes_end_when_their_parent_is_killed(tmp_path, videos):
    script = f"""
import time
from itertools import chain
from p3dfeat.video.workers.pool import Decoders
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Video
decoders = Decoders(1)
spec = InputSpec(resize=(48, 64))
items = decoders.read([Video("v", {videos[0].path!r}, "v")], spec, Sampling(stride=1, clips=None))
next(items)
print(decoders._processes[0]._process.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(child)


def test_a_decoder_that_does_not_start_is_an_error_not_a_loop(videos, monkeypatch):
    monkeypatch.setattr(processes, "START", "import sys; sys.exit(7)")
    with Decoders(1) as decoders, pytest.raises(DecoderError, match=r"stops as it starts \(exit 7\)"):
        list(decoders.read(videos, SPEC, SAMPLING))


def test_decoders_killed_as_they_start_do_not_end_a_run_that_others_do(videos, monkeypatch):
    made = []

    def unlucky(**options):
        made.append(process_module.DecoderProcess(**options))
        if len(made) == 2:
            os.kill(made[1]._process.pid, signal.SIGSTOP)  # until the first one is at work
        elif 2 < len(made) < 6:
            made[-1]._process.kill()
        return made[-1]

    monkeypatch.setattr(decoders_module, "DecoderProcess", unlucky)
    monkeypatch.setattr(decoders_module, "LATER_PAUSES", (0.01,) * 5)
    with Decoders(2) as decoders:
        items = decoders.read(videos, SPEC, SAMPLING)
        first = next(items)
        made[1]._process.kill()
        assert taken(chain([first], items)) == taken(here(videos))
    assert len(made) == 6


def test_decoders_killed_as_they_start_do_not_end_a_run_that_has_only_begun(videos, monkeypatch):
    """Memory may be short for a while; what does not work here ends by itself."""
    made = []

    def unlucky(**options):
        made.append(process_module.DecoderProcess(**options))
        if len(made) < 6:
            made[-1]._process.kill()
        return made[-1]

    monkeypatch.setattr(decoders_module, "DecoderProcess", unlucky)
    monkeypatch.setattr(decoders_module, "LATER_PAUSES", (0.01,) * 5)
    with Decoders(1) as decoders:
        assert taken(decoders.read(videos, SPEC, SAMPLING)) == taken(here(videos))
    assert len(made) == 6
    made.clear()
    monkeypatch.setattr(decoders_module, "LATER_PAUSES", (0.01,) * 3)
    with Decoders(1) as decoders, pytest.raises(DecoderError, match=r"stops as it starts \(SIGKILL\)"):
        list(decoders.read(videos, SPEC, SAMPLING))
    assert len(made) == 4


def test_a_bug_in_a_decoder_costs_its_video_and_says_where_it_is(videos, monkeypatch):
    code = (
        "import p3dfeat.video.workers.worker as w; read = w.read_clips; "
        "w.read_clips = lambda v, *a, **k: 1 / 0 if v.id == 'v1' else read(v, *a, **k);"
    )
    monkeypatch.setattr(processes, "START", processes.START.replace("importlib.", code + "importlib."))
    with Decoders(1) as decoders:
        before = pids(decoders)
        found = list(decoders.read(videos[:3], SPEC, SAMPLING))
        assert pids(decoders) == before
    ((video, error),) = [(v.id, str(item)) for v, item in found if isinstance(item, VideoError)]
    assert video == "v1"
    assert error.startswith("a bug in p3dfeat: ZeroDivisionError in <string> line 1 (division by zero)")


def test_a_decoder_prints_nothing_on_stdout(videos, monkeypatch, capfd):
    monkeypatch.setattr(processes, "START", "print('noise');" + processes.START)
    with Decoders(1) as decoders:
        assert taken(decoders.read(videos, SPEC, SAMPLING)) == taken(here(videos))
    assert capfd.readouterr().out == ""
