"""Extraction on Ray: three nodes on this machine give what one machine gives, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.cluster import machinery
from p3dfeat.errors import ClusterError, UsageError
from stress.ray_nodes import processes, ray_nodes
from tests.commands import Command
from tests.videos import panning_frames, write_video

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
pytest.importorskip("ray")
COUNT = 24
CLIPS = 40  # per video, so that a run takes some seconds
OPTIONS = ("-m", "p3d-camera", "-n", str(CLIPS))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(COUNT):
        frames = panning_frames(40 + number, pixels_a_frame=1 + number % 3, height=60, width=80, seed=number)
        write_video(folder / f"v{number:02}.mp4", frames)
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def plain(videos, tmp_path_factory) -> Path:
    """What this machine makes of them."""
    output = tmp_path_factory.mktemp("plain") / "f.h5"
    p3dfeat.extract(videos, output, model="p3d-camera", clips=CLIPS)
    return output


@pytest.fixture(scope="module")
def cluster():
    with ray_nodes(3) as nodes:
        yield nodes


def extract(videos: Path, output: Path, address: str, **options) -> Command:
    return Command(
        "extract", videos, "-o", output, *OPTIONS, "--cluster", address, "--json",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def records(said: str) -> list[dict]:
    return [json.loads(line) for line in said.splitlines()]


def assert_equal(one: Path, other: Path) -> None:
    with p3dfeat.open_features(one) as mine, p3dfeat.open_features(other) as theirs:
        assert set(mine) == set(theirs)
        for id in theirs:
            for name in ("pool5", "seconds", "first_frames"):
                assert np.array_equal(mine[id][name], theirs[id][name])
            assert np.array_equal(mine[id].pooled, theirs[id].pooled)
            assert dict(mine[id].attributes) == dict(theirs[id].attributes)
    with h5py.File(one) as mine, h5py.File(other) as theirs:
        assert set(mine.attrs) == set(theirs.attrs)
        assert {name for name in theirs.attrs if str(mine.attrs[name]) != str(theirs.attrs[name])} <= {"created"}


def test_the_file_is_that_of_one_machine_and_a_second_run_has_nothing_to_do(cluster, videos, plain, tmp_path):
    output = tmp_path / "f.h5"
    command = extract(videos, output, cluster.address)
    said, told = command.communicate(timeout=200)
    assert command.wait() == 3, told
    *each, summary = records(said)
    assert (summary["stored"], summary["failed"]) == (COUNT, 1)
    assert sorted(record["id"] for record in each if record["status"] == "stored") == [
        f"v{number:02}" for number in range(COUNT)
    ]
    (failed,) = [record for record in each if record["status"] == "failed"]
    assert (failed["id"], failed["error"]) == ("bad", "not a video but a text")
    assert json.loads(Path(f"{output}.failed.jsonl").read_text())["id"] == "bad"
    assert_equal(output, plain)
    again = extract(videos, output, cluster.address)
    said, _ = again.communicate(timeout=200)
    assert records(said)[-1]["skipped"] == COUNT


def test_a_lost_node_a_killed_worker_and_a_killed_driver_cost_what_was_in_flight(videos, plain, tmp_path):
    """The drill, in short: features are equal, and no video that is stored is computed again."""
    output = tmp_path / "f.h5"
    stored: list[str] = []
    with ray_nodes(3) as nodes:
        first = extract(videos, output, nodes.address)
        for line in first.stdout:
            assert line.startswith("{"), line
            record = json.loads(line)
            if record.get("status") == "stored":
                stored.append(record["id"])
            if len(stored) == 4 and len(nodes.list_all_nodes()) == 3:
                (victim, *_) = processes("ray::Decoding")
                os.kill(victim, signal.SIGKILL)
                nodes.remove_node(nodes.list_all_nodes()[-1])
            if len(stored) == 12:
                first.kill()
                break
        first.wait()
        deadline = time.monotonic() + 60
        while processes("ray::Decoding") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not processes("ray::Decoding")
        second = extract(videos, output, nodes.address)
        said, told = second.communicate(timeout=200)
    assert second.wait() == 3, told
    *each, summary = records(said)
    computed = {record["id"] for record in each if record["status"] == "stored"}
    assert summary["skipped"] + summary["stored"] == COUNT
    assert not computed & set(stored[:-1])  # of the last one, the record may not have been written
    assert len(computed) <= COUNT - len(stored) + 1
    assert_equal(output, plain)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster can be reached; start one with ray start --head"),
        ("no-such-host.invalid:6379", "no Ray cluster can be reached"),
        ("nonsense", "no Ray cluster can be reached"),
        ("ray://127.0.0.1:10001", "Ray's client is not supported"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(videos, tmp_path, address, message):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = extract(videos, tmp_path / "f.h5", address, env=environment)
    _, told = command.communicate(timeout=100)
    assert command.wait() == 2
    assert message in told
    assert "Traceback" not in told


def test_int8_and_a_missing_package_say_what_to_do(videos, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="int8 is calibrated on one machine"):
        p3dfeat.extract(videos, tmp_path / "f.h5", cluster="auto", precision="int8", model="p3d-camera")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray; install it with pip install 'p3dfeat\[ray\]'"):
        p3dfeat.extract(videos, tmp_path / "f.h5", cluster="auto", model="p3d-camera")


def test_a_node_with_another_version_is_refused_by_name(cluster, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(machinery, "__version__", "99.0")
    with pytest.raises(ClusterError, match=r"node 127\.0\.0\.1 \(\w{6}\): has p3dfeat .*, this machine 99\.0"):
        p3dfeat.extract(videos, tmp_path / "f.h5", cluster=cluster.address, clips=3, model="p3d-camera")
    assert not (tmp_path / "f.h5").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_asked_to_end_keeps_what_was_finished(cluster, videos, tmp_path, number, code):
    output = tmp_path / "f.h5"
    command = extract(videos, output, cluster.address)
    stored = [json.loads(command.stdout.readline())["id"] for _ in range(3)]
    command.send_signal(number)
    _, told = command.communicate(timeout=100)
    assert (command.wait(), "finished videos are kept" in told) == (code, True)
    assert "received at time" not in told
    with p3dfeat.open_features(output) as features:
        assert set(stored) - {"bad"} <= set(features)


def test_two_drivers_do_not_write_one_file(cluster, videos, tmp_path):
    output = tmp_path / "f.h5"
    first = extract(videos, output, cluster.address)
    assert first.stdout.readline()
    second = extract(videos, output, cluster.address)
    _, told = second.communicate(timeout=100)
    assert second.wait() == 2
    assert "being written by process" in told
    first.communicate(timeout=200)
    assert first.wait() == 3
