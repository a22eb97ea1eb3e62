"""Batches fill across videos, order does not depend on timing, a broken video costs itself alone."""

import time

import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.types import Batch, Clip, Video, VideoEnd, VideoStart
from p3dfeat.workflows import pipeline
from tests.videos import numbered_video

SPEC = InputSpec(channels="luma", resize=(16, 16), length=2)
SAMPLING = Sampling(clips=3, length=2)


class Recorder:
    """An engine that remembers its batches and returns each clip's first pixel."""

    def __init__(self, in_flight=1, batch_size=4):
        self.sizes, self.in_flight, self.batch_size = [], in_flight, batch_size
        self.waiting = self.most_waiting = 0

    def start(self, batch: Batch):
        self.sizes.append(len(batch.frames))
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        return Waiting(self, {"pool5": batch.frames[:, 0, 0, 0, :1].astype(np.float32)})


class Waiting:
    """A batch in flight; its rows come when they are waited for."""

    def __init__(self, engine, rows):
        self.engine, self.rows = engine, rows

    def result(self):
        self.engine.waiting -= 1
        return self.rows


def made(monkeypatch, contents):
    """Let decoders give what {id: (number of clips, exception at the end, seconds a clip)} says, in one memory."""
    memory = np.empty((2, 16, 16, 1), np.uint8)

    class Made:
        def read(self, videos, spec, sampling):
            for video in videos:
                count, failure, *delay = contents[video.id]
                yield video, VideoStart(count)
                for number in range(count):
                    time.sleep(*delay or [0])
                    memory[:] = 10 * int(video.id[1:]) + number
                    yield video, Clip(memory, float(number), number + 1.0, 0)
                    memory[:] = 255
                yield video, failure or VideoEnd(None, count)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(pipeline, "Decoders", Made)
    return [Video(id, id, id) for id in contents]


def run(videos, engine=None, **settings):
    return list(pipeline.describe(videos, engine=engine or Recorder(), spec=SPEC, sampling=SAMPLING, **settings))


def rows(events):
    found = {}
    for event in events:
        if isinstance(event, pipeline.Described):
            found.setdefault(event.video.id, []).extend(event.features.layers["pool5"][:, 0].tolist())
    return found


def test_batches_fill_across_videos(monkeypatch):
    engine = Recorder()
    events = run(made(monkeypatch, {f"v{n}": (3, None) for n in range(5)}), engine)
    assert engine.sizes == [4, 4, 4, 3]
    assert rows(events) == {f"v{n}": [10 * n, 10 * n + 1, 10 * n + 2] for n in range(5)}


def test_events_come_in_the_order_of_videos(monkeypatch):
    events = run(made(monkeypatch, {"v1": (3, None), "v2": (2, None), "v3": (4, None), "v4": (1, None)}))
    kinds = [(type(event).__name__, event.video.id) for event in events if not isinstance(event, pipeline.Started)]
    assert kinds == [
        ("Described", "v1"),
        ("Finished", "v1"),
        ("Described", "v2"),
        ("Described", "v2"),
        ("Finished", "v2"),
        ("Described", "v3"),
        ("Described", "v3"),
        ("Finished", "v3"),
        ("Described", "v4"),
        ("Finished", "v4"),
    ]


def test_a_video_that_breaks_costs_itself_alone(monkeypatch):
    contents = {"v1": (2, None), "v2": (3, VideoError("damaged")), "v3": (2, None)}
    engine = Recorder()
    events = run(made(monkeypatch, contents), engine)
    ends = [(type(e).__name__, e.video.id) for e in events if isinstance(e, pipeline.Finished | pipeline.Failed)]
    assert ends == [("Finished", "v1"), ("Failed", "v2"), ("Finished", "v3")]
    found = rows(events)
    assert (found["v1"], found["v3"]) == ([10, 11], [30, 31])
    (failed,) = [e for e in events if isinstance(e, pipeline.Failed)]
    assert str(failed.failure.error) == "damaged"
    assert sum(engine.sizes) <= 6  # its last clip was waiting and was not run for nothing


def told(events):
    """Everything events say, comparable."""
    return [
        (
            type(event).__name__,
            event.video.id,
            event.features.layers["pool5"].tolist() if isinstance(event, pipeline.Described) else None,
            event.features.seconds.tolist() if isinstance(event, pipeline.Described) else None,
        )
        for event in events
    ]


def test_batches_in_flight_change_neither_the_events_nor_their_order(monkeypatch):
    contents = {f"v{n}": (n % 5, VideoError("damaged") if n % 7 == 3 else None, 0.001 * (n % 2)) for n in range(24)}
    videos = made(monkeypatch, contents)
    one, three = Recorder(in_flight=1), Recorder(in_flight=3)
    assert told(run(videos, one)) == told(run(videos, three))
    assert one.sizes == three.sizes
    assert (one.most_waiting, three.most_waiting) == (1, 3)
    assert one.waiting == three.waiting == 0  # nothing was started and not waited for


def test_a_video_that_breaks_after_batches_with_its_clips_were_started(monkeypatch):
    contents = {"v1": (2, None), "v2": (9, VideoError("damaged")), "v3": (3, None)}
    videos = made(monkeypatch, contents)
    for in_flight in (1, 2, 3):
        engine = Recorder(in_flight)
        events = run(videos, engine)
        ends = [told([e])[0][:2] for e in events if isinstance(e, pipeline.Finished | pipeline.Failed)]
        assert ends == [("Finished", "v1"), ("Failed", "v2"), ("Finished", "v3")]
        assert rows(events)["v1"] == [10, 11]
        assert rows(events)["v3"] == [30, 31, 32]  # where v2's last clips had been
        assert engine.sizes == [4, 4, 3]  # v2's last three made room for v3's


def test_what_happens_before_any_clip_is_told_at_once(monkeypatch):
    videos = made(monkeypatch, {"v1": (0, VideoError("damaged")), "v2": (400, None, 0.2)})
    started = time.monotonic()
    events = pipeline.describe(videos, engine=Recorder(batch_size=400), spec=SPEC, sampling=SAMPLING)
    kinds = [type(next(events)).__name__ for _ in range(3)]
    events.close()
    assert kinds == ["Started", "Failed", "Started"]
    assert time.monotonic() - started < 60  # v2 takes eighty seconds


def test_an_engine_whose_memory_runs_out_is_given_smaller_batches(monkeypatch):
    class Shrinking(Recorder):
        def start(self, batch):
            self.batch_size = 2
            return super().start(batch)

    engine = Shrinking(in_flight=2)
    assert rows(run(made(monkeypatch, {"v1": (9, None)}), engine)) == {"v1": [10 + n for n in range(9)]}
    assert engine.sizes == [4, 2, 2, 1]


@pytest.mark.parametrize("size", [10**13, 10**17])
def test_a_batch_that_no_memory_holds_is_refused_in_one_line(monkeypatch, size):
    with pytest.raises(UsageError, match=f"batch size {size}: its clips do not fit"):
        run(made(monkeypatch, {"v1": (1, None)}), Recorder(batch_size=size))


def test_no_videos_no_events():
    assert run([]) == []


def test_real_decoding_and_batching_agree_with_one_video_at_a_time(tmp_path):
    videos = [Video(f"v{n}", str(numbered_video(tmp_path / f"{n}.mp4", 20 + n)), "") for n in range(4)]
    together = rows(run(videos))
    alone = {}
    for video in videos:
        alone |= rows(run([video], Recorder(batch_size=1)))
    assert together == alone
