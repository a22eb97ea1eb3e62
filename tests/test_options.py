"""Each option is declared once; the command line and Python follow from it."""

import inspect
import re
import warnings
from typing import Literal, get_args, get_origin

import pytest

import p3dfeat as package
from p3dfeat import errors, options
from p3dfeat.cli.app import run
from p3dfeat.options import ClassifySettings, ExtractSettings, VerifySettings, options_of

FORMER = {"stride": "clip_stride", "step": "frame_interval", "decoder": "decode_device", "limit": "max_videos"}


def said(capfd, *arguments: object) -> tuple[int, str, str]:
    capfd.readouterr()
    code = run([str(argument) for argument in arguments])
    return code, *capfd.readouterr()


@pytest.mark.parametrize(
    ("command", "settings"), [("extract", ExtractSettings), ("classify", ClassifySettings), ("verify", VerifySettings)]
)
def test_every_option_is_in_the_help_with_the_values_it_takes(capfd, monkeypatch, command, settings):
    monkeypatch.setenv("COLUMNS", "300")
    _, shown, _ = said(capfd, command, "--help")
    for name, (field, about) in options_of(settings).items():
        assert f"--{name.replace('_', '-')}" in shown
        assert " ".join(about.help.split()[:3]) in shown
        for value in get_args(field.type) if get_origin(field.type) is Literal else ():
            assert str(value) in shown
        if about.former:
            assert not re.search(rf"--{about.former}\b(?!-)", shown)


def test_python_takes_the_same_options_by_the_same_names():
    accepted = inspect.signature(package.extract).parameters
    assert list(accepted)[:2] == ["inputs", "output"]
    assert set(options_of(ExtractSettings)) < set(accepted)
    assert accepted["clips"].default is None
    with pytest.raises(TypeError, match="colour"):
        package.extract("videos", "f.h5", colour="red")


@pytest.mark.parametrize(("former", "now"), FORMER.items())
def test_former_names_are_understood_in_python(former, now, tmp_path):
    value = "vaapi" if former == "decoder" else 0
    with (
        pytest.warns(package.P3DFeatWarning, match=f"option {former}: is now called {now}"),
        pytest.raises(package.UsageError, match=now.replace("_", " ")),
    ):
        package.extract(tmp_path, tmp_path / "f.h5", **{former: value})


def test_former_names_are_understood_on_the_command_line(capfd, folder, tmp_path):
    arguments = ("extract", folder / "left.mp4", "-o", tmp_path / "f.h5", "--step", 2, "--limit=1", "--decoder", "cpu")
    code, _, told = said(capfd, *arguments, "--stride", 8)
    assert code == 0
    for former, now in FORMER.items():
        assert f"--{former}: is now called --{now.replace('_', '-')}" in told
    with package.open_features(tmp_path / "f.h5") as features:
        assert features.settings["sampling"] == features.settings["sampling"] | {"stride": 8, "step": 2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tail": "cut"}, "tail 'cut': unknown; known are pad, drop, align"),
        ({"engine": "tensorrt"}, "engine 'tensorrt': unknown; known are auto, torch, openvino"),
        ({"workers": 0}, "workers 0: must be at least 1"),
        ({"max_videos": -1}, "max videos -1: must be at least 1"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_one_line(settings, message):
    with pytest.raises(package.UsageError, match=re.escape(message)):
        ExtractSettings(**settings)


def test_all_errors_are_public():
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.P3DFeatError | errors.P3DFeatWarning)
    }
    assert len(classes) > 10
    assert classes <= set(package.__all__)


def test_a_decorated_function_passes_its_settings_on():
    def run_count(subject: str, settings: ExtractSettings) -> tuple[str, int | None]:
        return subject, settings.clips

    count = options.with_options(ExtractSettings)(run_count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count("a", clips=3) == count(subject="a", clips=3) == ("a", 3)
    assert count.__name__ == "count"
