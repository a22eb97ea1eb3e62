"""Feature files: their layout, what a killed or failed run leaves, and what is refused."""

import json
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import FeatureFileError, OutputError, VideoError
from p3dfeat.fingerprint import fingerprint
from p3dfeat.store import FeatureWriter, Ledger, Settings, open_features, stored_videos
from p3dfeat.store import write as write_module
from p3dfeat.store.commit import commit
from p3dfeat.types import Features, Video, VideoInfo
from tests.users import as_ordinary_user

SETTINGS = Settings(
    model="m",
    weights_sha256="0" * 64,
    architecture={"stages": [1, 1, 1, 1]},
    preprocessing=InputSpec(resize=(8, 8)),
    sampling=Sampling(),
    layers=("pool5", "prob"),
    engine="torch",
    precision="fp32",
    device="cpu",
    p3dfeat_version="0",
)
INFO = VideoInfo(2.0, 25.0, 50, 320, 240, 0, "1:1", "h264", "yuv420p", 1234, "0" * 16, "2026-01-01T00:00:00+00:00")


def video(id: str) -> Video:
    return Video(id, f"{id}.mp4", f"folder/{id}.mp4")


def features(count: int = 3, seed: int = 0, padded: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    layers = {
        "pool5": rng.standard_normal((count, 6)).astype(np.float32),
        "prob": rng.random((count, 2), dtype=np.float32),
    }
    return Features(layers, np.arange(2.0 * count).reshape(count, 2), np.arange(count), padded)


def write(path, *ids: str, settings: Settings = SETTINGS, **options) -> None:
    with FeatureWriter(path, settings, **options) as writer:
        for seed, id in enumerate(ids):
            writer.add(video(id), features(seed=seed))
            writer.finish(video(id), INFO)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def test_another_calibration_of_int8_is_another_setting_and_its_cosine_is_not(output):
    in_int8 = replace(SETTINGS, engine="openvino", precision="int8", int8_sha256="a" * 64, int8_cosine=0.9997)
    write(output, "a", settings=in_int8)
    write(output, "b", settings=replace(in_int8, int8_cosine=0.9996))
    with open_features(output) as file:
        assert list(file) == ["a", "b"]
        assert (file.settings["int8_sha256"], file.settings["int8_cosine"]) == ("a" * 64, 0.9997)
    with pytest.raises(FeatureFileError, match=f"int8_sha256 is {'a' * 64} there, {'b' * 64} now"):
        write(output, "c", settings=replace(in_int8, int8_sha256="b" * 64))
    with pytest.raises(FeatureFileError, match="precision is int8 there, fp32 now"):
        write(output, "c", settings=replace(SETTINGS, engine="openvino"))


def test_full_precision_says_nothing_of_int8(output):
    """So that files of versions that did not know it can be added to, and theirs are like ours."""
    write(output, "a")
    with h5py.File(output) as file:
        assert not [name for name in file.attrs if "int8" in name]


def test_the_layout_is_the_one_documented(output):
    with FeatureWriter(output, SETTINGS) as writer:
        writer.add(video("archery/clip7"), features(3, padded=2))
        writer.add(video("archery/clip7"), features(2, seed=1, padded=3))
        writer.finish(Video("archery/clip7", "p", "s.mp4", 1.0, 2.0), INFO)
    rows = np.concatenate([features(3).layers["pool5"], features(2, seed=1).layers["pool5"]])
    with h5py.File(output) as file:
        group = file["archery/clip7"]
        assert sorted(group) == ["first_frames", "pool5", "pooled", "prob", "seconds"]
        assert group["pool5"].dtype == np.float32
        assert np.array_equal(group["pool5"][()], rows)
        assert np.allclose(group["pooled"][()], rows.mean(0), atol=1e-7)
        assert group["seconds"].dtype == np.float64
        assert group["seconds"].shape == (5, 2)
        about = dict(group.attrs)
        assert (about["source"], about["padded_frames"], about["num_frames"]) == ("s.mp4", 5, 50)
        assert (about["segment_start_seconds"], about["segment_end_seconds"]) == (1.0, 2.0)
        assert {"duration_seconds", "frame_rate", "width", "height", "size_bytes", "modified"} <= set(about)
        assert file.attrs["format"] == "p3dfeat-features"
        assert json.loads(file.attrs["sampling"])["clips"] == 20
        assert json.loads(file.attrs["preprocessing"])["resize"] == [8, 8]


def test_reading_is_a_mapping_over_ids_flat_or_nested(output):
    write(output, "b", "archery/clip7", "archery/deep/x", "a")
    with open_features(output) as found:
        assert list(found) == ["a", "archery/clip7", "archery/deep/x", "b"]
        assert len(found) == 4
        assert "archery/clip7" in found
        assert "archery" not in found
        assert "a/pool5" not in found
        assert found["b"]["pool5"].shape == (3, 6)
        assert found["b"].pooled.shape == (6,)
        assert found["b"].shape("seconds") == (3, 2)
        assert set(found["b"]) == {"pool5", "prob", "pooled", "seconds", "first_frames"}
        assert len(found["b"]) == 5
        assert found["b"].attributes["source"] == "folder/b.mp4"
        assert found.settings["layers"] == ["pool5", "prob"]
        with pytest.raises(KeyError):
            found["missing"]


def test_without_pool5_there_is_no_pooled(output):
    with FeatureWriter(output, SETTINGS) as writer:
        part = features()
        writer.add(video("a"), Features({"prob": part.layers["prob"]}, part.seconds, part.first_frames))
        writer.finish(video("a"), INFO)
    with open_features(output) as found:
        assert set(found["a"]) == {"prob", "seconds", "first_frames"}


def test_a_video_larger_than_the_buffer_is_written_bit_for_bit(output, monkeypatch):
    monkeypatch.setattr(write_module, "BUFFERED_BYTES", 200)
    parts = [features(7, seed=seed) for seed in range(5)]
    with FeatureWriter(output, SETTINGS) as writer:
        for part in parts:
            writer.add(video("a"), part)
        writer.finish(video("a"), INFO)
    with open_features(output) as found:
        assert np.array_equal(found["a"]["pool5"], np.concatenate([p.layers["pool5"] for p in parts]))
        assert np.array_equal(found["a"]["seconds"], np.concatenate([p.seconds for p in parts]))


def test_a_second_run_adds_and_keeps_what_was_there(output):
    write(output, "a")
    before = open_features(output)["a"]["pool5"]
    with FeatureWriter(output, SETTINGS) as writer:
        assert writer.stored == {"a"}
        writer.add(video("b"), features(seed=9))
        writer.finish(video("b"), INFO)
    with open_features(output) as found:
        assert list(found) == ["a", "b"]
        assert np.array_equal(found["a"]["pool5"], before)


def test_a_run_with_nothing_to_add_leaves_the_file_untouched(output):
    write(output, "a")
    before = output.stat()
    write(output)
    assert (output.stat().st_mtime_ns, output.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_nothing_else_is_left_beside_the_file(output):
    write(output, "a", "b")
    assert [path.name for path in output.parent.iterdir()] == ["feats.h5"]


def test_a_failed_video_leaves_no_trace(output):
    with FeatureWriter(output, SETTINGS) as writer:
        writer.add(video("a"), features())
        writer.abandon(video("a"))
        writer.add(video("b"), features())
        writer.finish(video("b"), INFO)
        writer.abandon(video("never begun"))
    assert list(open_features(output)) == ["b"]


def test_an_exception_keeps_what_was_finished(output):
    with pytest.raises(KeyboardInterrupt), FeatureWriter(output, SETTINGS) as writer:
        writer.add(video("a"), features())
        writer.finish(video("a"), INFO)
        writer.add(video("b"), features())
        raise KeyboardInterrupt
    assert list(open_features(output)) == ["a"]
    assert [path.name for path in output.parent.iterdir()] == ["feats.h5"]


def killed_run(output, *finished: str) -> None:
    """As a SIGKILL leaves it: nothing of the end of the with block happens."""
    writer = FeatureWriter(output, SETTINGS)
    for id in finished:
        writer.add(video(id), features())
        writer.finish(video(id), INFO)
    writer.add(video("in flight"), features())
    writer._append({"rows": "in flight"}, writer._open["in flight"].take())
    writer._lock._file.close()  # as the system does when a process dies


def test_a_killed_run_is_taken_up_without_recomputing(output):
    killed_run(output, "a", "b")
    assert not output.exists()
    with FeatureWriter(output, SETTINGS) as writer:
        assert writer.stored == {"a", "b"}
    assert list(open_features(output)) == ["a", "b"]
    assert [path.name for path in output.parent.iterdir()] == ["feats.h5"]


def test_a_killed_run_over_an_existing_file_leaves_that_file_as_it_was(output):
    write(output, "old")
    before = output.read_bytes()
    killed_run(output, "a")
    assert output.read_bytes() == before
    write(output, "b")
    assert list(open_features(output)) == ["a", "b", "old"]


def test_other_settings_are_refused_by_name(output):
    write(output, "a")
    other = replace(SETTINGS, sampling=Sampling(clips=10), precision="bf16")
    with pytest.raises(
        FeatureFileError, match=r"precision is fp32 there, bf16 now; sampling.clips is 20 there, 10 now"
    ):
        FeatureWriter(output, other)


def test_what_a_killed_run_of_other_settings_left_is_refused(output):
    killed_run(output, "a")
    with pytest.raises(FeatureFileError, match=r"feats.h5.parts: made with other settings"):
        FeatureWriter(output, replace(SETTINGS, model="other"))


def test_another_device_or_version_is_no_other_setting(output):
    write(output, "a")
    write(output, "b", settings=replace(SETTINGS, device="cuda", p3dfeat_version="9"))
    assert list(open_features(output)) == ["a", "b"]


def test_overwriting_replaces_the_file_when_the_run_ends_and_not_before(output):
    write(output, "a", "b")
    with FeatureWriter(output, replace(SETTINGS, model="new"), overwrite=True) as writer:
        assert writer.stored == set()
        writer.add(video("c"), features())
        writer.finish(video("c"), INFO)
        assert list(open_features(output)) == ["a", "b"]
    with open_features(output) as found:
        assert list(found) == ["c"]
        assert found.settings["model"] == "new"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", [b"", b"text", "hdf5"])
def test_a_file_that_is_not_ours_is_never_touched(output, content, overwrite):
    if content == "hdf5":
        with h5py.File(output, "w") as file:
            file["x"] = 1
    else:
        output.write_bytes(content)
    before = output.read_bytes()
    with pytest.raises(FeatureFileError, match=r"not a feature file|not one of p3dfeat's"):
        FeatureWriter(output, SETTINGS, overwrite=overwrite)
    assert output.read_bytes() == before


def test_a_newer_format_is_refused(output):
    write(output, "a")
    with h5py.File(output, "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(FeatureFileError, match="newer p3dfeat"):
        open_features(output)


@pytest.mark.parametrize(
    ("kind", "message"), [("missing", "no such file"), ("folder", "it is a folder"), ("text", "damaged")]
)
def test_opening_what_is_no_feature_file_says_why(output, kind, message):
    if kind == "folder":
        output.mkdir()
    elif kind == "text":
        output.write_text("x")
    with pytest.raises(FeatureFileError, match=message):
        open_features(output)


def test_an_output_in_no_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        FeatureWriter(tmp_path / "no" / "feats.h5", SETTINGS)


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    for folder in (tmp_path.parent.parent, tmp_path.parent):
        folder.chmod(0o755)  # to be seen by all
    tmp_path.chmod(0o555)
    with as_ordinary_user(), pytest.raises(OutputError, match=r"cannot be written \(Permission denied\)"):
        FeatureWriter(tmp_path / "feats.h5", SETTINGS)


def test_a_full_disk_while_joining_loses_nothing(output, monkeypatch):
    write(output, "a")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space left"):
        patch.setattr(commit, "write_at", full)
        write(output, "b")
    assert list(open_features(output)) == ["a"]
    write(output)
    assert list(open_features(output)) == ["a", "b"]


def test_an_id_stored_for_another_file_is_not_taken_for_done(output, tmp_path):
    for name, content in (("clip.mp4", b"x" * 200_000), ("copy.mp4", b"x" * 200_000), ("other.mp4", b"y" * 200_000)):
        (tmp_path / name).write_bytes(content)
    info = replace(INFO, fingerprint=fingerprint(str(tmp_path / "clip.mp4")))
    with FeatureWriter(output, SETTINGS) as writer:
        writer.add(video("clip"), features())
        writer.finish(video("clip"), info)
    with FeatureWriter(output, SETTINGS) as writer:
        assert writer.is_stored(Video("clip", str(tmp_path / "clip.mp4"), "clip.mp4"))
        with pytest.raises(
            VideoError,
            match=r"id 'clip' is stored for another file, folder/clip\.mp4 \(1234 bytes there, 200000 now; modified",
        ):
            writer.is_stored(Video("clip", str(tmp_path / "other.mp4"), "other.mp4"))
        with pytest.raises(VideoError, match="stored for another segment"):
            writer.is_stored(Video("clip", str(tmp_path / "clip.mp4"), "clip.mp4", 1.0, 2.0))
        writer.add(video("part"), features())
        writer.finish(video("part"), info)
        assert writer.is_stored(Video("part", str(tmp_path / "copy.mp4"), "part.mp4"))


def test_a_run_that_stores_nothing_leaves_no_file_and_replaces_none(output):
    write(output)
    assert os.listdir(output.parent) == []
    write(output, "a")
    write(output, overwrite=True)
    assert list(open_features(output)) == ["a"]


def test_a_killed_overwriting_run_is_taken_up(output):
    write(output, "old")
    new = replace(SETTINGS, model="new")
    writer = FeatureWriter(output, new, overwrite=True)
    writer.add(video("a"), features())
    writer.finish(video("a"), INFO)
    writer._lock._file.close()  # as the system does when a process dies
    with FeatureWriter(output, new, overwrite=True) as writer:
        assert writer.stored == {"a"}
        writer.add(video("b"), features())
        writer.finish(video("b"), INFO)
    assert list(open_features(output)) == ["a", "b"]


def test_a_video_that_changed_since_a_killed_overwriting_run_is_computed_again(output, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"changed")
    writer = FeatureWriter(output, SETTINGS, overwrite=True)
    writer.add(video("a"), features())
    writer.finish(video("a"), INFO)
    writer._lock._file.close()
    with FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        assert not writer.is_stored(Video("a", str(tmp_path / "a.mp4"), "a.mp4"))


def test_half_an_overwriting_run_replaces_nothing_and_is_gone_on_with(output):
    write(output, "old", "a")
    with pytest.raises(KeyboardInterrupt), FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        writer.add(video("new"), features())
        writer.finish(video("new"), INFO)
        raise KeyboardInterrupt
    assert list(open_features(output)) == ["a", "old"]
    write(output, overwrite=True)
    assert list(open_features(output)) == ["new"]


def test_an_interrupted_overwriting_run_is_gone_on_with_where_there_was_nothing_too(output):
    """Were it stored, the same command would overwrite it."""
    with pytest.raises(KeyboardInterrupt), FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        writer.add(video("new"), features())
        writer.finish(video("new"), INFO)
        raise KeyboardInterrupt
    with pytest.raises(FeatureFileError, match="a run was interrupted, and the same extract command finishes it"):
        open_features(output)
    with FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        assert writer.stored == {"new"}
    assert list(open_features(output)) == ["new"]


def test_failures_of_one_id_are_all_kept_though_another_video_has_it(output):
    earlier = Ledger(output)
    earlier.record("a", "a.mp4", "damaged")
    with Ledger(output) as ledger:
        ledger.record("x", "b.mp4", "id 'x' is given twice")
        ledger.forget("x", "a.mp4")
        ledger.forget("a", "other/a.mp4")
        ledger.drop_stored()
        assert len(ledger) == 2
        ledger.forget("a", "a.mp4")
        assert len(ledger) == 2
        ledger.drop_stored()
        assert len(ledger) == 1
    assert len(Ledger(output)) == 1


def test_a_damaged_file_of_ours_is_refused_in_words(output):
    write(output, "a")
    with h5py.File(output, "a") as file:
        del file.attrs["layers"]
    with pytest.raises(FeatureFileError, match="its attribute layers is missing"):
        open_features(output)


def test_parts_of_a_killed_overwriting_run_do_no_harm_to_a_plain_one(output):
    """Without --overwrite the file keeps what it held."""
    write(output, "old", "a")
    writer = FeatureWriter(output, SETTINGS, overwrite=True)
    writer.add(video("a"), features(seed=42))
    writer.finish(video("a"), INFO)
    writer._lock._file.close()
    write(output)
    with open_features(output) as found:
        assert list(found) == ["a", "old"]
        assert not np.array_equal(found["a"]["pool5"], features(seed=42).layers["pool5"])


def test_a_run_that_does_not_overwrite_ends_what_one_that_did_left(output):
    """Killed when its journals were gone and its mark was not; a later run that overwrites is another one."""
    write(output, "a")
    with pytest.raises(KeyboardInterrupt), FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        raise KeyboardInterrupt
    parts = writer.parts
    parts.mkdir()
    (parts / write_module.OVERWRITTEN).touch()
    writer = FeatureWriter(output, SETTINGS)
    writer.add(video("b"), features())
    writer.finish(video("b"), INFO)
    writer._lock._file.close()  # as the system does when a process dies
    with FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        assert writer.stored == set()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_plan_knows_of_the_journal_of_a_killed_run(output, overwrite):
    write(output, "old")
    writer = FeatureWriter(output, SETTINGS, overwrite=overwrite)
    writer.add(video("new"), features())
    writer.finish(video("new"), INFO)
    writer._lock._file.close()
    before = sorted(path.name for path in writer.parts.iterdir())
    with stored_videos(output, SETTINGS, overwrite=overwrite) as stored:
        assert list(stored.ids) == (["new"] if overwrite else ["old", "new"])
    with stored_videos(output, replace(SETTINGS, model="new"), overwrite=True) as stored:
        assert not stored.ids
    with (
        pytest.raises(FeatureFileError, match="made with other settings"),
        stored_videos(output, replace(SETTINGS, model="new")),
    ):
        pass
    assert sorted(path.name for path in writer.parts.iterdir()) == before


def test_an_output_with_a_damaged_attribute_is_told_in_one_line(output):
    write(output, "a", "folder/b")
    data = bytearray(output.read_bytes())
    data[data.index(b"source\0") - 8] = 99  # the version of its message
    output.write_bytes(data)
    for look in (lambda: write(output, "c"), lambda: list(open_features(output))):
        with pytest.raises(FeatureFileError, match=r"feats.h5: damaged \(.+\); p3dfeat verify tells what is wrong"):
            look()


def test_a_journal_that_goes_away_while_it_is_read_is_told_in_one_line(output):
    writer = FeatureWriter(output, SETTINGS)
    writer.add(video("a"), features())
    writer.finish(video("a"), INFO)
    for path in writer.parts.glob("*.journal"):
        path.unlink()
    with pytest.raises(OutputError, match="No such file or directory"):
        writer.is_stored(video("a"))


def test_a_second_run_on_one_output_is_refused_while_the_first_lives(output):
    with FeatureWriter(output, SETTINGS) as writer:
        with pytest.raises(OutputError, match=f"being written by process {os.getpid()} on "):
            FeatureWriter(output, SETTINGS)
        writer.add(video("a"), features())
        writer.finish(video("a"), INFO)
    write(output, "b")
    assert list(open_features(output)) == ["a", "b"]


def test_a_link_to_a_feature_file_stays_a_link(output, tmp_path):
    write(output, "a")
    link = tmp_path / "link.h5"
    link.symlink_to(output)
    write(link, "b")
    assert link.is_symlink()
    assert list(open_features(output)) == ["a", "b"]


def test_the_order_of_layers_and_the_tail_of_uniform_clips_make_no_difference(output):
    write(output, "a")
    write(output, "b", settings=replace(SETTINGS, layers=("prob", "pool5"), sampling=Sampling(tail="drop")))
    assert len(open_features(output)) == 2


def test_only_ids_are_keys(output):
    write(output, "a")
    with open_features(output) as found:
        for key in ("./a", "a/", "/a", "", 5):
            assert key not in found


def test_a_video_may_not_lie_inside_another_one(output):
    write(output, "a", "b/c")
    with FeatureWriter(output, SETTINGS) as writer:
        with pytest.raises(VideoError, match="lies inside video 'a'"):
            writer.is_stored(video("a/x"))
        with pytest.raises(VideoError, match="is a folder of videos"):
            writer.is_stored(video("b"))
        assert not writer.is_stored(video("c"))


@pytest.mark.parametrize("id", ["with space", "ünï", "a.b", "-x", "x\ny", "n" * 300, "a/b/c/d/e"])
def test_any_name_is_an_id(output, id):
    write(output, id)
    with open_features(output) as found:
        assert list(found) == [id]
        assert found[id]["pool5"].shape == (3, 6)


def test_the_ledger_lists_failures_until_they_are_mended(output):
    ledger = Ledger(output)
    ledger.record("a", "a.mp4", "damaged")
    ledger.record("b", "b.mp4", "empty")
    ledger.save()
    again = Ledger(output)
    again.forget("a", "a.mp4")
    again.save()
    assert len(again.path.read_text().splitlines()) == 2  # it may be that the output cannot be written
    again.drop_stored()
    again.save()
    lines = [json.loads(line) for line in again.path.read_text().splitlines()]
    assert lines == [{"id": "b", "source": "b.mp4", "error": "empty", "path": os.path.abspath("b.mp4")}]
    last = Ledger(output)
    last.forget("b", "b.mp4")
    last.drop_stored()
    last.save()
    assert os.listdir(output.parent) == []


def test_a_ledger_that_is_none_is_not_overwritten(output):
    path = output.with_name("feats.h5.failed.jsonl")
    path.write_text("my notes\n")
    with pytest.raises(FeatureFileError, match="not a list of failures"):
        Ledger(output)
    assert path.read_text() == "my notes\n"
