"""Handing out work, with a stand-in for Ray whose calls end as a test wants: nothing is lost or forgotten."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from p3dfeat.cluster import work as work_module
from p3dfeat.cluster.messages import said_of
from p3dfeat.cluster.nodes import Node
from p3dfeat.cluster.work import Work
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Video, VideoEnd, VideoInfo, VideoStart
from p3dfeat.workflows.pipeline import Failed, Finished, Row

ray = pytest.importorskip("ray")
INFO = VideoInfo(2.0, 25.0, 50, 64, 48, 0, "1:1", "h264", "yuv420p", 1000, "0" * 16, "2026-01-01T00:00:00+00:00")
ENGINE = SimpleNamespace(batch_size=2, in_flight=1, layers=("pool5",))
JOB: Any = SimpleNamespace(spec=InputSpec(resize=(48, 64)), sampling=Sampling(clips=2), engine=ENGINE)
DIED = ray.exceptions.ActorDiedError()
GONE = ray.exceptions.ObjectLostError("0" * 28, "", "")


class Ref:
    """A reference to a value, or to an error that ``get`` raises."""

    def __init__(self, value: Any, ready: bool = True):
        self.value, self.ready = value, ready


class Objects:
    """The objects of a stream; an error among them is raised when its turn comes."""

    ready = True

    def __init__(self, values: list[Any]):
        self._values = deque(values)

    def __next__(self) -> Ref:
        if not self._values:
            raise StopIteration
        return Ref(self._values.popleft())


class FakeRay:
    exceptions = ray.exceptions

    def wait(
        self, waited: list[Any], num_returns: int, timeout: float, fetch_local: bool
    ) -> tuple[list[Any], list[Any]]:
        return [each for each in waited if each.ready][:1], []

    def get(self, reference: Ref) -> Any:
        if isinstance(reference.value, BaseException):
            raise reference.value
        return reference.value


class FakeActors:
    """Decoders give what ``streams`` holds, one entry per call; networks what ``rows`` holds."""

    def __init__(self, streams: list[list[Any] | None], rows: list[Any] = (), networks: int = 1):
        self.ray, self.dead_nodes = FakeRay(), set[str]()
        self.streams, self.rows = deque(streams), deque(rows)
        self.given: list[list[str]] = []
        self.losses: list[str] = []
        node = Node("n", "127.0.0.1", 2, 0)
        read = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._read))
        self.decoders = [SimpleNamespace(handle=SimpleNamespace(read=read), node=node, busy=0)]
        self.networks = [self._network(node) for _ in range(networks)]

    def _network(self, node: Node) -> Any:
        return SimpleNamespace(handle=SimpleNamespace(compute=SimpleNamespace(remote=self._compute)), node=node, busy=0)

    def _read(self, videos: list[Video], *_: Any) -> Objects:
        self.given.append([video.id for video in videos])
        planned = self.streams.popleft() if self.streams else None
        return Objects(blocks(videos) if planned is None else planned)

    def _compute(self, clips: Any) -> Ref:
        value = self.rows.popleft() if self.rows else None
        return Ref({"pool5": np.ones((2, 4), np.float32)} if value is None else value)

    def lost(self, actor: Any) -> None:
        self.losses.append("network" if actor in self.networks else "decoder")
        if actor in self.networks:
            self.networks.remove(actor)

    def is_alive(self, node: Node) -> bool:
        return node.id not in self.dead_nodes


def blocks(videos: list[Video]) -> list[Any]:
    """What a decoder says of videos of two clips each."""
    objects: list[Any] = []
    for number in range(len(videos)):
        happened = [(number, VideoStart(2)), (number, Row((0.0, 1.0), 0, 0)), (number, Row((1.0, 2.0), 25, 0))]
        objects += [said_of([*happened, (number, VideoEnd(INFO, 50))]), "clips"]
    return objects


def videos(count: int) -> list[Video]:
    return [Video(f"v{number}", f"/v{number}.mp4", f"v{number}") for number in range(count)]


def finished(actors: FakeActors, count: int, steps: int = 400) -> tuple[list[str], list[str], Work]:
    """(ids finished, ids failed, the work) after all of it, or after so many steps."""
    work = Work(actors, videos(count), JOB)
    done, failed = [], []
    for _ in range(steps):
        if work.is_done:
            break
        for event in work.step():
            done += [event.video.id] if isinstance(event, Finished) else []
            failed += [event.video.id] if isinstance(event, Failed) else []
    return done, failed, work


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(work_module, "POLL_SECONDS", 0.001)


def assert_settled(actors: FakeActors, work: Work) -> None:
    assert work.is_done
    assert [actor.busy for actor in (*actors.networks, *actors.decoders)] == [0] * (len(actors.networks) + 1)


def test_all_videos_are_finished_once():
    actors = FakeActors([])
    done, failed, work = finished(actors, 50)
    assert (sorted(done), failed) == (sorted(video.id for video in videos(50)), [])
    assert_settled(actors, work)


def test_a_block_whose_network_died_waits_for_another_one():
    actors = FakeActors([], rows=[DIED])
    work = Work(actors, videos(1), JOB)
    for _ in range(20):
        work.step()
    assert actors.losses == ["network"]
    assert not work.is_done
    actors.networks.append(actors._network(Node("m", "127.0.0.1", 2, 0)))  # one joins
    for _ in range(20):
        work.step()
    assert_settled(actors, work)


@pytest.mark.parametrize(
    "error", [DIED, ray.exceptions.OutOfMemoryError("oom"), ray.exceptions.RuntimeEnvSetupError("no")], ids=str
)
def test_an_error_of_a_network_is_computed_again_elsewhere(error):
    actors = FakeActors([], rows=[error], networks=2)
    done, _, work = finished(actors, 5)
    assert len(done) == 5
    assert_settled(actors, work)


def test_lost_features_are_computed_again_and_blame_nobody():
    actors = FakeActors([], rows=[GONE])
    done, failed, work = finished(actors, 3)
    assert (sorted(done), failed, actors.losses) == (["v0", "v1", "v2"], [], [])
    assert_settled(actors, work)


def test_a_dead_decoder_costs_what_is_not_finished():
    first = videos(3)
    said = [*blocks(first)[:2], DIED]
    actors = FakeActors([said])
    done, failed, work = finished(actors, 3)
    assert (sorted(done), failed) == (["v0", "v1", "v2"], [])
    assert_settled(actors, work)


def test_a_video_that_kills_actors_fails_alone():
    """The second of three: the others are not blamed, and those that were in hand are read alone."""

    class Deadly(FakeActors):
        def _read(self, given: list[Video], *_: Any) -> Objects:
            self.given.append([video.id for video in given])
            ids = [video.id for video in given]
            if "v1" in ids:
                return Objects([*blocks(given)[: 2 * ids.index("v1")], DIED])
            return Objects(blocks(given))

    actors = Deadly([])
    done, failed, work = finished(actors, 3)
    assert (sorted(done), failed) == (["v0", "v2"], ["v1"])
    assert actors.given.count(["v1"]) >= 1
    assert work.is_done


def test_the_loss_of_nodes_is_the_fault_of_no_video():
    actors = FakeActors([[DIED]] * 5)
    actors.dead_nodes.add("n")
    done, failed, work = finished(actors, 1)
    assert (done, failed) == (["v0"], [])
    assert_settled(actors, work)


def test_videos_are_handed_out_with_absolute_paths_and_come_back_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen: list[Video] = []

    class Watching(FakeActors):
        def _read(self, given: list[Video], *_: Any) -> Objects:
            seen.extend(given)
            return Objects(blocks(given))

    work = Work(Watching([]), [Video("v", "sub/v.mp4", "sub/v.mp4"), Video("s", "s3://b/v.mp4", "s")], JOB)
    events = [event for _ in range(40) if not work.is_done for event in work.step()]
    assert [video.path for video in seen] == [str(tmp_path / "sub/v.mp4"), "s3://b/v.mp4"]
    assert {event.video.path for event in events} == {"sub/v.mp4", "s3://b/v.mp4"}
