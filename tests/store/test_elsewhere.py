"""What a feature file links to is neither read nor written: users link train to train.h5; files come from anywhere."""

import gc
import json
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest

from p3dfeat.errors import FeatureFileError, OutputError, P3DFeatWarning, VideoError
from p3dfeat.store import FeatureWriter, open_features, stored_videos
from p3dfeat.store.commit import commit
from p3dfeat.store.commit.journal import JournalWriter
from tests.store.runs import content, run
from tests.store.test_journal import killed_run
from tests.store.test_store import INFO, SETTINGS, features, video, write
from tests.users import as_ordinary_user

LINKS = {
    "external": lambda: h5py.ExternalLink("train.h5", "/"),
    "soft": lambda: h5py.SoftLink("/folder"),
    "soft, to nowhere": lambda: h5py.SoftLink("/none"),
    "external, to nowhere": lambda: h5py.ExternalLink("none.h5", "/"),
}


@pytest.fixture(params=LINKS)
def output(request, tmp_path):
    """A file whose ``train`` is a link, of which all that it may lead to stays as it is."""
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "folder/b": 2})
    run(tmp_path / "train.h5", {"x": 4})
    with h5py.File(output, "r+") as file:
        file["train"] = LINKS[request.param]()
    before = (tmp_path / "train.h5").read_bytes()
    yield output
    assert (tmp_path / "train.h5").read_bytes() == before
    with h5py.File(output) as file:
        assert list(file["folder"]) in (["b"], ["b", "c"])


def told(file) -> list[str]:
    """Ids of a file, which warns of ``train`` in one line."""
    with pytest.warns(
        P3DFeatWarning, match=r"feats.h5: 'train' is a link to elsewhere, which p3dfeat does not follow$"
    ):
        return list(file)


def test_a_video_below_a_link_is_refused_and_nothing_is_lost(output):
    with warnings.catch_warnings(), FeatureWriter(output, SETTINGS) as writer:
        warnings.simplefilter("ignore", P3DFeatWarning)
        for id in ("train/new", "train"):
            with pytest.raises(VideoError, match=r"holds 'train', which is a link to elsewhere"):
                writer.is_stored(video(id))
    with open_features(output) as found:
        assert told(found) == ["a", "folder/b"]


def test_videos_beside_a_link_are_added(output):
    with pytest.warns(P3DFeatWarning):
        assert run(output, {"a": 0, "c": 6, "folder/c": 8}) == ["c", "folder/c"]
    with pytest.warns(P3DFeatWarning):
        assert content(output) == {"a": 0, "c": 6, "folder/b": 2, "folder/c": 8}
    with h5py.File(output) as file:
        assert not isinstance(file.get("train", getlink=True), h5py.HardLink)


def test_a_video_that_a_journal_has_below_a_link_destroys_nothing(tmp_path):
    """The link was made after a run was killed."""
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    run(tmp_path / "train.h5", {"x": 4})
    before = (tmp_path / "train.h5").read_bytes()
    killed_run(output, "train/new")
    with h5py.File(output, "r+") as file:
        file["train"] = h5py.ExternalLink("train.h5", "/")
    there = output.read_bytes()
    with pytest.warns(P3DFeatWarning), pytest.raises(OutputError, match=r"'train', which is a link to elsewhere"):
        run(output, {"b": 2})
    assert output.read_bytes() == there
    assert (tmp_path / "train.h5").read_bytes() == before


@pytest.mark.parametrize("id", ["w", "train/new"])
@pytest.mark.parametrize("model", ["p3d-test", "another"])
def test_a_file_of_links_alone_is_no_empty_file(tmp_path, id, model):
    """A user keeps one file that leads to the others."""
    run(tmp_path / "train.h5", {"x": 4})
    master = tmp_path / "master.h5"
    with h5py.File(tmp_path / "train.h5") as train, h5py.File(master, "w") as file:
        file.attrs.update(train.attrs)
        if model == "another":
            file.attrs["model"] = model
        file["train"] = h5py.ExternalLink("train.h5", "/")
        file["labels"] = [1, 2, 3]
    before = (tmp_path / "train.h5").read_bytes()
    warnings.simplefilter("ignore", P3DFeatWarning)
    if model == "another":
        with pytest.raises(FeatureFileError, match="made with other settings"):
            run(master, {id: 2})
    elif id == "w":
        assert run(master, {id: 2}) == ["w"]
    else:
        with FeatureWriter(master, SETTINGS) as writer, pytest.raises(VideoError, match="'train', which is a link to"):
            writer.is_stored(video(id))
    with h5py.File(master) as file:
        assert isinstance(file.get("train", getlink=True), h5py.ExternalLink)
        assert file["labels"][()].tolist() == [1, 2, 3]
    assert (tmp_path / "train.h5").read_bytes() == before


def test_what_a_user_added_to_a_file_without_videos_is_kept(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        del file["a"]
        file.attrs["note"] = "mine"
    run(output, {"b": 2})
    with h5py.File(output) as file:
        assert (list(file), file.attrs["note"]) == (["b"], "mine")


def test_two_names_of_a_folder_do_not_give_two_videos_one_place(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"folder/a": 0})
    with h5py.File(output, "r+") as file:
        file["alias"] = file["folder"]
        file["self"] = file["/"]
    warnings.simplefilter("ignore", P3DFeatWarning)
    with FeatureWriter(output, SETTINGS) as writer:
        assert not writer.is_stored(video("folder/b"))
        with pytest.raises(VideoError, match=r"its folder is also 'folder' in .*; use one of these names"):
            writer.is_stored(video("alias/b"))
        with pytest.raises(VideoError, match=r"holds 'self', which is a group inside itself"):
            writer.is_stored(video("self/n"))
        writer.add(video("folder/b"), features())
        writer.finish(video("folder/b"), INFO)
    assert set(open_features(output)) == {"folder/a", "folder/b", "alias/a", "alias/b"}


def test_a_journals_video_of_another_file_than_the_outputs_is_kept(tmp_path):
    output = tmp_path / "feats.h5"
    killed_run(output, "a")
    with FeatureWriter(tmp_path / "backup.h5", SETTINGS) as writer:
        writer.add(video("a"), features())
        writer.finish(video("a"), replace(INFO, fingerprint="1" * 16))
    (tmp_path / "backup.h5").rename(output)
    with pytest.raises(OutputError, match=r"holds video 'a' of folder/a.mp4, the output holds one of folder/a.mp4; "):
        write(output)
    assert (tmp_path / "feats.h5.parts" / "00000000.journal").exists()


@pytest.mark.parametrize(("waiting", "restored"), [("x/1", "x"), ("x", "x/1")])
def test_a_journals_video_that_has_no_place_in_a_restored_file_is_kept(tmp_path, waiting, restored):
    output = tmp_path / "feats.h5"
    killed_run(output, waiting)
    journal = tmp_path / "feats.h5.parts" / "00000000.journal"
    before = journal.read_bytes()
    write(tmp_path / "backup.h5", restored)
    (tmp_path / "backup.h5").rename(output)
    with pytest.raises(OutputError, match=f"00000000.journal: holds video '{waiting}'.*; move one of the two away"):
        write(output, "other")
    with pytest.raises(OutputError, match="move one of the two away"), stored_videos(output, SETTINGS):
        pass
    assert journal.read_bytes() == before
    assert list(open_features(output)) == [restored]
    write(output, "new", overwrite=True)
    assert list(open_features(output)) == ["new"]


def compound(reference):
    return np.array((1, reference), [("n", int), ("place", h5py.ref_dtype)])


REFERENCES = {
    "attribute": (lambda file, ref: file.attrs.update(best=ref), lambda file: file.attrs["best"]),
    "attribute of a folder": (
        lambda file, ref: file["archery"].attrs.update(best=ref),
        lambda file: file["archery"].attrs["best"],
    ),
    "array": (
        lambda file, ref: file.create_dataset("splits", data=np.array([ref], h5py.ref_dtype)),
        lambda file: file["splits"][0],
    ),
    "attribute of a type": (
        lambda file, ref: (file.__setitem__("t", np.dtype("f4")), file["t"].attrs.update(best=ref)),
        lambda file: file["t"].attrs["best"],
    ),
    "compound": (
        lambda file, ref: file.attrs.create("best", compound(ref)),
        lambda file: file.attrs["best"]["place"],
    ),
    "lists of any length": (
        lambda file, ref: file.create_dataset("s", (1,), h5py.vlen_dtype(h5py.ref_dtype)).__setitem__(0, [ref]),
        lambda file: file["s"][0][0],
    ),
}


@pytest.mark.parametrize(("keep", "kept"), REFERENCES.values(), ids=REFERENCES)
def test_references_to_folders_stay_right(tmp_path, keep, kept):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "archery/b": 2})
    with h5py.File(output, "r+") as file:
        keep(file, file["archery"].ref)
    run(output, {"archery/c": 4})
    with h5py.File(output, "r+") as file:
        folder = file[kept(file)]
        assert list(folder) == ["b", "c"]
        folder["labels"] = np.arange(3)
    with h5py.File(output) as file:
        assert list(file["archery/labels"]) == [0, 1, 2]
    assert content(output) == {"a": 0, "archery/b": 2, "archery/c": 4}


def test_a_file_that_may_not_be_written_to_is_not_replaced_either(tmp_path):
    """As in a store that names files by their content, and links to them."""
    (tmp_path / "store").mkdir()
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path, tmp_path / "store"):
        folder.chmod(0o777)
    blob, output = tmp_path / "store" / "cdef", tmp_path / "feats.h5"
    run(blob, {"a": 0})
    before = blob.read_bytes()
    blob.chmod(0o444)
    output.symlink_to(blob)
    for overwrite in (False, True):
        with as_ordinary_user(), pytest.raises(OutputError, match="Permission denied"):
            run(output, {"z": 6}, overwrite=overwrite)
    assert blob.read_bytes() == before


def test_a_name_that_is_no_text_is_passed_over(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        h5py.h5g.create(file.id, b"\xff\xfe")
    with open_features(output) as found, pytest.warns(P3DFeatWarning, match="not UTF-8"):
        assert list(found) == ["a"]


RECORDS = {
    "no attributes": ({"video": "x", "rows": []}, None),
    "rows that are none": ({"video": "x", "attributes": {}, "rows": None}, None),
    "attributes within attributes": ({"video": "x", "attributes": {"a": {}}, "rows": []}, None),
    "a negative shape": ({"rows": "x"}, [["pool5", "<f4", [-1, 2]]]),
    "no shape": ({"rows": "x"}, [["pool5", "<f4", []]]),
    "a shape that is not there": ({"rows": "x"}, [["pool5", "<f4", [10**6, 10**6]]]),
    "objects": ({"rows": "x"}, [["pool5", "|O", [3]]]),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_p3dfeat_does_not_write_is_named_in_one_line(tmp_path, monkeypatch, name):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    header, arrays = RECORDS[name]
    killed = killed_run(output, "b")
    journal = JournalWriter(killed._lock.folder, "00000007.journal")
    journal.append({"settings": SETTINGS.as_attributes()})
    dumps = json.dumps
    monkeypatch.setattr(json, "dumps", lambda value, **_: dumps(value | ({} if arrays is None else {"arrays": arrays})))
    journal.append(header, {"pool5": np.zeros(6, np.float32)})
    monkeypatch.undo()
    journal.close()
    with pytest.raises(OutputError, match=r"00000007.journal: a journal that p3dfeat did not write"):
        run(output, {"c": 2})
    assert content(output) == {"a": 0}


def test_what_lies_behind_a_link_is_not_found(output):
    with open_features(output) as found:
        for id in ("train/x", "train/b", "train"):
            assert id not in found


def test_a_copy_that_lacks_videos_does_not_take_the_outputs_place(tmp_path, monkeypatch):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "b": 2})
    with h5py.File(output, "r+") as file:
        file["label"] = h5py.SoftLink("/a")  # so that it is added to by way of a copy
    before = output.read_bytes()

    def forgetful(fd, folder, waiting, removed):
        add(fd, folder, waiting[:-1], removed)

    add = commit._add_by_hdf5
    monkeypatch.setattr(commit, "_add_by_hdf5", forgetful)
    with pytest.warns(P3DFeatWarning), pytest.raises(OutputError, match=r"its new copy lacks 1 of 4 videos"):
        run(output, {"c": 4, "d": 6})
    assert output.read_bytes() == before


@pytest.mark.parametrize("kind", ["external storage", "virtual", "external link", "soft link", "a group"])
def test_numbers_that_lie_elsewhere_are_not_read(tmp_path, kind):
    output, secret = tmp_path / "feats.h5", tmp_path / "secret"
    run(output, {"a": 0})
    secret.write_bytes(np.arange(6144, dtype=np.float32).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros((3, 2048), np.float32)
    with h5py.File(output, "r+") as file:
        shape = file["a/pool5"].shape
        del file["a/pool5"]
        if kind == "external storage":
            file["a"].create_dataset("pool5", shape, np.float32, external=[(str(secret), 0, 24576)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=shape)
            file["a"].create_virtual_dataset("pool5", layout)
        elif kind == "a group":
            file.create_group("a/pool5")
        else:
            file["a/pool5"] = h5py.SoftLink("/a/prob") if kind == "soft link" else h5py.ExternalLink("other.h5", "/x")
    with open_features(output) as found:
        for read in (
            lambda: found["a"]["pool5"],
            lambda: found["a"].shape("pool5"),
            lambda: found["a"].rows("pool5", 0, 1),
        ):
            with pytest.raises(FeatureFileError, match=r"feats.h5: a/pool5: (its numbers lie|a link|not an array)"):
                read()
        assert found["a"]["seconds"].shape == (3, 2)


def test_a_filter_whose_code_would_be_looked_for_is_named(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        shape = file["a/pool5"].shape
        del file["a/pool5"]
        packed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        packed.set_chunk(shape)
        packed.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())  # of a plugin, which is optional while writing
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(file["a"].id, b"pool5", h5py.h5t.IEEE_F32LE, space, packed)
    with (
        open_features(output) as found,
        pytest.raises(FeatureFileError, match="a/pool5: compressed with filter 32001, which"),
    ):
        found["a"]["pool5"]


def test_looking_through_a_file_leaves_nothing_of_it_open(tmp_path):
    """HDF5 would show the file of before to whoever opens it again; see findings/h5py_opens_the_old_file_again.sh."""
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "folder/b": 2})
    gc.disable()
    try:
        assert list(open_features(output)) == ["a", "folder/b"]
        run(output, {"c": 4})
        assert list(open_features(output)) == ["a", "c", "folder/b"]
    finally:
        gc.enable()


def test_a_group_inside_itself_is_looked_at_once(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "folder/b": 2})
    with h5py.File(output, "r+") as file:
        file["folder/again"] = file["folder"]
        file["folder/root"] = file["/"]
    with (
        open_features(output) as found,
        pytest.warns(P3DFeatWarning, match="'folder/again' is a group inside itself, and 1 more like it"),
    ):
        assert list(found) == ["a", "folder/b"]


def test_names_that_double_from_group_to_group_come_to_an_end(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        inner = file.create_group("0")
        inner["x"] = file["a"]
        for number in range(1, 40):  # 2 ** 40 ways to the innermost
            outer = file.create_group(f"{number:02d}")
            outer["l"] = outer["r"] = inner
            inner = outer
    with open_features(output) as found, pytest.warns(P3DFeatWarning, match="the same group as another"):
        assert len(found) < 10_000


def test_what_a_user_gives_a_second_name_has_both(tmp_path):
    """As for splits; hard links are of the file itself."""
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "b": 2})
    with h5py.File(output, "r+") as file:
        file["train/b"] = file["b"]
    with open_features(output) as found:
        with pytest.warns(P3DFeatWarning, match="'train/b' is the same group as another"):
            assert list(found) == ["a", "b", "train/b"]
        assert found["train/b"].pooled.tobytes() == found["b"].pooled.tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("layers", value) for value in ("5", '{"pool5": 1}', "[1]", "[" * 5000, "", 3)),
        *(("sampling", value) for value in ("[]", "null", '"x"', '{"clips": ' * 2000, 2.5)),
        *(("format_version", value) for value in ("x", [1, 2])),
        *(("model", value) for value in ([1, 2], [["a"]])),
    ],
)
def test_settings_of_odd_types_are_told_in_one_line(tmp_path, name, value):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(FeatureFileError, match=r"feats.h5: damaged") as told_of:
        open_features(output)
    assert "\n" not in str(told_of.value)
    with pytest.raises(FeatureFileError):
        run(output, {"b": 2})


def test_an_id_of_a_journal_that_is_none_is_refused(tmp_path):
    killed = killed_run(tmp_path / "feats.h5", "a")
    journal = JournalWriter(killed._lock.folder, "00000007.journal")
    journal.append({"settings": SETTINGS.as_attributes()})
    journal.append({"video": "../../x", "attributes": {}, "rows": []}, {"pool5": features(1).layers["pool5"]})
    journal.close()
    with pytest.raises(OutputError, match=r"00000007.journal: a journal that p3dfeat did not write"):
        run(tmp_path / "feats.h5", {"b": 2})


@pytest.mark.parametrize("shape", ["in place", "by way of a copy"])
@pytest.mark.parametrize("kind", ["dataset", "group"])
def test_what_a_user_puts_where_a_journal_has_a_video_is_kept(tmp_path, kind, shape):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    killed_run(output, "c", "d/e")
    with h5py.File(output, "r+") as file:
        if kind == "group":
            file.require_group("c")["caption"] = "mine"
            file["d"] = [1]
        else:
            file["c"] = np.arange(10)
        if shape != "in place":
            file["label"] = h5py.SoftLink("/a")
    before = output.read_bytes()
    warnings.simplefilter("ignore", P3DFeatWarning)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"holds '[cd]', which is no video; rename one; its features wait in"):
            run(output, {"a": 0, "c": 0})
        assert output.read_bytes() == before
    with h5py.File(output, "r+") as file:
        file.move("c", "mine")
        if kind == "group":
            file.move("d", "mine too")
    run(output, {"a": 0})
    assert set(open_features(output)) == {"a", "c", "d/e"}


def test_an_output_with_a_second_name_is_not_written_in_place(tmp_path):
    """Its other name may be a backup, or have a lock of its own."""
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    (tmp_path / "backup.h5").hardlink_to(output)
    before = output.read_bytes()
    run(output, {"a": 0, "b": 2})
    assert content(output) == {"a": 0, "b": 2}
    assert (tmp_path / "backup.h5").read_bytes() == before


def test_a_name_that_an_output_gets_while_it_is_added_to_keeps_the_old_file(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    before = output.read_bytes()
    run(output, {"a": 0, "b": 2}, lambda done: (tmp_path / "backup.h5").hardlink_to(output))
    assert content(output) == {"a": 0, "b": 2}
    assert (tmp_path / "backup.h5").read_bytes() == before


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_comes_during_a_run_is_kept(tmp_path, overwrite, there):
    output, other = tmp_path / "feats.h5", tmp_path / "other.h5"
    run(other, {"q": 8})
    before = other.read_bytes()
    if there:
        run(output, {"x": 4})
    with pytest.raises(
        OutputError, match=r"another file by now; the features of this run wait in .*parts; run it again"
    ):
        run(output, {"a": 0}, lambda done: other.replace(output), overwrite=overwrite)
    assert output.read_bytes() == before
    output.unlink()
    run(output, {"a": 0}, overwrite=overwrite)
    assert content(output) == {"a": 0}


@pytest.mark.parametrize("last", ["b", "c"])
def test_a_link_on_the_way_that_leads_elsewhere_during_a_run_mixes_no_files(tmp_path, last):
    for name, id in (("r1", "a"), ("r2", "q")):
        (tmp_path / name).mkdir()
        run(tmp_path / name / "feats.h5", {id: 0})
    before = {name: (tmp_path / name / "feats.h5").read_bytes() for name in ("r1", "r2")}
    link = tmp_path / "latest"
    link.symlink_to("r1")

    def elsewhere(done):
        if done == last:
            link.unlink()
            link.symlink_to("r2")

    with pytest.raises(OutputError, match=r"feats\.h5"):
        run(link / "feats.h5", {"a": 0, "b": 2, "c": 4}, elsewhere)
    assert {name: (tmp_path / name / "feats.h5").read_bytes() for name in ("r1", "r2")} == before
    run(tmp_path / "r1" / "feats.h5", {})
    assert {"a", "b"} <= set(open_features(tmp_path / "r1" / "feats.h5"))


def test_what_a_user_adds_to_an_empty_output_during_a_run_is_kept(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        del file["a"]

    def add(done):
        with h5py.File(output, "r+") as file:
            file["mine"] = [1]

    run(output, {"b": 2}, add)
    with h5py.File(output) as file:
        assert sorted(file) == ["b", "mine"]


def test_a_run_that_does_not_overwrite_keeps_what_was_added_to_videos_computed_anew(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "b": 2})
    with h5py.File(output, "r+") as file:
        file["a"].attrs["label"] = "run"
    killed_run(output, "a", "new", overwrite=True)
    run(output, {"z": 6})
    with h5py.File(output) as file:
        assert file["a"].attrs["label"] == "run"
        assert sorted(file) == ["a", "b", "new", "z"]


def test_a_kill_between_the_two_names_of_a_new_output_costs_no_copy_later(tmp_path):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    output.with_name("feats.h5.parts").mkdir()
    (output.with_name("feats.h5.parts") / "joining-0123456789abcdef").hardlink_to(output)
    with FeatureWriter(output, SETTINGS) as writer:
        assert writer._in_place


def test_what_a_user_adds_while_a_copy_is_made_is_kept(tmp_path, monkeypatch):
    output = tmp_path / "feats.h5"
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        file["label"] = h5py.SoftLink("/a")
    warnings.simplefilter("ignore", P3DFeatWarning)
    add = commit._add_by_hdf5

    def meanwhile(*arguments):
        add(*arguments)
        with h5py.File(output, "r+", locking=False) as file:
            file["notes"] = [1]

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="changed by another program while this run"):
        patch.setattr(commit, "_add_by_hdf5", meanwhile)
        run(output, {"b": 2})
    run(output, {"b": 2})
    with h5py.File(output) as file:
        assert sorted(file) == ["a", "b", "label", "notes"]


def test_videos_that_went_to_a_file_that_was_replaced_meanwhile_are_stored_by_the_next_run(tmp_path, monkeypatch):
    output, backup = tmp_path / "feats.h5", tmp_path / "backup.h5"
    run(output, {"a": 0})
    backup.write_bytes(output.read_bytes())
    write_behind = commit._write_behind

    def restored(*arguments):
        flip = write_behind(*arguments)
        if backup.exists():  # the first time; the end of the with statement tries once more
            backup.replace(output)
        return flip

    with (
        monkeypatch.context() as patch,
        pytest.raises(OutputError, match=r"by another program|by now"),
    ):
        patch.setattr(commit, "_write_behind", restored)
        with FeatureWriter(output, SETTINGS) as writer:
            writer.add(video("b"), features())
            writer.finish(video("b"), INFO)
            writer.commit()
    run(output, {})
    assert set(open_features(output)) == {"a", "b"}


def test_a_file_of_other_settings_that_comes_during_a_run_is_not_written_to(tmp_path):
    output, other = tmp_path / "feats.h5", tmp_path / "other.h5"
    run(output, {"a": 0})
    with h5py.File(other, "w") as file:
        file["mine"] = [1]
    before = other.read_bytes()
    with pytest.raises(OutputError, match="another file by now"):
        run(output, {"b": 2}, lambda done: other.replace(output))
    assert output.read_bytes() == before


def test_a_journal_that_comes_during_a_run_is_left_to_the_next_one(tmp_path):
    output = tmp_path / "feats.h5"
    killed = killed_run(tmp_path / "else.h5", "q")

    def bring(done):
        (killed.parts / "00000000.journal").rename(output.with_name("feats.h5.parts") / "00000007.journal")

    run(output, {"a": 0}, bring)
    run(output, {})
    assert set(open_features(output)) == {"a", "q"}
