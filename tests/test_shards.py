"""Videos divided among machines, and their files merged again."""

import json
import os
import random
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.errors import OutputError, UsageError
from p3dfeat.sources.shards import SLACK, Shard, shards_of
from p3dfeat.store import FeatureWriter
from p3dfeat.workflows.files import merge as merging
from tests import commands
from tests.exports.made import plain_file
from tests.videos import panning_frames, write_video

IDS = [f"folder{n % 7}/video{n}" for n in range(3000)]
SIZES = [random.Random(n).lognormvariate(15, 1.2) for n in range(3000)]


@pytest.mark.parametrize("count", [1, 2, 3, 16, 64])
def test_shards_have_about_the_same_size_whatever_the_order(count):
    places = dict(zip(IDS, shards_of(IDS, SIZES, count), strict=True))
    loads = np.zeros(count)
    for id, size in zip(IDS, SIZES, strict=True):
        loads[places[id]] += size
    assert loads.max() <= max(SLACK * loads.mean(), max(SIZES)) + 1e-6
    assert loads.min() > 0
    order = random.Random(0).sample(range(len(IDS)), len(IDS))
    again = shards_of([IDS[n] for n in order], [SIZES[n] for n in order], count)
    assert {IDS[n]: place for n, place in zip(order, again, strict=True)} == places


def test_new_videos_move_few_others():
    before = shards_of(IDS, SIZES, 16)
    new = [f"new{n}" for n in range(30)]
    after = shards_of([*IDS, *new], [*SIZES, *SIZES[:30]], 16)[: len(IDS)]
    assert np.mean(np.array(before) != np.array(after)) < 0.05


def test_one_large_video_does_not_break_the_division():
    places = shards_of(["large", *IDS[:10]], [1e12, *[1.0] * 10], 4)
    assert places.count(places[0]) == 1  # it is alone
    assert len(set(places)) == 4


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", " 1/4", "1/9999999"])
def test_shards_that_are_none_are_refused(text, tmp_path):
    with pytest.raises(UsageError, match="must be K/N with K from 1 to N, such as 3/16"):
        Shard.of(text)
    with pytest.raises(UsageError, match="must be K/N"):
        p3dfeat.extract(tmp_path, tmp_path / "f.h5", shard=text)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    for number in range(9):
        (folder / f"part{number % 2}").mkdir(exist_ok=True)
        path = folder / f"part{number % 2}" / f"v{number}.mp4"
        write_video(path, panning_frames(20 + 3 * number, pixels_a_frame=2, seed=number))
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def shards(videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for number in (1, 2, 3):
        p3dfeat.extract(videos, folder / f"s{number}.h5", model="p3d-camera", clips=2, shard=f"{number}/3")
    return folder


def content(path):
    """Everything that is stored, but for the order."""
    found = {}

    def visit(name, item):
        found[name] = dict(item.attrs), item[()].tobytes() if isinstance(item, h5py.Dataset) else None

    with h5py.File(path) as file:
        file.visititems(visit)
        found["/"] = {name: value for name, value in file.attrs.items() if name != "shard"}
    return found


def test_merged_shards_are_what_one_machine_makes(videos, shards, tmp_path):
    p3dfeat.extract(videos, tmp_path / "one.h5", model="p3d-camera", clips=2)
    summary = p3dfeat.merge([shards / f"s{n}.h5" for n in (3, 1, 2)], tmp_path / "all.h5")
    assert (summary.videos, summary.added, summary.duplicates, summary.failed) == (9, 9, (), 1)
    assert content(tmp_path / "all.h5") == content(tmp_path / "one.h5")
    lists = [json.loads((tmp_path / f"{name}.h5.failed.jsonl").read_text()) for name in ("one", "all")]
    assert lists[0] == lists[1]
    assert p3dfeat.verify(tmp_path / "all.h5").is_sound
    again = p3dfeat.extract(videos, tmp_path / "all.h5", model="p3d-camera", clips=2)
    assert (again.skipped, again.stored) == (9, 0)


def test_shards_divide_the_videos(videos, shards):
    ids = []
    for number in (1, 2, 3):
        with p3dfeat.open_features(shards / f"s{number}.h5") as features:
            assert features.settings["shard"] == f"{number}/3"
            ids += list(features)
            assert 1 <= len(features) <= 5
    assert sorted(ids) == sorted(set(ids))
    assert len(ids) == 9
    assert len(list(shards.glob("*.failed.jsonl"))) == 1
    plans = [p3dfeat.plan(videos, None, model="p3d-camera", clips=2, shard=f"{n}/3") for n in (1, 2, 3)]
    assert sorted(video.id for plan in plans for video in plan.videos) == sorted(ids)


def test_a_shard_is_resumed(videos, shards):
    again = p3dfeat.extract(videos, shards / "s2.h5", model="p3d-camera", clips=2, shard="2/3")
    assert again.stored == 0
    assert again.skipped >= 1


def test_a_merge_goes_on_where_it_was_and_adds_further_files(shards, tmp_path):
    first = p3dfeat.merge([shards / "s1.h5"], tmp_path / "all.h5", partial=True)
    assert first.missing == (2, 3)
    rest = p3dfeat.merge([shards / f"s{n}.h5" for n in (1, 2, 3)], tmp_path / "all.h5")
    assert rest.added == 9 - first.videos
    assert p3dfeat.merge([shards / f"s{n}.h5" for n in (1, 2, 3)], tmp_path / "all.h5").added == 0


def test_missing_shards_are_refused(shards, tmp_path):
    with pytest.raises(UsageError, match=r"2 shards \(1, 3\) of 3 missing; add them, or give --partial"):
        p3dfeat.merge([shards / "s2.h5"], tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_files_that_do_not_belong_together_are_refused(shards, videos, tmp_path):
    p3dfeat.extract(videos, tmp_path / "other.h5", model="p3d-camera", clips=3)
    with pytest.raises(UsageError, match=r"made with other settings than .*: sampling.clips is 2 there, 3 now"):
        p3dfeat.merge([shards / "s1.h5", tmp_path / "other.h5"], tmp_path / "all.h5", partial=True)
    p3dfeat.extract(videos, tmp_path / "of2.h5", model="p3d-camera", clips=2, shard="1/2")
    with pytest.raises(UsageError, match="shards of 2 and of 3; merge those of one division"):
        p3dfeat.merge([shards / "s1.h5", tmp_path / "of2.h5"], tmp_path / "all.h5")
    with pytest.raises(UsageError, match="given twice"):
        p3dfeat.merge([shards / "s1.h5", shards / "s1.h5"], tmp_path / "all.h5", partial=True)
    with pytest.raises(UsageError, match="is the output, too"):
        p3dfeat.merge([shards / "s1.h5"], shards / "s1.h5", partial=True)
    with pytest.raises(UsageError, match="no files given"):
        p3dfeat.merge([], tmp_path / "all.h5")


def test_the_same_video_in_two_files_is_stored_once_and_another_is_refused(tmp_path):
    one, two = (plain_file(tmp_path / f"{n}.h5", ["a", f"b{n}"], seed=n) for n in (1, 2))
    summary = p3dfeat.merge([one, two], tmp_path / "all.h5")
    assert (summary.videos, summary.duplicates) == (3, ("a",))
    with h5py.File(two, "r+") as file:
        file["a"].attrs["fingerprint"] = "f" * 16
    with pytest.raises(UsageError, match="hold different files under this id"):
        p3dfeat.merge([one, two], tmp_path / "again.h5")


def test_a_name_that_is_a_folder_elsewhere_is_refused(tmp_path):
    one, two = plain_file(tmp_path / "1.h5", ["a"]), plain_file(tmp_path / "2.h5", ["a/b"])
    with pytest.raises((OutputError, UsageError, p3dfeat.VideoError), match="a"):
        p3dfeat.merge([one, two], tmp_path / "all.h5")


def test_a_killed_merge_is_finished_by_the_next(tmp_path, monkeypatch):
    files = [plain_file(tmp_path / f"{n}.h5", [f"v{n}-{k}" for k in range(20)]) for n in range(3)]

    def killed(event):
        if event.done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        p3dfeat.merge(files, tmp_path / "all.h5", on_event=killed)
    summary = p3dfeat.merge(files, tmp_path / "all.h5")
    assert (summary.videos, summary.added) == (60, 30)
    with p3dfeat.open_features(tmp_path / "all.h5") as features:
        assert len(features) == 60


def test_the_rows_of_one_video_are_read_at_a_time(tmp_path, monkeypatch):
    files = [plain_file(tmp_path / f"{n}.h5", [f"v{n}-{k}" for k in range(10)]) for n in range(2)]
    order = []
    real_read, real_take = merging.stored_video, FeatureWriter.take
    monkeypatch.setattr(merging, "stored_video", lambda *video: order.append("read") or real_read(*video))
    monkeypatch.setattr(FeatureWriter, "take", lambda self, *video: order.append("written") or real_take(self, *video))
    p3dfeat.merge(files, tmp_path / "all.h5")
    assert order == ["read", "written"] * 20


def test_the_command_says_what_it_did(p3dfeat_command, shards, tmp_path):
    files = [shards / f"s{n}.h5" for n in (1, 2, 3)]
    code, printed, said = p3dfeat_command("merge", *files, "-o", tmp_path / "all.h5")
    assert (code, printed) == (0, "")
    assert said == f"{tmp_path / 'all.h5'}: 9 videos of 3 files, 9 added; 1 video in the list of failures\n"
    code, printed, _ = p3dfeat_command("merge", *files, "-o", tmp_path / "all.h5", "--json", "-q")
    record = json.loads(printed)
    assert (record["videos"], record["added"], record["missing"]) == (9, 0, [])
    code, _, said = p3dfeat_command("merge", files[0], "-o", tmp_path / "some.h5")
    assert (code, "2 shards (2, 3) of 3 missing" in said) == (2, True)


def test_a_job_array_covers_all_videos(videos, tmp_path):
    """The array of the guide, with a stand-in for Slurm's variables."""
    guide = (Path(__file__).parents[1] / "docs" / "machines.md").read_text("utf-8")
    (line,) = [line for line in guide.splitlines() if line.startswith("p3dfeat extract") and "SLURM" in line]
    line = line.replace("videos/", str(videos)) + " --model p3d-camera --clips 2"
    (tmp_path / "shards").mkdir()
    path = os.pathsep.join(map(str, (commands.shell_commands(), os.environ["PATH"])))
    for task in ("1", "2"):
        env = {**os.environ, "PATH": path, "SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode in (0, 3), done.stderr
    assert p3dfeat.merge(sorted((tmp_path / "shards").glob("*.h5")), tmp_path / "feats.h5").videos == 9
