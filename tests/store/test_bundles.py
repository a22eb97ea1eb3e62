"""Parts are bundled while a run goes on; whatever happens then, nothing that was finished is lost or stored twice."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from p3dfeat.errors import OutputError
from p3dfeat.fingerprint import fingerprint
from p3dfeat.store import FeatureWriter, open_features
from p3dfeat.store import parts as parts_module
from p3dfeat.store import write as write_module
from p3dfeat.types import Video
from tests.store.test_store import INFO, SETTINGS, features, video, write


@pytest.fixture
def output(tmp_path, monkeypatch):
    monkeypatch.setattr(write_module, "BUNDLED", 3)
    return tmp_path / "feats.h5"


def killed_run(output, *ids: str, overwrite: bool = False) -> FeatureWriter:
    """As a SIGKILL leaves it: nothing of the end of the with block happens."""
    writer = FeatureWriter(output, SETTINGS, overwrite=overwrite)
    for seed, id in enumerate(ids):
        writer.add(video(id), features(seed=seed))
        writer.finish(video(id), INFO)
    writer._lock._file.close()
    return writer


def check(output, *ids: str) -> None:
    with open_features(output) as found:
        assert list(found) == sorted(ids)
        for seed, id in enumerate(ids):
            assert np.array_equal(found[id]["pool5"], features(seed=seed).layers["pool5"])
            assert found[id].attributes["source"] == f"folder/{id}.mp4"
    assert [path.name for path in output.parent.iterdir()] == ["feats.h5"]


def test_a_run_keeps_few_files_and_stores_every_video(output):
    ids = [f"folder/v{number}" for number in range(8)]
    writer = killed_run(output, *ids)
    names = sorted(path.name for path in writer.parts.glob("*.h5"))
    assert len(names) == 4
    assert names[-2:] == ["bundle-00000000.h5", "bundle-00000001.h5"]
    write(output)
    check(output, *ids)


def test_bundles_of_a_killed_run_are_taken_up_and_added_to(output):
    killed_run(output, "a", "b", "c", "d")
    with FeatureWriter(output, SETTINGS) as writer:
        assert writer.stored == {"a", "b", "c", "d"}
        for seed, id in enumerate("efg", 4):
            writer.add(video(id), features(seed=seed))
            writer.finish(video(id), INFO)
        assert len(list(writer.parts.glob("bundle-*.h5"))) == 2
    check(output, *"abcdefg")


def test_a_kill_between_making_a_bundle_and_removing_its_parts_stores_nothing_twice(output, tmp_path):
    writer = killed_run(output, "a", "b")
    for part in writer.parts.glob("*.h5"):
        shutil.copy(part, tmp_path)
    writer._bundle()
    for part in tmp_path.glob("*.h5"):
        shutil.move(part, writer.parts)
    assert len(list(writer.parts.glob("*.h5"))) == 3
    write(output)
    check(output, "a", "b")


def test_a_bundle_cut_off_by_a_kill_is_dropped_and_its_parts_are_kept(output):
    writer = killed_run(output, "a", "b")
    (writer.parts / "bundle-00000000.writing").write_bytes(b"half")
    write(output)
    check(output, "a", "b")


def test_a_full_disk_while_bundling_loses_nothing(output, monkeypatch):
    replaced = os.replace

    def full(source, target):
        if "bundle-" in str(target):
            raise OSError(28, "No space left on device")
        replaced(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(write_module.os, "replace", full)
        with pytest.raises(OutputError, match="No space left"):
            write(output, "a", "b", "c", "d")
    check(output, "a", "b", "c")


def test_large_parts_are_not_copied_once_more(output, monkeypatch):
    monkeypatch.setattr(parts_module, "BUFFERED_BYTES", 100)
    monkeypatch.setattr(write_module, "BUFFERED_BYTES", 100)
    writer = killed_run(output, *"abcd")
    assert len(list(writer.parts.glob("*.h5"))) == 4
    write(output)
    check(output, *"abcd")


@pytest.mark.parametrize("parts_are_left", [False, True])
def test_a_video_that_changed_does_not_come_back_out_of_a_bundle(output, tmp_path, parts_are_left):
    kept = tmp_path / "kept"
    kept.mkdir()
    files = {id: tmp_path / f"{id}.mp4" for id in "abc"}
    for id, file in files.items():
        file.write_bytes(id.encode() * 100)
    writer = FeatureWriter(output, SETTINGS, overwrite=True)
    for id, file in files.items():
        if id == "c":  # the bundle is made as this one is finished
            for part in writer.parts.glob("*.h5"):
                shutil.copy(part, kept)
        writer.add(video(id), features(seed=7))
        writer.finish(video(id), replace(INFO, fingerprint=fingerprint(str(file))))
    writer._lock._file.close()
    if parts_are_left:
        for part in kept.glob("*.h5"):
            shutil.copy(part, writer.parts)
    files["a"].write_bytes(b"changed")
    with FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        assert writer.is_stored(Video("b", str(files["b"]), "b.mp4"))
        assert not writer.is_stored(Video("a", str(files["a"]), "a.mp4"))
    with open_features(output) as found:
        assert list(found) == ["b", "c"]
