"""Batches fill across videos, order does not depend on timing, a broken video costs itself alone."""

import numpy as np

from p3dfeat import pipeline
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Batch, Clip, Video, VideoEnd, VideoStart
from tests.videos import numbered_video

SPEC = InputSpec(channels="luma", resize=(16, 16), length=2)
SAMPLING = Sampling(clips=3, length=2)


class Recorder:
    """An engine that remembers its batches and returns each clip's first pixel."""

    batch_size = 4

    def __init__(self):
        self.sizes = []

    def run(self, batch: Batch):
        self.sizes.append(len(batch.frames))
        return {"pool5": batch.frames[:, 0, 0, 0, :1].astype(np.float32)}


def made(monkeypatch, contents):
    """Let decoders give what {id: (number of clips, exception at the end)} says, all in the same memory."""
    memory = np.empty((2, 16, 16, 1), np.uint8)

    class Made:
        def read(self, videos, spec, sampling):
            for video in videos:
                count, failure = contents[video.id]
                yield video, VideoStart(count)
                for number in range(count):
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


def test_no_videos_no_events():
    assert run([]) == []


def test_real_decoding_and_batching_agree_with_one_video_at_a_time(tmp_path):
    videos = [Video(f"v{n}", str(numbered_video(tmp_path / f"{n}.mp4", 20 + n)), "") for n in range(4)]
    together = rows(run(videos))
    alone = {}
    for video in videos:
        alone |= rows(run([video], batch_size=1))
    assert together == alone
