"""Memory does not grow with the length of a video, the size of its pictures, or the number of videos."""

import subprocess
import sys
import time
from pathlib import Path

from p3dfeat.store import FeatureWriter
from stress import memory
from tests.store.test_store import INFO, SETTINGS, features, video


def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path):
    """Dense clips over 60 minutes at 25 frames a second, at low resolution."""
    peaks = []
    for minutes in (1, 60):
        video = memory.repeated_video(tmp_path / f"{minutes}.mp4", frames=minutes * 60 * memory.FPS)
        peaks.append(memory.peaks(video, tmp_path / f"{minutes}.h5", clip_stride=40))
    short, long = peaks
    assert long.main < short.main + 100, f"{short.main:.0f} MB for a minute, {long.main:.0f} MB for an hour"
    assert long.decoder < short.decoder + 100, f"a decoder: {short.decoder:.0f} MB, {long.decoder:.0f} MB"


def test_pictures_in_4k_cost_a_decoder_and_nothing_else(tmp_path):
    case = memory.large_pictures(tmp_path)
    assert case.fine, case.row()
    assert case.large.main < case.small.main + 50


def test_five_hundred_videos_take_little_more_memory_than_a_hundred(tmp_path):
    for case in memory.many_videos(tmp_path, count=500):
        assert case.fine, case.row()


def test_videos_that_are_stored_take_little_memory_whoever_asks_for_them(tmp_path):
    """HDF5 would keep 17 KB of each: 34 MB of these, in folders and beside each other."""
    output = tmp_path / "feats.h5"
    with FeatureWriter(output, SETTINGS) as writer:
        for number in range(2000):
            id = f"video {number}" if number % 2 else f"folder {number // 200}/video {number}"
            writer.add(video(id), features(1))
            writer.finish(video(id), INFO)
    code = "\n".join((
        "import sys; from pathlib import Path; from stress.memory import peak",
        "from p3dfeat.store import FeatureWriter, open_features; from tests.store.test_store import SETTINGS, video",
        "before = peak('self')",
        "features = open_features(sys.argv[1])",
        "ids = list(features)",
        "assert all(features[id]['pooled'].shape == (6,) for id in ids[::50])",
        "with FeatureWriter(sys.argv[1], SETTINGS) as writer:",
        "    for id in ids[::4]: writer._stored.about(id)",
        "print(len(ids), peak('self') - before)",
    ))  # fmt: skip
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, str(output)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, megabytes = map(float, done.stdout.split())
    assert count == 2000
    assert megabytes < 24


def test_decoders_that_are_gone_count_with_the_others():
    """One that has grown is replaced before the run ends."""
    peaks, grown = memory.DecoderPeaks(), "data = bytearray(300 << 20); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", grown], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    peaks.look()
    process.kill()  # and is not waited for: nothing is to be read of it any more
    process.stdout.read()
    time.sleep(2 * memory.LOOK_SECONDS)
    peaks.look()
    process.communicate()
    assert 300 < peaks.highest < 400


def test_a_peak_that_grows_too_much_is_told():
    small, large = memory.Peaks(main=300, decoder=60), memory.Peaks(main=550, decoder=60)
    assert not memory.Case("large", "small", small, large).fine
    assert memory.Case("large", "small", small, small).row()[-1] == "yes"
