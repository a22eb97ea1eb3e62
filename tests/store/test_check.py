"""Whatever is wrong in a feature file is found, and no damage is worse for who looks than for the file."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import FeatureFileError
from p3dfeat.nets import Architecture
from p3dfeat.store import FeatureWriter, Foreign, Looked, Problem, Root, Settings, check_file
from p3dfeat.store.check import process as check_process
from p3dfeat.store.check.file import FileCheck
from p3dfeat.store.layout import ORDER, VIDEO_ATTRIBUTES, array_names
from p3dfeat.system import processes
from p3dfeat.types import Features, Video, VideoInfo
from tests.users import has_landlock

CLIPS = 3
SMALL = Architecture(stages=(1, 1, 1, 1), classes=5, base_width=8)  # pool5 has 256 numbers
IDS = ("a", "archery/b", "archery/c")


def settings() -> Settings:
    return Settings(
        model="small",
        weights_sha256="0" * 64,
        architecture={"stages": [1, 1, 1, 1], "kinds": "ABC", "family": "authors", "classes": 5, "base_width": 8},
        preprocessing=InputSpec(resize=(32, 32)),
        sampling=Sampling(clips=CLIPS),
        layers=("pool5", "prob", "res5a"),
        engine="torch",
        precision="fp32",
        device="cpu",
        p3dfeat_version="1.0",
    )


def write(path: Path) -> Path:
    rng = np.random.default_rng(0)
    with FeatureWriter(path, settings()) as writer:
        for id in IDS:
            video = Video(id, f"{id}.mp4", f"{id}.mp4")
            prob = rng.uniform(size=(CLIPS, 5)).astype(np.float32)
            layers = {
                "pool5": rng.normal(size=(CLIPS, SMALL.feature_width)).astype(np.float32),
                "prob": prob / prob.sum(axis=1, keepdims=True),
                "res5a": rng.normal(size=(CLIPS, 256, 2, 2)).astype(np.float32),
            }
            starts = np.arange(CLIPS, dtype=np.float64)
            writer.add(video, Features(layers, np.stack([starts, starts + 1], axis=1), np.arange(len(starts))))
            info = VideoInfo(
                *(4.0, 25.0, 100, 64, 48, 0, "1:1", "h264", "yuv420p", 1234, "0123456789abcdef"),
                "2026-01-01T00:00:00+00:00",
            )
            writer.finish(video, info)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("sound") / "feats.h5")


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    path = tmp_path / "feats.h5"
    path.write_bytes(sound.read_bytes())
    return path


def problems(path: Path) -> list[tuple[str, str]]:
    """(id, problem) of all that is found, in this process: what tests do to files here is well-formed HDF5."""
    said = []
    FileCheck(str(path), 0, said.append).run()
    return [tuple(message["finding"]) for message in said if "finding" in message]


def test_a_file_that_is_as_it_should_be_gives_no_findings(sound):
    root, *videos = check_file(sound)
    assert isinstance(root, Root)
    assert root.attributes["model"] == "small"
    assert [(found.id, found.clips) for found in videos if isinstance(found, Looked)] == [(id, CLIPS) for id in IDS]
    assert len(videos) == len(IDS)
    assert videos[0].attributes["source"] == "a.mp4"


def replace(group, name, values):
    del group[name]
    group[name] = values


def put(name, value):
    """Write over one number of an array of video a."""

    def damage(file):
        array = file["a"][name]
        array[(0,) * array.ndim] = value

    return damage


def attribute(name, value, where="/"):
    def damage(file):
        if value is None:
            del file[where].attrs[name]
        else:
            file[where].attrs[name] = value

    return damage


def nested(name, **changes):
    def damage(file):
        file.attrs[name] = json.dumps(json.loads(file.attrs[name]) | changes)

    return damage


def elsewhere(file):
    """Rows that lie in another file."""
    rows = file["a/pool5"][()]
    del file["a/pool5"]
    other = Path(file.filename).with_name("other.bin")
    other.write_bytes(rows.tobytes())
    file["a"].create_dataset("pool5", rows.shape, rows.dtype, external=[(str(other), 0, rows.nbytes)])


def virtual(file):
    layout = h5py.VirtualLayout((CLIPS, SMALL.feature_width), np.float32)
    layout[:] = h5py.VirtualSource(file["archery/b/pool5"])
    del file["a/pool5"]
    file["a"].create_virtual_dataset("pool5", layout)


def unwritten(file):
    del file["a/res5a"]
    file["a"].create_dataset("res5a", (CLIPS, 256, 2, 2), np.float32)


def emptied(file):
    file["a"].clear()
    del file["a"].attrs["source"]


def renamed_attribute(file):
    file["a"].attrs["wifth"] = file["a"].attrs.pop("width")


def reversed_segment(file):
    file["a"].attrs.update(segment_start_seconds=5.0, segment_end_seconds=4.0)


DAMAGES = {
    "another kind of file": (attribute("format", "other"), "", "not one of p3dfeat's"),
    "no format": (attribute("format", None), "", "not one of p3dfeat's"),
    "a newer format": (attribute("format_version", 99), "", "written by a newer p3dfeat (format 99)"),
    "a format that is none": (attribute("format_version", "one"), "", 'format_version is "one", which is not valid'),
    "no model": (attribute("model", None), "", "attribute model is missing"),
    "no layers": (attribute("layers", None), "", "attribute layers is missing"),
    "a checksum that is none": (attribute("weights_sha256", "abc"), "", 'weights_sha256 is "abc"'),
    "an engine that is none": (attribute("engine", 3), "", "engine is 3"),
    "JSON that is none": (attribute("sampling", "{"), "", 'sampling is "{", which is not valid'),
    "a sampling that is none": (nested("sampling", clips=0), "", "attribute sampling: sampling: clips is 0"),
    "a net that is none": (nested("architecture", stages=[1, 2]), "", "attribute architecture: stages"),
    "a picture that is none": (nested("preprocessing", channels="xyz"), "", "attribute preprocessing: input channels"),
    "a layer the net has not": (attribute("layers", '["pool6"]'), "", "layer 'pool6': not in this network"),
    "a soft link": (lambda file: replace(file, "a", h5py.SoftLink("/archery/b")), "a", "a link to another place"),
    "an external link": (
        lambda file: replace(file, "a", h5py.ExternalLink("/etc/passwd", "/")),
        "a",
        "a link to another place",
    ),
    "one group by two names": (lambda file: replace(file, "a", file["archery/b"]), "archery/b", "the same group"),
    "a folder in itself": (lambda file: replace(file, "archery/c", file["archery"]), "archery/c", "the same group"),
    "an empty folder": (lambda file: file.create_group("empty"), "empty", "a folder without videos"),
    "a video without its mark": (attribute("source", None, "a"), "a/pool5", "an array that belongs to no video"),
    "a video without its mark or arrays": (emptied, "a", "a folder without videos, or a video without"),
    "a layer under another name": (lambda file: file["a"].move("prob", "prod"), "a", "prob is missing"),
    "a number under another name": (renamed_attribute, "a", "attribute width is missing"),
    "a group in a video": (lambda file: file["a"].create_group("pool9"), "a", "pool9: not an array"),
    "a link in a video": (
        lambda file: replace(file["a"], "prob", h5py.SoftLink("/archery/b/prob")),
        "a",
        "prob: a link to another place",
    ),
    "a layer gone": (lambda file: file["a"].pop("prob"), "a", "prob is missing"),
    "no times": (lambda file: file["a"].pop("seconds"), "a", "seconds is missing"),
    "no descriptor": (lambda file: file["a"].pop("pooled"), "a", "pooled is missing"),
    "another type": (
        lambda file: replace(file["a"], "pool5", file["a/pool5"][()].astype(np.float64)),
        "a",
        "pool5: holds float64, not float32",
    ),
    "another width": (
        lambda file: replace(file["a"], "pool5", np.zeros((CLIPS, 7), np.float32)),
        "a",
        "pool5: a row is (7,), not (256,)",
    ),
    "a width of its own": (
        lambda file: replace(file["archery/c"], "res5a", np.zeros((CLIPS, 256, 1, 2), np.float32)),
        "archery/c",
        "res5a: a row is (256, 1, 2), not (256, 2, 2)",
    ),
    "too few rows": (
        lambda file: replace(file["a"], "prob", file["a/prob"][:2]),
        "a",
        "prob: 2 rows for 3 clips",
    ),
    "an empty array": (lambda file: replace(file["a"], "res5a", np.zeros((0, 9), np.float32)), "a", "res5a: is empty"),
    "a scalar": (lambda file: replace(file["a"], "res5a", np.float32(1)), "a", "res5a: is empty"),
    "numbers never written": (unwritten, "a", "12,288 bytes, 0 are there"),
    "numbers in another file": (elsewhere, "a", "pool5: its numbers lie in other files"),
    "numbers of another video": (virtual, "a", "pool5: its numbers lie in other files"),
    "not a number": (put("pool5", np.nan), "a", "pool5: 1 of 768 numbers are not finite"),
    "infinity": (put("res5a", np.inf), "a", "res5a: 1 of 3072 numbers are not finite"),
    "no probabilities": (put("prob", 0.9), "a", "prob: 1 of 3 rows are not probabilities"),
    "less than nothing": (put("prob", -0.1), "a", "prob: 1 of 3 rows are not probabilities"),
    "another mean": (put("pooled", 3.0), "a", "pooled: 1 of 256 numbers are not the mean of pool5"),
    "a mean that is none": (put("pooled", np.nan), "a", "pooled: 1 of 256 numbers are not the mean of pool5"),
    "another row": (put("pool5", 3.0), "a", "pooled: 1 of 256 numbers are not the mean of pool5"),
    "a mean too wide": (lambda file: replace(file["a"], "pooled", np.zeros(9, np.float32)), "a", "pooled: is (9,)"),
    "times that are none": (put("seconds", np.nan), "a", "seconds: not all are finite"),
    "a clip that ends first": (put("seconds", 1.5), "a", "seconds: a clip ends before it begins"),
    "clips out of order": (
        lambda file: replace(file["a"], "seconds", file["a/seconds"][()][::-1]),
        "a",
        "seconds: a clip begins before",
    ),
    "times of three": (lambda file: replace(file["a"], "seconds", np.zeros((3, 3))), "a", "seconds: a row is (3,)"),
    "no width": (attribute("width", None, "a"), "a", "attribute width is missing"),
    "no frames": (attribute("num_frames", 0, "a"), "a", "attribute num_frames is 0, which is not valid"),
    "an endless video": (attribute("duration_seconds", np.inf, "a"), "a", "attribute duration_seconds is Infinity"),
    "a size in words": (attribute("size_bytes", "many", "a"), "a", 'attribute size_bytes is "many"'),
    "a fingerprint of none": (attribute("fingerprint", "xyz", "a"), "a", 'attribute fingerprint is "xyz"'),
    "no date": (attribute("modified", "yesterday", "a"), "a", 'attribute modified is "yesterday"'),
    "a segment that ends first": (reversed_segment, "a", "its segment ends at 4 s, before it begins"),
    "a segment of words": (attribute("segment_start_seconds", "x", "a"), "a", "a segment's time is"),
    "a rate of words": (attribute("frames_fps", "x", "a"), "a", "attribute frames_fps is \"x\", which is not valid"),
    "a rate of 0": (attribute("frames_fps", 0.0, "a"), "a", "attribute frames_fps is 0.0, which is not valid"),
}  # fmt: skip


def video_attribute(file):
    file["a"].attrs["label"] = "run"


def video_array(file):
    file["a"]["caption"] = "a man runs"
    file["archery/b"]["caption"] = "a man shoots"


def strange_attribute(file):
    file["a"].attrs.create("table", np.zeros(2, [("x", "i4"), ("y", "f8")]))
    file["a"].attrs["nothing"] = h5py.Empty("f4")


ADDITIONS = {
    "an attribute of a video": (video_attribute, [("a", "attribute label")]),
    "arrays of videos": (video_array, [("a", "array caption"), ("archery/b", "array caption")]),
    "attributes of other types": (strange_attribute, [("a", "attribute nothing"), ("a", "attribute table")]),
    "an array beside the videos": (lambda file: file.create_dataset("x", data=[1]), [("", "array x")]),
    "an array like a video's, beside them": (
        lambda file: file.create_dataset("pooled", data=[1]),
        [("", "array pooled")],
    ),
    "an array in a folder": (lambda file: file["archery"].create_dataset("x", data="x"), [("", "array archery/x")]),
    "a folder of arrays": (
        lambda file: (file.create_dataset("my/x", data=[1]), file.create_dataset("my/deep/y", data=["z"])),
        [("", "array my/deep/y"), ("", "array my/x")],
    ),
    "an attribute of the file": (attribute("note", "for a paper"), [("", "attribute note")]),
    "a group of attributes": (
        lambda file: file.create_group("about").attrs.update(author="me", numbers=[1, 2]),
        [("", "group about")],
    ),
    "a compressed array": (
        lambda file: file["a"].create_dataset("boxes", data=np.eye(50), compression="gzip"),
        [("a", "array boxes")],
    ),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_what_users_add_is_noted_and_no_damage(copy, name):
    add, noted = ADDITIONS[name]
    with h5py.File(copy, "r+") as file:
        add(file)
    found = list(check_file(copy))
    assert [(item.id, item.text) for item in found if isinstance(item, Foreign)] == noted
    assert not [item for item in found if isinstance(item, Problem)]
    assert [item.id for item in found if isinstance(item, Looked)] == list(IDS)


def test_what_p3dfeat_writes_is_not_taken_for_a_users(sound):
    with h5py.File(sound) as file:
        assert set(file.attrs) <= set(ORDER)
        assert set(file["a"].attrs) <= VIDEO_ATTRIBUTES
        assert set(file["a"]) == array_names(("pool5", "prob", "res5a"))


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_is_found(copy, name):
    damage, id, text = DAMAGES[name]
    with h5py.File(copy, "r+") as file:
        damage(file)
    found = problems(copy)
    assert any(where == id and text in problem for where, problem in found), found
    others = {"archery/b", "archery/c"} - {id, "archery"}
    if id == "a":  # and costs nothing else its good name
        assert not [where for where, _ in found if where in others]


def test_clips_that_begin_together_are_as_they_should_be(copy):
    """Those of a video shorter than a clip do."""
    with h5py.File(copy, "r+") as file:
        replace(file["a"], "seconds", np.tile([0.0, 1.0], (CLIPS, 1)))
    assert problems(copy) == []


def test_arrays_are_read_piece_by_piece(copy, monkeypatch):
    monkeypatch.setattr("p3dfeat.store.check.video.PIECE_BYTES", 1)  # a row each
    assert problems(copy) == []
    with h5py.File(copy, "r+") as file:
        file["a/pool5"][2, 5] = np.nan
        file["a/seconds"][2] = (-1.0, 0.0)
    assert sorted(text for _, text in problems(copy)) == [
        "pool5: 1 of 768 numbers are not finite",
        "seconds: a clip begins before the one in front of it",
    ]


@pytest.mark.parametrize("length", [0, 3, 100, 2000, -100, -1])
def test_a_file_that_was_cut_off_is_found(copy, length):
    data = copy.read_bytes()
    copy.write_bytes(data[: length if length >= 0 else len(data) + length])
    (problem,) = list(check_file(copy))
    assert "cannot be opened as HDF5" in problem.text


def test_a_file_that_is_not_there_or_no_file_is_told_in_one_line(tmp_path):
    with pytest.raises(FeatureFileError, match="no such file"):
        list(check_file(tmp_path / "none.h5"))
    with pytest.raises(FeatureFileError, match="not readable"):
        list(check_file(tmp_path))


def sabotaged(monkeypatch, code: str) -> None:
    """Let the process that looks do something else when it comes to archery/b. code: the body of a function."""
    lines = [
        "import sys, json; sys.path[:], _, arguments = json.loads(sys.argv[1])",
        "import os, signal, time; from p3dfeat.store.check import file as check",
        "usual = check.VideoCheck.run",
        "def run(self):",
        "    if self._group.name == '/archery/b':",
        f"        {code}",
        "    return usual(self)",
        "check.VideoCheck.run = run",
        "check.main(*arguments)",
    ]
    monkeypatch.setattr(processes, "START", "\n".join(lines))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the process that checked it died of SIGSEGV"),
        ("os._exit(7)", "the process that checked it failed (exit code 7)"),
        ("signal.alarm(1); time.sleep(60)", "the process that checked it did not finish, and was stopped"),
        ("bytearray(3 << 30)", "group: cannot be read (MemoryError)"),
        ("raise RuntimeError('bad object header')", "group: cannot be read (bad object header)"),
        ("sys.stdout.buffer.write(b'spoilt memory'); sys.stdout.buffer.flush(); os._exit(1)", "failed (exit code 1)"),
    ],
)
def test_a_process_that_dies_of_a_video_is_replaced_and_the_others_are_looked_at(sound, monkeypatch, code, text):
    sabotaged(monkeypatch, code)
    found = list(check_file(sound))
    (problem,) = [item for item in found if isinstance(item, Problem)]
    assert problem.id == "archery/b"
    assert text in problem.text
    assert [item.id for item in found if isinstance(item, Looked)] == ["a", "archery/c"]
    assert sum(isinstance(item, Root) for item in found) == 1


@pytest.mark.parametrize(
    "line",
    ['{"beat": true}', "[" * 3000, '{"finding": [1, 2]}', '{"video": 3, "clips": "x"}', '{"settings": 5}', "x" * 3000],
)
def test_a_process_that_talks_without_end_is_ended(sound, monkeypatch, line):
    monkeypatch.setattr(check_process, "MOST_MESSAGES", 500)
    monkeypatch.setattr(check_process, "LINE_BYTES", 2000)
    end = "" if line.startswith("x") else "\\n"
    sabotaged(monkeypatch, f"[sys.stdout.buffer.write(b'{line}{end}') for _ in range(2_000_000)]; time.sleep(600)")
    monkeypatch.setattr(check_process, "ENDING_SECONDS", 1.0)
    found = list(check_file(sound))
    assert "archery/b" in [item.id for item in found if isinstance(item, Problem)]


TRIES = """
import socket
def tried(act):
    try: return act() and "done"
    except OSError as error: return type(error).__name__
tries = [
    lambda: open(FOLDER + "/secret"),
    lambda: open(FOLDER + "/new", "w"),
    lambda: os.posix_spawn("/bin/true", ["true"], {}),
    lambda: socket.create_connection(("127.0.0.1", 9)),
]
"""


def test_a_process_that_looks_is_told_no_secrets_and_reads_and_writes_nothing_else(sound, monkeypatch, tmp_path):
    if not has_landlock():
        pytest.skip("this kernel has no Landlock")
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    (tmp_path / "secret").write_text("s")
    sabotaged(monkeypatch, "raise RuntimeError(repr([*map(tried, tries), os.environ.get('HF_TOKEN')]))")
    tries = f"FOLDER = {str(tmp_path)!r}{TRIES}"
    monkeypatch.setattr(processes, "START", processes.START.replace("usual =", f"{tries}\nusual ="))
    (problem,) = [item for item in check_file(sound) if isinstance(item, Problem)]
    refused = "'PermissionError', 'PermissionError', 'PermissionError'"  # connecting needs version 4 of Landlock
    assert f"[{refused}, 'PermissionError', None]" in problem.text or f"[{refused}, 'Connection" in problem.text
    assert not (tmp_path / "new").exists()


def test_an_array_that_claims_more_than_its_bytes_can_be_unpacked_to_is_not_read(copy):
    with h5py.File(copy, "r+") as file:
        replace_by_chunks(file["a"], "res5a", (1 << 30, 256, 2, 2))
    assert [text for id, text in problems(copy) if id == "a" and "which are not there" in text]


def replace_by_chunks(group, name, shape):
    del group[name]
    group.create_dataset(name, shape, np.float32, chunks=(1, 256, 2, 2))[0] = 1


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "feats.h5")
    with pytest.raises(FeatureFileError, match="not a feature file; it is a pipe or a device"):
        list(check_file(tmp_path / "feats.h5"))


def test_a_process_that_hangs_where_its_own_clock_does_not_ring_is_ended(sound, monkeypatch):
    sabotaged(monkeypatch, "signal.alarm(0); time.sleep(600)")
    problems = []
    for item in check_file(sound):
        if isinstance(item, Problem):
            problems.append((item.id, "did not finish" in item.text))
        # A process that starts may be silent for longer; one that has looked at a video is not.
        monkeypatch.setattr(check_process, "SILENT_SECONDS", 60.0 if problems else 2.0)
    assert problems == [("archery/b", True)]


def test_too_many_deaths_end_the_look_and_are_told(sound, monkeypatch):
    sabotaged(monkeypatch, "pass\n    os._exit(1)")  # at every video
    monkeypatch.setattr(check_process, "MOST_DEATHS", 2)
    found = [item for item in check_file(sound) if isinstance(item, Problem)]
    assert [item.id for item in found] == ["a", "archery/b", ""]
    assert "the rest was not checked, after 2 processes that died" in found[-1].text


def test_a_second_hang_ends_the_look(sound, monkeypatch):
    sabotaged(monkeypatch, "pass\n    os.kill(os.getpid(), signal.SIGALRM)")  # at every video
    found = [item for item in check_file(sound) if isinstance(item, Problem)]
    assert [item.id for item in found] == ["a", "archery/b", ""]
    assert "did not finish" in found[1].text


def test_who_stops_looking_leaves_no_process_behind(sound, monkeypatch):
    started = []
    usual = check_process.subprocess.Popen

    def noted(*arguments, **settings):
        started.append(usual(*arguments, **settings))
        return started[-1]

    monkeypatch.setattr(check_process.subprocess, "Popen", noted)
    looking = check_file(sound)
    next(looking)
    looking.close()
    assert [process.returncode is not None for process in started] == [True]


def mutated(data: bytes, seed: int) -> bytes:
    """Flipped bits, bytes written over, pieces moved, and an end cut off."""
    rng, found = random.Random(seed), bytearray(data)
    place, other = rng.randrange(len(data)), rng.randrange(len(data))
    match seed % 5:
        case 0:
            for _ in range(rng.choice([1, 8])):
                found[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            found[place : place + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f"])[: len(data) - place]
        case 2:
            found[place : place + 64] = bytes(len(found[place : place + 64]))
        case 3:
            found[place : place + 64] = data[other : other + len(found[place : place + 64])]
        case 4:
            del found[place:]
    return bytes(found)[: len(data)]


def test_no_damage_ends_in_anything_but_findings(sound, tmp_path):
    """Bytes between structures, and low bits of numbers, can change unseen; nothing else may happen."""
    data = sound.read_bytes()

    def look(seed: int) -> tuple[int, int]:
        path = tmp_path / f"{seed}.h5"
        path.write_bytes(mutated(data, seed))
        found = list(check_file(path))
        return seed, sum(isinstance(item, Problem) for item in found)

    with ThreadPoolExecutor(2) as pool:
        counts = dict(pool.map(look, range(20)))
    assert all(count for seed, count in counts.items() if seed % 5 == 4)  # cut off
    assert sum(count > 0 for count in counts.values()) > 7
