"""From what the user names to videos with stable, unique ids."""

import io

import pytest

from p3dfeat.errors import UsageError
from p3dfeat.sources import find_videos


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


def test_a_list_names_as_it_is_written(tree):
    (tree / "list.txt").write_text("videos/golf/clip7.mp4\n\nvideos/z.mp4\r\n")
    assert ids("@list.txt") == ["videos/golf/clip7", "videos/z"]


def test_a_list_is_read_from_its_own_folder_and_from_here(tree):
    (tree / "videos" / "list.txt").write_text("golf/clip7.mp4\nmore/b.avi\n../more/a.mp4\n")
    assert ids("@videos/list.txt") == ["golf/clip7", "more/b", "more/a"]


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_paths_come_on_stdin(tree, separator):
    absolute = str(tree / "more" / "a.mp4")
    assert ids("-", stdin=separator.join(["videos/z.mp4", absolute, ""])) == ["videos/z", "a"]


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
    ("content", "message"),
    [
        ("", "no column path"),
        ("path,start_seconds\nx,1\n", "no column end_seconds"),
        ("path,start_seconds,end_seconds\nvideos/z.mp4,one,2\n", "line 2: start_seconds is 'one'"),
        ("path,start_seconds,end_seconds\nvideos/z.mp4,nan,2\n", "line 2: start_seconds is 'nan'"),
        ("path,start_seconds,end_seconds\nvideos/z.mp4,3,2\n", "line 2: segment 3 to 2"),
        ("path,start_seconds,end_seconds\nvideos/z.mp4,-1,2\n", "line 2: segment -1 to 2"),
        ("path,start_seconds,end_seconds,id\nvideos/z.mp4,0,1,../x\n", "line 2: id '../x'"),
        ("path,start_seconds,end_seconds,id\nvideos/z.mp4,0,1,x\nvideos/a.mp4,0,1,x\n", "id 'x' is given twice"),
    ],
)
def test_a_csv_that_cannot_be_understood_is_refused(tree, content, message):
    (tree / "s.csv").write_text(content)
    with pytest.raises(UsageError, match=message):
        find_videos(["s.csv"])


@pytest.mark.parametrize("name", ["@missing.txt", "missing.csv"])
def test_a_missing_list_is_wrong_usage(tree, name):
    with pytest.raises(UsageError, match="cannot be read as a list"):
        find_videos([name])


def test_a_list_of_bytes_is_wrong_usage(tree):
    (tree / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a text file"):
        find_videos(["@list.txt"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.mp4", "no such file or folder"),
        ("empty", "no videos in this folder"),
        ("videos/*.webm", "no file matches"),
    ],
)
def test_an_input_without_videos_fails_alone(tree, name, message):
    videos, (failure,) = find_videos([name, "videos/z.mp4"])
    assert [video.id for video in videos] == ["z"]
    assert failure.source == name
    assert message in str(failure.error)


def test_missing_files_of_lists_fail_one_by_one(tree):
    (tree / "s.csv").write_text("path,start_seconds,end_seconds\ngone.mp4,0,1\n")
    videos, failures = find_videos(["-", "s.csv"], stdin=io.StringIO("videos/z.mp4\nalso gone.mp4\n"))
    assert [video.id for video in videos] == ["videos/z"]
    assert [failure.source for failure in failures] == ["also gone.mp4", "gone.mp4"]
