"""Nothing of a user's is removed or overwritten because it has the name of one of p3dfeat's side files."""

import ast
import json
import os
import re
import stat
from pathlib import Path, PurePosixPath

import pytest

import p3dfeat
from p3dfeat.errors import FeatureFileError, OutputError
from p3dfeat.store import Ledger, Lock, open_features
from p3dfeat.store.commit.journal import JournalWriter
from p3dfeat.store.side_files.claims import Holder
from p3dfeat.store.side_files.parts import starts_as_ours
from p3dfeat.system.disk import Folder, ForeignError
from tests.store.runs import content, run
from tests.store.test_journal import killed_run
from tests.store.test_store import SETTINGS
from tests.users import as_ordinary_user


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


@pytest.fixture
def parts(output):
    return output.with_name("feats.h5.parts")


@pytest.fixture
def mine(tmp_path):
    """A file of the user's, somewhere else, whose content must stay."""
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "thesis.txt"
    path.write_text("ten years of work")
    yield path
    assert path.read_text() == "ten years of work"
    assert path.parent.is_dir()


def refusal(act) -> str | None:
    """What an OutputError says; None where there is none."""
    try:
        act()
    except OutputError as error:
        return str(error)
    return None


def test_a_folder_of_the_users_is_refused_and_keeps_all_that_is_in_it(output, parts):
    (parts / "chapters").mkdir(parents=True)
    (parts / "chapters" / "one.txt").write_text("it was")
    (parts / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"feats.h5.parts: a folder that is not p3dfeat's: it holds 'chapters'; move"):
        run(output, {"a": 0})
    assert sorted(os.listdir(parts)) == ["chapters", "notes.txt"]
    assert (parts / "chapters" / "one.txt").read_text() == "it was"
    assert not output.exists()


OURS = ("lock", "owner", "after-0123456789abcdef", "00000000.journal", "overwrite", "overwritten")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [*OURS, "joining", "probe"])
def test_a_file_of_the_users_under_one_of_our_names_is_refused_and_kept(output, parts, name, overwrite):
    parts.mkdir()
    (parts / name).write_text("a list of locks and journals")
    with pytest.raises(OutputError, match=r"feats.h5.parts.*that is not p3dfeat's.*; move it away"):
        run(output, {"a": 0}, overwrite=overwrite)
    assert (parts / name).read_text() == "a list of locks and journals"
    assert not output.exists()


def test_what_a_user_puts_into_the_folder_meanwhile_is_kept(output, parts):
    run(output, {"a": 0}, lambda done: (parts / "notes.txt").write_text("mine"))
    assert content(output) == {"a": 0}
    assert os.listdir(parts) == ["notes.txt"]


def test_hidden_files_that_systems_leave_everywhere_are_no_obstacle(output, parts):
    parts.mkdir()
    (parts / ".DS_Store").write_text("")
    run(output, {"a": 0})
    assert content(output) == {"a": 0}
    assert os.listdir(parts) == [".DS_Store"]


def test_the_folder_is_for_its_user_alone(output, parts):
    modes = []
    run(output, {"a": 0}, lambda done: modes.append(stat.S_IMODE(parts.stat().st_mode)))
    assert modes == [0o700]


def test_another_users_folder_that_all_may_write_to_is_refused(output, parts):
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    for folder in (output.parent.parent.parent, output.parent.parent, output.parent):
        folder.chmod(0o777)
    output.parent.chmod(0o1777)  # as /tmp: others cannot put another folder in its place
    parts.mkdir()
    parts.chmod(0o777)
    with as_ordinary_user(), pytest.raises(OutputError, match=r"feats.h5.parts: a folder of another user, root, that"):
        Lock(output).__enter__()


@pytest.mark.parametrize("name", [*OURS, "joining-0123456789abcdef"])
@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_what_a_link_in_place_of_a_side_file_leads_to_is_not_changed(output, parts, mine, name, kind):
    parts.mkdir()
    (parts / name).symlink_to(mine) if kind == "link" else (parts / name).hardlink_to(mine)
    for overwrite in (False, True):
        refused = refusal(lambda overwrite=overwrite: run(output, {"a": 0}, overwrite=overwrite))
        assert refused is None or re.search(r"feats\.h5\.parts/[\w-]+(\.journal)?: a (link|file)", refused)


def test_a_link_in_place_of_the_folder_is_refused_and_what_it_leads_to_kept(output, parts, mine):
    parts.symlink_to(mine.parent)
    with pytest.raises(OutputError, match=r"feats.h5.parts: a link or a file, where a folder should be; move it away"):
        run(output, {"a": 0})
    assert os.listdir(mine.parent) == [mine.name]


@pytest.mark.parametrize("name", ["feats.h5.failed.jsonl", "feats.h5.failed.jsonl.writing-0123456789abcdef"])
def test_a_link_in_place_of_the_list_of_failures_is_not_followed(output, mine, name):
    output.with_name(name).symlink_to(mine)

    def fail():
        with Ledger(output) as ledger:
            ledger.record("a", "a.mp4", "damaged")

    refused = refusal(fail)
    if ".writing" in name:
        assert json.loads(output.with_name("feats.h5.failed.jsonl").read_text())["id"] == "a"
    else:
        assert "feats.h5.failed.jsonl: a link, a folder or a special file" in refused


def backed_up(folder, backup):
    """As cp -al does it."""
    backup.mkdir()
    for path in folder.iterdir():
        backed_up(path, backup / path.name) if path.is_dir() else (backup / path.name).hardlink_to(path)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_of_results_that_were_backed_up_by_hard_links_a_list_of_failures_is_read_and_made_anew(tmp_path):
    (tmp_path / "results").mkdir()
    output = tmp_path / "results" / "feats.h5"
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    backed_up(tmp_path / "results", tmp_path / "backup")
    before = contents(tmp_path / "backup")
    assert len(Ledger(output)) == 1
    with Ledger(output) as ledger:
        ledger.record("b", "b.mp4", "empty")
        assert [entry["id"] for entry in Ledger(output).entries()] == ["a", "b"]
    assert contents(tmp_path / "backup") == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupted_run_that_was_backed_up_by_hard_links_is_gone_on_with(tmp_path, overwrite):
    (tmp_path / "results").mkdir()
    output = tmp_path / "results" / "feats.h5"
    killed_run(output, "a", "b")
    backed_up(tmp_path / "results", tmp_path / "backup")
    before = contents(tmp_path / "backup")
    run(output, {}, overwrite=overwrite)
    if not overwrite:
        assert list(open_features(output)) == ["a", "b"]
    assert contents(tmp_path / "backup") == before


def test_a_team_goes_on_with_a_run_that_an_earlier_version_left(output, parts):
    """Its folder has the rights that the folder above gives; others there could put another one in its place."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    killed_run(output, "a")
    for folder in (output.parent.parent.parent, output.parent.parent, output.parent, parts):
        folder.chmod(0o777)
    for path in parts.iterdir():
        path.chmod(0o666)
    with as_ordinary_user():
        run(output, {})
        assert list(open_features(output)) == ["a"]


def test_whose_run_it_is_that_cannot_be_gone_on_with_is_said(output, parts):
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    killed_run(output, "a")
    for folder in (output.parent.parent.parent, output.parent.parent, output.parent):
        folder.chmod(0o777)
    with as_ordinary_user():
        with pytest.raises(
            OutputError, match=r"feats.h5.parts: of a run of another user, root, who alone can finish it"
        ):
            Lock(output).__enter__()
        with pytest.raises(FeatureFileError, match=r"not there yet: a run of another user works on it, or was interr"):
            open_features(output)


def test_a_folder_that_may_be_entered_but_not_listed_is_read_in(output):
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    for folder in (output.parent.parent.parent, output.parent.parent):
        folder.chmod(0o755)
    output.parent.chmod(0o711)
    with as_ordinary_user():
        assert len(Ledger(output)) == 1


def test_the_lock_goes_last(output, monkeypatch):
    """Whoever gets it next finds nothing that is still to be removed."""
    removed, unlink = [], Folder.unlink
    monkeypatch.setattr(Folder, "unlink", lambda self, name: (removed.append(name), unlink(self, name)))
    with Lock(output) as lock:
        for name in ("overwrite", "overwritten", "probe-0123456789abcdef"):
            (lock.parts / name).touch()
    assert removed[-1] == "lock"
    assert len(removed) == 4


@pytest.mark.parametrize("text", ['{"id": "x", "notes": "ten years of work"}', "\nmy notes, one line", '{"id": 5}'])
def test_notes_that_look_like_a_list_of_failures_are_kept(output, text):
    path = output.with_name("feats.h5.failed.jsonl")
    path.write_text(text)
    with pytest.raises(FeatureFileError, match="not a list of failures; move it out of the way"):
        Ledger(output)
    assert path.read_text() == text


def test_side_files_of_earlier_names_are_left_alone(output, mine):
    """A run used to make its copy of the output beside it."""
    output.with_name("feats.h5.joining").symlink_to(mine)
    run(output, {"a": 0})
    assert output.with_name("feats.h5.joining").is_symlink()


def test_a_claim_is_no_way_out_of_the_folder(output, parts, mine):
    """Its token makes a part of the next file's name."""
    parts.mkdir()
    holder = Holder(1, "host", "since", token=f"/../../elsewhere/{mine.name}")
    (parts / "owner").write_text(holder.text)
    assert Holder.read(holder.text.encode()) is None
    run(output, {"a": 0})


@pytest.mark.parametrize("text", ["", '{"pid": 1}', '{"pid": 1' + "0" * 5000 + "}", '{"pid": 1, "host": 2}', "\0\0"])
def test_a_lock_whose_signature_is_cut_off_or_makes_no_sense_is_taken(output, parts, text):
    parts.mkdir()
    (parts / "lock").write_text(text)
    assert run(output, {"a": 0}) == ["a"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_list_that_comes_to_be_during_a_run_is_someone_elses(output, fails):
    path = output.with_name("feats.h5.failed.jsonl")
    ledger = Ledger(output)
    path.write_text("my notes")

    def fail():
        with ledger:
            if fails:
                ledger.record("a", "a.mp4", "damaged")

    assert fails == ("made by something else while this run computed" in (refusal(fail) or ""))
    assert path.read_text() == "my notes"


def swapped(path):
    path.unlink()
    path.write_text("my notes")


def noted(path):
    with path.open("a") as file:
        file.write("ask Ann\n")


@pytest.mark.parametrize("change", [swapped, noted, lambda path: path.write_text("")])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mended", [False, True])
def test_a_list_that_changes_during_a_run_is_someone_elses(output, change, fails, mended):
    path = output.with_name("feats.h5.failed.jsonl")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
        ledger.record("b", "b.mp4", "damaged")
    ledger = Ledger(output)
    change(path)
    changed = path.read_bytes()

    def go_on():
        with ledger:
            if fails:
                ledger.record("c", "c.mp4", "damaged")
            if mended:
                ledger.drop_earlier()

    assert "failed.jsonl: changed by something else while this run computed; move it away" in refusal(go_on)
    assert path.read_bytes() == changed
    assert sorted(os.listdir(output.parent)) == [path.name]


def test_a_list_that_is_removed_during_a_run_is_written_anew(output):
    path = output.with_name("feats.h5.failed.jsonl")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    with Ledger(output) as ledger:
        path.unlink()
        ledger.record("b", "b.mp4", "damaged")
        assert json.loads(path.read_bytes())["id"] == "b"
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_a_last_line_without_a_newline_is_kept_whatever_happens(output):
    """As some editors leave it."""
    path = output.with_name("feats.h5.failed.jsonl")
    with Ledger(output) as ledger:
        ledger.record("a", "/a.mp4", "damaged")
    path.write_text(path.read_text().rstrip())
    Ledger(output).record("b", "/b.mp4", "damaged")  # and is killed
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_what_a_user_has_added_to_a_line_stays_though_the_video_fails_again(output):
    path = output.with_name("feats.h5.failed.jsonl")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "ask Bob"}) + "\n")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "empty")
    (line,) = map(json.loads, path.read_text().splitlines())
    assert (line["error"], line["note"]) == ("empty", "ask Bob")


def test_a_list_that_may_not_be_written_to_is_neither_replaced_nor_removed(output):
    path = output.with_name("feats.h5.failed.jsonl")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    before = path.read_bytes()
    path.chmod(0o444)
    for folder in (output.parent.parent.parent, output.parent.parent, output.parent):
        folder.chmod(0o777)
    for drop in (False, True):
        with as_ordinary_user(), pytest.raises(OutputError, match="Permission denied"), Ledger(output) as ledger:
            ledger.drop_earlier() if drop else None
    assert path.read_bytes() == before


def test_a_list_that_is_written_anew_keeps_its_mode(output):
    path = output.with_name("feats.h5.failed.jsonl")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    path.chmod(0o600)
    with Ledger(output) as ledger:
        ledger.record("b", "b.mp4", "damaged")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_relative_path_in_two_folders_is_two_files(output, tmp_path, monkeypatch):
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
    monkeypatch.chdir(tmp_path / "day1")
    with Ledger(output) as ledger:
        ledger.record("cam", "cam.mp4", "damaged")
    monkeypatch.chdir(tmp_path / "day2")
    with Ledger(output) as ledger:
        ledger.forget("cam", "cam.mp4")
        ledger.drop_stored()
    assert len(Ledger(output)) == 1
    monkeypatch.chdir(tmp_path)
    with Ledger(output) as ledger:
        ledger.forget("cam", "day1/cam.mp4")
        ledger.drop_stored()
    assert len(Ledger(output)) == 0


def test_two_lines_of_one_video_become_one_with_all_that_a_user_has_added(output):
    path = output.with_name("feats.h5.failed.jsonl")
    lines = [{"id": "a", "source": "/a.mp4", "error": error} for error in ("damaged", "empty")]
    path.write_text("".join(json.dumps(line) + "\n" for line in (lines[0] | {"note": "ask Bob"}, lines[1])))
    with Ledger(output):
        pass
    assert list(map(json.loads, path.read_text().splitlines())) == [lines[1] | {"note": "ask Bob"}]


def test_a_last_line_that_is_no_failure_is_kept(output):
    path = output.with_name("feats.h5.failed.jsonl")
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    path.write_text(path.read_text() + "ask Ann")
    with pytest.raises(FeatureFileError, match="not a list of failures"):
        Ledger(output)


USERS_FILES = {
    "20240101.journal": (b"p3dfeat\nran all night", b"p3dfeat\n\x50\0\0\0", b"p3dfeat\n" + bytes(16) + b"{}"),
    "lock": (b'{"pid": 12, "command": "backup"}', b'{"pid": "Ann"}', b'{"pid": 12, "x'),
    "owner": (b'{"pid": 12}\nAnn has it',),
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, all in USERS_FILES.items() for data in all])
def test_a_file_of_the_users_that_begins_like_one_of_ours_is_kept(output, parts, name, data):
    parts.mkdir()
    data += b"\nthe end" if name.endswith("journal") else b""
    (parts / name).write_bytes(data)
    with pytest.raises(OutputError, match=rf"{name}: a file that is not p3dfeat's; move it away"):
        run(output, {"a": 0})
    assert (parts / name).read_bytes() == data


def test_of_a_journal_and_a_lock_every_beginning_is_ours(output, parts):
    killed_run(output, "a")
    for name in ("00000000.journal", "lock"):
        data = (parts / name).read_bytes()
        for size in range(min(len(data), 4096)):
            for end in (b"", bytes(7)):
                assert starts_as_ours(name, (data[:size] + end)[:4096]), (name, size)


@pytest.mark.parametrize("name", ["lock", "00000000.journal"])
def test_what_a_user_puts_in_place_of_a_side_file_meanwhile_is_kept(output, parts, name):
    def replace(done):
        (parts / name).unlink()
        (parts / name).write_text("mine")

    refusal(lambda: run(output, {"a": 0}, replace))
    assert name in os.listdir(parts)
    assert (parts / name).read_text() == "mine"


@pytest.mark.parametrize("start", [bytes(8), bytes(5000)])
def test_zeros_before_a_users_text_are_no_power_cut(output, parts, start):
    parts.mkdir()
    (parts / "20240101.journal").write_bytes(start[:100] + b"my diary")
    with pytest.raises(OutputError, match=r"20240101.journal: a file that is not p3dfeat's"):
        run(output, {"a": 0})
    (parts / "20240101.journal").write_bytes(start)
    assert run(output, {"a": 0}) == ["a"]


def test_a_page_of_zeros_at_the_end_of_a_journal_costs_nothing_before_it(output, parts):
    killed_run(output, "a", "b")
    with open(parts / "00000000.journal", "ab") as file:
        file.write(b"p3dfeat\n" + bytes(4116))
    run(output, {})
    assert list(open_features(output)) == ["a", "b"]


def test_a_list_of_failures_of_zeros_is_an_empty_one_and_a_users_notes_in_it_stay(output):
    path = output.with_name("feats.h5.failed.jsonl")
    path.write_bytes(bytes(200))
    with Ledger(output) as ledger:
        ledger.record("a", "a.mp4", "damaged")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": "ask Ann"}) + "\n")
    with Ledger(output) as ledger:
        ledger.record("b", "b.mp4", "empty")
    assert [json.loads(line).get("note") for line in path.read_text().splitlines()] == ["ask Ann", None]


@pytest.mark.parametrize("text", [b"[" * 3000, b"\xff", b"[]", b'{"pid": "x"}', b'{"pid": 1, "host": 2, "since": ""}'])
def test_a_signature_that_makes_no_sense_is_nobodys(text):
    assert Holder.read(text) is None


def test_a_number_that_no_process_has_is_nobodys():
    assert Holder.read(Holder(2**70, "host", "since").text.encode()) is None
    assert Holder.read(Holder(2**31 - 1, "host", "since").text.encode()) is not None


def test_a_journal_that_p3dfeat_did_not_write_is_named_in_one_line(output, parts):
    """Its checksums may be right: anyone can compute them."""
    parts.mkdir()
    with Folder.opened(parts) as folder:
        for number, header in enumerate(({"settings": 3}, {"video": "../x"}, {"dropped": "/"}, {"video": 5})):
            journal = JournalWriter(folder, f"{number:08d}.journal")
            if number:
                journal.append({"settings": SETTINGS.as_attributes()})
            journal.append(header)
            journal.close()
            with pytest.raises(OutputError, match=r"journal: a journal that p3dfeat did not write; move it away"):
                run(output, {"a": 0})
            folder.unlink(journal.name)


def test_an_interrupted_run_of_before_is_gone_on_with(output, parts):
    """Folders were made with the rights that the user's settings give."""
    killed_run(output, "a", "b")
    parts.chmod(0o755)
    run(output, {})
    assert list(open_features(output)) == ["a", "b"]
    assert not parts.exists()


def test_nothing_in_the_package_removes_folders_with_what_is_in_them():
    forbidden = {"rmtree", "removedirs", "TemporaryDirectory"}
    for path in Path(p3dfeat.__file__).parent.rglob("*.py"):
        names = {
            node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else node.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        }
        assert not names & forbidden, path


class TestFolder:
    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with Folder.opened(tmp_path) as folder:
            for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                with pytest.raises(ForeignError, match="special file"):
                    folder.open("pipe", flags)

    def test_a_new_file_takes_no_place_that_is_taken(self, tmp_path):
        (tmp_path / "link").symlink_to("nowhere")
        with Folder.opened(tmp_path) as folder, pytest.raises(FileExistsError):
            folder.new("link")
        assert os.listdir(tmp_path) == ["link"]

    def test_files_below_are_made_in_folders_and_appear_whole(self, tmp_path):
        with Folder.opened(tmp_path) as folder:
            for text in (b"old", b"new"):
                with folder.new_below(PurePosixPath("a/b/c.npy")) as fd:
                    os.write(fd, text)
            with pytest.raises(ZeroDivisionError), folder.new_below(PurePosixPath("a/b/c.npy")):
                raise ZeroDivisionError
        assert (tmp_path / "a/b/c.npy").read_bytes() == b"new"
        assert os.listdir(tmp_path / "a/b") == ["c.npy"]

    @pytest.mark.parametrize("step", ["a", "a/b"])
    def test_links_on_the_way_below_are_not_followed(self, tmp_path, step):
        (tmp_path / "out").mkdir()
        (tmp_path / "elsewhere").mkdir()
        place = tmp_path / "out" / step
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(tmp_path / "elsewhere")
        with (
            Folder.opened(tmp_path / "out") as folder,
            pytest.raises(ForeignError, match="a link or a file, where a folder should be"),
            folder.new_below(PurePosixPath("a/b/c.npy")),
        ):
            raise AssertionError
        assert os.listdir(tmp_path / "elsewhere") == []
