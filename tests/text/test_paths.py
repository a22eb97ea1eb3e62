"""One file for each id, on every file system."""

import itertools
import re
import unicodedata
from pathlib import PurePosixPath

import pytest

from p3dfeat.text.paths import ENCODED, WRITING, paths_of

LONG = "l" * 400
IDS = [
    *("archery/clip7", "clip", "Clip", "CLIP", "\u00e9", "e\u0301", "\u00c9", "stra\u00dfe", "STRASSE", "k", "\u212a"),
    *("a", "a.npy/b", "A.NPY/c", "a.npy", "b", "b.npy.writing/x", "-rf", ".hidden", ".../-x", "~", "a/-"),
    *("con", "NUL.x", "com1/aux", "lpt\u00b9", "console", "ends.", "ends /x", "dot./x", "x" + " " * 3 + "/y"),
    *('what?<>:"|*\\', "100%", "100%25", "a\nb", "a\x7f\x9b", "gpj.\u202e4pm", "\udcff", "%FF", "\ud800"),
    *(LONG, LONG + "2", f"{LONG}/a", f"{LONG}2/a", "\u65e5" * 200, "?" * 200, f"{'n' * 251}/n", "deep/" * 100 + "x"),
    *("a~ca978112", "~~", "example.org/a~12345678"),
]


def same(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", str(path)).casefold())


@pytest.mark.parametrize("suffix", [".npy", ".jpg", ""])
def test_every_id_gets_a_file_of_its_own_that_any_system_takes(suffix):
    ids = [id for id in IDS if suffix or id != "a.npy"]
    paths = paths_of(ids, suffix)
    files = {same(path) for path in paths.values()}
    folders = {same(parent) for path in paths.values() for parent in path.parents}
    written = {f"{path}{WRITING}" for path in files}
    assert list(paths) == ids
    assert len(files) == len(ids)
    assert not files & folders
    assert not written & (files | folders)
    for id, path in paths.items():
        assert str(path).endswith(suffix), id
        assert not path.is_absolute()
        assert len(path.parts) == id.count("/") + 1
        assert len(path.name.encode()) + len(WRITING) <= 255
        for part in path.parts:
            assert len(part.encode()) <= 255
            assert part[0] not in "-."
            assert part[-1] not in ". "
            assert not ENCODED.search(re.sub("%(?:[0-9A-F]{2}|~)", "", part))
            stem = part.split(".")[0].rstrip(" ").lower()
            assert stem not in {"con", "prn", "aux", "nul", "com1", "lpt1", "lpt\u00b9"}


def test_paths_depend_on_the_ids_alone():
    paths = paths_of(IDS, ".npy")
    assert paths_of(reversed(IDS), ".npy") == paths
    assert paths_of(sorted(IDS) + IDS, ".npy") == paths


def test_ordinary_ids_stay_as_they_are():
    ids = ["archery/clip7", "a.b.c", "with space", "日本/vidéo", "watch~0123abcd", "v@0-1.5", "(1) [2]", "👩\u200d🚀"]
    assert paths_of(ids, ".npy") == {id: PurePosixPath(f"{id}.npy") for id in ids}


@pytest.mark.parametrize(
    ("id", "path"),
    [
        ("con", "%63on.npy"),
        ("-a/.b", "%2Da/%2Eb.npy"),
        ("a./b", "a%2E/b.npy"),
        ("100%", "100%25.npy"),
        ("a:b\\c", "a%3Ab%5Cc.npy"),
        ("\udcff", "%FF.npy"),
        ("\ud800", "%ED%A0%80.npy"),
        ("x\u202ey", "x%E2%80%AEy.npy"),
        ("..", "%2E..npy"),
        ("/etc/passwd", "%/etc/passwd.npy"),
    ],
)
def test_what_a_file_system_refuses_is_written_by_its_bytes(id, path):
    assert paths_of([id], ".npy") == {id: PurePosixPath(path)}


def test_ids_that_clash_all_get_a_mark_and_others_do_not():
    paths = {id: str(path) for id, path in paths_of(["clip", "Clip", "other", "a", "a.npy/b"], ".npy").items()}
    assert paths == {
        "clip": "clip~67905ad3.npy",
        "Clip": "Clip~82337888.npy",
        "other": "other.npy",
        "a": "a~ca978112.npy",
        "a.npy/b": "a.npy/b.npy",
    }


def test_an_id_that_looks_like_a_mark_takes_no_other_ones_file():
    marked = [str(path).removesuffix(".npy") for path in paths_of(["a", "A"], ".npy").values()]
    for ids in itertools.permutations(["a", "A", *marked, f"{marked[0]}.npy/x"]):
        paths = paths_of(ids, ".npy").values()
        assert len({same(path) for path in paths}) == 5
        assert not {same(path) for path in paths} & {same(path.parent) for path in paths}


def test_a_long_name_is_cut_between_characters_and_its_folder_is_the_same_for_all_in_it():
    paths = paths_of([f"{LONG}/a", f"{LONG}/b", "日" * 200], ".npy")
    assert paths[f"{LONG}/a"].parent == paths[f"{LONG}/b"].parent
    assert re.fullmatch("日+~[0-9a-f]{8}[.]npy", str(paths["日" * 200]))
