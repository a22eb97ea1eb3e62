"""From what the user names to videos with stable, unique ids."""

import errno
import io
import os
import subprocess
import sys
import threading
import tracemalloc

import pytest

from p3dfeat.errors import UsageError
from p3dfeat.sources import Known, find_videos, look_for
from p3dfeat.sources.folders import MOST_VISITS
from p3dfeat.types import LeftOut
from tests.users import as_ordinary_user


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with names that clash in every way; the working directory is its parent."""
    for name in (
        "videos/archery/clip7.mp4",
        "videos/archery/clip8.MKV",
        "videos/golf/clip7.mp4",
        "videos/z.mp4",
        "videos/a.mp4",
        "videos/notes.txt",
        "more/a.mp4",
        "more/b.avi",
        "more/b.mp4",
        "nested/x.mp4",
        "nested/x/y.mp4",
        "odd/a.b.c.mp4",
        "odd/with space.mp4",
        "odd/ünï.mp4",
        "odd/[1].mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(*inputs: str, stdin: str = "") -> list[str]:
    videos, failures = find_videos(inputs, stdin=io.StringIO(stdin))
    assert not failures
    return [video.id for video in videos]


def test_a_folder_is_searched_to_its_depths_in_order(tree):
    assert ids("videos") == ["a", "archery/clip7", "archery/clip8", "golf/clip7", "z"]


def test_ids_do_not_depend_on_how_the_folder_is_spelt(tree):
    assert ids(str(tree / "videos")) == ids("videos") == ids("./videos/") == ids("more/../videos")


def test_a_file_is_named_by_its_name(tree):
    assert ids("videos/archery/clip7.mp4", "videos/z.mp4") == ["clip7", "z"]


def test_a_glob_names_from_its_fixed_part(tree):
    assert ids("videos/*/clip7.mp4") == ["archery/clip7", "golf/clip7"]
    assert ids("videos/**/*.mp4") == ["a", "archery/clip7", "golf/clip7", "z"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tree):
    assert ids("odd/[1].mp4") == ["[1]"]


@pytest.mark.parametrize("name", ["@dancer.mp4", "[ab].mp4", "a*.mp4", "what?.mp4", "#1.mp4"])
def test_a_file_that_exists_is_itself_whatever_its_name_looks_like(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for other in (name, "a.mp4", "ab.mp4", "whats.mp4"):
        (tmp_path / other).write_bytes(b"")
    videos, failures = find_videos([name])
    assert [(video.path, video.source) for video in videos] == [(name, name)]
    assert not failures


@pytest.mark.parametrize("name", ["@dancers", "Talk [2019]", "what?", "more.csv"])
def test_a_folder_that_exists_is_itself_whatever_its_name_looks_like(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.mp4").write_bytes(b"")
    assert ids(name) == ["a"]


def test_a_list_is_read_unless_a_file_is_called_as_it_is_given(tree):
    (tree / "list.txt").write_text("videos/z.mp4\n")
    assert ids("@list.txt") == ["videos/z"]
    (tree / "@list.txt").write_text("")
    assert ids("@list.txt") == ["@list"]


@pytest.mark.parametrize(
    "pattern", ["Talk [2019]/*.mp4", "./Talk [2019]/*", "Talk [2019]/**/*.mp4", "**/Talk [2019]/*"]
)
def test_a_folder_in_a_pattern_is_itself_where_it_exists(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    for name in ("Talk [2019]/a.mp4", "Talk 2/b.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    assert [id.rpartition("/")[2] for id in ids(pattern)] == ["a"]
    assert ids("Talk [2019]/*.mp4") == ["a"]


def test_brackets_are_a_pattern_where_no_file_is_called_so(tree):
    assert ids("videos/[a-g]*/*.mp4") == ["archery/clip7", "golf/clip7"]
    assert ids("more/[ab].*") == ["a", "b.avi", "b.mp4"]


@pytest.fixture
def untidy(tmp_path, monkeypatch):
    """A folder as it comes from macOS or a NAS."""
    monkeypatch.chdir(tmp_path)
    for name in (
        *("v/a.mp4", "v/._a.mp4", "v/.thumbs/p.mp4", "v/.thumbs/q/r.mkv", "v/.thumbs/s.jpg", "v/b/c.mp4", "v/b/.d.avi"),
        *("v/.DS_Store", "v/notes.txt", "v/b/NOTES.TXT", "v/b/c.srt", "v/README"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_hidden_files_and_folders_are_left_out_of_folders_as_of_patterns(untidy):
    assert ids("v") == ids("v/**/*.mp4") == ["a", "b/c"]
    assert ids("v/**") == ["README", "a", "b/NOTES", "b/c.mp4", "b/c.srt", "notes"]


def test_what_is_hidden_is_taken_where_it_is_named(untidy):
    assert ids("v/._a.mp4") == ["._a"]
    assert ids("v/.thumbs") == ids("v/.thumbs/**/*.[mM]*") == ["p", "q/r"]
    assert ids("v/.*.mp4") == ["._a"]
    (untidy / "list.txt").write_text("v/.thumbs/p.mp4\n")
    assert ids("@list.txt") == ["v/.thumbs/p"]


def test_a_hidden_folder_that_cannot_be_read_costs_nothing(untidy):
    for folder in (untidy.parent.parent, untidy.parent, untidy):
        folder.chmod(0o755)
    (untidy / "v" / ".thumbs").chmod(0)
    with as_ordinary_user():
        assert ids("v") == ["a", "b/c"]
    (untidy / "v" / ".thumbs").chmod(0o755)


def test_what_is_left_out_of_folders_is_counted(untidy):
    assert look_for(["v"]).left_out == LeftOut("v", {".txt": 2, ".srt": 1, "": 1}, hidden=4)
    assert look_for(["v", "v/b"]).left_out == LeftOut("2 folders", {".txt": 3, ".srt": 2, "": 1}, hidden=5)
    assert look_for(["v/**", "v/a.mp4"]).left_out.num_files == 0


def test_any_extension_takes_all_files_of_folders_but_hidden_ones(untidy):
    os.mkfifo(untidy / "v" / "pipe")
    inputs = look_for(["v"], any_extension=True)
    videos, failures = inputs.named()
    assert not failures
    tried = {"README": True, "a": False, "b/NOTES.TXT": True, "b/c": False, "b/c.srt": True, "notes.txt": True}
    assert {video.id: video.by_content for video in videos} == tried
    assert inputs.left_out == LeftOut("v", {}, hidden=4)


def test_a_file_beside_a_video_does_not_change_its_id(untidy):
    """a.srt, or a.json, is tried with any_extension; the video is a, with it and without."""
    (untidy / "v" / "a.srt").write_bytes(b"")
    videos, _ = find_videos(["v"], any_extension=True)
    assert {"a", "a.srt"} <= {video.id for video in videos}


@pytest.mark.parametrize("any_extension", [False, True])
def test_what_p3dfeat_writes_is_neither_tried_nor_counted(untidy, any_extension):
    for name in ("f.h5", "f.h5.failed.jsonl", "f.h5.parts/lock", "f.h5.mp4"):
        (untidy / "v" / name).parent.mkdir(exist_ok=True)
        (untidy / "v" / name).write_bytes(b"")
    inputs = look_for(["v"], any_extension=any_extension, output="v/f.h5")
    assert [found.name for found in inputs.found if found.name.startswith("f.h5")] == ["f.h5.mp4"]
    assert not {".h5", ".jsonl"} & inputs.left_out.extensions.keys()
    assert inputs.left_out.extensions.get("", 1) == 1


def named(stored: dict[str, str], *inputs: str) -> list[str]:
    """Ids beside what is ``stored``: sources by id."""
    known = Known(stored, lambda video: stored.get(video.id) if stored.get(video.id) == video.source else None)
    videos, failures = look_for(inputs).named(known)
    assert not failures
    return [video.id for video in videos]


def test_what_is_stored_keeps_its_id_and_the_others_make_way(tree):
    assert named({"b": "more/b.mp4"}, "more") == ["a", "b.avi", "b"]
    assert named({"b": "more/b.avi"}, "more") == ["a", "b", "b.mp4"]
    assert named({"a": "more/a.mp4"}, "videos", "more")[0] == "a.mp4"
    assert named({"a": "videos/a.mp4", "z": "videos/z.mp4"}, "videos", "more")[0] == "a"


def test_what_is_stored_under_a_longer_id_keeps_that_when_the_other_one_is_gone(tree):
    stored = {"b.avi": "more/b.avi", "b.mp4": "more/b.mp4", "videos/a.mp4": "videos/a.mp4"}
    (tree / "more" / "b.avi").unlink()
    assert named(stored, "more") == ["a", "b.mp4"]
    assert named(stored, "videos/a.mp4") == ["videos/a.mp4"]


def test_what_lies_below_a_stored_video_gets_an_id_elsewhere(tree):
    assert named({"x": "nested/x.mp4"}, "nested") == ["nested/x/y.mp4", "x"]
    assert named({"x/y": "nested/x/y.mp4"}, "nested") == ["x/y", "x.mp4"]


def test_what_is_stored_for_another_file_does_not_change_an_id(tree):
    assert named({"b": "elsewhere/b.mp4"}, "more") == ids("more")
    assert named({"z": "elsewhere/z.mp4"}, "videos/z.mp4") == ["z"]


def test_an_id_that_a_csv_gives_is_not_kept_for_another(tree):
    (tree / "s.csv").write_text("path,start_seconds,end_seconds,id\nvideos/z.mp4,,,b\n")
    assert named({"b": "more/b.mp4"}, "s.csv", "more") == ["b", "a", "b.avi", "b.mp4"]


def test_of_two_that_are_the_same_the_one_that_was_called_so_keeps_the_id(tree):
    for order in (["videos/a.mp4", "more/a.mp4"], ["more/a.mp4", "videos/a.mp4"]):
        videos, _ = look_for(order).named(Known(["a"], lambda video: "more/a.mp4" if video.id == "a" else None))
        assert {video.id: video.path for video in videos} == {"a": "more/a.mp4", "a.mp4": "videos/a.mp4"}


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Folders of numbered pictures, and of other things."""
    monkeypatch.chdir(tmp_path)
    names = [f"frames/{video}/img_{number:05}.jpg" for video in ("golf/v1.a", "v2") for number in (1, 2, 10)]
    names += ["frames/v2/notes.txt", "frames/one/1.png", "frames/words/a.jpg", "frames/words/b.jpg"]
    names += ["frames/hidden/.1.png", "frames/hidden/.2.png", "frames/.thumbs/1.png", "frames/.thumbs/2.png"]
    names += ["frames/v3.mp4", "several/x_1.jpg", "several/x_2.jpg", "several/y_1.jpg"]
    names += [f"upper/{number}.{extension}" for number, extension in enumerate(["JPG", "jpg", "Jpg"])]
    names += [f"{kind}/{number}.{kind}" for kind in ("jpeg", "png", "bmp", "webp") for number in (1, 2)]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_folders_of_numbered_pictures_are_videos_where_asked_for(pictures):
    videos, failures = find_videos(["frames"], frames=12.5)
    assert not failures
    assert [(v.id, v.path, v.source, v.frames_fps) for v in videos] == [
        ("golf/v1.a", "frames/golf/v1.a", "frames/golf/v1.a", 12.5),
        ("v2", "frames/v2", "frames/v2", 12.5),
        ("v3", "frames/v3.mp4", "frames/v3.mp4", None),
    ]
    assert ids("frames") == ["v3"]


@pytest.mark.parametrize("spelt", ["frames/v2", "./frames/v2/", "frames/../frames/v2"])
def test_a_folder_named_that_holds_pictures_has_its_name_for_an_id(pictures, spelt):
    ((video,), failures) = find_videos([spelt], frames=25)
    assert not failures
    assert (video.id, os.path.samefile(video.path, "frames/v2")) == ("v2", True)


@pytest.mark.parametrize("name", ["jpeg", "png", "bmp", "webp", "upper"])
def test_pictures_are_told_by_their_extension_in_any_case(pictures, name):
    assert [video.id for video in find_videos([name], frames=25)[0]] == [name]


def test_patterns_lists_and_csvs_name_folders_of_pictures_too(pictures):
    (pictures / "list.txt").write_text("frames/v2\nframes/golf/v1.a\nframes/one\n")
    (pictures / "s.csv").write_text("path,start_seconds,end_seconds\nframes/v2,0,1\n")
    named = [[video.id for video in find_videos([text], frames=25)[0]] for text in ("frames/*", "@list.txt", "s.csv")]
    assert named == [["v2", "v3"], ["frames/v2", "frames/golf/v1.a"], ["frames/v2@0-1"]]
    assert not find_videos(["@list.txt", "s.csv"])[0]


def test_pictures_that_are_read_are_not_left_out(pictures):
    assert look_for(["frames"], frames=25).left_out.extensions == {".txt": 1, ".png": 1, ".jpg": 2}
    assert look_for(["frames"]).left_out.extensions == {".txt": 1, ".png": 1, ".jpg": 8}


def test_a_folder_of_several_series_of_pictures_is_refused(pictures):
    videos, (failure,) = find_videos(["several"], frames=25)
    assert not videos
    assert str(failure.error) == "several series of pictures (x_*.jpg, y_*.jpg); keep each in a folder of its own"


def test_a_folder_of_pictures_alone_says_how_they_are_read(pictures):
    _, (failure,) = find_videos(["frames/v2"])
    assert str(failure.error) == "no videos in this folder, by their extensions; --frames FPS reads numbered pictures"


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 1000.5])
def test_a_rate_of_pictures_is_a_rate(pictures, rate):
    with pytest.raises(UsageError, match="must be above 0 and at most 1000 frames per second"):
        find_videos(["frames"], frames=rate)


def test_a_list_names_as_it_is_written(tree):
    (tree / "list.txt").write_text("videos/golf/clip7.mp4\n\nvideos/z.mp4\r\n")
    assert ids("@list.txt") == ["videos/golf/clip7", "videos/z"]


def test_a_list_is_read_from_its_own_folder_and_from_here(tree):
    (tree / "videos" / "list.txt").write_text("golf/clip7.mp4\nmore/b.avi\n../more/a.mp4\n")
    assert ids("@videos/list.txt") == ["golf/clip7", "more/b", "more/a"]


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_paths_come_on_stdin(tree, separator):
    assert ids("-", stdin=separator.join(["videos/z.mp4", "more/a.mp4", ""])) == ["videos/z", "more/a"]


def test_an_absolute_path_in_a_list_is_an_id_of_its_own(tree):
    """Lists are split and joined; what the id of a file is must not depend on what else is in its list."""
    absolute = tree / "more" / "a.mp4"
    expected = absolute.with_suffix("").as_posix().lstrip("/")
    assert ids("-", stdin=str(absolute)) == [expected]
    assert ids("-", stdin=f"{absolute}\n{tree}/videos/a.mp4") == [expected, expected.replace("more", "videos")]


def test_stdin_may_hold_names_that_are_not_text(tree):
    with open(b"odd/\xff.mp4", "wb"):
        pass
    stdin = io.TextIOWrapper(io.BytesIO(b"odd/\xff.mp4\n"), encoding="utf-8")
    (video,), failures = find_videos(["-"], stdin=stdin)
    assert not failures
    assert (video.id, video.source) == ("odd/\\xff", "odd/\\xff.mp4")
    assert os.path.exists(video.path)


def test_two_files_of_one_name_keep_their_extensions_whatever_the_order(tree):
    assert ids("more") == ["a", "b.avi", "b.mp4"]
    assert ids("more/b.mp4", "more/b.avi") == ["b.mp4", "b.avi"]


def test_files_of_one_name_in_two_folders_get_their_folders(tree):
    assert ids("videos", "more") == [
        "videos/a.mp4",
        "archery/clip7",
        "archery/clip8",
        "golf/clip7",
        "z",
        "more/a.mp4",
        "b.avi",
        "b.mp4",
    ]


def test_a_video_named_like_a_folder_of_videos_keeps_its_extension(tree):
    assert ids("nested") == ["x/y", "x.mp4"]


def test_only_the_last_extension_goes(tree):
    assert ids("odd") == ["[1]", "a.b.c", "with space", "ünï"]


def test_a_file_named_twice_is_read_once(tree):
    assert ids("videos/z.mp4", "videos/../videos/z.mp4", str(tree / "videos" / "z.mp4")) == ["z"]


def test_segments_come_from_a_csv(tree):
    (tree / "s.csv").write_text(
        "path,start_seconds,end_seconds,id\nvideos/z.mp4,0,1.5,\nvideos/z.mp4,1.5,3,second\nvideos/a.mp4,,,\nmore/b.mp4,2,,\n"
    )
    videos, failures = find_videos(["s.csv"])
    assert not failures
    assert [(v.id, v.start_seconds, v.end_seconds) for v in videos] == [
        ("videos/z@0-1.5", 0.0, 1.5),
        ("second", 1.5, 3.0),
        ("videos/a", None, None),
        ("more/b@2-end", 2.0, None),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("videos/z.mp4,one,2,", "start_seconds is 'one'"),
        ("videos/z.mp4,nan,2,", "start_seconds is 'nan'"),
        ("videos/z.mp4,3,2,", "segment from 3 to 2"),
        ("videos/z.mp4,-1,2,", "segment from -1 to 2"),
        ("videos/z.mp4,0,1,../x", "id '../x'"),
        ("videos/z.mp4,0,1,a//b", "id 'a//b'"),
        ("videos/z.mp4,0,1,good", "id 'good' is given twice"),
        ("videos/z.mp4,0,1,deep", "id 'deep' is a folder of other videos' ids"),
        ("gone.mp4,0,1,", "no such file: gone.mp4"),
        (",0,1,", "no path"),
    ],
)
def test_a_bad_row_of_a_csv_fails_alone(tree, row, message):
    header = "path,start_seconds,end_seconds,id"
    (tree / "s.csv").write_text(f"{header}\nvideos/a.mp4,0,1,good\n{row}\nvideos/a.mp4,1,2,deep/er\n")
    videos, (failure,) = find_videos(["s.csv"])
    assert [video.id for video in videos] == ["good", "deep/er"]
    assert message in str(failure.error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no column path"),
        ("name,start_seconds,end_seconds\nx,1,2\n", "no column path; the first line names the columns: path, and opt"),
        ("path,start,end\nx,1,2\n", "column 'start': may be the time of a segment; if so, rename it to start_seconds"),
        ("path;t0;t1\nx;1;2\n", "column 't0': may be the time of a segment; if so, rename it to start_seconds"),
        ("path,start_seconds,t1\nx,1,2\n", "column 't1': may be the time of a .*; if so, rename it to end_seconds"),
        ("path,clip_start\nx,1\n", "column 'clip_start': may be .*; if not, rename it, for example to user_clip_start"),
        ("path,width\nx,1\n", "column 'width': feature files use this name; rename it, for example to user_width"),
        ("path,label,label\nx,1,2\n", "column 'label': appears twice"),
        ("a,b\n", "no column path"),
        (f"{'x' * 200_000},start_seconds\n", "s.csv, line 1: field larger"),
        ("path,start_seconds,end_seconds\n".encode("utf-16-le").decode(), "s.csv: holds zero bytes; save it in UTF-8"),
    ],
)
def test_a_csv_without_its_columns_is_refused(tree, content, message):
    (tree / "s.csv").write_text(content)
    with pytest.raises(UsageError, match=message):
        find_videos(["s.csv"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_further_columns_of_a_csv_stay_with_its_videos(tree, delimiter):
    text = "path,label,split\nvideos/z.mp4, archery ,1\nvideos/z.mp4,,\n".replace(",", delimiter)
    (tree / "s.csv").write_text(text)
    videos, failures = find_videos(["s.csv"])
    assert not failures
    assert [video.columns for video in videos] == [(("label", "archery"), ("split", "1"))]
    assert (videos[0].start_seconds, videos[0].end_seconds) == (None, None)
    (tree / "s.csv").write_text(f"path,label\nvideos/z.mp4,{'x' * 5000}\n")
    (failure,) = find_videos(["s.csv"])[1]
    assert str(failure.error) == "column 'label': longer than 4096 characters"


def segments(name: str = "s.csv") -> list[tuple[object, ...]]:
    videos, failures = find_videos([name])
    assert not failures
    return [(video.id, video.source, video.start_seconds, video.end_seconds) for video in videos]


def test_a_segment_from_0_and_from_minus_0_is_one(tree):
    (tree / "s.csv").write_text("path,start_seconds,end_seconds\nvideos/z.mp4,0,1.5\nvideos/z.mp4,-0,1.5\n")
    assert ids("s.csv") == ["videos/z@0-1.5"]


CSV = "path,start_seconds,end_seconds,id\r\nvideos/z.mp4,0,1.5,\r\nodd/ünï.mp4,2,,second\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_in_the_encodings_and_with_the_delimiters_of_windows(tree, encoding, delimiter):
    bom = "\ufeff" if encoding.startswith("utf-16") else ""
    (tree / "s.csv").write_bytes((bom + CSV.replace(",", delimiter)).encode(encoding))
    assert segments() == [
        ("videos/z@0-1.5", "videos/z.mp4", 0.0, 1.5),
        ("second", "odd/ünï.mp4", 2.0, None),
    ]


def test_a_csv_with_semicolons_may_have_decimal_commas_and_commas_in_paths(tree):
    (tree / "odd" / "a,b.mp4").write_bytes(b"")
    (tree / "s.csv").write_text('"path";"start_seconds";"end_seconds"\nodd/a,b.mp4;0,5;1,25\n')
    assert segments() == [("odd/a,b@0.5-1.25", "odd/a,b.mp4", 0.5, 1.25)]


def test_a_decimal_comma_in_a_csv_with_commas_is_no_number(tree):
    (tree / "s.csv").write_text('path,start_seconds,end_seconds\nvideos/z.mp4,"0,5",1\n')
    _, (failure,) = find_videos(["s.csv"])
    assert "start_seconds is '0,5', not a number" in str(failure.error)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["@list.txt", "-"])
def test_a_list_may_be_in_utf16(tree, encoding, name):
    content = "\ufeffvideos/z.mp4\r\nodd/ünï.mp4\r\n".encode(encoding)
    (tree / "list.txt").write_bytes(content)
    videos, failures = find_videos([name], stdin=io.TextIOWrapper(io.BytesIO(content)))
    assert not failures
    assert [video.id for video in videos] == ["videos/z", "odd/ünï"]


def test_backslashes_stand_for_slashes_where_only_those_lead_to_a_file(tree):
    (tree / "more" / "x\\y.mp4").write_bytes(b"")
    (tree / "more" / "x").mkdir()
    (tree / "more" / "x" / "y.mp4").write_bytes(b"")
    (tree / "s.csv").write_text("path,start_seconds,end_seconds\nvideos\\golf\\clip7.mp4,0,1\nmore/x\\y.mp4,,\n")
    assert segments() == [
        ("videos/golf/clip7@0-1", "videos/golf/clip7.mp4", 0.0, 1.0),
        ("more/x\\y", "more/x\\y.mp4", None, None),
    ]
    (tree / "more" / "list.txt").write_text("..\\videos\\z.mp4\n")
    assert ids("@more/list.txt") == ["videos/z"]


def test_a_path_with_backslashes_that_leads_nowhere_is_told_of_them(tree):
    (tree / "s.csv").write_text("path,start_seconds,end_seconds\nC:\\videos\\z.mp4,0,1\n")
    _, failures = find_videos(["s.csv", "-"], stdin=io.StringIO("gone\\z.mp4\nvideos\\golf\n"))
    hint = "no such file, with backslashes or with slashes in their place"
    reasons = [str(failure.error) for failure in failures]
    assert reasons == [rf"{hint}: C:\videos\z.mp4", hint, "a folder; lists name files"]


def test_segments_a_microsecond_apart_have_ids_of_their_own(tree):
    (tree / "s.csv").write_text(
        "path,start_seconds,end_seconds\nvideos/a.mp4,10.0001,12\nvideos/a.mp4,10.00012,12\nvideos/a.mp4,1234567.5,\n"
    )
    videos, _ = find_videos(["s.csv"])
    assert [v.id for v in videos] == ["videos/a@10.0001-12", "videos/a@10.00012-12", "videos/a@1234567.5-end"]


def test_names_of_dots_alone_are_ids_still(tree):
    (tree / "dots").mkdir()
    for name in ("..mp4", "...mp4", ".mp4"):
        (tree / "dots" / name).write_bytes(b"")
    assert ids("dots/..mp4", "dots/...mp4") == ["..mp4", "...mp4"]


def test_links_are_names_of_their_own_and_circles_end(tree):
    (tree / "linked" / "train").mkdir(parents=True)
    (tree / "linked" / "train" / "x.mp4").write_bytes(b"")
    (tree / "linked" / "all").symlink_to("train")
    (tree / "linked" / "y.mp4").symlink_to("train/x.mp4")
    (tree / "linked" / "train" / "round").symlink_to("..")
    assert ids("linked") == ["all/x", "train/x", "y"]


@pytest.mark.parametrize("pattern", ["linked/**/*.mp4", "linked/**", "./linked/**/*", "**/*.mp4", "linked/**/**/*.mp4"])
def test_patterns_do_not_go_round_in_circles_either(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked" / "train" / ".hidden").mkdir(parents=True)
    for name in ("y.mp4", "train/x.mp4", "train/.hidden/z.mp4"):
        (tmp_path / "linked" / name).write_bytes(b"")
    (tmp_path / "linked" / "train" / "round").symlink_to("..")
    (tmp_path / "linked" / "here").symlink_to(".")
    prefix = "linked/" if pattern.startswith("**") else ""
    assert ids(pattern) == [f"{prefix}train/x", f"{prefix}y"]


def test_a_maze_of_links_has_an_end(tmp_path):
    """Each folder has two links to the next: thirty of them would be a thousand million ways."""
    for number in range(30):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        for name in "ab":
            (folder / name).symlink_to(f"../d{number + 1}")
    (tmp_path / "d30").mkdir()
    (tmp_path / "d30" / "v.mp4").write_bytes(b"")
    videos, failures = find_videos([str(tmp_path / "d0")])
    assert len(videos) == MOST_VISITS
    assert {str(f.error) for f in failures} == {"more than 32 ways of links lead here; the others are left out"}


def test_folders_may_be_as_deep_as_the_system_lets_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        with open("v.mp4", "wb"):
            os.chdir(tmp_path)
        (tmp_path / "good.mp4").write_bytes(b"")
        videos, (failure,) = find_videos([str(tmp_path)])
        assert [video.id for video in videos] == ["good"]
        assert str(failure.error) == "its path makes no id of up to 200 names; give it one in a CSV"
        (tmp_path / "s.csv").write_text(f"path,start_seconds,end_seconds,id\n{'d/' * 1500}v.mp4,,,deep\n")
        assert ids("s.csv") == ["deep"]
    finally:  # deeper than Python's own removal goes
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True, timeout=60)


def test_what_is_no_file_is_a_failure_and_not_a_wait(tree):
    odd = tree / "pipes"
    odd.mkdir()
    os.mkfifo(odd / "pipe.mp4")
    (odd / "loop.mp4").symlink_to("loop.mp4")
    (odd / "broken.mp4").symlink_to("gone.mp4")
    (odd / "good.mp4").write_bytes(b"")
    videos, failures = find_videos(["pipes"])
    assert [video.id for video in videos] == ["good"]
    assert [os.path.basename(f.source) for f in failures] == ["broken.mp4", "loop.mp4", "pipe.mp4"]


def test_a_folder_in_a_list_is_called_one(tree):
    _, (failure,) = find_videos(["-"], stdin=io.StringIO("videos\n"))
    assert str(failure.error) == "a folder; lists name files"


def test_a_csv_may_have_brackets_in_its_name(tree):
    (tree / "s[1].csv").write_text("path,start_seconds,end_seconds\nvideos/a.mp4,0,1\n")
    videos, _ = find_videos(["s[1].csv"])
    assert [video.id for video in videos] == ["videos/a@0-1"]


def test_a_csv_with_an_endless_field_is_refused(tree):
    (tree / "s.csv").write_text(f"path,start_seconds,end_seconds\n{'x' * 200_000},0,1\n")
    with pytest.raises(UsageError, match=r"s.csv, line \d+: field larger"):
        find_videos(["s.csv"])


def test_a_folder_that_cannot_be_read_is_a_failure(tree):
    for folder in (tree.parent.parent, tree.parent, tree):
        folder.chmod(0o755)
    (tree / "videos" / "golf").chmod(0)
    with as_ordinary_user():
        videos, (failure,) = find_videos(["videos"])
    (tree / "videos" / "golf").chmod(0o755)
    assert len(videos) == 4
    assert "folder cannot be read (Permission denied)" in str(failure.error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.mp4", "no such file or folder"),
        ("empty", "no videos in this folder"),
        ("videos/*.webm", "no file matches"),
        ("@missing.txt", "cannot be read as a list (No such file or directory)"),
        ("missing.csv", "cannot be read as a list (No such file or directory)"),
    ],
)
def test_an_input_without_videos_fails_alone(tree, name, message):
    videos, (failure,) = find_videos([name, "videos/z.mp4"])
    assert [video.id for video in videos] == ["z"]
    assert failure.source == name.removeprefix("@")
    assert message in str(failure.error)


def test_missing_files_of_lists_fail_one_by_one(tree):
    (tree / "s.csv").write_text("path,start_seconds,end_seconds\ngone.mp4,0,1\n")
    videos, failures = find_videos(["-", "s.csv"], stdin=io.StringIO("videos/z.mp4\nalso gone.mp4\n"))
    assert [video.id for video in videos] == ["videos/z"]
    assert [failure.source for failure in failures] == ["also gone.mp4", "s.csv, line 2"]


@pytest.mark.parametrize("name", ["@device", "device.csv", "@/dev/null"])
def test_a_device_is_no_list(tree, name):
    for link in ("device", "device.csv"):
        (tree / link).symlink_to("/dev/null")
    videos, (failure,) = find_videos([name, "videos/z.mp4"])
    assert [video.id for video in videos] == ["z"]
    assert str(failure.error) == "a device, not a list; name a file or a pipe"


@pytest.mark.parametrize("name", ["pipe", "pipe.csv"])
def test_a_list_may_come_from_a_pipe(tree, name):
    header = "path,start_seconds,end_seconds\n" if name.endswith("csv") else ""
    os.mkfifo(tree / name)
    writer = threading.Thread(target=(tree / name).write_text, args=[f"{header}videos/z.mp4\n"])
    writer.start()
    assert ids(name if header else f"@{name}") == ["videos/z"]
    writer.join()


def test_bash_may_make_a_list_of_what_a_command_says(tree):
    code = "import sys; from p3dfeat.sources import find_videos; print([v.id for v in find_videos(sys.argv[1:])[0]])"
    command = f"{sys.executable} -c '{code}' @<(echo videos/z.mp4)"
    assert subprocess.check_output(["bash", "-c", command], text=True) == "['videos/z']\n"


@pytest.mark.parametrize("name", ["@list.txt", "s.csv", "@pipe", "-"])
def test_a_list_without_an_end_is_not_read_to_it(tree, monkeypatch, name):
    monkeypatch.setattr("p3dfeat.sources.lists.MOST_LIST_BYTES", 3 << 20)
    monkeypatch.setattr("p3dfeat.sources.lists.PIECE_BYTES", 1 << 20)
    content = b"videos/z.mp4\n" + b"x" * (9 << 20)
    for file in ("list.txt", "s.csv"):
        (tree / file).write_bytes(content)
    stdin = io.TextIOWrapper(io.BytesIO(content))
    os.mkfifo(tree / "pipe")
    writer = subprocess.Popen(["cp", "list.txt", "pipe"], stderr=subprocess.DEVNULL) if name == "@pipe" else None
    videos, (failure,) = find_videos([name], stdin=stdin)
    assert not videos
    assert failure.source == name.removeprefix("@")
    assert str(failure.error) == "longer than a list may be, 3 MiB; split it into several"
    assert stdin.buffer.tell() <= 4 << 20
    if writer is not None:
        assert writer.wait(timeout=30) != 0  # its reader has gone


def test_a_list_of_the_most_bytes_is_read(tree, monkeypatch):
    monkeypatch.setattr("p3dfeat.sources.lists.MOST_LIST_BYTES", 13)
    (tree / "list.txt").write_bytes(b"videos/z.mp4\n")
    assert ids("@list.txt") == ["videos/z"]


def test_stdin_that_cannot_be_read_is_a_failure(tree):
    class Unreadable(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    _, (failure,) = find_videos(["-"], stdin=io.TextIOWrapper(io.BufferedReader(Unreadable())))
    assert str(failure.error) == "cannot be read as a list (Is a directory)"


def test_a_line_as_long_as_no_path_is_cut_where_it_is_shown(tree):
    (tree / "s.csv").write_text(
        f"path,start_seconds,end_seconds,id\n{'y' * 9000},,,\n,{'1' * 9000},,\na,,,{'//' * 9000}\n"
    )
    _, failures = find_videos(["-", "s.csv"], stdin=io.StringIO(f"{'x' * 9000}\n{'z' * 3000}\n"))
    assert [len(failure.source) for failure in failures[:2]] == [203, 3000]
    assert all(len(str(failure.error)) < 300 for failure in failures)


MOST_BYTES_A_NAME = 700  # for paths of 57 characters; as text, one takes 106 bytes


def test_a_long_list_takes_little_memory(tmp_path, monkeypatch):
    """A list of a million names is to be read with less than 1 GB."""
    monkeypatch.setattr("p3dfeat.sources.lists._beside", lambda path, base: (str(base / path), path))
    count = 50_000
    names = "".join(f"/data/videos/kinetics/train/class_{n % 400:03}/clip_{n:07}.mp4\n" for n in range(count))
    (tmp_path / "list.txt").write_text(names)
    tracemalloc.start()
    try:
        videos, failures = find_videos([f"@{tmp_path}/list.txt"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(videos), failures) == (count, [])
    assert peak / count < MOST_BYTES_A_NAME
