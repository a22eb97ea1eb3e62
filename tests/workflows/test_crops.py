"""Several crops of a clip, from the command to the file: their order, their mean, and what reads them back."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.config import CROPS, InputSpec, Sampling, crop_names
from p3dfeat.errors import FeatureFileError, UsageError
from p3dfeat.zoo.cards import Test as Protocol
from tests.videos import panning_frames, write_video
from tests.workflows.test_pipeline import Recorder, made, pipeline

SMALL = InputSpec(channels="luma", resize=(16, 16), length=2, crops=crop_names(1, mirror=True))


def rows(events) -> dict[str, list[float]]:
    """The first number of each crop, in order."""
    found: dict[str, list[float]] = {}
    for event in events:
        if isinstance(event, pipeline.Described):
            found.setdefault(event.video.id, []).extend(event.features.layers["pool5"].reshape(-1).tolist())
    return found


@pytest.fixture(scope="module")
def model():
    """The embedded network, on crops of a larger picture."""
    model = p3dfeat.load_model("p3d-camera")
    spec = replace(model.card.input, resize=(72, 96), crop=(64, 64))
    return replace(model, card=replace(model.card, input=spec))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    for number, pixels in enumerate((-3, 2, 4)):
        write_video(folder / f"v{number}.mp4", panning_frames(40, pixels_a_frame=pixels, seed=number))
    return folder


@pytest.fixture(scope="module")
def ten(model, videos, tmp_path_factory):
    output = tmp_path_factory.mktemp("ten") / "feats.h5"
    summary = p3dfeat.extract(videos, output, model=model, clips=3, crops=10, layers=("pool5", "prob"), batch_size=4)
    assert (summary.stored, summary.clips) == (3, 9)
    return output


def test_each_crop_is_computed_as_if_it_were_alone(ten, model, videos, tmp_path):
    p3dfeat.extract(videos, tmp_path / "centre.h5", model=model, clips=3)
    p3dfeat.extract(videos, tmp_path / "three.h5", model=model, clips=3, crops=3, mirror=True)
    with (
        p3dfeat.open_features(ten) as many,
        p3dfeat.open_features(tmp_path / "three.h5") as three,
        p3dfeat.open_features(tmp_path / "centre.h5") as centre,
    ):
        assert many.crops == CROPS[10]
        assert centre.crops == ("centre",)
        for id, video in many.items():
            assert video["pool5"].shape == (3, 10, 512)
            assert video.dims("pool5") == ("clip", "crop", "channel")
            assert video.dims("prob") == ("clip", "crop", "class")
            np.testing.assert_array_equal(video["pool5"][:, 4], centre[id]["pool5"])
            assert three[id]["pool5"].shape == (3, 6, 512)
            np.testing.assert_array_equal(three[id]["pool5"][:, 1], centre[id]["pool5"])
            np.testing.assert_array_equal(three[id]["pool5"][:, 4], video["pool5"][:, 9])
            np.testing.assert_array_equal(video["seconds"], centre[id]["seconds"])


def test_the_descriptor_is_the_mean_over_clips_and_crops(ten):
    with p3dfeat.open_features(ten) as features:
        for video in features.values():
            np.testing.assert_allclose(video.pooled, video["pool5"].mean(axis=(0, 1), dtype=np.float64), rtol=1e-6)


def test_a_file_with_crops_verifies_and_recomputes(ten, model):
    assert p3dfeat.verify(ten).findings == ()


def test_damage_to_one_crop_is_found(ten, tmp_path):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(ten.read_bytes())
    with h5py.File(copy, "r+") as file:
        file["v1/pool5"][2, 9, 5] += 1
    (finding,) = p3dfeat.verify(copy).findings
    assert "not the mean of pool5" in finding.text


def test_recomputing_uses_the_crops_of_the_file(videos, tmp_path):
    p3dfeat.extract(videos, tmp_path / "mirror.h5", model="p3d-camera", clips=2, mirror=True, layers=("pool5", "prob"))
    summary = p3dfeat.verify(tmp_path / "mirror.h5", recompute="all")
    assert summary.findings == ()
    assert summary.identical == 3


@pytest.mark.parametrize("sampling", [{"every": 0.5}, {"clip_stride": 8, "offset": 0}, {"spacing": "inside"}])
def test_recomputing_uses_the_sampling_of_the_file(videos, tmp_path, sampling):
    p3dfeat.extract(videos, tmp_path / "f.h5", model="p3d-camera", **sampling)
    summary = p3dfeat.verify(tmp_path / "f.h5", recompute="all")
    assert summary.findings == ()
    assert summary.identical == 3


def test_another_number_of_crops_is_other_settings(ten, model, videos):
    with pytest.raises(FeatureFileError, match=r"preprocessing.crops is .*'top-left'.* there, .*'centre'.* now"):
        p3dfeat.extract(videos, ten, model=model, clips=3, layers=("pool5", "prob"))


def test_files_without_crops_say_nothing_of_them(videos, tmp_path):
    p3dfeat.extract(videos, tmp_path / "plain.h5", model="p3d-camera", clips=2)
    with p3dfeat.open_features(tmp_path / "plain.h5") as features:
        assert "crops" not in features.settings["preprocessing"]
        assert not {"every", "offset", "spacing"} & features.settings["sampling"].keys()


def test_first_frames_and_seconds_name_the_same_frames(videos, tmp_path):
    p3dfeat.extract(videos, tmp_path / "f.h5", model="p3d-camera", clips=4)
    with p3dfeat.open_features(tmp_path / "f.h5") as features:
        for video in features.values():
            np.testing.assert_allclose(video["first_frames"] / 25, video["seconds"][:, 0], atol=1e-9)
            assert video["first_frames"].dtype == np.int64


def test_impossible_first_frames_are_found(videos, tmp_path):
    p3dfeat.extract(videos, tmp_path / "f.h5", model="p3d-camera", clips=4)
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        file["v1/first_frames"][3] = 40
    (finding,) = p3dfeat.verify(tmp_path / "f.h5").findings
    assert "first_frames: not all are frames of the video" in finding.text


def test_classification_averages_the_probabilities_of_all_crops(ten, model, videos):
    found = p3dfeat.classify(videos, model=model, clips=3, crops=10, top_k=12)
    with p3dfeat.open_features(ten) as features:
        for result in found:
            mean = features[result.id]["prob"].mean(axis=(0, 1), dtype=np.float64)
            for prediction in result.predictions:
                assert prediction.probability == pytest.approx(mean[prediction.index], abs=1e-6)


def test_the_published_protocol_sets_clips_and_crops(model, videos):
    with_test = replace(model, card=replace(model.card, test=Protocol(clips=3, crops=10)))
    wanted = p3dfeat.classify(videos, model=model, clips=3, crops=10)
    assert p3dfeat.classify(videos, model=with_test, protocol="published") == wanted
    with pytest.raises(UsageError, match="leave --clips out"):
        p3dfeat.classify(videos, model=with_test, protocol="published", clips=4)
    with pytest.raises(UsageError, match="names no published test protocol"):
        p3dfeat.classify(videos, model=model, protocol="published")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7])
def test_crops_that_part_between_batches_come_together(monkeypatch, batch_size):
    contents = {"v1": (6, None), "v2": (2, None), "v3": (4, None)}  # Clips: two crops of each clip
    videos = made(monkeypatch, contents)
    events = list(
        pipeline.describe(videos, engine=Recorder(batch_size=batch_size), spec=SMALL, sampling=Sampling(clips=3))
    )
    clips = {"v1": 3, "v2": 1, "v3": 2}
    found = rows(events)
    assert found == {id: [10.0 * int(id[1:]) + number for number in range(2 * count)] for id, count in clips.items()}
    assert sum(len(event.features) for event in events if isinstance(event, pipeline.Described)) == 6


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_a_video_that_breaks_between_two_crops_does_not_touch_the_next(monkeypatch, batch_size):
    broken = p3dfeat.errors.VideoError("broken")
    videos = made(monkeypatch, {"v1": (3, broken), "v2": (4, None)})
    events = list(
        pipeline.describe(videos, engine=Recorder(batch_size=batch_size), spec=SMALL, sampling=Sampling(clips=3))
    )
    assert rows(events)["v2"] == [20.0, 21.0, 22.0, 23.0]
