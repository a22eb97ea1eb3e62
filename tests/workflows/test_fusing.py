"""Two models label a video together: the probabilities are the mean of both."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import p3dfeat
from p3dfeat.errors import UsageError
from p3dfeat.nets import P3D
from tests.videos import panning_frames, write_video


@pytest.fixture(scope="module")
def models():
    """The embedded model, and one of other weights with the same labels."""
    first = p3dfeat.load_model("p3d-camera")
    net = P3D(first.card.architecture).eval()
    with torch.no_grad():
        for mine, theirs in zip(net.state_dict().values(), first.net.state_dict().values(), strict=True):
            mine.copy_(theirs * 1.1 if theirs.is_floating_point() else theirs)
    return first, replace(first, net=net, card=replace(first.card, name="other"), weights_sha256="1" * 64)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fused")
    for name, pixels in (("a", -3), ("b", 3)):
        write_video(folder / f"{name}.mp4", panning_frames(60, pixels_a_frame=pixels, seed=ord(name)))
    (folder / "c.mp4").write_bytes(b"no video")
    return folder


def probabilities(found):
    return {result.id: {each.label: each.probability for each in result.predictions} for result in found}


@pytest.mark.parametrize("timeline", [False, True])
def test_probabilities_are_the_mean_of_both(models, videos, timeline):
    options = {"top_k": 20, "timeline": timeline, "on_failure": lambda failure: None}
    one, two = (p3dfeat.classify(videos, model=model, **options) for model in models)
    failures = []
    both = p3dfeat.classify(videos, model=models[0], fuse=models[1], **{**options, "on_failure": failures.append})
    assert [result.id for result in both] == ["a", "b"]
    assert [failure.source for failure in failures] == [str(videos / "c.mp4")]
    first, second, mean = probabilities(one), probabilities(two), probabilities(both)
    for id, labels in mean.items():
        wanted = {label: (first[id][label] + second[id][label]) / 2 for label in labels}
        assert labels == pytest.approx(wanted, abs=1e-6)
        assert first[id] != pytest.approx(second[id], abs=1e-4)
    if timeline:
        assert all(len(result.timeline) >= 1 for result in both)
        assert np.isclose(both[0].timeline[-1].end_seconds, one[0].timeline[-1].end_seconds)


def test_a_model_fused_with_itself_says_the_same(models, videos):
    options = {"model": models[0], "top_k": 20, "on_failure": lambda failure: None}
    alone = probabilities(p3dfeat.classify(videos, **options))
    both = probabilities(p3dfeat.classify(videos, fuse=models[0], **options))
    for id, labels in alone.items():
        assert both[id] == pytest.approx(labels, abs=1e-7)


def test_models_with_other_labels_are_refused(models, videos):
    other = replace(
        models[1], card=replace(models[1].card, labels=tuple("abcdefghijklm"[: len(models[0].card.labels)]))
    )
    with pytest.raises(UsageError, match="has other labels than p3d-camera; probabilities cannot be averaged"):
        p3dfeat.classify(videos, model=models[0], fuse=other)


def test_a_classifier_and_a_second_model_exclude_each_other(models, videos):
    with pytest.raises(UsageError, match="leave --fuse or --head out"):
        p3dfeat.classify(videos, model=models[0], fuse=models[1], head="h.safetensors")
