"""p3dfeat weights convert."""

import pytest

from tests.reference_weights import CAFFE_FILES, GLUONCV_FILE


@pytest.mark.parametrize("source", [CAFFE_FILES[0], GLUONCV_FILE], ids=lambda path: path.name)
def test_a_converted_file_runs_as_a_model(p3dfeat, tmp_path, folder, source):
    target = tmp_path / "mine.safetensors"
    ended = p3dfeat("weights", "convert", source, "-o", target)
    assert ended.code == 0
    assert "10 classes" in ended.stderr
    features = p3dfeat("extract", folder / "left.mp4", "-o", tmp_path / "f.h5", "-m", target, "--clips", 1)
    assert features.code == 0
    direct = p3dfeat("classify", folder / "left.mp4", "-m", source, "--clips", 1, "--json")
    converted = p3dfeat("classify", folder / "left.mp4", "-m", target, "--clips", 1, "--json")
    assert direct.stdout == converted.stdout


def test_what_is_no_weights_file_is_exit_5_and_leaves_nothing(p3dfeat, tmp_path):
    (tmp_path / "x.caffemodel").write_text("no weights")
    ended = p3dfeat("weights", "convert", tmp_path / "x.caffemodel")
    assert ended.code == 5
    assert len(ended.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.caffemodel"]


def test_a_file_is_not_converted_onto_itself(p3dfeat, tmp_path):
    p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "a.safetensors")
    ended = p3dfeat("weights", "convert", tmp_path / "a.safetensors")
    assert ended.code == 2
    assert "is the file to convert" in ended.stderr


def test_a_card_that_is_none_is_refused(p3dfeat, tmp_path):
    ended = p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "a.safetensors", "--card", CAFFE_FILES[0])
    assert ended.code == 2
    assert "neither a model nor a .toml file" in ended.stderr


def test_an_unwritable_target_is_one_line(p3dfeat, tmp_path):
    ended = p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "no" / "a.safetensors")
    assert ended.code == 5
    assert "cannot be written" in ended.stderr
