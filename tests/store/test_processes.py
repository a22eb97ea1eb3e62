"""A feature file in several processes: forked, spawned and forkserver ones read what their parent reads."""

import multiprocessing
import os
import pickle
import warnings

import h5py
import pytest

from p3dfeat.errors import FeatureFileError
from p3dfeat.store import open_features
from p3dfeat.store.reading.file import FeatureFile
from tests.store.runs import run

METHODS = ("fork", "spawn", "forkserver")
SEEDS = {f"v{n}": 2 * n for n in range(8)} | {"folder/w": 40}


@pytest.fixture
def output(tmp_path):
    run(tmp_path / "feats.h5", SEEDS)
    return tmp_path / "feats.h5"


def rows(features, id):
    return features[id]["pool5"].tobytes()


def looked_at(features):
    return {id: rows(features, id) for id in features}, features.settings["model"], len(features)


class Rows:
    """A torch data set as users write it: it opens the file once, and is handed to workers."""

    def __init__(self, path):
        self.features = open_features(path)
        self.ids = list(self.features)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, number):
        return self.features[self.ids[number]].pooled


def in_children(method, work, arguments):
    with warnings.catch_warnings():  # Python warns of forks beside threads
        warnings.simplefilter("ignore")
        with multiprocessing.get_context(method).Pool(2) as pool:
            return pool.starmap_async(work, arguments).get(timeout=120)


@pytest.mark.parametrize("method", METHODS)
def test_children_read_through_an_open_file_what_the_parent_reads(output, method):
    with open_features(output) as features:
        here = looked_at(features)
        assert in_children(method, looked_at, [(features,)] * 2) == [here, here]
        assert in_children(method, rows, [(features, id) for id in SEEDS]) == [rows(features, id) for id in SEEDS]


@pytest.mark.parametrize("method", METHODS)
def test_a_torch_data_loader_gets_the_right_items_from_its_workers(output, method):
    from torch.utils.data import DataLoader

    data = Rows(output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=method, timeout=120)
        found = [item.numpy().tobytes() for item in loader]
    assert found == [data[number].tobytes() for number in range(len(data))]


def test_what_is_known_of_a_video_can_be_pickled_too(output):
    with open_features(output) as features:
        copy = pickle.loads(pickle.dumps(features["folder/w"]))
        assert copy.attributes == features["folder/w"].attributes
        assert copy["seconds"].tobytes() == features["folder/w"]["seconds"].tobytes()


def test_a_forked_child_opens_the_file_for_itself_and_leaves_the_parents_open(output):
    """HDF5's own state is its process's; the numbers of open files tell whose it is."""
    opened = []
    with open_features(output) as features:
        video = features["v3"]
        before = looked_at(features)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            h5py.File, real = lambda *a, **k: opened.append(a) or real(*a, **k), h5py.File
            same = video["pool5"].tobytes() == before[0]["v3"] and looked_at(features) == before
            features.close()
            os.write(writer, b"%d%d" % (same, len(opened)))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            assert told.read() == b"11"
        os.waitpid(child, 0)
        assert looked_at(features) == before
        assert not opened


def test_a_pickled_file_is_found_from_another_folder(output, tmp_path, monkeypatch):
    monkeypatch.chdir(output.parent)
    with open_features("feats.h5") as features:
        data = pickle.dumps(features)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pickle.loads(data) as copy:
        assert list(copy) == sorted(SEEDS)


def test_a_pickled_file_that_has_gone_is_an_error_of_one_line_at_its_first_use(output):
    with open_features(output) as features:
        data = pickle.dumps(features)
    output.unlink()
    copy = pickle.loads(data)
    assert isinstance(copy, FeatureFile)
    with pytest.raises(FeatureFileError, match="no such file"):
        list(copy)


def test_a_closed_file_stays_closed_in_other_processes(output):
    with open_features(output) as features:
        pass
    for closed in (features, pickle.loads(pickle.dumps(features))):
        for use in (list, len, lambda file: file["v1"], lambda file: "v1" in file):
            with pytest.raises(FeatureFileError, match="is closed; use it inside its with statement"):
                use(closed)
