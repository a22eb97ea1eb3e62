"""Names become weights: fetched once, checked, kept, and never a partial file under the final name."""

import hashlib
import io
import os
import threading
import warnings
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import p3dfeat
from benchmarks.random_checkpoints import gluoncv_weights, write_params
from p3dfeat.errors import P3DFeatWarning, UsageError, WeightsError
from p3dfeat.nets import Architecture
from p3dfeat.zoo import convert, find_card, hub_files, load_model, locate, weights_here
from p3dfeat.zoo.download import cache, https, hub
from p3dfeat.zoo.download.cache import cache_folder, folder_of
from p3dfeat.zoo.fetching import fetch
from tests.reference_weights import GLUONCV_CARD, GLUONCV_FILE, GOLDEN
from tests.users import NOBODY, as_ordinary_user
from tests.web import Fault, Web, serving, unused_address

PARAMS = GLUONCV_FILE.read_bytes()


def zipped(content: bytes, name: str = "small-0000.params") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def gluoncv_error(model: p3dfeat.Model) -> float:
    x = torch.from_numpy(np.random.default_rng(7).normal(0, 1, (2, 3, 16, 64, 64)).astype(np.float32))
    expected = np.load(GOLDEN / "gluoncv_small_expected.npz")["logits"]
    with torch.no_grad():
        found = model.net(x, layers=("logits",))["logits"].numpy()
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(https, "LIMITS", replace(https.LIMITS, wait_seconds=0.01))


@pytest.fixture
def web():
    web = Web()
    web.files["/small.zip"] = zipped(PARAMS)
    with serving(web) as web.address:
        yield web


@pytest.fixture
def card(web, tmp_path):
    """The path of a card whose weights are on the server, with the right checksum."""
    return written(tmp_path / "small.toml", f"{web.address}/small.zip")


def written(path, *urls: str, sha1: str = hashlib.sha1(PARAMS).hexdigest()):
    sources = "".join(f'[[sources]]\nurl = "{url}"\n' for url in urls)
    path.write_text(f'{GLUONCV_CARD}\n[checksums]\nsha1 = "{sha1}"\n{sources}')
    return str(path)


def files_in_cache() -> list[str]:
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file() and path.name != "lock")


def test_weights_are_fetched_unpacked_checked_and_give_the_right_numbers(web, card):
    events = []
    model = load_model(card, on_fetch=events.append)
    assert gluoncv_error(model) < 1e-4
    assert model.origin == f"{web.address}/small.zip"
    assert model.weights_sha256 == hashlib.sha256(PARAMS).hexdigest()
    assert files_in_cache() == ["SHA256SUMS", "small-0000.params"]
    assert (events[-1].name, events[-1].done_bytes) == ("small", len(web.files["/small.zip"]))


def test_a_second_use_asks_nothing_of_the_network(web, card):
    first = load_model(card)
    asked = len(web.requests)
    second = load_model(card)
    assert len(web.requests) == asked
    assert (first.origin, first.weights_sha256) == (second.origin, second.weights_sha256)


def test_a_large_checkpoint_whose_connection_is_cut_comes_whole(web, tmp_path):
    architecture = Architecture.of_depth(63, family="gluoncv", base_width=32, classes=10)
    write_params(tmp_path / "large.params", gluoncv_weights(architecture))
    content = (tmp_path / "large.params").read_bytes()
    assert len(content) > 25_000_000
    web.files["/large.zip"] = zipped(content)
    web.faults["/large.zip"] += [Fault(cut_after=len(web.files["/large.zip"]) // 2), Fault(status=503)]
    text = GLUONCV_CARD.replace("stages = [2, 2, 2, 1]", "stages = [3, 4, 6, 3]").replace(
        "base_width = 8", "base_width = 32"
    )
    sha1 = hashlib.sha1(content).hexdigest()
    (tmp_path / "large.toml").write_text(
        f'{text}\n[checksums]\nsha1 = "{sha1}"\n[[sources]]\nurl = "{web.address}/large.zip"\n'
    )
    model = load_model(tmp_path / "large.toml")
    assert model.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert model.card.architecture == architecture
    assert "Range" in web.asked("/large.zip")[-1].headers


def test_the_origin_is_written_into_feature_files(web, card, folder, tmp_path):
    p3dfeat.extract(folder / "left.mp4", tmp_path / "f.h5", model=card, clips=1)
    with p3dfeat.open_features(tmp_path / "f.h5") as features:
        assert features.settings["weights_origin"] == f"{web.address}/small.zip"
    again = p3dfeat.extract(folder / "left.mp4", tmp_path / "f.h5", model=kept_file(card), clips=1)
    assert (again.stored, again.skipped) == (0, 1)  # the same weights from elsewhere are the same weights


def kept_file(card: str):
    """The fetched weights under a card beside them, as if they had never been fetched."""
    located = locate(card)
    located.weights.with_suffix(".toml").write_text(GLUONCV_CARD)
    return located.weights


def test_another_file_than_the_published_one_is_refused_and_nothing_is_kept(web, tmp_path):
    card = written(tmp_path / "small.toml", f"{web.address}/small.zip", sha1="0" * 40)
    with pytest.raises(WeightsError, match=r"not the published file: its sha1 is .*, not 000000000000"):
        load_model(card)
    assert files_in_cache() == []


@pytest.mark.parametrize(
    "content",
    [zipped(PARAMS)[:-30], zipped(PARAMS)[:5000] + b"\0" * 500 + zipped(PARAMS)[5500:], b"<html>Sign in</html>"],
    ids=["cut off", "overwritten", "a page instead"],
)
def test_a_damaged_download_leaves_nothing_under_the_final_name(web, card, content):
    web.files["/small.zip"] = content
    with pytest.raises(WeightsError):
        load_model(card)
    assert files_in_cache() == []
    web.files["/small.zip"] = zipped(PARAMS)
    assert gluoncv_error(load_model(card)) < 1e-4


def test_the_next_source_is_tried_where_one_fails(web, tmp_path):
    card = written(tmp_path / "small.toml", f"{web.address}/gone.zip", f"{web.address}/small.zip")
    assert load_model(card).origin.endswith("/small.zip")
    assert len(web.asked("/gone.zip")) == 1


def test_a_mirror_is_asked_instead_of_the_sources(web, tmp_path, monkeypatch):
    card = written(tmp_path / "small.toml", "https://nowhere.invalid/a/small.zip")
    web.files["/our/own/small.zip"] = web.files["/small.zip"]
    monkeypatch.setenv("P3DFEAT_MIRROR", f"{web.address}/our/own/")
    assert load_model(card).origin == f"{web.address}/our/own/small.zip"


def test_a_mirror_serves_what_others_fetch_by_hand(web, tmp_path, monkeypatch):
    (tmp_path / "small.toml").write_text(
        f'{GLUONCV_CARD}[[sources]]\npage = "https://x.invalid/"\nfile = "small.params"\n'
    )
    web.files["/small.params"] = PARAMS
    with pytest.raises(WeightsError, match=r"has to be fetched by hand\. Three ways on: \(1\) get small.params from"):
        load_model(tmp_path / "small.toml")
    monkeypatch.setenv("P3DFEAT_MIRROR", web.address)
    assert gluoncv_error(load_model(tmp_path / "small.toml")) < 1e-4


def test_a_mirror_that_is_no_url_is_named(tmp_path, monkeypatch):
    card = written(tmp_path / "small.toml", "https://nowhere.invalid/small.zip")
    monkeypatch.setenv("P3DFEAT_MIRROR", "/data/weights")
    with pytest.raises(UsageError, match="P3DFEAT_MIRROR must begin with https://"):
        load_model(card)


def test_where_nothing_can_be_reached_one_message_says_what_and_the_three_ways_on(tmp_path):
    address = unused_address()
    card = written(tmp_path / "small.toml", f"{address}/small.zip")
    with pytest.raises(WeightsError) as caught:
        load_model(card)
    text = str(caught.value)
    assert "\n" not in text
    assert f"{address.removeprefix('http://')}: no connection" in text
    for way in (f"get {address}/small.zip where there is a network", "P3DFEAT_MIRROR", "--model p3d-camera"):
        assert way in text


def test_a_file_fetched_by_hand_is_checked_and_kept(card, tmp_path):
    (tmp_path / "by_hand.zip").write_bytes(zipped(PARAMS))
    located = fetch(find_card(card), place=str(tmp_path / "by_hand.zip"))
    assert gluoncv_error(load_model(card)) < 1e-4
    assert located.origin == "by_hand.zip"
    assert (tmp_path / "by_hand.zip").exists()
    (tmp_path / "other.params").write_bytes(PARAMS[:-4] + b"1234")
    with pytest.raises(WeightsError, match=r"other.params: not the published file"):
        fetch(find_card(card), place=str(tmp_path / "other.params"))
    assert gluoncv_error(load_model(card)) < 1e-4  # what was there stays
    with pytest.raises(WeightsError, match="no such file"):
        fetch(find_card(card), place=str(tmp_path / "nothing"))


def test_a_url_of_the_users_takes_the_place_of_the_sources(web, tmp_path):
    card = written(tmp_path / "small.toml", "https://nowhere.invalid/small.zip")
    assert fetch(find_card(card), place=f"{web.address}/small.zip").origin == f"{web.address}/small.zip"
    assert gluoncv_error(load_model(card)) < 1e-4


def test_weights_damaged_in_the_cache_are_refused_and_can_be_fetched_anew(web, card):
    path = weights_here(find_card(card)) or locate(card)
    damaged = bytearray(path.weights.read_bytes())
    damaged[100_000] ^= 1
    path.weights.write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"damaged or replaced: .*; p3dfeat weights download CARD.toml --force"):
        load_model(card)
    fetch(find_card(card), anew=True)
    assert gluoncv_error(load_model(card)) < 1e-4


def test_weights_in_the_cache_are_held_to_the_cards_checksums_and_not_to_the_record_alone(card):
    path = locate(card).weights
    other = path.read_bytes()[:-4] + b"1234"
    path.write_bytes(other)
    record = path.with_name("SHA256SUMS")
    record.write_text(f"{hashlib.sha256(other).hexdigest()}  {path.name}\n")
    with pytest.raises(WeightsError, match="damaged or replaced: its sha1 is"):
        load_model(card)


def test_two_that_want_the_same_weights_at_once_fetch_them_once(web, card):
    web.seconds_a_block = 0.02
    found, threads = [], []
    for _ in range(4):
        threads.append(threading.Thread(target=lambda: found.append(locate(card).checksums["sha256"])))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert found == [hashlib.sha256(PARAMS).hexdigest()] * 4
    assert len(web.asked("/small.zip")) == 1


def open_to_all(folder: Path) -> None:
    """Folders that pytest makes are their owner's alone."""
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)


def test_a_cache_that_cannot_be_written_is_named(card, tmp_path):
    (tmp_path / "cache").mkdir()
    open_to_all(tmp_path)
    (tmp_path / "cache").chmod(0o555)
    with (
        as_ordinary_user(),
        pytest.raises(WeightsError, match=r"cannot be written \(Permission denied\); P3DFEAT_CACHE"),
    ):
        load_model(card)


def test_a_cache_that_someone_else_filled_serves_though_it_cannot_be_written(web, card, tmp_path):
    load_model(card)
    asked = len(web.requests)
    open_to_all(tmp_path)
    for folder in (tmp_path / "cache", *(tmp_path / "cache").iterdir()):
        folder.chmod(0o555)
    with as_ordinary_user():
        assert gluoncv_error(load_model(card)) < 1e-4
    assert len(web.requests) == asked


def test_another_card_of_the_same_name_has_other_weights(web, card, tmp_path):
    load_model(card)
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other" / "small.toml", f"{web.address}/small.zip", sha1="0" * 40)
    assert folder_of(find_card(other)) != folder_of(find_card(card))
    assert weights_here(find_card(other)) is None


def test_the_same_weights_from_another_place_are_the_same(web, card, tmp_path):
    load_model(card)
    moved = written(tmp_path / "small.toml", "https://mirror.invalid/small.zip", f"{web.address}/small.zip")
    assert weights_here(find_card(moved)) is not None


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch):
    for name in ("P3DFEAT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(WeightsError, match="set P3DFEAT_CACHE"):
        cache_folder()


def test_weights_beside_the_card_are_not_fetched(tmp_path):
    (tmp_path / "small.params").write_bytes(PARAMS)
    (tmp_path / "small.toml").write_text(f'weights = "small.params"\n{GLUONCV_CARD}')
    assert gluoncv_error(load_model(tmp_path / "small.toml")) < 1e-4
    assert gluoncv_error(load_model(tmp_path / "small.params")) < 1e-4
    with pytest.raises(UsageError, match="there is nothing to fetch"):
        fetch(find_card(str(tmp_path / "small.toml")))


def test_a_card_that_names_no_weights_at_all_says_so(tmp_path):
    (tmp_path / "small.toml").write_text(GLUONCV_CARD)
    with pytest.raises(WeightsError, match="names neither a weights file nor a source"):
        load_model(tmp_path / "small.toml")


@pytest.fixture
def model_folder(tmp_path):
    """A folder in the layout of the hub."""
    (tmp_path / "model").mkdir()
    for name, content in hub_files(convert(GLUONCV_FILE), repository="me/small").items():
        (tmp_path / "model" / name).write_bytes(content)
    return tmp_path / "model"


def test_a_folder_in_the_layout_of_the_hub_is_a_model(model_folder):
    model = load_model(model_folder)
    assert gluoncv_error(model) < 1e-4
    assert model.card.input.step == 2
    (model_folder / "config.json").unlink()
    assert gluoncv_error(load_model(model_folder)) < 1e-4  # the weights carry their card too
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"a folder without model.safetensors"):
        load_model(model_folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "no settings in JSON"),
        ("[" * 100_000, "no settings in JSON"),
        ("[]", "no settings in JSON"),
        (" " * 5_000_000 + "{}", "no settings in JSON"),
        ('{"model_type": "resnet"}', "is not one of p3dfeat's"),
        ('{"p3dfeat": {"name": "x"}}', "net: missing"),
        ('{"p3dfeat": {"net": {"stages": [2, 2, 2, 1000000000]}}}', "net.kinds: missing"),
    ],
)
def test_a_config_that_makes_no_sense_is_named(model_folder, config, message):
    (model_folder / "config.json").write_text(config)
    with pytest.raises(WeightsError, match=message):
        load_model(model_folder)


def test_a_config_of_another_net_is_named_by_the_tensor_that_does_not_fit(model_folder):
    path = model_folder / "config.json"
    path.write_text(path.read_text().replace('"base_width": 8', '"base_width": 16'))
    with pytest.raises(WeightsError, match=r"tensor conv1.weight is \(8, 3, 1, 7, 7\), the network wants \(16"):
        load_model(model_folder)


PAGE = b"<html>Sign in to go on</html>"


def by_hand(path) -> str:
    """A card without a checksum, whose file a person fetches."""
    path.write_text(f'{GLUONCV_CARD}[[sources]]\npage = "https://x.invalid/"\nfile = "small.params"\n')
    return str(path)


def test_where_no_checksum_is_known_the_tensors_must_be_the_cards(web, tmp_path, monkeypatch):
    card = by_hand(tmp_path / "small.toml")
    (tmp_path / "page.html").write_bytes(PAGE)
    with pytest.raises(WeightsError, match=r"page.html: not weights of small: .*the file was not kept"):
        fetch(find_card(card), place=str(tmp_path / "page.html"))
    web.files["/small.params"] = PAGE
    monkeypatch.setenv("P3DFEAT_MIRROR", web.address)
    with pytest.raises(WeightsError, match="not weights of small"):
        load_model(card)
    assert files_in_cache() == []
    assert weights_here(find_card(card)) is None
    web.files["/small.params"] = PARAMS
    assert gluoncv_error(load_model(card)) < 1e-4


def test_weights_beside_a_card_are_held_to_all_its_checksums(tmp_path):
    (tmp_path / "small.params").write_bytes(PARAMS)
    sums = f'\n[checksums]\nmd5 = "{hashlib.md5(PARAMS).hexdigest()}"\n'
    (tmp_path / "small.toml").write_text(f'weights = "small.params"\n{GLUONCV_CARD}{sums}')
    assert gluoncv_error(load_model(tmp_path / "small.toml")) < 1e-4
    (tmp_path / "small.toml").write_text(f'weights = "small.params"\n{GLUONCV_CARD}\n[checksums]\nmd5 = "{"0" * 32}"\n')
    for name in ("small.toml", "small.params"):
        with pytest.raises(WeightsError, match=r"damaged or replaced: its md5 is .*, not 000000000000"):
            load_model(tmp_path / name)


def test_fetching_anew_begins_from_the_start(web, card):
    load_model(card)
    (folder_of(find_card(card)) / "small.zip.part").write_bytes(b"stuck")
    web.faults["/small.zip"] += [Fault(status=416)] * 3
    fetch(find_card(card), anew=True)
    assert gluoncv_error(load_model(card)) < 1e-4
    assert files_in_cache() == ["SHA256SUMS", "small-0000.params"]


@pytest.mark.parametrize("name", ["SHA256SUMS", "lock", "a" * 200 + ".params", "ümläut und\nZeile.params", "..params"])
def test_names_of_others_do_not_hurt_the_cache(card, tmp_path, name):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / name).write_bytes(PARAMS)
    fetch(find_card(card), place=str(tmp_path / "given" / name))
    assert gluoncv_error(load_model(card)) < 1e-4


@pytest.mark.parametrize("member", ["lock.params", "../../escaped.params", "a\nb.params", "SHA256SUMS/x.params"])
def test_names_inside_archives_do_not_either(web, card, tmp_path, member):
    web.files["/small.zip"] = zipped(PARAMS, member)
    assert gluoncv_error(load_model(card)) < 1e-4
    assert not list(tmp_path.rglob("escaped*")) or list(cache_folder().rglob("escaped*"))
    assert len(files_in_cache()) == 2


def test_an_archive_damaged_in_any_way_is_an_error_and_nothing_stays(web, card):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("small.params", PARAMS)
    damaged = bytearray(file.getvalue())
    damaged[200:260] = bytes(60)
    web.files["/small.zip"] = bytes(damaged)
    with pytest.raises(WeightsError, match="damaged archive"):
        load_model(card)
    assert files_in_cache() == []


@pytest.mark.parametrize(
    ("place", "message"),
    [("ftp://x/y", "only http and https"), ("file:///etc/passwd", "only http and https"), (".", "no such file")],
)
def test_places_that_are_none_are_named(card, place, message):
    with pytest.raises((UsageError, WeightsError), match=message):
        fetch(find_card(card), place=place)


def test_a_url_that_is_asked_once_is_not_asked_again(web, tmp_path, monkeypatch):
    card = written(tmp_path / "small.toml", "https://a.invalid/gone.zip", "https://b.invalid/gone.zip")
    monkeypatch.setenv("P3DFEAT_MIRROR", web.address)
    with pytest.raises(WeightsError, match="could not be fetched"):
        load_model(card)
    assert len(web.asked("/gone.zip")) == 1


def test_secrets_in_a_card_reach_no_message_and_no_file_and_name_the_same_folder_as_ever(web, tmp_path):
    address = web.address.replace("http://", "http://me:s3cret@")
    card = written(tmp_path / "small.toml", f"{address}/gone.zip?token=s3cret")
    with pytest.raises(WeightsError) as caught:
        load_model(card)
    assert "s3cret" not in str(caught.value)
    assert f"get {web.address}/gone.zip where" in str(caught.value)
    written(tmp_path / "small.toml", f"{address}/small.zip?token=s3cret")
    events = []
    assert load_model(card, on_fetch=events.append).origin == f"{web.address}/small.zip"
    assert not any("s3cret" in event.source for event in events)
    assert not any(b"s3cret" in path.read_bytes() for path in cache_folder().rglob("*") if path.is_file())
    (tmp_path / "small.toml").write_text(f'{GLUONCV_CARD}[[sources]]\nurl = "http://me:pw@h/small.zip?t=x"\n')
    digest = hashlib.sha256(b"['http://me:pw@h/small.zip?t=x']").hexdigest()[:8]
    assert folder_of(find_card(card)).name == f"small-{digest}"


def noted(call) -> list[str]:
    """The warnings of ours that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught if issubclass(each.category, P3DFeatWarning)]


def test_plain_http_without_a_checksum_is_said_once(web, card, tmp_path):
    assert noted(lambda: load_model(card)) == []
    (tmp_path / "bare.toml").write_text(f'{GLUONCV_CARD}[[sources]]\nurl = "{web.address}/small.zip?key=s3cret"\n')
    (text,) = noted(lambda: load_model(tmp_path / "bare.toml"))
    assert text.startswith(f"{web.address}/small.zip: plain http, and no checksum is published")
    assert noted(lambda: load_model(tmp_path / "bare.toml")) == []


@pytest.mark.parametrize(("mode", "warned"), [(0o755, False), (0o775, True), (0o777, True), (0o1777, True)])
def test_a_cache_that_others_may_write_is_warned_of_once_with_the_remedy(card, tmp_path, monkeypatch, mode, warned):
    monkeypatch.setattr(cache.grp, "getgrgid", lambda number: SimpleNamespace(gr_name="lab", gr_mem=["someone"]))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    text = f"{tmp_path}/cache: others may replace the weights in it; chmod go-w {tmp_path}/cache"
    assert noted(lambda: locate(card)) == ([text] if warned else [])
    assert noted(lambda: locate(card)) == []


@pytest.mark.parametrize(("name", "members"), [("me", ["someone"]), ("users", []), ("users", ["me"])])
def test_a_users_own_group_may_write_the_cache(card, tmp_path, monkeypatch, name, members):
    user = SimpleNamespace(pw_name="me", pw_gid=os.getegid())
    monkeypatch.setattr(cache.pwd, "getpwuid", lambda number: user)
    monkeypatch.setattr(cache.grp, "getgrgid", lambda number: SimpleNamespace(gr_name=name, gr_mem=members))
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", -1, os.getegid())
    (tmp_path / "cache").chmod(0o775)
    assert noted(lambda: locate(card)) == []
    user.pw_gid = -1
    cache._warn_of_others.cache_clear()
    assert len(noted(lambda: locate(card))) == 1


def test_a_cache_of_another_user_is_warned_of(card, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "cache", NOBODY, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    (text,) = noted(lambda: locate(card))
    assert text.startswith(f"{tmp_path}/cache: belongs to another user")
    assert text.endswith("set P3DFEAT_CACHE to a folder of your own")


def test_folders_of_the_cache_are_not_made_for_others_to_write(card, tmp_path, monkeypatch):
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "a" / "b"))
    before = os.umask(0)
    try:
        locate(card)
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b", folder_of(find_card(card))):
        assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["small.zip.part", "small.zip.part.version", "small.zip.part.unpacked", "SHA256SUMS"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("by_hand", [True, False])
def test_links_in_place_of_the_caches_files_are_not_written_through(card, tmp_path, name, link, by_hand):
    (tmp_path / "thesis").write_text("years")
    (tmp_path / "small.zip").write_bytes(zipped(PARAMS))
    folder = folder_of(find_card(card))
    folder.mkdir(parents=True)
    link(tmp_path / "thesis", folder / name)
    with suppress(WeightsError):
        fetch(find_card(card), place=str(tmp_path / "small.zip") if by_hand else None)
    assert (tmp_path / "thesis").read_text() == "years"


def test_a_link_in_place_of_the_lock_is_refused(card, tmp_path):
    (tmp_path / "thesis").write_text("years")
    folder = folder_of(find_card(card))
    folder.mkdir(parents=True)
    (folder / "lock").symlink_to(tmp_path / "thesis")
    with pytest.raises(WeightsError, match="cannot be written"):
        locate(card)
    assert (tmp_path / "thesis").read_text() == "years"


def test_only_what_the_cache_made_is_removed_from_it(card, tmp_path):
    folder = folder_of(find_card(card))
    folder.mkdir(parents=True)
    (tmp_path / "first.params").write_bytes(PARAMS)
    fetch(find_card(card), place=str(tmp_path / "first.params"))
    mine, ours = ["notes.txt", "browser.part"], ["small.zip.part.version", "small.zip.part.unpacked"]
    for name in (*mine, *ours):
        (folder / name).write_text("x")
    (folder / "kept.part").mkdir()
    fetch(find_card(card), anew=True)
    kept = {"SHA256SUMS", "kept.part", "lock", "small-0000.params", *mine}
    assert set(os.listdir(folder)) == kept


def test_that_the_hub_is_asked_is_said_where_it_is_not_in_its_cache(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise WeightsError("nobody answers")

    monkeypatch.setattr(hub, "fetch", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(WeightsError, match="no file or folder here, and on the hub: nobody answers"):
            locate("folder/name")
    assert [str(each.message) for each in caught] == [
        "folder/name: no file or folder here; asking the Hugging Face hub"
    ]
    monkeypatch.setattr(hub, "cached", lambda *_: tmp_path)
    with warnings.catch_warnings(), pytest.raises(WeightsError):
        warnings.simplefilter("error")
        locate("folder/name")


def test_a_name_that_the_hub_does_not_take_is_an_error_in_a_line():
    with pytest.warns(P3DFeatWarning), pytest.raises(WeightsError, match="not a repository name"):
        locate("a--b/c")
