"""Each reader's own rule for the time of a row, applied to an export, finds what happens in the video.

The rules are written down here as their sources have them, see docs/export.md.
"""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.config import CROPS, Sampling
from tests.exports.made import SPEC, feature_file, scenes

CUTS = (61, 130, 171, 250)  # frames
FRAMES = 301


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A function that gives a video with cuts, at a frame rate."""
    made = {}

    def of(fps=Fraction(25)):
        if fps not in made:
            path = tmp_path_factory.mktemp("scenes") / "scenes.mp4"
            made[fps] = scenes(path, CUTS, FRAMES, fps=fps)
        return made[fps]

    return of


def crossings(times: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Times at which the brightness passes a half, on straight lines between rows."""
    found = []
    for i in range(len(times) - 1):
        low, high = brightness[i] - 0.5, brightness[i + 1] - 0.5
        if low * high < 0 or low == 0:
            found.append(times[i] + (times[i + 1] - times[i]) * low / (low - high))
    return np.array(found)


def assert_found(times, brightness, fps, stride_seconds, cuts=CUTS):
    found = crossings(np.asarray(times), np.asarray(brightness))
    wanted = np.array(cuts) / float(fps)
    assert len(found) == len(wanted), (found, wanted)
    assert np.abs(found - wanted).max() <= 0.5 * stride_seconds, found - wanted


STRIDES = [
    {"stride": 4},
    {"stride": 8},
    {"stride": 4, "offset": 0},
    {"stride": 8, "offset": 4},
    {"stride": 6, "offset": 20},
    {"stride": 4, "step": 2},
    {"stride": 5, "tail": "drop"},
    {"stride": 5, "tail": "align"},
    {"stride": 4, "fps": 15.0},
    {"stride": 4, "fps": 15.0, "offset": 0},
]


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), 50])
@pytest.mark.parametrize("settings", STRIDES, ids=str)
def test_opentad_and_actionformer_find_each_cut(video, tmp_path, fps, settings):
    file = feature_file(tmp_path / "f.h5", {"v": video(fps)}, Sampling(clips=None, **settings))
    p3dfeat.export(file, tmp_path / "tad", to="opentad")
    told = {}
    exec((tmp_path / "tad" / "opentad.py").read_text(), told)
    about = told["dataset_settings"]
    rows = np.load(tmp_path / "tad" / "v.npy")[:, 0]
    times = (np.arange(len(rows)) * about["feature_stride"] + about["offset_frames"]) / about["fps"]
    rate = settings.get("fps", float(fps))
    usual = len(rows) - ("align" in settings.values())  # its last row is moved
    assert about["fps"] == pytest.approx(rate, rel=1e-5)
    assert_found(times[:usual], rows[:usual], fps, settings["stride"] / rate)

    p3dfeat.export(file, tmp_path / "af", to="actionformer")
    lines = dict(line.strip().split(": ") for line in (tmp_path / "af/actionformer.yaml").read_text().splitlines()[2:])
    stride, spanned, default = (float(lines[name]) for name in ("feat_stride", "num_frames", "default_fps"))
    times = (np.arange(len(rows)) * stride + spanned / 2) / default
    assert_found(times[:usual], np.load(tmp_path / "af/v.npy")[:usual, 0], fps, stride / rate)


def test_one_hdf5_file_for_actionformer(video, tmp_path):
    file = feature_file(tmp_path / "f.h5", {"v": video()}, Sampling(clips=None, stride=4))
    p3dfeat.export(file, tmp_path / "anet.hdf5", to="actionformer", prefix="v_")
    with h5py.File(tmp_path / "anet.hdf5") as stored:
        rows = stored["v_" + "v"][()]
    assert_found((np.arange(len(rows)) * 4 + 16 / 2) / 25, rows[:, 0], 25, 4 / 25)


def test_activitynets_c3d_file(video, tmp_path):
    file = feature_file(tmp_path / "f.h5", {"abc": video()}, Sampling(clips=None, stride=8))
    p3dfeat.export(file, tmp_path / "c3d.hdf5", to="activitynet-c3d")
    with h5py.File(tmp_path / "c3d.hdf5") as stored:
        rows = stored["v_abc/c3d_features"][()]
    assert_found((8 * np.arange(len(rows)) + 8) / 25, rows[:, 0], 25, 8 / 25)


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001)])
@pytest.mark.parametrize(
    "settings", [{"stride": 4}, {"stride": 4, "offset": 0}, {"clips": 40}, {"every": 0.25}], ids=str
)
def test_bmn_rows_span_the_video(video, tmp_path, fps, settings):
    sampling = Sampling(**{"clips": None, **settings})
    file = feature_file(tmp_path / "f.h5", {"v": video(fps)}, sampling)
    p3dfeat.export(file, tmp_path / "bmn", to="bmn")
    text = (tmp_path / "bmn/v.csv").read_text().splitlines()
    assert text[0] == "f0,f1,f2,f3,f4,f5"
    rows = np.array([[float(number) for number in line.split(",")] for line in text[1:]])
    assert rows.shape == (100, 6)
    duration = FRAMES / float(fps)
    between_rows = max(duration / 100, 8 / float(fps))
    assert_found(duration * (np.arange(100) + 0.5) / 100, rows[:, 0], fps, between_rows)


@pytest.mark.parametrize("settings", [{"stride": 4}, {"stride": 1}, {"stride": 8, "offset": 0}, {"clips": 60}], ids=str)
def test_ms_tcn_has_a_column_per_frame(video, tmp_path, settings):
    file = feature_file(tmp_path / "f.h5", {"v": video()}, Sampling(**{"clips": None, **settings}))
    p3dfeat.export(file, tmp_path / "tcn", to="ms-tcn")
    columns = np.load(tmp_path / "tcn/v.npy")
    assert columns.shape == (6, FRAMES)
    found = [int(frame) for frame in np.flatnonzero(np.diff((columns[0] > 0.5).astype(int))) + 1]
    half = settings.get("stride", FRAMES / 60) / 2
    assert len(found) == len(CUTS)
    assert np.abs(np.array(found) - CUTS).max() <= max(half, 0.5) + 0.5


@pytest.mark.parametrize(
    "settings", [{"stride": 16, "offset": 0}, {"stride": 16}, {"stride": 8, "offset": 20}], ids=str
)
def test_a_frame_of_ms_tcn_has_the_row_of_the_nearest_centre(video, tmp_path, settings):
    file = feature_file(tmp_path / "f.h5", {"v": video()}, Sampling(clips=None, **settings))
    p3dfeat.export(file, tmp_path / "tcn", to="ms-tcn")
    found = np.load(tmp_path / "tcn/v.npy")[1]  # the number of the row
    centres = settings.get("offset", 8) + settings["stride"] * np.arange(int(found.max()) + 1)
    wanted = np.abs(np.arange(FRAMES)[:, None] + 0.5 - centres).argmin(axis=1)
    np.testing.assert_array_equal(found, wanted)


def test_ms_tcn_at_the_readers_rate(video, tmp_path):
    file = feature_file(tmp_path / "f.h5", {"v": video(50)}, Sampling(clips=None, stride=2, fps=15.0))
    p3dfeat.export(file, tmp_path / "tcn", to="ms-tcn")
    columns = np.load(tmp_path / "tcn/v.npy")
    assert abs(columns.shape[1] - FRAMES / 50 * 15) <= 1
    found = np.flatnonzero(np.diff((columns[0] > 0.5).astype(int))) + 1
    assert np.abs(found / 15 - np.array(CUTS) / 50).max() <= 1.5 / 15


def test_rtfm_has_ten_crops_of_each_16_frames(video, tmp_path):
    sampling = Sampling(clips=None, stride=16)
    file = feature_file(tmp_path / "f.h5", {"v": video()}, sampling, replace(SPEC, crops=CROPS[10]))
    p3dfeat.export(file, tmp_path / "rtfm", to="rtfm")
    rows = np.load(tmp_path / "rtfm/v.npy")
    assert rows.shape == (19, 10, 6)
    assert rows[3, :, 2].tolist() == list(range(10))  # each crop is one of the middle axis
    for row in range(18):
        frames = range(16 * row, 16 * row + 16)
        bright = np.mean([sum(cut <= frame for cut in CUTS) % 2 for frame in frames])
        assert rows[row, :, 0] == pytest.approx(bright, abs=0.06)
    p3dfeat.export(file, tmp_path / "segments", to="rtfm", segments=32)
    parts = np.load(tmp_path / "segments/v.npy")
    assert parts.shape == (32, 10, 6)
    borders = np.linspace(0, 19, 33, dtype=int)
    for part, (first, end) in enumerate(pairwise(borders)):
        np.testing.assert_array_equal(parts[part], rows[first:end].mean(axis=0) if end > first else rows[first])
    assert (tmp_path / "rtfm/files.list").read_text() == "v.npy\n"


def test_moment_detr_has_a_row_every_two_seconds(tmp_path):
    cuts = (0, 50, 150, 200)  # at whole intervals of two seconds
    path = scenes(tmp_path / "v.mp4", cuts, 270)
    file = feature_file(tmp_path / "f.h5", {"v": path}, Sampling(clips=None, every=2.0))
    p3dfeat.export(file, tmp_path / "md", to="moment-detr")
    rows = np.load(tmp_path / "md/v.npz")["features"]
    assert (rows[:, 0] > 0.5).tolist() == [True, False, False, True, False]
    stepped = feature_file(tmp_path / "g.h5", {"v": path}, Sampling(clips=None, stride=20, fps=10.0, offset=10))
    p3dfeat.export(stepped, tmp_path / "md2", to="moment-detr")
    rows = np.load(tmp_path / "md2/v.npz")["features"]
    assert (rows[:, 0] > 0.5).tolist() == [True, False, False, True, False]


def test_hcrn_has_eight_clips_and_integers(video, tmp_path):
    sampling = Sampling(clips=8, spacing="inside")
    file = feature_file(tmp_path / "f.h5", {"msvd/video7": video(), "msvd/video12": video()}, sampling)
    p3dfeat.export(file, tmp_path / "hcrn.h5", to="hcrn")
    with h5py.File(tmp_path / "hcrn.h5") as stored:
        features, ids = stored["resnext_features"][()], stored["ids"][()]
    assert features.shape == (2, 8, 6)
    assert ids.dtype.kind == "i"
    assert sorted(ids.tolist()) == [7, 12]
    centres = np.linspace(0, FRAMES, 10)[1:9]
    seen = [sum(cut <= centre for cut in CUTS) % 2 for centre in centres]
    clear = [min(abs(centre - cut) for cut in CUTS) > 8 for centre in centres]
    for row, level, sure in zip(features[0, :, 0], seen, clear, strict=True):
        assert not sure or row == pytest.approx(level, abs=0.06)


@pytest.mark.parametrize("layout", ["opentad", "actionformer", "bmn", "ms-tcn"])
@pytest.mark.parametrize("origin", ["first-frame", "clock"])
def test_times_of_a_segment_count_from_its_start(video, tmp_path, layout, origin):
    about = {"start_seconds": 2.0, "end_seconds": 9.0, "segment_origin": origin}
    file = feature_file(tmp_path / "f.h5", {"part": video()}, Sampling(clips=None, stride=4), **about)
    p3dfeat.export(file, tmp_path / "out", to=layout)
    cuts = [cut - 50 for cut in CUTS if 50 < cut < 225]
    if layout == "bmn":
        rows = np.loadtxt(tmp_path / "out/part.csv", delimiter=",", skiprows=1)[:, 0]
        assert_found(7.0 * (np.arange(100) + 0.5) / 100, rows, 25, 8 / 25, cuts)
    elif layout == "ms-tcn":
        columns = np.load(tmp_path / "out/part.npy")[0]
        assert len(columns) == 175
        assert np.abs(np.flatnonzero(np.diff(columns > 0.5)) + 1 - cuts).max() <= 2
    else:
        rows = np.load(tmp_path / "out/part.npy")[:, 0]
        assert_found((np.arange(len(rows)) * 4 + 8) / 25, rows, 25, 4 / 25, cuts)


def test_a_late_first_frame_does_not_move_rows(tmp_path):
    ticks = [1000 + 40 * number for number in range(FRAMES)]  # milliseconds: the file begins at 1 s
    path = scenes(tmp_path / "late.mkv", CUTS, FRAMES, ticks=ticks, time_base=Fraction(1, 1000))
    for name, sampling in (("tad", Sampling(clips=None, stride=4)), ("bmn", Sampling(clips=None, every=0.16))):
        file = feature_file(tmp_path / f"{name}.h5", {"v": path}, sampling)
        p3dfeat.export(file, tmp_path / name, to="opentad" if name == "tad" else "bmn")
    rows = np.load(tmp_path / "tad/v.npy")[:, 0]
    assert_found((np.arange(len(rows)) * 4 + 8) / 25, rows, 25, 4 / 25)
    rows = np.loadtxt(tmp_path / "bmn/v.csv", delimiter=",", skiprows=1)[:, 0]
    assert_found(FRAMES / 25 * (np.arange(100) + 0.5) / 100, rows, 25, 8 / 25)


def test_a_varying_frame_rate_is_refused_where_one_stride_tells_times_and_resampled_is_not(tmp_path):
    ticks = [40 * n if n < 150 else 40 * 150 + 20 * (n - 150) for n in range(FRAMES)]  # 25, then 50 frames a second
    path = scenes(tmp_path / "v.mkv", CUTS, FRAMES, ticks=ticks, time_base=Fraction(1, 1000))
    varying = feature_file(tmp_path / "f.h5", {"v": path}, Sampling(clips=None, stride=4))
    for layout in ("opentad", "actionformer"):
        summary = p3dfeat.export(varying, tmp_path / layout, to=layout)
        ((id, reason),) = summary.refused
        assert (id, summary.written) == ("v", 0)
        assert "frame rate varies; extract with --fps" in reason
        assert (tmp_path / layout / "missing_files.txt").read_text() == "v\n"
    even = feature_file(tmp_path / "g.h5", {"v": path}, Sampling(clips=None, stride=4, fps=25.0))
    p3dfeat.export(even, tmp_path / "even", to="opentad")
    rows = np.load(tmp_path / "even/v.npy")[:, 0]
    found = crossings((np.arange(len(rows)) * 4 + 8) / 25, rows)
    assert np.abs(found - np.array([ticks[cut] / 1000 for cut in CUTS])).max() <= 0.5 * 4 / 25
    p3dfeat.export(varying, tmp_path / "tcn", to="ms-tcn")  # counts frames, so that their times do not matter
    columns = np.load(tmp_path / "tcn/v.npy")[0]
    assert np.abs(np.flatnonzero(np.diff(columns > 0.5)) + 1 - np.array(CUTS)).max() <= 2


def test_the_database_has_what_readers_take_from_annotations(video, tmp_path):
    file = feature_file(tmp_path / "f.h5", {"a/v": video(), "w": video(50)}, Sampling(clips=None, stride=4))
    p3dfeat.export(file, tmp_path / "tad", to="opentad")
    database = json.loads((tmp_path / "tad/database.json").read_text())["database"]
    assert database["a/v"]["duration"] == pytest.approx(FRAMES / 25)
    assert database["a/v"]["frame"] == FRAMES
    assert database["w"]["fps"] == pytest.approx(50)
    assert "fps=-1" in (tmp_path / "tad/opentad.py").read_text()  # videos differ
