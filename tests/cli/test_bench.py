"""p3dfeat bench."""

import pytest

from p3dfeat.workflows.bench import Measurement, bench


def test_decoding_the_net_and_both_are_measured(p3dfeat, folder):
    ended = p3dfeat("bench", folder, "-n", 2, "--rounds", 1, "--json")
    (record,) = ended.records
    assert (record["model"], record["videos"], record["clips"], record["failed"]) == ("p3d-camera", 3, 6, 0)
    for name in ("decode_clips_per_second", "model_clips_per_second", "clips_per_second", "limit_gflops"):
        assert record[name] > 0
    assert record["bound_by"] in ("the network", "decoding")
    shown = p3dfeat("bench", folder, "-n", 1, "--rounds", 1, "--max-videos", 1)
    for words in (
        "network alone",
        "decoding alone",
        "1 clip of 1 video",
        "% of the possible speed",
        "GFLOP per clip",
    ):
        assert words in shown.stdout


def test_without_videos_the_net_is_measured_alone(p3dfeat):
    shown = p3dfeat("bench", "--rounds", 1, "--engine", "torch")
    assert shown.code == 0
    assert "engine torch" in shown.stdout
    assert "decoding" not in shown.stdout


def test_what_cannot_be_read_is_counted_and_nothing_at_all_is_an_error(p3dfeat, folder, tmp_path):
    (tmp_path / "bad.mp4").write_text("x")
    both = p3dfeat("bench", tmp_path / "bad.mp4", folder / "left.mp4", "-n", 1, "--rounds", 1)
    assert (both.code, "1 video could not be read" in both.stderr) == (0, True)
    assert p3dfeat("bench", tmp_path / "bad.mp4", "-n", 1, "--rounds", 1).code == 4


def test_a_clip_of_p3d_199_is_36_8_gflop():
    from p3dfeat import Architecture
    from p3dfeat.workflows.bench import gflop_a_clip

    assert gflop_a_clip(Architecture.of_depth(199), 16, (160, 160)) == pytest.approx(36.8, abs=0.05)


def test_what_holds_a_machine_back_follows_from_the_rates():
    def measured(model: float, decode: float, both: float, device: str = "cpu") -> Measurement:
        rates = {"model_clips_per_second": model, "decode_clips_per_second": decode, "clips_per_second": both}
        about = {"model": "m", "engine": "e", "device": device, "precision": "fp32", "batch_size": 4, "rounds": 1}
        counts = {"videos": 1, "clips": 1, "failed": 0, "gflop_a_clip": 10.0, "limit_gflops": 100.0}
        return Measurement(**about, **counts, **rates)

    assert measured(5, 20, 4).bound_by == "the network"
    assert measured(5, 20, 4).efficiency == pytest.approx(1)  # 0.2 s and 0.05 s a clip, one after the other
    assert measured(5, 20, 5, "cuda").efficiency == pytest.approx(1)  # side by side
    assert measured(5, 2, 1).bound_by == "decoding"
    assert measured(5, 20, 4).share_of_limit == pytest.approx(0.5)


def test_counts_below_one_are_refused():
    from p3dfeat.errors import UsageError

    with pytest.raises(UsageError, match="must be at least 1"):
        bench((), rounds=0)
