"""p3dfeat weights."""

import hashlib
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from p3dfeat.config import DEFAULT_MODEL
from p3dfeat.errors import WeightsError
from p3dfeat.nets import P3D, Architecture
from p3dfeat.zoo import card_names, convert, load_model, save
from p3dfeat.zoo.cards import label_set
from tests.reference_weights import CAFFE_FILES, GLUONCV_CARD, GLUONCV_FILE, port_checkpoint
from tests.users import as_ordinary_user
from tests.web import Web, serving, unused_address
from tests.zoo.flat_resnet import random_weights

SMALL_CARD = f"""{GLUONCV_CARD}
[checksums]
sha1 = "{hashlib.sha1(GLUONCV_FILE.read_bytes()).hexdigest()}"

[[sources]]
url = "https://nowhere.invalid/small.params"
"""


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


def test_a_card_beside_the_file_is_heeded(p3dfeat, tmp_path):
    (tmp_path / "net.params").write_bytes(GLUONCV_FILE.read_bytes())
    (tmp_path / "net.toml").write_text(GLUONCV_CARD.replace('"ABC"', '"CBA"').replace("[64, 64]", "[48, 48]"))
    assert p3dfeat("weights", "convert", tmp_path / "net.params").code == 0
    card = load_model(tmp_path / "net.safetensors").card
    assert (card.architecture.kinds, card.input.resize) == ("CBA", (48, 48))


@pytest.mark.parametrize("options", [("--kinds", "XYZ"), ("--family", "nobody")])
def test_a_reading_that_is_none_is_wrong_usage(p3dfeat, tmp_path, options):
    assert p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "a.safetensors", *options).code == 2
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over_unasked(p3dfeat, tmp_path):
    (tmp_path / "thesis.doc").write_text("years")
    ended = p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "thesis.doc")
    assert (ended.code, "exists; name another with -o, or --overwrite it" in ended.stderr) == (2, True)
    assert (tmp_path / "thesis.doc").read_text() == "years"
    assert p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "thesis.doc", "--overwrite").code == 0
    save_file(random_weights((3, 4, 6, 3), width=4), tmp_path / "r.safetensors")
    before = (tmp_path / "r.safetensors").read_bytes()
    for more in ((), ("--overwrite",)):
        ended = p3dfeat("weights", "inflate", tmp_path / "r.safetensors", "-o", tmp_path / "r.safetensors", *more)
        assert (ended.code, (tmp_path / "r.safetensors").read_bytes() == before) == (2, True)


def test_a_folder_that_is_read_is_not_written_over(p3dfeat, tmp_path):
    save_file(random_weights((3, 4, 6, 3), width=4), tmp_path / "model.safetensors")
    before = (tmp_path / "model.safetensors").read_bytes()
    ended = p3dfeat("weights", "inflate", tmp_path, "-o", tmp_path / "model.safetensors", "--overwrite")
    assert (ended.code, "is the file to convert" in ended.stderr) == (2, True)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_file_that_may_not_be_written_to_is_not_replaced(tmp_path):
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o777)
    (tmp_path / "blob").write_text("years")
    (tmp_path / "blob").chmod(0o444)
    (tmp_path / "net.safetensors").symlink_to(tmp_path / "blob")
    converted = convert(GLUONCV_FILE)
    with as_ordinary_user(), pytest.raises(WeightsError, match=r"cannot be written \(Permission denied\)"):
        save(converted, tmp_path / "net.safetensors", overwrite=True)
    assert (tmp_path / "blob").read_text() == "years"


def test_former_names_are_understood_and_the_new_ones_said(p3dfeat, tmp_path):
    ended = p3dfeat("weights", "recycle", "nothing")
    assert (ended.code, "weights recycle: is now called weights inflate" in ended.stderr) == (5, True)
    assert "weights verify: is now called weights check" in p3dfeat("weights", "verify", "p3d-camera").stderr
    shown = p3dfeat("weights", "--help").stdout
    assert "inflate" in shown
    assert "recycle" not in shown


def test_a_weights_file_of_ones_own_is_shown_and_checked(p3dfeat, tmp_path):
    own = tmp_path / "own.safetensors"
    save(convert(GLUONCV_FILE), own)
    sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    shown = p3dfeat("weights", "show", own)
    assert shown.code == 0
    for text in (sha256, "safetensors", "the weights file itself", "gluoncv family", str(own)):
        assert text in shown.stdout
    (record,) = p3dfeat("weights", "show", own, "--json").records
    assert (record["sha256"], record["format"], record["path"]) == (sha256, "safetensors", str(own))
    foreign = p3dfeat("weights", "show", GLUONCV_FILE).stdout
    assert "mxnet" in foreign
    assert "derived from the tensors" in foreign
    for command in ("check", "verify"):
        good = p3dfeat("weights", command, own)
        assert good.code == 0
        assert f"good (no checksum is published, its sha256 is {sha256}; self test: finite logits" in good.stdout
    (record,) = p3dfeat("weights", "check", own, "--json").records
    assert (record["sha256"], record["error"]) == (sha256, None)


def test_a_weights_file_that_is_damaged_is_refused_by_show_and_check(p3dfeat, tmp_path):
    own = tmp_path / "own.safetensors"
    save(convert(GLUONCV_FILE), own)
    own.write_bytes(own.read_bytes()[:-100])
    assert p3dfeat("weights", "show", own).code == 5
    ended = p3dfeat("weights", "check", own)
    assert (ended.code, f"{own}: WRONG" in ended.stdout) == (5, True)
    missing = p3dfeat("weights", "show", "some/repo")
    assert (missing.code, "no file or folder here; name a weights file" in missing.stderr) == (2, True)


def test_both_readings_are_written_or_none(p3dfeat, tmp_path):
    (tmp_path / "a.authors.safetensors").write_text("years")
    ended = p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "a.safetensors", "--family", "both")
    assert (ended.code, "a.authors.safetensors: exists" in ended.stderr) == (2, True)
    assert os.listdir(tmp_path) == ["a.authors.safetensors"]


def test_a_file_that_comes_while_weights_are_read_is_kept(tmp_path):
    converted = convert(GLUONCV_FILE)
    (tmp_path / "thesis.doc").write_text("years")
    with pytest.raises(WeightsError, match="exists; name another, or overwrite it"):
        save(converted, tmp_path / "thesis.doc")
    assert (tmp_path / "thesis.doc").read_text() == "years"
    assert os.listdir(tmp_path) == ["thesis.doc"]


def test_only_what_tells_the_kind_is_taken_off_a_name(p3dfeat, tmp_path):
    (tmp_path / "net.v1.params").write_bytes(GLUONCV_FILE.read_bytes())
    assert p3dfeat("weights", "convert", tmp_path / "net.v1.params").code == 0
    assert (tmp_path / "net.v1.safetensors").is_file()


def test_a_card_that_is_none_is_refused(p3dfeat, tmp_path):
    ended = p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "a.safetensors", "--card", CAFFE_FILES[0])
    assert ended.code == 2
    assert "neither a model nor a .toml file" in ended.stderr


def test_an_unwritable_target_is_one_line(p3dfeat, tmp_path):
    ended = p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "no" / "a.safetensors")
    assert ended.code == 5
    assert "cannot be written" in ended.stderr


def test_both_readings_of_a_file_in_doubt_are_written_and_compared(p3dfeat, tmp_path, folder):
    net = P3D(Architecture((1, 1, 1, 1), classes=400, base_width=4))
    torch.save({"state_dict": port_checkpoint(net)}, tmp_path / "port.checkpoint.pth.tar")
    hinted = p3dfeat("weights", "convert", tmp_path / "port.checkpoint.pth.tar")
    assert "arithmetic is in doubt: --family both" in hinted.stderr
    ended = p3dfeat("weights", "convert", tmp_path / "port.checkpoint.pth.tar", "--family", "both")
    assert ended.code == 0
    readings = [tmp_path / f"port.{family}.safetensors" for family in ("gluoncv", "authors")]
    assert all(path.is_file() for path in readings)

    compared = p3dfeat("weights", "compare", *readings, folder / "left.mp4", "-n", 2, "--json")
    (record,) = compared.records
    assert record["clips"] == 2
    assert (record["a"]["family"], record["b"]["family"]) == ("gluoncv", "authors")
    differences = {layer["layer"]: layer["relative_l2"] for layer in record["layers"]}
    assert list(differences) == ["pool1", "res2a", "res3a", "res4a", "res5a", "pool5", "logits", "prob"]
    assert differences["pool5"] > 0.05
    assert record["a"]["predictions"][0]["label"] in label_set("kinetics400")
    shown = p3dfeat("weights", "compare", *readings, folder / "left.mp4", "-n", 2)
    for words in ("relative L2", "A: port (gluoncv)", "B: port (authors)", "preprocessing differs", "top label"):
        assert words in shown.stdout


def test_a_conversion_does_not_differ_from_its_original(p3dfeat, tmp_path, folder):
    p3dfeat("weights", "convert", GLUONCV_FILE, "-o", tmp_path / "a.safetensors")
    ended = p3dfeat("weights", "compare", GLUONCV_FILE, tmp_path / "a.safetensors", folder / "left.mp4", "--json")
    (record,) = ended.records
    assert record["same_input"] is True
    assert record["agreement"] == 1
    assert len(record["layers"]) == 8
    assert {layer["relative_l2"] for layer in record["layers"]} == {0}
    assert min(layer["cosine"] for layer in record["layers"]) > 1 - 1e-9
    nothing = p3dfeat("weights", "compare", GLUONCV_FILE, tmp_path / "a.safetensors", folder / "notes.txt")
    assert nothing.code == 3
    assert "notes.txt" in nothing.stderr


def test_layers_that_cannot_be_compared_are_named(p3dfeat, folder):
    ended = p3dfeat("weights", "compare", "p3d-camera", GLUONCV_FILE, folder / "left.mp4", "-n", 1)
    assert "Different shapes, not compared: pool1, " in ended.stdout
    (record,) = p3dfeat("weights", "compare", "p3d-camera", GLUONCV_FILE, folder / "left.mp4", "--json").records
    assert (record["agreement"], record["layers"]) == (None, [])
    assert "pool5" in record["unlike"]


def test_a_model_that_gives_no_numbers_is_not_compared(p3dfeat, tmp_path, folder):
    model = nan_model(tmp_path)
    ended = p3dfeat("weights", "compare", model, model, folder / "left.mp4", "-n", 1, "--json")
    assert (ended.code, ended.stdout) == (5, "")
    assert "its probabilities are not finite numbers" in ended.stderr


def test_a_resnet_on_disk_is_recycled_and_runs(p3dfeat, tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(random_weights((3, 4, 6, 3), width=4), tmp_path / "resnet50.safetensors")
    ended = p3dfeat("weights", "inflate", "resnet50.safetensors")
    assert ended.code == 0
    assert ended.stderr == (
        "p3d63-resnet50.safetensors: P3D-63, recycled family, kinds ABC, width 4, 3 channels, 10 classes\n"
    )
    assert p3dfeat("classify", folder / "left.mp4", "-m", "p3d63-resnet50.safetensors", "-n", 1).code == 0
    assert p3dfeat("weights", "inflate", "nothing").code == 5


def test_the_models_are_listed(p3dfeat):
    records = p3dfeat("weights", "list", "--json").records
    by_name = {record["name"]: record for record in records}
    assert set(by_name) == set(card_names())
    assert by_name["p3d-camera"]["path"].endswith("p3d-camera.safetensors")
    assert by_name["p3d199-kinetics400"]["fetchable"] is False
    assert by_name["p3d199-kinetics400"]["size_bytes"] == pytest.approx(266e6, rel=0.01)
    assert by_name["p3d63-imagenet"]["source"] == "hf.co/timm/resnet50.tv_in1k"
    lines = p3dfeat("weights", "list").stdout.splitlines()
    assert len(lines) == len(records) + 1
    assert "name" in lines[0]
    assert next(line for line in lines if "p3d131-kinetics400" in line).split()[-3:] == ["72.6", "%", "top-1"]


@pytest.mark.parametrize("name", card_names())
def test_every_card_is_shown(p3dfeat, name):
    shown = p3dfeat("weights", "show", name).stdout
    for field in ("title", "network", "classes", "input", "licence", "citation", "notes", "not known"):
        assert f"\n{field} " in shown
    (record,) = p3dfeat("weights", "show", name, "--json").records
    assert record["name"] == name
    assert record["sources"] or record["path"]


def test_secrets_in_the_addresses_of_a_card_are_not_shown(p3dfeat, tmp_path):
    for place in (
        'url = "https://me:s3cret@host.invalid/f.params?token=s3cret"',
        'page = "https://me:s3cret@host.invalid/"',
    ):
        file = 'file = "f.params"\n'
        (tmp_path / "small.toml").write_text(f"{GLUONCV_CARD}[[sources]]\n{place}\n{file}")
        for command in (("show",), ("show", "--json"), ("download",), ("verify",)):
            ended = p3dfeat("weights", *command, tmp_path / "small.toml")
            assert "host.invalid" in ended.stdout + ended.stderr or command == ("verify",)
            assert "s3cret" not in ended.stdout + ended.stderr


def test_good_and_damaged_weights_are_told_apart(p3dfeat, tmp_path, monkeypatch):
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "cache"))
    (embedded,) = p3dfeat("weights", "check", "--json").records
    assert (embedded["name"], embedded["checksums"], embedded["error"]) == ("p3d-camera", ["sha256"], None)
    assert "p3d-camera: good (sha256; self test: stored answer" in p3dfeat("weights", "check").stdout

    card = tmp_path / "small.toml"
    card.write_text(SMALL_CARD)
    missing = p3dfeat("weights", "check", card)
    assert (missing.code, "not here" in missing.stdout) == (5, True)
    ended = p3dfeat("weights", "download", card, "--from", GLUONCV_FILE)
    assert ended.stderr == ""
    kept = Path(ended.stdout.strip())
    good = p3dfeat("weights", "check", card)
    assert (good.code, good.stdout) == (
        0,
        f"{card}: good (sha1, sha256; self test: finite logits; no answer is stored)\n",
    )
    damaged = bytearray(kept.read_bytes())
    damaged[-5000] ^= 1
    kept.write_bytes(damaged)
    bad = p3dfeat("weights", "check", card)
    assert (bad.code, "WRONG: " in bad.stdout) == (5, True)
    assert f"p3dfeat: {card}: not as they should be" in bad.stderr


def nan_model(tmp_path) -> Path:
    """The path of a card whose weights give NaN."""
    net = P3D(Architecture((1, 1, 1, 1), classes=10, base_width=4))
    torch.nn.init.constant_(net.fc.bias, float("nan"))
    weights = {n: v.contiguous() for n, v in net.state_dict().items() if v.dtype.is_floating_point}
    save_file(weights, tmp_path / "w.safetensors")
    text = GLUONCV_CARD.replace("[2, 2, 2, 1]", "[1, 1, 1, 1]").replace("= 8", "= 4")
    (tmp_path / "w.toml").write_text('weights = "w.safetensors"\n' + text)
    return tmp_path / "w.toml"


def test_weights_that_give_no_numbers_fail_their_self_test(p3dfeat, tmp_path):
    ended = p3dfeat("weights", "check", nan_model(tmp_path))
    assert (ended.code, "self test: its logits are not finite" in ended.stdout) == (5, True)


@pytest.fixture
def mirrored(tmp_path, monkeypatch):
    """The path of a card whose weights a mirror has, and no cache yet."""
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.toml").write_text(SMALL_CARD)
    web = Web()
    web.files["/small.params"] = GLUONCV_FILE.read_bytes()
    with serving(web) as address:
        monkeypatch.setenv("P3DFEAT_MIRROR", address)
        yield tmp_path / "small.toml"


def test_download_tells_where_the_weights_are_and_that_they_are_there_already(p3dfeat, mirrored):
    first = p3dfeat("weights", "download", mirrored)
    again = p3dfeat("weights", "download", mirrored)
    forced = p3dfeat("weights", "download", mirrored, "--force")
    assert first.stderr == f"fetching small from {os.environ['P3DFEAT_MIRROR']}/small.params (0.7 MB)\n"
    assert Path(first.stdout.strip()).read_bytes() == GLUONCV_FILE.read_bytes()
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert (forced.stdout, forced.stderr) == (first.stdout, first.stderr)


def test_extract_fetches_what_it_needs_and_says_so(p3dfeat, tmp_path, mirrored, folder):
    ended = p3dfeat("extract", folder, "-o", tmp_path / "f.h5", "-m", mirrored, "-n", 1, "--json")
    assert ended.code == 0
    assert ended.records[-1]["stored"] == 3
    assert "fetching small from" in ended.stderr


@pytest.mark.parametrize("command", ["extract", "classify"])
def test_without_a_network_the_default_model_explains_the_three_ways_on(
    p3dfeat, tmp_path, monkeypatch, folder, command
):
    monkeypatch.delenv("P3DFEAT_MODEL")
    mirror = unused_address()
    monkeypatch.setenv("P3DFEAT_MIRROR", mirror)
    arguments = ("-o", tmp_path / "f.h5") if command == "extract" else ()
    ended = p3dfeat(command, folder / "left.mp4", *arguments)
    assert ended.code == 5
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"p3dfeat: model {DEFAULT_MODEL}: could not be fetched: {mirror.removeprefix('http://')}: ")
    for words in ("Three ways on: (1) get https://", "(2) set P3DFEAT_MIRROR", "(3) --model p3d-camera"):
        assert words in line
    assert not (tmp_path / "f.h5").exists()


def test_without_a_home_the_models_are_listed_all_the_same(p3dfeat, monkeypatch):
    monkeypatch.delenv("P3DFEAT_CACHE")
    monkeypatch.setattr(Path, "expanduser", lambda path: (_ for _ in ()).throw(RuntimeError("no home")))
    assert p3dfeat("weights", "list").code == 0
    (record,) = p3dfeat("doctor", "--json").records
    assert "set P3DFEAT_CACHE" in record["weights_cache"]
    assert p3dfeat("weights", "download", "p3d63-kinetics400").code == 5


def test_the_default_model_is_marked_wherever_it_is(p3dfeat, monkeypatch):
    assert "p3d-camera *" in p3dfeat("weights", "list").stdout
    monkeypatch.setenv("P3DFEAT_MODEL", "mine.safetensors")
    ended = p3dfeat("weights", "list")
    assert " *" not in ended.stdout
    assert "default: mine.safetensors" in ended.stderr


def test_the_model_can_be_set_once_and_for_all(p3dfeat, monkeypatch, folder):
    monkeypatch.setenv("P3DFEAT_MODEL", str(GLUONCV_FILE))
    (record,) = p3dfeat("classify", folder / "left.mp4", "-n", 1, "--json").records
    assert record["predictions"][0]["label"].startswith("class ")
    assert "P3DFEAT_MODEL" in p3dfeat("extract", "--help").stdout


def test_of_weights_without_a_published_checksum_the_one_that_arrives_is_recorded_and_said(
    p3dfeat, tmp_path, monkeypatch
):
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "cache"))
    card = tmp_path / "small.toml"
    card.write_text(re.sub(r"sha1 = .*", "", SMALL_CARD).replace("[checksums]", ""))
    ended = p3dfeat("weights", "download", card, "--from", GLUONCV_FILE)
    digest = hashlib.sha256(Path(ended.stdout.strip()).read_bytes()).hexdigest()
    told = f"no checksum is published, only its tensors were checked; sha256 {digest} is recorded\n"
    assert (ended.code, ended.stderr.endswith(told)) == (0, True)
