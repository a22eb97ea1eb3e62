"""A configuration file gives defaults for options; the command line overrides them."""

import pytest

import p3dfeat as package

CONFIG = """
model = "p3d-camera"
workers = 1

[extract]
clips = 3
layers = ["pool5", "prob"]
strict = true

[classify]
top-k = 2
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("named", [False, True])
def test_options_come_from_the_file_and_the_command_line_overrides_them(p3dfeat, folder, tmp_path, named):
    name = "other.toml" if named else "p3dfeat.toml"
    (tmp_path / name).write_text(CONFIG)
    option = ("--config", name) if named else ()
    ended = p3dfeat("extract", folder / "left.mp4", "-o", "f.h5", *option)
    assert ended.code == 0
    assert ended.stderr.startswith(f"options from {name}: model, workers, clips, layers, strict\n")
    with package.open_features("f.h5") as features:
        assert features.settings["sampling"]["clips"] == 3
        assert set(features["left"]) == {"pool5", "prob", "pooled", "seconds", "first_frames"}
    ended = p3dfeat("extract", folder / "left.mp4", "-o", "g.h5", "--clips", 5, "-q", *option)
    assert (ended.code, ended.stderr) == (0, "")
    with package.open_features("g.h5") as features:
        assert features.settings["sampling"]["clips"] == 5
    (record,) = p3dfeat("classify", folder / "left.mp4", "--json", *option).records
    assert len(record["predictions"]) == 2


@pytest.mark.parametrize(
    ("text", "folds", "said"),
    [
        ("", 5, "none"),
        ("clips = 3\nfolds = 2", 2, "folds"),
        ("[eval.folder]\nfolds = 2\nlearner = 'ridge'", 2, "folds, learner"),
        ("[eval.pca]\nfolds = 2\n[extract]\nclips = 3", 5, "none"),
    ],
)
def test_commands_of_groups_have_tables_of_their_own(p3dfeat, tmp_path, text, folds, said):
    (tmp_path / "p3dfeat.toml").write_text(text)
    ended = p3dfeat("eval", "folder", "f.h5", "--show-config")
    assert (ended.code, ended.stderr) == (0, f"options from p3dfeat.toml: {said}\n")
    assert ended.stdout.startswith("[eval.folder]\n")
    assert f"folds = {folds}\n" in ended.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[eval.forest]\nfolds = 2", "p3dfeat.toml: eval.forest: no such option; see p3dfeat extract --help"),
        (
            "[eval]\nfolds = 2",
            "p3dfeat.toml: eval.folds: options stand in the table of a command, such as [eval.ucf101]",
        ),
        ("[eval.folder]\nfold = 2", "p3dfeat.toml: eval.folder.fold: no such option; did you mean folds?"),
        ("[eval.folder]\nqqq = 2", "p3dfeat.toml: eval.folder.qqq: no such option; see p3dfeat eval folder --help"),
    ],
)
def test_tables_of_no_command_are_refused(p3dfeat, tmp_path, text, message):
    (tmp_path / "p3dfeat.toml").write_text(text)
    ended = p3dfeat("eval", "folder", "f.h5", "--show-config")
    assert (ended.code, ended.stderr) == (2, f"p3dfeat: {message}\n")


def test_every_command_reads_a_configuration_file(p3dfeat, tmp_path):
    """No command ends with a bug; the arguments name nothing."""
    (tmp_path / "p3dfeat.toml").write_text('model = "p3d-camera"')
    for command in (["weights", "compare", "a", "b", "c.mp4"], ["eval", "pca", "x.h5"], ["export", "x.h5", "-o", "y"]):
        assert p3dfeat(*command).code not in (0, 1)


@pytest.mark.parametrize(
    ("text", "options", "sampling"),
    [
        ("clips = 3", ("--clip-stride", 8), (None, 8)),
        ("clips = 3", ("--stride=8",), (None, 8)),
        ("clip-stride = 8", ("-n", 3), (3, None)),
        ("clip-stride = 8", (), (None, 8)),
    ],
)
def test_a_way_of_sampling_on_the_command_line_replaces_the_files(p3dfeat, folder, tmp_path, text, options, sampling):
    (tmp_path / "p3dfeat.toml").write_text(text)
    assert p3dfeat("extract", folder / "left.mp4", "-o", "f.h5", *options).code == 0
    with package.open_features("f.h5") as features:
        found = features.settings["sampling"]
    assert (found["clips"], found["stride"]) == sampling


def test_the_options_in_effect_are_printed_as_a_file_that_gives_them(p3dfeat, tmp_path):
    (tmp_path / "p3dfeat.toml").write_text(CONFIG)
    arguments = ("extract", "nothing.mp4", "-o", "f.h5", "--batch-size", 4, "--timeout", 2.5)
    shown = p3dfeat(*arguments, "--show-config").stdout
    for line in (
        "clips = 3",
        'layers = ["pool5", "prob"]',
        "strict = true",
        "batch-size = 4",
        "timeout = 2.5",
        "# fps =",
    ):
        assert line in shown.splitlines()
    (tmp_path / "again.toml").write_text(shown)
    assert p3dfeat("extract", "nothing.mp4", "--show-config", "--config", "again.toml").stdout == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clipz = 3", "p3dfeat.toml: clipz: no such option; did you mean clips?"),
        ("[extract]\ntop-k = 3", "p3dfeat.toml: extract.top-k: no such option"),
        ("[extrakt]\nclips = 3", "p3dfeat.toml: extrakt: no such option"),
        ("[classify]\nclip_strid = 3", "p3dfeat.toml: classify.clip_strid: no such option; did you mean clip-stride?"),
        ("[extract]\noverwrite = true", "p3dfeat.toml: extract.overwrite: can only be given on the command line"),
        ("[verify]\nagainst = 'videos'", "p3dfeat.toml: verify.against: can only be given on the command line"),
        ("[remove]\nwith-added = true", "p3dfeat.toml: remove.with-added: can only be given on the command line"),
        ("output = 'x.h5'", "p3dfeat.toml: output: can only be given on the command line"),
        ("strict = 1", "p3dfeat.toml: strict: must be true or false"),
        ("clips = true", "p3dfeat.toml: clips: must be a value, not true or false"),
        ("clips = 2024-01-01", "p3dfeat.toml: clips: must be text, a number, true or false, or a list of texts"),
        ("clips = 'many'", "Invalid value for '--clips'"),
        ("clips = 0", "clips 0: must be at least 1"),
        ("clips = ", "p3dfeat.toml: not valid TOML"),
    ],
)
def test_a_mistake_is_named(p3dfeat, folder, tmp_path, text, message):
    (tmp_path / "p3dfeat.toml").write_text(text)
    ended = p3dfeat("extract", folder, "-o", "f.h5")
    assert (ended.code, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert not (tmp_path / "f.h5").exists()


def test_a_file_that_is_missing_is_said_and_one_that_nobody_needs_is_not_read(p3dfeat, folder, tmp_path):
    ended = p3dfeat("extract", folder, "-o", "f.h5", "--config", "missing.toml")
    assert (ended.code, ended.stderr) == (2, "p3dfeat: missing.toml: cannot be read (No such file or directory)\n")
    (tmp_path / "p3dfeat.toml").write_text("clipz = 3")
    assert p3dfeat("weights", "list", "--json").code == 0
