"""Videos in an S3 store, as users name them: objects, folders, patterns, lists and segments."""

import json
import re
import sys

import numpy as np
import pytest

import p3dfeat as package
from p3dfeat.errors import OutOfTimeError, UsageError, VideoError
from p3dfeat.remote import store as stores
from p3dfeat.sources import find_videos
from p3dfeat.types import Video, VideoEnd
from p3dfeat.video import Decoders
from p3dfeat.video.workers import asking
from p3dfeat.video.workers.download import RemoteFiles
from tests.s3 import BUCKET, KEYS, Store, serving_s3
from tests.video.test_ranged import SPARSE, SPEC, items_of
from tests.video.test_ranged import large as large  # a fixture
from tests.videos import numbered_video


@pytest.fixture(scope="module")
def server():
    with serving_s3() as store:
        yield store


@pytest.fixture
def s3(server: Store, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(stores, "WAIT_SECONDS", 0.01)
    server.forget()
    return server


@pytest.fixture(scope="module")
def folder(server: Store, tmp_path_factory) -> str:
    """The address of a folder with three videos, a text and a hidden video."""
    made = tmp_path_factory.mktemp("made")
    for number, key in enumerate(("set/a.mp4", "set/deep/b.mp4", "set/deep/c [x].mkv", "set/.hidden/d.mp4")):
        path = numbered_video(made / f"{number}.{key.rpartition('.')[2]}", 20 + number)
        server.put(key, path.read_bytes())
    server.put("set/notes.txt", b"no video")
    return f"s3://{BUCKET}/set"


def test_folders_and_patterns_and_objects_are_found_with_ids_as_on_a_disk(s3, folder):
    for text in (folder, folder + "/", folder.replace("s3", "S3")):
        videos, failures = find_videos([text])
        assert ([video.id for video in videos], failures) == (["a", "deep/b", "deep/c [x]"], [])
        assert videos[0].path == f"{folder}/a.mp4"
    assert [video.id for video in find_videos([f"{folder}/**/*.mp4"])[0]] == ["a", "deep/b"]
    assert [video.id for video in find_videos([f"{folder}/*.mp4"])[0]] == ["a"]
    assert [video.id for video in find_videos([f"{folder}/a.mp4"])[0]] == [f"{BUCKET}/set/a"]
    videos, _ = find_videos([folder, f"{folder}/deep"])
    assert [video.id for video in videos] == ["a", "deep/b", "deep/c [x]"]
    assert len(find_videos([folder], any_extension=True)[0]) == 4
    (brackets,), _ = find_videos([f"{folder}/deep/c [x].mkv"])  # a name and not a pattern
    assert brackets.id == f"{BUCKET}/set/deep/c [x]"


def test_folders_that_share_names_get_their_parents(s3, folder, tmp_path):
    s3.put("other/a.mp4", numbered_video(tmp_path / "v.mp4", 5).read_bytes())
    videos, _ = find_videos([folder, f"s3://{BUCKET}/other"])
    assert [video.id for video in videos] == ["set/a.mp4", "deep/b", "deep/c [x]", "other/a.mp4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://videos/none", "no such object or bucket|no videos in this folder"),
        ("s3://no-such-bucket/x/", "no such object or bucket|no videos in this folder"),
        ("s3://videos/none/*.mp4", "no file matches this pattern"),
    ],
)
def test_what_is_not_there_is_one_line(s3, p3dfeat, tmp_path, text, message):
    ended = p3dfeat("extract", text, "-o", tmp_path / "f.h5")
    assert ended.code in (2, 4)
    assert re.search(message, ended.stderr)


def test_features_are_those_of_the_files_and_a_second_run_asks_for_no_object(s3, folder, p3dfeat, tmp_path):
    (tmp_path / "list.txt").write_text(f"{folder}/a.mp4\n{folder}/none.mp4\n")
    output = tmp_path / "f.h5"
    ended = p3dfeat("extract", folder, f"@{tmp_path}/list.txt", "-o", output, "-n", 2)
    assert (ended.code, "3 stored, 0 skipped, 1 failed" in ended.stderr) == (3, True)
    assert f"{folder}/none.mp4: not fetched: no such object or bucket" in ended.stderr
    local = numbered_video(tmp_path / "a.mp4", 20)
    package.extract(local, tmp_path / "local.h5", clips=2, model="p3d-camera")
    with package.open_features(output) as features, package.open_features(tmp_path / "local.h5") as plain:
        assert np.array_equal(features["a"].pooled, plain["a"].pooled)
        assert features["a"].attributes["source"] == f"{folder}/a.mp4"
        assert features["a"].attributes["size_bytes"] == local.stat().st_size
    assert not any(secret.encode() in output.read_bytes() for secret in KEYS.values() if secret != "us-east-1")
    s3.forget()
    assert "nothing to do: 3 already stored" in p3dfeat("extract", folder, "-o", output, "-n", 2).stderr
    assert not s3.parts("a.mp4")
    shown = p3dfeat("classify", f"{folder}/a.mp4", "--json").records
    assert shown[0]["source"] == f"{folder}/a.mp4"


def test_segments_name_objects(s3, folder, p3dfeat, tmp_path):
    (tmp_path / "s.csv").write_text(f"path,start_seconds,end_seconds,id\n{folder}/a.mp4,0.2,0.6,mine\n")
    assert p3dfeat("extract", tmp_path / "s.csv", "-o", tmp_path / "f.h5", "-n", 1).code == 0
    with package.open_features(tmp_path / "f.h5") as features:
        assert list(features) == ["mine"]


def test_of_a_large_object_little_is_fetched(s3, large):
    url = s3.put("large.mp4", large.read_bytes())
    s3.forget()
    with Decoders(1, decoder="cpu") as decoders:
        items = [item for _, item in decoders.read([Video("v", url, url)], SPEC, SPARSE)]
    assert isinstance(items[-1], VideoEnd)
    plain = items_of(str(large))
    assert items[-1].info.num_frames == plain[-1].info.num_frames
    assert items[-1].info.fingerprint == plain[-1].info.fingerprint
    assert s3.sent_bytes < 0.25 * large.stat().st_size
    assert all(s3.parts("large.mp4"))


def test_a_store_that_fails_for_a_while_is_asked_again(s3, folder):
    s3.failures = 3
    with Decoders(1, decoder="cpu") as decoders:
        items = [item for _, item in decoders.read([Video("v", f"{folder}/a.mp4", "v")], SPEC, SPARSE)]
    assert isinstance(items[-1], VideoEnd)
    assert s3.failures == 0


def test_an_object_that_changes_while_it_is_read_fails(s3, large):
    url = s3.put("changing.mp4", large.read_bytes())
    answering = asking.Answering()
    files = RemoteFiles(asking.Asking(answering.theirs.detach()))
    answering.allow(url)
    with (
        pytest.raises(VideoError, match="not fetched: the file there changed while it was read"),
        files.readable(Video("v", url, url), tick=lambda: None) as where,
    ):
        assert where.read(0, 10) == large.read_bytes()[:10]
        s3.put("changing.mp4", large.read_bytes()[::-1])
    files.close()
    answering.close()


def test_without_credentials_or_with_wrong_ones_the_error_says_so(s3, folder, monkeypatch, tmp_path):
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    try:
        with pytest.raises(VideoError, match=r"^not fetched: .*(credential|refuses access)"):
            stores.find_object(f"{folder}/a.mp4")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_whose_package_is_missing_names_the_command(s3, p3dfeat, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    ended = p3dfeat("extract", "s3://videos/set", "--dry-run")
    assert ended.code == 2
    assert "s3:// addresses need s3fs; install it with pip install 'p3dfeat[s3]'" in ended.stderr


def test_decoders_have_no_credentials_and_are_given_their_videos_alone(s3, folder, monkeypatch):
    """A decoder that asks for another object, or for a part that there is not, gets an error."""
    answering = asking.Answering()
    asked = asking.Asking(answering.theirs.detach())
    answering.allow(f"{folder}/a.mp4")
    size, _, _ = asked.find(f"{folder}/a.mp4")
    assert len(asked.read(0, size)) == size
    for place in ((0, size + 1), (-1, 5), (5, 5), (0, 1 << 40)):
        with pytest.raises(VideoError, match="asked for a part that there is not"):
            asked.read(*place)
    for other in (f"{folder}/deep/b.mp4", "file:///etc/passwd", 5, None):
        with pytest.raises(VideoError, match="it was not given to this decoder"):
            asked.find(other)
        with pytest.raises(VideoError, match="asked for a part that there is not"):
            asked.read(0, 1)
    answering.close()
    from p3dfeat.system.confinement import environment

    assert not KEYS.keys() & environment(network=True).keys()


@pytest.mark.parametrize("question", [b"no json\n", b"[]\n", b'{"read": "x"}\n', b'{"read": [1]}\n', b"{}\n"])
def test_a_decoder_that_asks_nonsense_is_not_answered(s3, folder, question):
    answering = asking.Answering()
    answering.allow(f"{folder}/a.mp4")
    answering.theirs.sendall(question)
    answering.theirs.settimeout(10)
    assert b"bytes" not in answering.theirs.recv(1000)
    answering.close()


def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(s3, folder, monkeypatch):
    """A video that took too long ends while its question is open, even in the middle of an answer."""
    answering = asking.Answering()
    asked = asking.Asking(answering.theirs.detach())
    first, second = f"{folder}/a.mp4", f"{folder}/deep/b.mp4"
    sizes = [stores.find_object(url).size_bytes for url in (first, second)]
    assert sizes[0] != sizes[1]
    answering.allow(first)
    answering.allow(second)

    def impatient():
        raise OutOfTimeError("too long")

    for question in (lambda: asked.find(first), lambda: asked.read(0, 100)):
        with monkeypatch.context() as patch:
            patch.setattr(asking, "tick", impatient)
            with pytest.raises(OutOfTimeError):
                question()
    assert asked.find(second)[0] == sizes[1]
    assert len(asked.read(5, 25)) == 20
    answering.close()


def test_verify_recomputes_from_the_store(s3, folder, p3dfeat, tmp_path):
    output = tmp_path / "f.h5"
    assert p3dfeat("extract", folder, "-o", output, "-n", 1).code == 0
    ended = p3dfeat("verify", output, "--against", folder, "--json")
    assert ended.code == 0, ended.stderr
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary["findings"] == 0


def test_addresses_of_stores_are_not_lists(p3dfeat):
    ended = p3dfeat("extract", "@s3://videos/list.txt", "--dry-run")
    assert ended.code == 2
    assert "lists are read from files here, not from addresses" in ended.stderr


def test_usage_errors_keep_secrets(p3dfeat):
    ended = p3dfeat("extract", "s3://name:s3cret@videos/a.mp4", "--dry-run")
    assert ended.code == 2
    assert "s3cret" not in ended.stderr
    with pytest.raises(UsageError):
        find_videos(["s3://name:s3cret@videos/a.mp4"])
