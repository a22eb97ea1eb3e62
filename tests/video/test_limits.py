"""A decoder that crashes, hangs, takes all memory or lies costs its video, with the reason, and nothing else."""

import ast
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
import time
import timeit

import h5py
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import DecoderError, OutOfMemoryError, OutOfTimeError, UsageError, VideoError
from p3dfeat.system import processes
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.workers import pool as decoders_module
from p3dfeat.video.workers import process as process_module
from p3dfeat.video.workers.limits import CLOCK_BYTES, Clock
from p3dfeat.video.workers.pool import Decoders
from p3dfeat.video.workers.task import Task
from tests import commands
from tests.users import has_landlock
from tests.videos import Coding, numbered_video, write_video

SPEC = InputSpec(resize=(48, 64), crop=(40, 40))
SAMPLING = Sampling(clips=3)
TIMEOUT = 2.5  # seconds that a video may take; an ordinary one takes a hundredth of it, on a machine that is not busy
OUT_OF_TIME = f"timed out: not decoded within {TIMEOUT:g} s; raise --timeout"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")

# What a file could make a decoder do, under the name of the video that does it.
MISBEHAVIOUR = """
import ctypes, json, os, signal, sys, tempfile, time
import p3dfeat.video.workers.worker as worker
from p3dfeat.types import VideoStart

def crash(): ctypes.string_at(0)
def sleep(): ctypes.PyDLL(None).sleep(600)  # as a library's loop does that holds Python's lock
def hang(): signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); sleep()
def stop(): os.kill(os.getpid(), signal.SIGSTOP)
def bomb(): held = []; [held.append(bytearray(1 << 24)) for _ in range(1 << 20)]
def leave(): os._exit(0)
def grow(): worker.kept = b"x" * (600 << 20)
def babble():
    wire = json.loads(sys.argv[1])[2][0]
    while True: os.write(wire, b'{"is": "Ready", "of": {}}\\n')
def turn_back():
    from p3dfeat.video.heartbeat import LISTENERS
    clock = LISTENERS[0].__self__
    while True: clock._moves[0] += 1; clock._since[0] = clock._before[0] = 0.0; time.sleep(0.001)
def scribble():
    from p3dfeat.errors import VideoError
    inside = [lambda: open("written", "w"), lambda: os.posix_spawn("/bin/true", ["true"], {})]
    outside = [lambda: tempfile.TemporaryFile().write(b"x"), lambda: open(os.devnull, "w").write("y")]
    status = open("/proc/self/status").read().split()
    raise VideoError(repr([*map(tried, inside + outside), status[status.index("NoNewPrivs:") + 1]]))
def tried(act):
    try: return act()
    except OSError as error: return type(error).__name__
def loop():
    from p3dfeat.video.heartbeat import tick
    while True: tick(); time.sleep(0.001)

read = worker.read_clips
def misread(video, *args, **settings):
    act = globals().get(video.id.split("-")[0])
    if act is None or video.id not in NAMED: yield from read(video, *args, **settings); return
    if not video.id.endswith("-early"):
        items = read(video, *args, **settings)
        yield next(items)
        yield next(items)
    act()
    if video.id == "grow": yield from items
def misplan(video, *args, **settings):
    if video.id in NAMED: crash()
    return plan(video, *args, **settings)
plan = worker.read_plan
worker.read_clips, worker.read_plan = misread, misplan
"""


@pytest.fixture
def misbehave(monkeypatch, tmp_path):
    """Videos, some of which make their decoders misbehave as their names say."""

    def of(*names):
        code = f"NAMED = {names!r}\n{MISBEHAVIOUR}"
        start = processes.START.replace("importlib.import", f"exec({code!r}); importlib.import", 1)
        monkeypatch.setattr(processes, "START", start)
        path = str(numbered_video(tmp_path / "v.mp4", 60))
        return [Video(name, path, name) for name in ("first", *names, "last")]

    return of


def outcomes(decoders, videos, sampling=SAMPLING):
    """{id: how it ended}, and how many clips came in all."""
    ended, num_clips = {}, 0
    for video, item in decoders.read(videos, SPEC, sampling):
        num_clips += isinstance(item, Clip)
        if isinstance(item, VideoEnd | VideoError):
            ended[video.id] = item
    return ended, num_clips


def failed(ended):
    return {id: (type(item), str(item)) for id, item in ended.items() if isinstance(item, VideoError)}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["crash", "crash-early"])
def test_a_decoder_that_crashes_costs_its_video(misbehave, workers, name):
    videos = misbehave(name)
    with Decoders(workers) as decoders:
        ended, _ = outcomes(decoders, videos)
    assert failed(ended) == {name: (VideoError, "its decoder crashed (SIGSEGV)")}
    assert list(ended) == ["first", name, "last"]


@pytest.mark.parametrize("name", ["hang", "hang-early", "stop"])
def test_a_decoder_that_hangs_costs_its_video(misbehave, monkeypatch, name):
    monkeypatch.setattr(process_module, "HANG_SECONDS", 2.0)
    videos = misbehave(name)
    with Decoders(1) as decoders:
        ended, _ = outcomes(decoders, videos)
    assert failed(ended) == {name: (OutOfTimeError, "hangs: its decoder did nothing for 2 s")}
    assert list(ended) == ["first", name, "last"]


@pytest.mark.parametrize("name", ["hang", "stop", "loop", "loop-early"])
def test_a_video_that_takes_longer_than_it_may_fails(misbehave, name):
    """A decoder that still moves ends it by itself; one that does not is killed."""
    videos = misbehave(name)
    with Decoders(1, timeout=TIMEOUT) as decoders:
        before = [process._process.pid for process in decoders._processes]
        ended, _ = outcomes(decoders, videos)
        killed = [process._process.pid for process in decoders._processes] != before
    assert failed(ended) == {name: (OutOfTimeError, OUT_OF_TIME)}
    assert list(ended) == ["first", name, "last"]
    assert killed == (not name.startswith("loop"))


def test_a_decoder_that_turns_back_its_clock_is_timed_by_this_process(misbehave):
    videos = misbehave("turn_back")
    with Decoders(1, timeout=TIMEOUT) as decoders:
        ended, _ = outcomes(decoders, videos)
    assert failed(ended) == {"turn_back": (OutOfTimeError, OUT_OF_TIME)}
    assert list(ended) == ["first", "turn_back", "last"]


def test_a_decoder_that_talks_without_end_costs_its_video(misbehave):
    videos = misbehave("babble")
    with Decoders(1) as decoders:
        ended, _ = outcomes(decoders, videos)
    answered = "its decoder sent an invalid message: that it is ready, twice"
    assert failed(ended) == {"babble": (VideoError, answered)}
    assert list(ended) == ["first", "babble", "last"]


def test_a_decoder_that_does_not_listen_holds_nobody_up():
    process = process_module.DecoderProcess()
    try:
        process._process.send_signal(signal.SIGSTOP)
        process.prepare(Task(SPEC, SAMPLING))
        for _ in range(100_000):
            process._give_back(0)
        assert process.given_up
        assert "does not listen" in str(process._fate)
    finally:
        process.kill()


@linux
def test_a_decoder_writes_nothing_starts_nothing_and_gains_no_rights(misbehave, monkeypatch, tmp_path):
    if not has_landlock():
        pytest.skip("this kernel has no Landlock")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    videos = misbehave("scribble")
    with Decoders(1) as decoders:
        ended, _ = outcomes(decoders, videos)
    answers = "['PermissionError', 'PermissionError', 1, 1, '1']"
    assert failed(ended) == {"scribble": (VideoError, answers)}
    assert not (tmp_path / "written").exists()


def test_a_decoder_is_told_no_secrets(monkeypatch, tmp_path):
    told = tmp_path / "environment"
    code = f"import os; open({str(told)!r}, 'w').write(repr(dict(os.environ))); "
    monkeypatch.setattr(processes, "START", code + processes.START)
    kept = {"HTTPS_PROXY": "http://proxy:3128", "LC_ALL": "C.UTF-8", "TMPDIR": str(tmp_path)}
    secret = {"HF_TOKEN": "hf_x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_PROFILE": "z", "GITHUB_TOKEN": "t", "OTHER": "o"}
    for name, value in (kept | secret).items():
        monkeypatch.setenv(name, value)
    video = Video("v", str(numbered_video(tmp_path / "v.mp4", 20)), "v")
    with Decoders(1) as decoders:
        ended, _ = outcomes(decoders, [video])
    assert not failed(ended)
    environment = ast.literal_eval(told.read_text())
    assert kept.items() <= environment.items()
    assert not secret.keys() & environment.keys()


def test_time_in_which_a_decoder_waits_for_others_is_not_counted(misbehave):
    """Neither in the queue, nor with clips that nobody takes while a net is busy."""
    videos = misbehave()
    single = Sampling(stride=1, clips=None, length=1)  # 60 clips of one frame: more than there is room for
    with Decoders(1, timeout=TIMEOUT) as decoders:
        ended = {}
        for number, (video, item) in enumerate(decoders.read(videos, InputSpec(length=1, resize=(48, 64)), single)):
            if number == 5:
                time.sleep(TIMEOUT + 1)
            if isinstance(item, VideoEnd | VideoError):
                ended[video.id] = item
    assert not failed(ended)
    assert list(ended) == ["first", "last"]


def test_a_net_that_is_busy_for_long_does_not_make_decoders_hang(misbehave, monkeypatch):
    monkeypatch.setattr(process_module, "HANG_SECONDS", 1.2)
    videos = misbehave()
    with Decoders(2) as decoders:
        ended = {}
        for video, item in decoders.read(videos, SPEC, SAMPLING):
            if isinstance(item, VideoStart):
                time.sleep(2.5)
            if isinstance(item, VideoEnd | VideoError):
                ended[video.id] = item
    assert not failed(ended)


@linux
def test_a_decoder_that_takes_all_memory_costs_its_video(misbehave):
    videos = misbehave("bomb", "bomb-early")
    with Decoders(1, memory=0.3) as decoders:
        ended, _ = outcomes(decoders, videos)
    reason = "needs more memory than --decoder-memory 0.3 GB allows; raise it"
    assert failed(ended) == dict.fromkeys(("bomb", "bomb-early"), (OutOfMemoryError, reason))
    assert list(ended) == ["first", "bomb", "bomb-early", "last"]


@linux
@pytest.mark.parametrize("partial", [False, True])
def test_a_decoder_that_calls_a_lack_of_memory_damage_is_not_believed(tmp_path, partial):
    """FFmpeg gives it any name: no frame, a bad unit, a thread that cannot be started."""
    pictures = [np.full((2160, 3840, 3), level, np.uint8) for level in (0, 60, 120, 180, 240)]
    path = write_video(tmp_path / "v.mp4", pictures, coding=Coding(options={"preset": "ultrafast"}))
    for memory, kind in ((0.05, OutOfMemoryError), (1.0, VideoEnd)):
        with Decoders(1, memory=memory, partial=partial) as decoders:
            ended, _ = outcomes(decoders, [Video("v", str(path), "v")])
        assert isinstance(ended["v"], kind), ended
        if kind is OutOfMemoryError:
            assert "more memory than --decoder-memory 0.05 GB allows; raise it" in str(ended["v"])


@linux
def test_a_video_of_ordinary_size_needs_little_of_the_memory(misbehave):
    videos = misbehave()
    with Decoders(1, memory=0.1) as decoders:
        ended, num_clips = outcomes(decoders, videos)
    assert not failed(ended)
    assert num_clips == 6


def test_videos_that_do_everything_at_once(misbehave, monkeypatch):
    monkeypatch.setattr(process_module, "HANG_SECONDS", 2.0)
    names = ["crash", "hang", "leave", "crash-early", "stop-early", "loop", "leave-early"]
    videos = misbehave(*names)
    among = [one for number, video in enumerate(videos) for one in (video, Video(f"good{number}", video.path, "good"))]
    with Decoders(2, timeout=5.0) as decoders:
        ended, _ = outcomes(decoders, among)
    assert sorted(failed(ended)) == sorted(names)
    assert list(ended) == [video.id for video in among]


def test_a_run_tells_why_each_video_failed_and_stores_the_others(tmp_path):
    """The command from end to end, with decoders that misbehave by the name of the video."""
    names = ("crash", "hang", "bomb") if sys.platform == "linux" else ("crash", "hang")
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("first", *names, "last"):
        numbered_video(folder / f"{name}.mp4", 40)
    code = f"NAMED = {names!r}\n{MISBEHAVIOUR}"
    instead = f"exec({code!r}); importlib.import"
    script = f"""
import sys
from p3dfeat.system import processes
processes.START = processes.START.replace("importlib.import", {instead!r}, 1)
from p3dfeat.cli.app import run
sys.exit(run(sys.argv[1:]))
"""
    output = tmp_path / "feats.h5"
    arguments = ["extract", str(folder), "-o", str(output), "-m", "p3d-camera", "-n", "2"]
    limits = ["--timeout", "4", "--decoder-memory", "0.3", "--workers", "2"]
    done = commands.run(*arguments, *limits, program=script)
    assert done.returncode == 3, done.stderr
    ledger = [json.loads(line) for line in (tmp_path / "feats.h5.failed.jsonl").read_text().splitlines()]
    reasons = {entry["id"]: entry["error"] for entry in ledger}
    expected = {
        "crash": "its decoder crashed (SIGSEGV)",
        "hang": "timed out: not decoded within 4 s; raise --timeout",
        "bomb": "needs more memory than --decoder-memory 0.3 GB allows; raise it",
    }
    assert reasons == {id: expected[id] for id in names}
    with h5py.File(output) as file:
        assert sorted(file) == ["first", "last"]


def test_a_decoder_that_never_gets_ready_is_an_error_not_a_wait(misbehave, monkeypatch):
    monkeypatch.setattr(processes, "START", "import time; time.sleep(600)")
    monkeypatch.setattr(process_module, "START_SECONDS", 0.5)
    with Decoders(1) as decoders, pytest.raises(DecoderError, match=r"stops as it starts"):
        outcomes(decoders, [Video("v", "v", "v")])


def test_decoders_that_cannot_be_started_for_a_while_do_not_end_the_run(misbehave, monkeypatch, tmp_path):
    """Once some have worked, memory may be short for a moment."""
    monkeypatch.setattr(decoders_module, "LATER_PAUSES", (0.1, 0.1, 0.1, 0.1))
    videos = misbehave("crash")
    with Decoders(1) as decoders:
        tried = tmp_path / "tried"
        code = f"import os; open({str(tried)!r}, 'a').write('.'); os.path.getsize({str(tried)!r}) < 4 and os._exit(9); "
        monkeypatch.setattr(processes, "START", code + processes.START)
        ended, _ = outcomes(decoders, videos)
    assert list(failed(ended)) == ["crash"]
    assert list(ended) == ["first", "crash", "last"]
    assert tried.stat().st_size == 4


def test_a_plan_is_made_by_decoders_too(misbehave):
    videos = misbehave("crash")
    with Decoders(1) as decoders:
        items = [(v.id, item) for v, item in decoders.read(videos, SPEC, SAMPLING, only_plan=True)]
    assert [(id, type(item)) for id, item in items] == [
        ("first", VideoStart),
        ("first", VideoEnd),
        ("crash", VideoError),
        ("last", VideoStart),
        ("last", VideoEnd),
    ]
    assert items[0][1].num_clips == 3
    assert items[1][1].info.num_frames == 60


@linux
def test_a_decoder_that_has_grown_is_replaced(misbehave):
    """At the end of the video: what is queued goes to the next process, and nothing is lost."""
    videos = misbehave("grow", "other")
    with Decoders(1) as decoders:
        before = [process._process.pid for process in decoders._processes]
        ended, num_clips = outcomes(decoders, videos)
        assert [process._process.pid for process in decoders._processes] != before
    assert not failed(ended)
    assert list(ended) == ["first", "grow", "other", "last"]
    assert num_clips == 4 * 3


@linux
def test_a_decoder_is_what_the_system_kills_first_and_leaves_no_core():
    with Decoders(1) as decoders:
        (process,) = decoders._processes
        process.prepare(Task(SPEC, SAMPLING))
        deadline = time.monotonic() + 60
        while not process.started and time.monotonic() < deadline:
            process.attend(0.1)
            time.sleep(0.1)
        assert process.started
        with open("/proc/self/oom_score_adj") as own, open(f"/proc/{process._process.pid}/oom_score_adj") as its:
            assert int(its.read()) == min(1000, int(own.read()) + 500)
        assert resource.prlimit(process._process.pid, resource.RLIMIT_CORE)[0] == 0


@linux
@pytest.mark.parametrize("what", ["hang", "sleep"])
def test_decoders_that_hang_end_with_their_parent(tmp_path, what):
    """Also in the middle of a call that neither returns nor lets Python do anything else."""
    numbered_video(tmp_path / "v.mp4", 60)
    code = f"NAMED = ({what!r},)\n{MISBEHAVIOUR}"
    script = f"""
import time
from p3dfeat.system import processes
processes.START = processes.START.replace("importlib.import", {f"exec({code!r}); importlib.import"!r}, 1)
from p3dfeat.video.workers.pool import Decoders
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Video
decoders = Decoders(1)
video = Video({what!r}, {str(tmp_path / "v.mp4")!r}, "v")
items = decoders.read([video], InputSpec(resize=(48, 64)), Sampling(clips=3))
next(items), next(items)
print(decoders._processes[0]._process.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        child = os.pidfd_open(int(parent.stdout.readline()))
        time.sleep(0.5)  # it has gone to sleep
        parent.kill()
        ended, _, _ = select.select([child], [], [], 30)
        os.close(child)
        assert ended
    finally:
        parent.kill()
        parent.wait(30)


def test_a_clock_counts_work_and_not_waiting():
    shared = mmap.mmap(-1, CLOCK_BYTES)
    clock, watched = Clock(shared), Clock(shared)
    assert watched.worked() == 0
    with clock.running(None):
        time.sleep(0.1)
        with clock.waiting():
            before = watched.worked()
            time.sleep(0.1)
            assert watched.worked() == before
        tick()
        tick()
        assert 0.1 <= before < 0.2 + watched.worked()
    assert watched.worked() == 0
    assert watched.moves == 2
    tick()
    assert watched.moves == 2  # of no video


@pytest.mark.parametrize("settings", [{"timeout": 0}, {"timeout": float("nan")}, {"memory": 0}, {"memory": -1.0}])
def test_limits_that_are_none_are_refused(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=f"{name} .*: must be a number of .*, more than 0"):
        Decoders(1, **settings)


def test_a_tick_costs_next_to_nothing():
    clock = Clock(mmap.mmap(-1, CLOCK_BYTES))
    with clock.running(60):
        assert min(timeit.repeat(tick, number=10_000, repeat=5, timer=time.process_time)) / 10_000 < 20e-6
