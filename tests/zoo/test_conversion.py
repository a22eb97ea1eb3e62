"""Weights of Caffe, MXNet and the community port become nets with the numbers of their makers' software."""

import os
import pickle
import random
import resource
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import p3dfeat
from p3dfeat.errors import UsageError, WeightsError
from p3dfeat.nets import P3D, Architecture
from p3dfeat.zoo import convert, load_model, save
from p3dfeat.zoo.conversion.tensor_names import port_name
from p3dfeat.zoo.formats import archive, read_weights
from tests.reference_weights import CAFFE_FILES, GLUONCV_FILE, GOLDEN, port_checkpoint

TOLERANCE = 1e-4


def relative_l2(found, expected) -> float:
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))


def caffe_error(model: p3dfeat.Model) -> float:
    x = torch.from_numpy(np.load(GOLDEN / "caffe_small_input.npz")["data"]).float()
    with torch.no_grad():
        found = model.net(x, layers=("logits",))["logits"]
    return relative_l2(found, np.load(GOLDEN / "caffe_small_expected.npz")["main_logits"])


def gluoncv_error(model: p3dfeat.Model) -> float:
    x = torch.from_numpy(np.random.default_rng(7).normal(0, 1, (2, 3, 16, 64, 64)).astype(np.float32))
    with torch.no_grad():
        found = model.net(x, layers=("logits",))["logits"]
    return relative_l2(found, np.load(GOLDEN / "gluoncv_small_expected.npz")["logits"])


@pytest.mark.parametrize("path", CAFFE_FILES, ids=lambda path: path.name)
def test_every_encoding_of_caffe_gives_caffes_numbers(path):
    model = load_model(path)
    assert model.card.architecture == Architecture((2, 2, 2, 1), classes=10, base_width=4)
    assert caffe_error(model) < TOLERANCE


def test_mxnets_file_gives_mxnets_numbers_plain_and_zipped(tmp_path):
    assert gluoncv_error(load_model(GLUONCV_FILE)) < TOLERANCE
    with zipfile.ZipFile(tmp_path / "p3d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(GLUONCV_FILE, "p3d-0000.params")
    model = load_model(tmp_path / "p3d.zip")
    assert model.card.architecture.family == "gluoncv"
    assert model.card.input.step == 2
    assert gluoncv_error(model) < TOLERANCE


def in_protobuf(field: int, payload: bytes) -> bytes:
    def varint(value: int) -> bytes:
        return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])

    return varint(field << 3 | 2) + varint(len(payload)) + payload


def test_weights_in_double_precision_are_read(tmp_path):
    """BlobProto's field 8, as a Caffe built for double writes it."""
    data = b""
    layers: dict[str, list[np.ndarray]] = {}
    for name, array in read_weights(CAFFE_FILES[0]).arrays.items():
        layers.setdefault(name.rpartition("/")[0], []).append(array)
    for name, blobs in layers.items():
        body = in_protobuf(1, name.encode())
        for blob in blobs:
            shape = in_protobuf(
                1, b"".join(bytes([d]) if d < 128 else bytes([d & 127 | 128, d >> 7]) for d in blob.shape)
            )
            body += in_protobuf(7, in_protobuf(8, blob.astype("<f8").tobytes()) + in_protobuf(7, shape))
        data += in_protobuf(100, body)
    (tmp_path / "double.caffemodel").write_bytes(data)
    assert caffe_error(load_model(tmp_path / "double.caffemodel")) < TOLERANCE


@pytest.mark.parametrize("family", [None, "gluoncv", "authors"])
def test_the_ports_checkpoint_is_read_either_way(tmp_path, family):
    net = P3D(Architecture((1, 2, 3, 2), classes=400, base_width=4)).eval()
    torch.save({"state_dict": port_checkpoint(net), "epoch": 3, "arch": "p3d"}, tmp_path / "port.pth.tar")
    converted = convert(tmp_path / "port.pth.tar", family=family)
    assert converted.card.architecture.family == (family or "gluoncv")
    assert converted.card.architecture.stages == (1, 2, 3, 2)
    for name, value in converted.state.items():
        assert torch.equal(value, net.state_dict()[name]), name
    assert converted.card.labels[0] == "abseiling"


def test_every_port_name_has_one_meaning():
    names = port_checkpoint(P3D(Architecture((2, 2, 2, 2), classes=2, base_width=2)))
    mapped = [port_name(name.removeprefix("module.")) for name in names]
    assert None not in mapped
    assert len(set(mapped)) == len(mapped)


def test_a_converted_file_needs_no_card_and_gives_the_same_numbers(tmp_path):
    converted = convert(CAFFE_FILES[0])
    save(converted, tmp_path / "mine.safetensors")
    model = load_model(tmp_path / "mine.safetensors")
    assert caffe_error(model) < TOLERANCE
    assert model.card.input == converted.card.input
    assert model.card.input.channels == "bgr"
    assert model.card.labels == converted.card.labels
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


def test_four_hundred_classes_of_somebodys_own_are_not_called_kinetics(tmp_path):
    net = P3D(Architecture((1, 1, 1, 1), classes=400, base_width=2))
    weights = {n: v.contiguous() for n, v in net.state_dict().items() if v.dtype.is_floating_point}
    save_file(weights, tmp_path / "own.safetensors")
    assert convert(tmp_path / "own.safetensors", family="authors").card.labels[0] == "class 0"


def test_a_card_beside_the_weights_is_what_counts(tmp_path):
    target = tmp_path / "mine.caffemodel"
    target.write_bytes(CAFFE_FILES[0].read_bytes())
    card = 'name = "mine"\ntitle = "t"\nlicence = "MIT"\nweights = "mine.caffemodel"\n'
    card += (
        f"labels = {[f'l{i}' for i in range(10)]}\n[net]\nfamily = 'authors'\nstages = [2, 2, 2, 1]\nkinds = 'ABC'\n"
    )
    card += "base_width = 4\nchannels = 3\nclasses = 10\n[input]\nresize = [64, 64]\n"
    (tmp_path / "mine.toml").write_text(card)
    model = load_model(target)
    assert (model.name, model.card.labels[9], model.card.input.size) == ("mine", "l9", (64, 64))


def test_a_family_given_changes_the_arithmetic_alone_of_a_file_that_carries_its_card(tmp_path):
    original = load_model("p3d-camera").card
    save(convert(original.weights, card=original), tmp_path / "a.safetensors")
    other = convert(tmp_path / "a.safetensors", family="gluoncv").card
    assert other.architecture.family == "gluoncv"
    assert (other.labels, other.input, other.name) == (original.labels, original.input, original.name)


def test_a_flow_net_is_converted_and_says_what_it_takes(tmp_path):
    net = P3D(Architecture((1, 1, 1, 1), classes=3, base_width=4, channels=2))
    torch.save(port_checkpoint(net), tmp_path / "flow.pth")
    converted = convert(tmp_path / "flow.pth", family="authors")
    save(converted, tmp_path / "flow.safetensors")
    assert converted.card.input.mean == (128.0,)
    assert load_model(tmp_path / "flow.safetensors").sees_flow
    assert convert(tmp_path / "flow.pth").card.input.mean == (0.5,)  # as the port's code has it


def test_a_net_whose_preprocessing_nobody_published_wants_a_card(tmp_path):
    net = P3D(Architecture((1, 1, 1, 1), classes=3, base_width=4, channels=1))
    torch.save(port_checkpoint(net), tmp_path / "luma.pth")
    with pytest.raises(WeightsError, match=r"no preprocessing is published for these; .* in a card, luma.toml"):
        convert(tmp_path / "luma.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("layer1.0.bn2.bias"), "tensor res2a.bn_spatial.bias is missing"),
        (
            lambda w: w.update({"layer1.0.conv9.weight": torch.zeros(1)}),
            "tensor layer1.0.conv9.weight belongs to no layer",
        ),
        (
            lambda w: w.update({"layer1.0.bn2.bias": torch.zeros(3)}),
            r"bn_spatial.bias is \(3,\), the network wants \(4,\)",
        ),
        (lambda w: w.update({"x": 3}), "entry 'x' is a int, not a tensor"),
        (lambda w: w.pop("fc.weight"), "tensor fc.weight is missing"),
    ],
)
def test_every_tensor_is_accounted_for(tmp_path, change, message):
    net = P3D(Architecture((1, 1, 1, 1), classes=3, base_width=4))
    weights = {name.removeprefix("module."): value for name, value in port_checkpoint(net).items()}
    change(weights)
    torch.save(weights, tmp_path / "port.pth")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "port.pth")


class Hostile:
    """Unpickled, it would make a file."""

    def __init__(self, target: Path):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_of_a_pickle_is_run(tmp_path, legacy):
    target = tmp_path / "proof"
    if legacy:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Hostile(target)}))
    else:
        torch.save({"state_dict": {"x": torch.zeros(1)}, "extra": Hostile(target)}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"could run code|damaged"):
        convert(tmp_path / "evil.pth")
    assert not target.exists()


def samples(tmp_path: Path) -> dict[str, Path]:
    """A small file of each kind."""
    net = P3D(Architecture((1, 1, 1, 1), classes=3, base_width=2))
    torch.save(port_checkpoint(net), tmp_path / "small.pth")
    save(convert(tmp_path / "small.pth"), tmp_path / "small.safetensors")
    with zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(GLUONCV_FILE, "small.params")
    kinds = {
        path.suffix: path for path in (tmp_path / "small.pth", tmp_path / "small.safetensors", tmp_path / "small.zip")
    }
    return kinds | {".caffemodel": CAFFE_FILES[0], ".params": GLUONCV_FILE, ".h5": GOLDEN / "caffe_small.caffemodel.h5"}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, bytes replaced by large ones, pieces cut out, doubled or cut off; half the time near the start."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        if len(changed) < 2:
            break
        at = rng.randrange(min(len(changed), 400) if rng.random() < 0.5 else len(changed))
        kind = rng.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 8] = rng.choice([b"\xff" * 8, b"\x7f" * 8, bytes(8)])
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 64)]
        elif kind == 3:
            changed[at:at] = changed[at : at + rng.randrange(1, 64)]
        else:
            del changed[at + 1 :]
    return bytes(changed)


@pytest.mark.parametrize("kind", [".caffemodel", ".params", ".h5", ".pth", ".safetensors", ".zip"])
def test_a_damaged_or_hostile_file_is_an_error_and_nothing_else(tmp_path, kind):
    data = samples(tmp_path)[kind].read_bytes()
    rng, target, errors = random.Random(kind), tmp_path / f"mutated{kind}", []
    for _ in range(300):
        target.write_bytes(mutated(data, rng))
        try:
            convert(target)
        except WeightsError as error:
            errors.append(str(error))
    assert len(errors) > 30
    assert not [error for error in errors if "\n" in error]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no weights in it"),
        (b"hello world, this is text", "known kind|cut off|no weights"),
        (b"\x80\x02K\x01.", r"holds a int, not a state dict|damaged"),
    ],
)
def test_something_else_is_an_error(tmp_path, content, message):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_model(tmp_path / "x.bin")


def test_label_sets_are_complete():
    from p3dfeat.zoo.cards import label_set

    assert (len(label_set("kinetics400")), label_set("kinetics400")[0]) == (400, "abseiling")
    assert list(label_set("kinetics400")) == sorted(label_set("kinetics400"))
    assert len(set(label_set("sports1m"))) == 487


def test_kinds_and_family_go_before_what_a_card_says(tmp_path):
    original = load_model("p3d-camera").card
    save(convert(original.weights, card=original), tmp_path / "a.safetensors")
    other = convert(tmp_path / "a.safetensors", kinds="A", family="gluoncv").card
    assert (other.architecture.kinds, other.architecture.family) == ("A", "gluoncv")
    assert (other.metrics, other.self_test) == ({}, ())  # they were another reading's
    assert "Read as the gluoncv family, kinds A" in other.notes
    assert convert(tmp_path / "a.safetensors", family="authors").card.self_test == original.self_test
    for wrong in ({"family": "nobody"}, {"kinds": "Q"}, {"kinds": ""}):
        with pytest.raises(UsageError):
            convert(tmp_path / "a.safetensors", **wrong)


def test_a_saved_file_is_as_readable_as_the_users_others(tmp_path):
    before = os.umask(0o022)
    try:
        save(convert(GLUONCV_FILE), tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "b.safetensors")
    save(convert(GLUONCV_FILE), tmp_path / "link.safetensors")
    assert (tmp_path / "link.safetensors").is_symlink()
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["-mine", "..mine", "a..b"])
def test_a_file_of_any_name_is_converted_and_read_back(tmp_path, name):
    (tmp_path / f"{name}.params").write_bytes(GLUONCV_FILE.read_bytes())
    save(convert(tmp_path / f"{name}.params"), tmp_path / f"{name}.safetensors")
    assert gluoncv_error(load_model(tmp_path / f"{name}.safetensors")) < TOLERANCE


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_place_of_a_file_being_written_is_not_written_through(tmp_path, monkeypatch, link):
    monkeypatch.setattr("secrets.token_hex", lambda count: "0")
    (tmp_path / "thesis").write_text("years")
    link(tmp_path / "thesis", tmp_path / "a.safetensors.0.writing")
    with pytest.raises(WeightsError, match=r"a.safetensors: cannot be written \(File exists\)"):
        save(convert(GLUONCV_FILE), tmp_path / "a.safetensors")
    assert (tmp_path / "thesis").read_text() == "years"


def test_a_pipe_is_no_place_for_weights_and_a_file_keeps_its_mode(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="pipe: a folder, a pipe or a device, not a file; name another"):
        save(convert(GLUONCV_FILE), tmp_path / "pipe")
    (tmp_path / "a.safetensors").touch(0o600)
    save(convert(GLUONCV_FILE), tmp_path / "a.safetensors", overwrite=True)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "pipe"]


def hostile_files(tmp_path: Path) -> dict[str, Path]:
    """Files that were once read into a traceback, into far more memory than they are large, or out of other files."""
    net = P3D(Architecture((1, 1, 1, 1), classes=3, base_width=2))
    weights = {n: v.contiguous() for n, v in net.state_dict().items() if v.dtype.is_floating_point}
    one = torch.zeros(1, dtype=torch.half)
    found = {
        "a card of brackets": ("safetensors", weights, {"p3dfeat_card": "[" * 200_000}),
        "a number in a name": ("safetensors", {**weights, f"layer1.{'9' * 5000}.conv1.weight": torch.zeros(1)}, {}),
        "sparse": ("pth", {"conv1.weight": torch.eye(3).to_sparse()}, None),
        "nowhere": ("pth", {"conv1.weight": torch.zeros(3, device="meta")}, None),
        "complex": ("pth", {"conv1.weight": torch.zeros(3, dtype=torch.complex64)}, None),
        "larger than itself": ("pth", {"conv1.weight": one.expand(10**9)}, None),
        "larger than memory": ("pth", {"conv1.weight": one.expand(10**13)}, None),
    }
    paths = {}
    for name, (kind, tensors, metadata) in found.items():
        paths[name] = tmp_path / f"{name}.{kind}"
        if kind == "pth":
            torch.save(tensors, paths[name])
        else:
            save_file(tensors, paths[name], metadata)
    return paths | hostile_hdf5_files(tmp_path)


def hostile_hdf5_files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "secret").write_bytes(bytes(400))
    paths = {name: tmp_path / f"{name}.h5" for name in ("links", "outside", "elsewhere", "numbers")}
    with h5py.File(paths["links"], "w") as file:
        first = file.create_dataset("data/conv1/0", data=np.zeros(100_000, np.float32))
        for number in range(600):
            file[f"data/layer{number}/0"] = first
    with h5py.File(paths["outside"], "w") as file:
        external = [(str(tmp_path / "secret"), 0, 400)]
        file.create_dataset("data/conv1/0", (100,), "<f4", external=external)
    with h5py.File(paths["elsewhere"], "w") as file:
        file.create_group("data")["conv1"] = h5py.ExternalLink(str(paths["outside"]), "/data/conv1")
    with h5py.File(paths["numbers"], "w") as file:
        file.create_dataset(f"data/conv1/{'9' * 5000}", data=np.zeros(3, np.float32))
    return paths


def test_what_an_archive_says_it_unpacks_to_is_held_to_its_own_size(tmp_path, monkeypatch):
    torch.save({"x": torch.zeros(300)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    monkeypatch.setattr(archive, "MOST_SHRUNK", 1)
    with pytest.raises(WeightsError, match="unpacks to far more"):
        read_weights(tmp_path / "packed.pth")
    monkeypatch.setattr(archive, "MOST_SHRUNK", 20)
    assert read_weights(tmp_path / "packed.pth").arrays["x"].shape == (300,)
    monkeypatch.setattr(archive, "LARGEST_BYTES", 1000)  # no more than an uncompressed file may have
    with pytest.raises(WeightsError, match="unpacks to far more"):
        read_weights(tmp_path / "packed.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_views_of_one_storage_are_counted_as_often_as_they_are_there(tmp_path, zipped):
    values = torch.zeros(1000, dtype=torch.half)
    views = {f"layer{number}": values.view(1, 1000) for number in range(100)}
    torch.save(views, tmp_path / "views.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="claims more numbers than the file has"):
        read_weights(tmp_path / "views.pth")


@pytest.mark.parametrize("link", ["data", "data/conv1", "data/conv1/0"])
@pytest.mark.parametrize("kind", ["external", "soft"])
def test_no_link_in_an_hdf5_file_is_opened(tmp_path, link, kind):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["data/conv1/0"] = np.zeros(3, np.float32)
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["own/conv1/0"] = np.zeros(3, np.float32)
        target = link.replace("data", "own")
        file[link] = h5py.ExternalLink(tmp_path / "other.h5", link) if kind == "external" else h5py.SoftLink(target)
    with pytest.raises(WeightsError, match=f"{link.rpartition('/')[2]}: a link instead of weights"):
        read_weights(tmp_path / "links.h5")


def test_a_link_in_an_hdf5_file_that_leads_nowhere_is_named_too(tmp_path):
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["data/conv1"] = h5py.ExternalLink("nowhere.h5", "/data")
    with pytest.raises(WeightsError, match="conv1: a link instead of weights"):
        read_weights(tmp_path / "links.h5")


def test_an_object_of_an_hdf5_file_counts_once(tmp_path):
    with h5py.File(tmp_path / "twice.h5", "w") as file:
        file["data/conv1/0"] = np.zeros(3, np.float32)
        file["data/conv2"] = file["data/conv1"]
    with pytest.raises(WeightsError, match="conv2: appears twice"):
        read_weights(tmp_path / "twice.h5")


def test_files_written_to_hurt_are_errors_in_a_line(tmp_path):
    paths = hostile_files(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, path in paths.items():
        with pytest.raises(WeightsError) as caught:
            convert(path)
        assert "\n" not in str(caught.value), name
    assert len(paths) == 11
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
