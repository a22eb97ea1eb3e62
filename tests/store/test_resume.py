"""What is stored is taken for done only where nothing changed; what did is named."""

import json
import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import FeatureFileError, VideoError
from p3dfeat.events import Touched
from p3dfeat.fingerprint import fingerprint, modified, size_and_time
from p3dfeat.store import FeatureWriter, open_features
from p3dfeat.store import identity as resume
from p3dfeat.store.layout import ORDER, differences
from p3dfeat.types import Video
from tests.store.test_store import INFO, SETTINGS, features, write

DAY = 1_767_225_600  # 2026-01-01T00:00:00+00:00
CHANGES = {  # of settings, and how the difference is named
    "model": ({"model": "other"}, "model is m there, other now"),
    "weights": ({"weights_sha256": "1" * 64}, f"weights_sha256 is {'0' * 64} there, {'1' * 64} now"),
    "architecture": (
        {"architecture": {"stages": [2, 1, 1, 1]}},
        r"architecture.stages is \[1, 1, 1, 1\] there, \[2, 1, 1, 1\] now",
    ),
    "size": ({"preprocessing": InputSpec(resize=(9, 9))}, r"preprocessing.resize is \[8, 8\] there, \[9, 9\] now"),
    "clips": ({"sampling": Sampling(clips=3)}, "sampling.clips is 20 there, 3 now"),
    "step": ({"sampling": Sampling(step=2)}, "sampling.step is 1 there, 2 now"),
    "layers": ({"layers": ("pool5",)}, r"layers is \['pool5', 'prob'\] there, \['pool5'\] now"),
    "engine": ({"engine": "openvino"}, "engine is torch there, openvino now"),
    "precision": ({"precision": "bf16"}, "precision is fp32 there, bf16 now"),
}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


@pytest.fixture
def clip(tmp_path, output) -> Video:
    """A video that is stored, last written at the beginning of 2026."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x" * 200_000)
    os.utime(path, (DAY, DAY))
    found = Video("clip", str(path), "clip.mp4")
    info = replace(INFO, size_bytes=200_000, fingerprint=fingerprint(str(path)), modified=modified(os.stat(path)))
    with FeatureWriter(output, SETTINGS) as writer:
        writer.add(found, features())
        writer.finish(found, info)
    return found


def asked(output, video: Video) -> tuple[bool, list[Touched]]:
    touched = []
    with FeatureWriter(output, SETTINGS) as writer:
        return writer.is_stored(video, on_touched=touched.append), touched


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("finished", [True, False], ids=["in the file", "in a journal"])
def test_each_setting_that_changed_is_named(output, change, finished):
    if finished:
        write(output, "a")
    else:
        writer = FeatureWriter(output, SETTINGS)
        writer.add(Video("a", "a.mp4", "a.mp4"), features())
        writer.finish(Video("a", "a.mp4", "a.mp4"), INFO)
        writer._lock._file.close()  # as the system does when a process dies
    options, message = CHANGES[change]
    subject = r"feats\.h5" if finished else r"feats\.h5\.parts"
    with pytest.raises(
        FeatureFileError, match=rf"{subject}: made with other settings \({message}\); choose another output"
    ):
        FeatureWriter(output, replace(SETTINGS, **options))


def test_every_setting_that_is_written_is_read():
    """One that is missing from ORDER would differ from itself in the next run."""
    quantized = replace(SETTINGS, int8_sha256="0" * 64, int8_cosine=0.99, pool="mean", shard="1/2")
    assert set(quantized.as_attributes()) == set(ORDER)


def test_what_a_file_does_not_say_was_made_as_by_default():
    """A file of a version that did not have the setting yet is added to."""
    wanted = SETTINGS.as_attributes()
    sampling, preprocessing = asdict(SETTINGS.sampling), asdict(SETTINGS.preprocessing)
    del sampling["fps"], preprocessing["standardize"]
    older = wanted | {"sampling": json.dumps(sampling), "preprocessing": json.dumps(preprocessing)}
    assert differences(older, wanted) == []
    faster = replace(SETTINGS, sampling=replace(SETTINGS.sampling, fps=12.0)).as_attributes()
    assert differences(older, faster) == ["sampling.fps is None there, 12.0 now"]
    assert differences(faster, older) == ["sampling.fps is 12.0 there, None now"]


def test_the_same_size_and_time_are_enough_and_the_file_is_not_opened(output, clip, monkeypatch):
    def opened(_):
        raise AssertionError("it was opened")

    monkeypatch.setattr(resume, "fingerprint", opened)
    assert asked(output, clip) == (True, [])


def test_another_file_of_the_same_size_and_second_is_not_taken_for_it(output, clip, tmp_path):
    """Raw videos of one length have one size, and cameras, copies and scripts write in one second."""
    (tmp_path / "other").mkdir()
    other = Video("clip", str(tmp_path / "other" / "clip.mp4"), "other/clip.mp4")
    for content, same in ((b"?" * os.path.getsize(clip.path), False), (Path(clip.path).read_bytes(), True)):
        Path(other.path).write_bytes(content)
        os.utime(other.path, (DAY, DAY))
        if same:
            assert asked(output, other) == (True, [])
        else:
            with pytest.raises(VideoError, match=r"another file, clip.mp4 \(other content of the same size\)"):
                asked(output, other)


def test_a_video_that_was_only_touched_is_taken_as_stored_and_told(output, clip):
    os.utime(clip.path, (DAY + 3600, DAY + 3600))
    there, now = "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00"
    assert asked(output, clip) == (True, [Touched("clip", "clip.mp4", there, now)])


def test_a_damaged_video_that_was_written_to_since_is_not_taken_as_stored(output, clip):
    """Downloads are of their full size before they are complete, and their ends may come first."""
    with FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        writer.add(clip, features())
        status = os.stat(clip.path)
        about = {"size_bytes": 200_000, "fingerprint": fingerprint(clip.path), "modified": modified(status)}
        writer.finish(clip, replace(INFO, damage="cut off", clips_left_out=3, **about))
    assert asked(output, clip) == (True, [])
    os.utime(clip.path, (DAY + 60, DAY + 60))
    with pytest.raises(VideoError, match=r"changed since it was stored \(it was damaged then; modified 2026"):
        asked(output, clip)


def source_of(output, video: Video) -> str | None:
    with FeatureWriter(output, SETTINGS) as writer:
        return writer.source_of(video)


def test_a_video_is_known_by_its_name_or_by_its_content(output, clip):
    assert source_of(output, clip) == "clip.mp4"
    moved = replace(clip, source="elsewhere/clip.mp4")
    assert source_of(output, moved) == "clip.mp4"
    with open(clip.path, "ab") as file:
        file.write(b"more")
    assert source_of(output, clip) == "clip.mp4"  # changed, and still what is stored under this id
    assert source_of(output, moved) is None
    os.unlink(clip.path)
    assert source_of(output, moved) is None
    assert source_of(output, replace(clip, id="other")) is None
    assert source_of(output, replace(clip, end_seconds=1.0)) is None


def test_numbered_pictures_at_another_rate_are_not_taken_as_stored(tmp_path, output):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number}.png").write_bytes(b"x" * number)
    found = Video("frames", str(folder), "frames", frames_fps=25.0)
    size, time = size_and_time(str(folder))
    info = replace(INFO, size_bytes=size, fingerprint=fingerprint(str(folder)), modified=time)
    with FeatureWriter(output, SETTINGS) as writer:
        writer.add(found, features())
        writer.finish(found, info)
    with open_features(output) as stored:
        assert stored["frames"].attributes["frames_fps"] == 25.0
    assert asked(output, found) == (True, [])
    with pytest.raises(VideoError, match=r"stored for frames at another rate \(frames 25.0 there, 30.0 now\)"):
        asked(output, replace(found, frames_fps=30.0))
    (folder / "3.png").write_bytes(b"x")
    with pytest.raises(VideoError, match="changed since it was stored"):
        asked(output, found)


def test_times_are_compared_to_the_second(output, clip):
    os.utime(clip.path, (DAY + 0.9, DAY + 0.9))
    assert asked(output, clip) == (True, [])
    assert modified(os.stat(clip.path)) == datetime.fromtimestamp(DAY, UTC).isoformat()


def test_a_video_of_another_size_is_refused_with_both_sizes_and_times(output, clip):
    with open(clip.path, "ab") as file:
        file.write(b"more")
    os.utime(clip.path, (DAY + 60, DAY + 60))
    with pytest.raises(VideoError) as refused:
        asked(output, clip)
    assert str(refused.value) == (
        "changed since it was stored (200000 bytes there, 200004 now; modified 2026-01-01T00:00:00+00:00 there, "
        "2026-01-01T00:01:00+00:00 now); choose another output or name, --on-changed replace, or --overwrite"
    )


def test_a_video_of_the_same_size_and_other_content_is_refused(output, clip):
    with open(clip.path, "r+b") as file:
        file.write(b"y")
    os.utime(clip.path, (DAY + 60, DAY + 60))
    with pytest.raises(
        VideoError, match="changed since it was stored \\(other content of the same size; modified 2026"
    ):
        asked(output, clip)


def test_a_video_that_is_gone_is_said_not_to_be_readable(output, clip):
    os.unlink(clip.path)
    with pytest.raises(VideoError, match=r"not readable \(No such file or directory\)"):
        asked(output, clip)


def test_an_address_is_not_asked_again(output):
    there = Video("a", "https://localhost:9/a.mp4", "https://localhost:9/a.mp4")
    with FeatureWriter(output, SETTINGS) as writer:
        writer.add(there, features())
        writer.finish(there, INFO)
    assert asked(output, there) == (True, [])
    with pytest.raises(VideoError, match=r"id 'a' is stored for another file, https://localhost:9/a\.mp4; choose"):
        asked(output, Video("a", "https://localhost:9/b.mp4", "https://localhost:9/b.mp4"))
