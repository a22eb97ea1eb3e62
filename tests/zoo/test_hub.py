"""Models come from and go to the Hugging Face hub, through its own client, which reaches a server on this machine."""

import hashlib
import json
import os
from dataclasses import dataclass

import pytest
from safetensors.torch import save_file

import p3dfeat
from p3dfeat.errors import WeightsError
from p3dfeat.zoo import find_card, weights_of
from tests import commands
from tests.hub import TOKEN, Hub, Repository
from tests.reference_weights import GLUONCV_CARD, GLUONCV_FILE
from tests.users import as_ordinary_user
from tests.web import Fault, serving, unused_address
from tests.zoo.flat_resnet import random_weights

STAGES = (3, 4, 6, 3)
CARD = """
name = "recycled"
title = "A recycled net"
licence = "MIT"

[net]
family = "recycled"
stages = [3, 4, 6, 3]
kinds = "ABC"
base_width = 32
channels = 3
classes = 10

[input]
resize = [64, 64]

[[sources]]
hub = "timm/resnet50.test"
"""


@dataclass
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def resnet(tmp_path_factory) -> bytes:
    """A ResNet-50 of half the usual width: 24 MB of safetensors."""
    path = tmp_path_factory.mktemp("resnet") / "model.safetensors"
    save_file(random_weights(STAGES, width=32), path)
    assert path.stat().st_size > 20_000_000
    return path.read_bytes()


@pytest.fixture
def hub(resnet):
    hub = Hub()
    config = json.dumps({"architecture": "resnet50", "pretrained_cfg": {"crop_pct": 0.875}}).encode()
    hub.commit = hub.add("timm/resnet50.test", {"config.json": config, "model.safetensors": resnet})
    with serving(hub) as hub.address:
        yield hub


@pytest.fixture
def command(hub, tmp_path):
    """Run p3dfeat in a process of its own, which is the only way to set HF_ENDPOINT."""

    def call(*arguments: object, program: str = commands.MAIN, **settings: str) -> Ended:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            **settings,
        }
        done = commands.run(*arguments, program=program, env=environment, timeout=300)
        assert "Traceback" not in done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def card(tmp_path):
    """The path of a card whose weights are on the hub."""
    (tmp_path / "recycled.toml").write_text(CARD)
    return tmp_path / "recycled.toml"


def test_a_pushed_model_is_read_back_by_its_repository(hub, command, folder, tmp_path):
    pushed = command("weights", "push", "p3d-camera", "me/camera", HF_TOKEN=TOKEN)
    assert (pushed.code, pushed.stderr) == (0, "")
    repository = hub.repositories["me/camera"]
    assert pushed.stdout.strip() == f"{hub.address}/me/camera/commit/{repository.commit}"
    assert sorted(repository.files) == ["README.md", "config.json", "model.safetensors"]
    assert json.loads(repository.files["config.json"])["p3dfeat"]["labels"][1] == "pan left"
    assert "--model me/camera" in repository.files["README.md"].decode()

    features = tmp_path / "f.h5"
    arguments = ("extract", folder / "left.mp4", "-o", features, "-m", "me/camera", "-n", 1, "--layers", "pool5,prob")
    first = command(*arguments)
    assert first.code == 0
    assert f"fetching me/camera from {hub.address}/me/camera" in first.stderr
    with p3dfeat.open_features(features) as found:
        assert found.settings["model"] == "p3d-camera"
        assert found.settings["weights_origin"] == f"me/camera@{repository.commit}"
        assert found["left"]["prob"].argmax() == 1
    fetched = len(hub.asked(f"/me/camera/resolve/{repository.commit}/model.safetensors"))
    assert "1 already stored" in command(*arguments).stderr
    assert "1 already stored" in command(*arguments, HF_HUB_OFFLINE="1").stderr
    assert len(hub.asked(f"/me/camera/resolve/{repository.commit}/model.safetensors")) == fetched == 1

    hub.add("me/camera", {**repository.files, "config.json": b'{"model_type": "p3d"}'})
    assert command(*arguments[:-2], "--dry-run", "-m", f"me/camera@{repository.commit}").code in (0, 2)
    changed = command("classify", folder / "left.mp4", "-m", "me/camera")
    assert (changed.code, "its config.json is not one of p3dfeat's" in changed.stderr) == (5, True)


def test_what_someone_else_has_published_is_not_replaced(hub, command):
    """A name may be mistyped; a README.md is written by hand."""
    mine = {"README.md": b"# ten years of work", "config.json": b'{"model_type": "resnet"}', "model.safetensors": b"w"}
    card = {"name": "finetuned"}, {"name": "p3d-camera", "net": {"stages": [3, 4, 6, 3]}}
    others = [{"config.json": json.dumps({"p3dfeat": each}).encode(), "model.safetensors": b"w"} for each in card]
    for files in (mine, {"model.safetensors": b"w"}, *others):
        hub.add("me/camera", files)
        ended = command("weights", "push", "p3d-camera", "me/camera", HF_TOKEN=TOKEN)
        assert (ended.code, "me/camera: holds another model; name another repository" in ended.stderr) == (2, True)
        assert hub.repositories["me/camera"].files == files
    hub.add("me/camera", mine)
    assert command("weights", "push", "p3d-camera", "me/camera", "--overwrite", HF_TOKEN=TOKEN).code == 0
    ours = hub.repositories["me/camera"].files
    assert ours["README.md"] != mine["README.md"]
    hub.add("me/camera", ours | {"README.md": b"# my own words"})
    again = command("weights", "push", "p3d-camera", "me/camera", HF_TOKEN=TOKEN)
    assert (again.code, "its README.md is kept" in again.stderr) == (0, True)
    assert hub.repositories["me/camera"].files["README.md"] == b"# my own words"


def test_what_is_to_be_private_is_not_published(hub, command):
    hub.add("me/camera", {})
    ended = command("weights", "push", "p3d-camera", "me/camera", "--private", HF_TOKEN=TOKEN)
    assert (ended.code, "me/camera: is public already; make it private on its page" in ended.stderr) == (5, True)
    assert hub.repositories["me/camera"].files == {}
    assert command("weights", "push", "p3d-camera", "me/new", "--private", HF_TOKEN=TOKEN).code == 0
    assert hub.repositories["me/new"].private


def test_pushing_without_leave_is_an_error_in_a_line(hub, command):
    ended = command("weights", "push", "p3d-camera", "me/camera")
    assert (ended.code, len(ended.stderr.splitlines())) == (5, 1)
    assert "HTTP 401 (unauthorized); is the token right?" in ended.stderr
    assert command("weights", "push", "p3d-camera", "camera").code == 2
    assert hub.repositories.keys() == {"timm/resnet50.test"}


def test_what_fails_its_checksum_is_not_published(hub, command, tmp_path):
    (tmp_path / "w.params").write_bytes(GLUONCV_FILE.read_bytes())
    card = tmp_path / "w.toml"
    card.write_text(f'weights = "w.params"\n{GLUONCV_CARD}\n[checksums]\nsha1 = "{"0" * 40}"\n')
    ended = command("weights", "push", card, "me/wrong", HF_TOKEN=TOKEN)
    assert (ended.code, "damaged or replaced" in ended.stderr) == (5, True)
    assert "me/wrong" not in hub.repositories


def test_a_secret_in_the_hubs_address_is_not_told(hub, command):
    address = hub.address.replace("http://", "http://bob:s3cret@")
    ended = command("weights", "recycle", "me/none", HF_ENDPOINT=address)
    assert (ended.code, "no such repository" in ended.stderr, "s3cret" in ended.stderr) == (5, True, False)


def test_a_resnet_from_the_hub_is_recycled_though_the_connection_is_cut(hub, command, resnet, tmp_path):
    path = "/timm/resnet50.test/resolve/main/model.safetensors"
    hub.faults[path] += [Fault(cut_after=len(resnet) // 2), Fault(status=429, headers={"Retry-After": "1"})]
    ended = command("weights", "recycle", "timm/resnet50.test", "-o", tmp_path / "p3d.safetensors")
    assert ended.code == 0
    assert "P3D-63, recycled family" in ended.stderr
    assert [("Range" in request.headers) for request in hub.asked(path)] == [False, True, True]
    model = p3dfeat.load_model(tmp_path / "p3d.safetensors")
    assert f"timm/resnet50.test@{hub.commit}" in model.card.title
    blobs = [file.read_bytes() for file in (tmp_path / "hf").rglob("*") if file.is_file() and file.stat().st_size > 1e6]
    assert resnet in blobs


def test_a_card_is_pinned_to_its_commit_and_checksum(hub, command, card, resnet):
    hub.add("timm/resnet50.test", {"model.safetensors": b"something else"})
    pinned = card.read_text() + f'revision = "{hub.commit}"\n'
    card.write_text(pinned + f'\n[checksums]\nsha256 = "{hashlib.sha256(resnet).hexdigest()}"\n')
    ended = command("weights", "download", card)
    assert ended.code == 0
    with open(ended.stdout.strip(), "rb") as file:
        assert file.read() == resnet
    asked = len(hub.requests)
    assert command("weights", "download", card).stdout == ended.stdout
    assert len([r for r in hub.requests[asked:] if "resolve" in r.path]) == 0
    card.write_text(pinned + f'\n[checksums]\nsha256 = "{"0" * 64}"\n')
    wrong = command("weights", "download", card, "--force")
    assert (wrong.code, "not 000000000000" in wrong.stderr) == (5, True)
    assert command("weights", "download", card).code == 0  # here it is; that it is another is told when it is used
    used = command("weights", "verify", card)
    assert (used.code, "damaged or replaced: its sha256 is" in used.stdout) == (5, True)


def test_what_the_hub_refuses_is_an_error_in_a_line(hub, command):
    hub.repositories["me/gated"] = Repository({}, gated=True)
    hub.repositories["me/private"] = Repository({}, private=True)
    for name, message in {
        "me/none": "no such repository",
        "me/gated": "gated; ask for access",
        "me/private": "a private one; for that, hf auth login",
        "timm/resnet50.test@v9": "no such revision",
        "timm/resnet50.test": "its config.json is not one of p3dfeat's; of a 2-D ResNet, p3dfeat weights inflate",
        "me/--": "no such file",
    }.items():
        ended = command("weights", "push", name, "me/copy")  # which has to find the model first
        *notes, error = ended.stderr.splitlines()
        asking = f"note: {name}: no file or folder here; asking the Hugging Face hub"
        assert (ended.code, notes) == (5, [] if name == "me/--" else [asking]), name
        assert message in error


def test_a_token_opens_a_private_repository(hub, command, card):
    files = hub.repositories["timm/resnet50.test"].files
    hub.add("timm/resnet50.test", files, private=True)
    assert command("weights", "download", card).code == 5
    assert command("weights", "download", card, HF_TOKEN=TOKEN).code == 0


def test_a_hub_that_fails_is_an_error_with_the_ways_on(hub, command, card):
    hub.faults["/timm/resnet50.test/resolve/main/model.safetensors"] += [Fault(status=500)] * 50
    ended = command("weights", "download", card)
    assert (ended.code, len(ended.stderr.splitlines())) == (5, 1)
    assert "HTTP 500" in ended.stderr
    assert "HF_ENDPOINT to a mirror" in ended.stderr
    assert "--model p3d-camera" in ended.stderr


def test_without_network_a_hub_model_that_is_not_here_says_so(command, card):
    offline = command("weights", "download", card, HF_HUB_OFFLINE="1")
    assert (offline.code, "is not in the cache and HF_HUB_OFFLINE is set" in offline.stderr) == (5, True)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The client in this process: a function that sends it to an address, with a cache of its own."""
    from huggingface_hub import constants, file_download  # noqa: F401  # loaded before anyone else is impersonated
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "hf").mkdir()

    def send_to(address: str) -> None:
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return send_to


def test_a_hub_that_nobody_answers_for_is_an_error_with_the_ways_on(here, card):
    here(unused_address())
    with pytest.raises(WeightsError, match=r"could not be reached \(.*Connection refused\)\. Three ways on"):
        weights_of(find_card(str(card)))


def test_a_full_disk_is_an_error_in_a_line(command, card):
    ended = command("weights", "download", card, program=commands.limited(10_000_000))
    assert ended.code == 5
    assert "File too large; HF_HOME may name another folder" in ended.stderr
    assert command("weights", "download", card).code == 0


def test_a_cache_that_cannot_be_written_is_named(hub, card, tmp_path, here):
    here(hub.address)
    for part in (tmp_path, *tmp_path.parents[:2]):
        part.chmod(0o755)
    (tmp_path / "hf").chmod(0o555)
    with as_ordinary_user(), pytest.raises(WeightsError, match=r"Permission denied; HF_HOME may name another folder"):
        weights_of(find_card(str(card)))


def test_a_file_that_is_too_large_for_weights_is_not_fetched(command, tmp_path):
    code = (
        "from p3dfeat.zoo.download import hub; hub.LARGEST_BYTES = 1_000_000\n"
        "try: hub.fetch('timm/resnet50.test', 'model.safetensors', None)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    expected = "WeightsError timm/resnet50.test: model.safetensors is larger than the 0.0 GB of any weights"
    assert command(program=code).stdout.splitlines()[-1] == expected
    assert sum(path.stat().st_size for path in (tmp_path / "hf").rglob("*") if path.is_file()) < 1_000_000
