"""Cards are checked field by field; weights are accounted for tensor by tensor."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import p3dfeat
from p3dfeat.config import DEFAULT_MODEL
from p3dfeat.errors import UsageError, WeightsError
from p3dfeat.nets import P3D, Architecture
from p3dfeat.zoo import card_names, find_card, load_card, load_model, published_card, weights_folder
from p3dfeat.zoo.download.hub import parse_repository

CARD = """
name = "tiny"
title = "A tiny net"
licence = "MIT"
weights = "tiny.safetensors"
labels = ["a", "b", "c"]

[net]
family = "authors"
stages = [1, 1, 1, 1]
kinds = "ABC"
base_width = 4
channels = 3
classes = 3

[input]
channels = "bgr"
resize = [182, 242]
crop = [160, 160]
mean = [104, 117, 123]
"""


@pytest.fixture
def tiny(tmp_path):
    """A card and random weights, as a user would keep them."""
    net = P3D(Architecture((1, 1, 1, 1), classes=3, base_width=4))
    weights = {n: v.contiguous() for n, v in net.state_dict().items() if v.dtype.is_floating_point}
    save_file(weights, tmp_path / "tiny.safetensors")
    (tmp_path / "tiny.toml").write_text(CARD)
    return tmp_path / "tiny.toml"


def test_the_embedded_model_is_small_and_complete():
    card = find_card("p3d-camera")
    assert "p3d-camera" in card_names()
    assert card.weights.stat().st_size < 3_000_000
    assert len(card.labels) == 12
    assert set(card.architecture.block_kinds().values()) == {"A", "B", "C"}
    assert card.architecture.family == "authors"
    assert card.checksums["sha256"]
    assert card.metrics["accuracy_on_fresh_drawn_scenes"] >= 0.96
    assert card.metrics["accuracy_on_moves_over_real_stills"] >= 0.94


def test_a_model_is_a_net_and_its_card():
    model = p3dfeat.load_model("p3d-camera")
    found = model.net(torch.zeros(2, 1, 16, 64, 64), layers=("pool5", "logits"))
    assert {name: tuple(v.shape) for name, v in found.items()} == {"pool5": (2, 512), "logits": (2, 12)}
    assert not model.net.training
    assert model.name == "p3d-camera"


@pytest.mark.parametrize("suffix", [".toml", ".safetensors"])
def test_a_model_of_the_users_own_loads_by_path(tiny, suffix):
    model = load_model(tiny.with_suffix(suffix))
    assert model.card.input.mean == (104, 117, 123)
    stored = load_file(tiny.with_suffix(".safetensors"))
    assert torch.equal(model.net.state_dict()["res3a.conv_temporal.weight"], stored["res3a.conv_temporal.weight"])
    assert len(model.weights_sha256) == 64


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ('title = "A tiny net"', "", "title: missing"),
        ('title = "A tiny net"', "title = 3", "title: must be a str, not 3"),
        ('labels = ["a", "b", "c"]', 'labels = "imagenet"', "labels: unknown set 'imagenet'; known are kinetics400"),
        ('labels = ["a", "b", "c"]', 'labels = "kinetics400"', "labels: 400 names for 3 classes"),
        ('title = "A tiny net"', 'title = "x"\ntypo = 1', "typo: unknown field"),
        ('kinds = "ABC"', 'kinds = "ABX"', "kinds 'ABX'"),
        ('kinds = "ABC"', 'kinds = "ABC"\nwidth = 4', "net.width: unknown field"),
        ("base_width = 4", "", "net.base_width: missing"),
        ("base_width = 4", "base_width = true", "net.base_width: must be a int, not True"),
        ("mean = [104, 117, 123]", "means = [1]", "input.means: unknown field; known are"),
        (
            "mean = [104, 117, 123]",
            'mean = "x"\nlength = "y"',
            "input length: must be a whole number from 1 to 1,000,000, not 'y'",
        ),
        ('channels = "bgr"', 'channels = "luma"\n#', "input"),
        ('labels = ["a", "b", "c"]', 'labels = ["a"]', "labels: 1 name for 3 classes"),
        ('labels = ["a", "b", "c"]', 'labels = ["a", 2, "c"]', "labels: must all be text"),
        ("stages = [1, 1, 1, 1]", 'stages = ["a", 1, 1, 1]', "stages"),
        ("mean = [104, 117, 123]", 'mean = ["a"]', "input mean: must be a number, not 'a'"),
        ("crop = [160, 160]", "crop = [160, 160]\nlength = 32", "clip of 32 frames"),
        ("[net]", "[net", "not a readable card"),
        ("stages = [1, 1, 1, 1]", "depth = 100", "net.depth: no published P3D has 100; known are 63, 131, 199"),
        ("stages = [1, 1, 1, 1]", "depth = 63", "net.base_width: unknown field"),
        ('name = "tiny"', 'name = "../tiny"', "name '../tiny': must be letters"),
        ('licence = "MIT"', 'licence = "MIT"\nmetrics = { top1 = "x" }', "metrics.top1: must be a int | float"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [3]', "sources: entry 1 must be a table"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ }]', "sources[1]: give one of hub, url and page"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ url = "x" }]', "sources[1].url: must begin with https://"),
        (
            'licence = "MIT"',
            'licence = "MIT"\nsources = [{ url = "https://x/y", revision = "z" }]',
            "sources[1].revision: unknown field",
        ),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ page = "x" }]', "sources[1].file: missing"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ hub = "a/b", rev = "x" }]', "sources[1].rev: unknown field"),
        (
            'licence = "MIT"',
            'licence = "MIT"\nsources = [{ hub = "a/b", file = "../x" }]',
            "must be the name of a file",
        ),
        ('licence = "MIT"', 'licence = "MIT"\nchecksums = { sha1 = "x" }', "checksums.sha1: must be 40 digits"),
        ('licence = "MIT"', 'licence = "MIT"\nchecksums = { sha = "x" }', "checksums.sha: unknown field"),
        ('labels = ["a", "b", "c"]', 'labels = ["a", "b", "\\u001b[31m"]', "holds characters that are no text"),
        ('title = "A tiny net"', 'title = "\\u0007"', "title: '\\x07' holds characters"),
        ("stages = [1, 1, 1, 1]", "stages = [1, 1, 1, 100_000_000]", "more than 1,000 blocks"),
        ("classes = 3", "classes = 1_000_000_000_000", "classes 1000000000000: must be from 1 to 1,000,000"),
        ("mean = [104, 117, 123]", "mean = [nan]", "input mean: must be a number, not nan"),
        ("mean = [104, 117, 123]", "scale = inf", "input scale: must be a number"),
        ("mean = [104, 117, 123]", "mean = [true]", "input mean: must be a number, not True"),
        ("resize = [182, 242]", "resize = [64]", "input resize: must be [height, width], not [64]"),
        ("resize = [182, 242]", "resize = 64", "input: a value of the wrong type"),
        ("resize = [182, 242]", "resize = [182.5, 242]", "must be a whole number from 1 to 16,384, not 182.5"),
        ("resize = [182, 242]", "resize = [200_000, 242]", "must be a whole number from 1 to 16,384, not 200000"),
        ("resize = [182, 242]", "short_side = 0", "must be a whole number from 1 to 16,384, not 0"),
        ("mean = [104, 117, 123]", "step = 1.5", "input step: must be a whole number"),
        ("mean = [104, 117, 123]", 'standardize = "x"', "input standardize: must be true or false"),
        ('licence = "MIT"', f'licence = "MIT"\nmetrics = {{ a = 1{"0" * 400} }}', "metrics.a: must be numbers"),
        ('licence = "MIT"', f'licence = "MIT"\nmetrics = {{ a = 1{"0" * 5000} }}', "not a readable card"),
        ('labels = ["a", "b", "c"]', f"labels = {'[' * 5000}", "not a readable card"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ hub = "-a/b" }]', "sources[1].hub: must be user/repo"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ hub = "a/b", file = ".." }]', "must be the name of a file"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ url = "http://\\u001b" }]', "sources[1]"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{ hub = "a" }]', "sources[1].hub: must be user/repo, not 'a'"),
        *(
            (
                'weights = "tiny.safetensors"',
                f'weights = "{name}"',
                f"weights {name!r}: must be the name of a file beside the card",
            )
            for name in ("/etc/x.pth", "../x.pth", "a/x.pth", "-x.pth", ".x.pth", "a..pth", "")
        ),
        *(
            (
                'licence = "MIT"',
                f'licence = "MIT"\nsources = [{{ hub = "a/b", revision = "{revision}" }}]',
                f"sources[1].revision: must be a branch, tag or commit, not {revision!r}",
            )
            for revision in ("../x", "/etc", "a//b", "a/../b", "a/", "-x", "a/.b", "a..b", "")
        ),
        *(
            (
                'licence = "MIT"',
                f'licence = "MIT"\nsources = [{{ {place} }}]',
                f"sources[1].{place[:4].strip()}: must be",
            )
            for place in ('hub = "a/.b"', 'hub = "a/b..c"', 'hub = "a/b/c"', 'hub = "a//b"')
        ),
        *(
            (
                'licence = "MIT"',
                f'licence = "MIT"\nsources = [{{ hub = "a/b", file = "{file}" }}]',
                "the name of a file",
            )
            for file in ("-x.pth", ".x.pth", "a..pth", "a/x.pth", "/x.pth")
        ),
        ('name = "tiny"', 'name = "-tiny"', "name '-tiny': must be letters"),
        ('name = "tiny"', 'name = "ti..ny"', "name 'ti..ny': must be letters"),
        ('weights = "tiny.safetensors"', 'weights = "tiny.py"', "weights 'tiny.py': must end in one of .safetensors"),
        (
            'licence = "MIT"',
            'licence = "MIT"\nsources = [{ url = "https://x/y.sh" }]',
            "sources[1].file 'y.sh': must end in one of .safetensors",
        ),
        ('licence = "MIT"', 'licence = "MIT"\nself_test = ["x"]', "self_test: 1 logit for 3 classes"),
        ('licence = "MIT"', 'licence = "MIT"\nself_test = ["x", 1, 2]', "self_test: must be numbers"),
    ],
)
def test_a_mistake_in_a_card_is_named(tiny, line, instead, message):
    assert line in CARD
    tiny.write_text(CARD.replace(line, instead))
    with pytest.raises(WeightsError) as caught:
        load_card(tiny)
    assert str(caught.value).startswith("tiny.toml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("fc.bias"), "tensor fc.bias is missing"),
        (lambda w: w.update({"extra": torch.zeros(1)}), "tensor extra belongs to no layer"),
        (lambda w: w.update({"fc.bias": torch.zeros(5)}), r"tensor fc.bias is \(5,\), the network wants \(3,\)"),
    ],
)
def test_every_tensor_is_accounted_for(tiny, change, message):
    path = tiny.with_suffix(".safetensors")
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    with pytest.raises(WeightsError, match=message):
        load_model(tiny)


def test_damaged_weights_are_refused(tiny):
    path = tiny.with_suffix(".safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        load_model(tiny)
    path.unlink()
    with pytest.raises(WeightsError, match=r"no such file, though the card of tiny names it"):
        load_model(tiny)


def test_weights_other_than_the_cards_are_refused(tiny):
    tiny.write_text(CARD + f'\n[checksums]\nsha256 = "{"0123456789abcdef" * 4}"\n')
    with pytest.raises(WeightsError, match=r"damaged or replaced: its sha256 is .*, not 0123456789ab"):
        load_model(tiny)


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "0123456789abcdef" * 2 + "01234567"])
def test_a_revision_is_a_branch_a_tag_a_pull_request_or_a_commit(tiny, revision):
    tiny.write_text(CARD.replace("[net]", f'[[sources]]\nhub = "a/b"\nrevision = "{revision}"\n[net]'))
    assert load_card(tiny).sources[0].revision == revision
    assert parse_repository(f"a/b@{revision}") == ("a/b", revision)


@pytest.mark.parametrize(
    "text", ["a/b@../x", "a/b@/x", "a/b@a//b", "a/b@-x", "a/b@.x", "a/..b", "a..b/c", "a/b@a/../b"]
)
def test_what_could_leave_a_folder_is_no_repository(text):
    assert parse_repository(text) is None


def test_any_kind_of_file_may_be_named_where_a_checksum_covers_it(tiny):
    sums = f'[checksums]\nsha256 = "{"0" * 64}"\n'
    tiny.write_text(CARD.replace("tiny.safetensors", "tiny.dat").replace("[net]", f"{sums}[net]"))
    assert load_card(tiny).weights == tiny.with_name("tiny.dat")


def test_a_file_named_safetensors_is_read_as_nothing_else(tiny):
    path = tiny.with_suffix(".safetensors")
    weights = {name: value.clone() for name, value in load_file(path).items()}
    torch.save(weights, path)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_model(tiny)


def test_secrets_in_the_addresses_of_a_card_are_not_shown_and_still_tell_it_from_others(tiny):
    def card(url):
        text = CARD.replace('weights = "tiny.safetensors"\n', "")
        tiny.write_text(text.replace("[net]", f'[[sources]]\nurl = "{url}"\n[net]'))
        return load_card(tiny)

    secret = card("https://me:s3cret@host.invalid/f.params?token=s3cret")
    assert str(secret.sources[0]) == "https://host.invalid/f.params"
    assert secret.sources[0].file == "f.params"
    assert secret.identity == "['https://me:s3cret@host.invalid/f.params?token=s3cret']"
    with pytest.raises(WeightsError) as caught:
        card("ftp://me:s3cret@host.invalid/f.params")
    assert "s3cret" not in str(caught.value)


PUBLISHED = {
    "p3d63-imagenet": (63, "recycled", 3, "imagenet1k"),
    "p3d131-imagenet": (131, "recycled", 3, "imagenet1k"),
    "p3d199-imagenet": (199, "recycled", 3, "imagenet1k"),
    "p3d63-kinetics400": (63, "gluoncv", 3, "kinetics400"),
    "p3d131-kinetics400": (131, "gluoncv", 3, "kinetics400"),
    "p3d199-kinetics400": (199, "authors", 3, "kinetics400"),
    "p3d199-kinetics400-flow": (199, "authors", 2, "kinetics400"),
    "p3d199-sports1m": (199, "authors", 3, "sports1m"),
    "p3d199-kinetics400-port": (199, "gluoncv", 3, "kinetics400"),
    "p3d199-kinetics400-flow-port": (199, "gluoncv", 2, "kinetics400"),
    "p3d199-kinetics600-port": (199, "gluoncv", 3, None),
}


def test_there_is_a_card_for_every_checkpoint_the_public_knows():
    assert set(card_names()) == {*PUBLISHED, "p3d-camera"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_card_says_all_that_is_known(name):
    card = published_card(name)
    net = card.architecture
    assert (net.depth, net.family, net.channels, card.label_set) == PUBLISHED[name]
    assert card.name == name
    assert card.sources
    assert min(map(len, (card.title, card.licence, card.citation, card.notes, card.unknown))) > 10
    assert len(set(card.labels)) == net.classes
    for source in card.sources:
        assert source.revision if source.hub else source.file


def test_the_default_model_is_the_best_that_can_be_fetched_without_hands():
    trained_on_videos = [
        card for card in map(published_card, card_names()) if card.fetchable and card.label_set == "kinetics400"
    ]
    assert max(trained_on_videos, key=lambda card: card.metrics.get("top-1", 0.0)).name == DEFAULT_MODEL


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"model 'resnet': unknown; known are p3d-camera"):
        load_model("resnet")


def test_weights_of_ours_without_a_card_say_what_is_needed(tiny):
    tiny.unlink()
    with pytest.raises(WeightsError, match="does not say which family it is of"):
        load_model(tiny.with_suffix(".safetensors"))


def test_the_cards_are_those_of_the_repository():
    assert weights_folder().joinpath("p3d-camera.safetensors").is_file()
