"""Official lists of training and test videos, as they are found: UCF101's and HMDB51's."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from p3dfeat.errors import UsageError

MOST_BYTES: Final = 64 << 20
UCF_TRAIN: Final = re.compile(r"trainlist(\d+)\.txt", re.I)
HMDB_SPLIT: Final = re.compile(r"(.+)_test_split(\d+)\.txt", re.I)
UCF_GROUP: Final = re.compile(r"(.*_g\d+)_c\d+", re.I)
HMDB_GROUP: Final = re.compile(r"(.+)_[a-z]_(?:nm|cm)_np\d.*", re.I)  # the source in front of the clip's properties


@dataclass(frozen=True)
class ListSplit:
    """One split. train, test: {name in the list: label}."""

    name: str
    train: Mapping[str, str]
    test: Mapping[str, str]


def ucf101_splits(folder: Path) -> list[ListSplit]:
    """The splits of trainlist01.txt, testlist01.txt and so on.

    A video's class is its folder. The number behind a training video counts from 1, and must agree with classInd.txt,
    if that is there. Test lists have no number, or one that is not read.
    Raises UsageError for a missing list, and for lines that cannot be right.
    """
    files = _files(folder)
    numbers = sorted(match[1] for name in files if (match := UCF_TRAIN.fullmatch(name)))
    if not numbers:
        raise UsageError(f"{folder}: no trainlist01.txt there; name the folder with UCF101's lists")
    index = _class_index(files["classind.txt"]) if "classind.txt" in files else {}
    splits = []
    for number in numbers:
        sides: list[dict[str, str]] = []
        for side in ("train", "test"):
            name = f"{side}list{number}.txt"
            if name not in files:
                raise UsageError(f"{folder}: {name} is missing")
            sides.append(_ucf_list(files[name], index if side == "train" else {}))
        splits.append(_split(number.lstrip("0") or "0", sides[0], sides[1], folder))
    return splits


def hmdb51_splits(folder: Path) -> list[ListSplit]:
    """The splits of CLASS_test_split1.txt and so on, with 1 for training, 2 for test and 0 for neither.

    Raises UsageError as ``ucf101_splits``.
    """
    found = {name: HMDB_SPLIT.fullmatch(name) for name in _files(folder)}
    numbers = sorted({match[2] for match in found.values() if match})
    if not numbers:
        raise UsageError(f"{folder}: no CLASS_test_split1.txt there; name the folder with HMDB51's lists")
    splits = []
    for number in numbers:
        sides: dict[str, dict[str, str]] = {"1": {}, "2": {}}
        for name, match in found.items():
            if match is None or match[2] != number:
                continue
            path = _files(folder)[name]
            label = path.name[: -len(f"_test_split{number}.txt")]
            for place, line in _lines(path):
                video, _, use = line.rpartition(" ")
                if use not in ("0", "1", "2") or not video.strip():
                    raise UsageError(f"{path}, line {place}: must be a file name and 0, 1 or 2")
                if use in sides:
                    sides[use][f"{label}/{video.strip()}"] = label
        splits.append(_split(number, sides["1"], sides["2"], folder))
    return splits


def _files(folder: Path) -> dict[str, Path]:
    """{name in lower case: path} of the files of a folder."""
    try:
        found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        return {path.name.lower(): path for path in found}
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; name the folder with the lists of the splits") from None


def _lines(path: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines that are not empty, with any line ends."""
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path}: longer than {MOST_BYTES >> 20} MiB")
    lines = content.decode("utf-8-sig", "replace").splitlines()
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def _class_index(path: Path) -> dict[str, str]:
    """{class in lower case: number}."""
    found = {}
    for number, line in _lines(path):
        place, _, name = line.partition(" ")
        if not place.isdecimal() or not name.strip():
            raise UsageError(f"{path}, line {number}: must be a number and a class")
        found[name.strip().lower()] = place
    return found


def _ucf_list(path: Path, index: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in _lines(path):
        name, _, last = line.rpartition(" ")
        video, given = (name.strip(), last) if last.isdecimal() and name.strip() else (line, None)
        label = PurePosixPath(video.replace("\\", "/")).parent.name
        if not label:
            raise UsageError(f"{path}, line {number}: {video!r} is in no folder; lists name Class/video.avi")
        if given is not None and index and index.get(label.lower()) != given:
            right = index.get(label.lower(), "not there")
            raise UsageError(f"{path}, line {number}: the label is {given}; {label} is {right} in classInd.txt")
        found[video.replace("\\", "/")] = label
    return found


def _split(name: str, train: Mapping[str, str], test: Mapping[str, str], folder: Path) -> ListSplit:
    if not train or not test:
        raise UsageError(f"{folder}: split {name} has {len(train)} training and {len(test)} test videos")
    if both := sorted(train.keys() & test.keys()):
        raise UsageError(f"{folder}: split {name}: {both[0]} is a training and a test video")
    return ListSplit(name, train, test)


class Names:
    """Finds ids of features by names of lists: by folder and file name, without its extension.

    An id in no folder, or in one that is no class, is found by its file name alone. Upper and lower case are the same:
    UCF101 writes HandStandPushups and HandstandPushups.
    """

    def __init__(self, ids: Sequence[str], classes: Iterable[str] = ()):
        """classes: names of the folders of the lists."""
        folders = {name.casefold() for name in classes}
        self._whole: dict[str, list[int]] = {}
        self._last: dict[str, list[int]] = {}
        for place, id in enumerate(ids):
            parts = id.casefold().split("/")
            if len(parts) == 1 or parts[-2] not in folders:
                self._last.setdefault(parts[-1], []).append(place)
            self._whole.setdefault("/".join(parts[-2:]), []).append(place)
        self._ids = ids

    def place(self, name: str) -> int | None:
        """The place of the id with this name; None for an unknown name. Raises UsageError if several ids fit."""
        parts = name.casefold().split("/")
        for last in _stems(parts[-1]):
            for found in (self._whole.get("/".join([*parts[-2:-1], last])), self._last.get(last)):
                if found is not None and len(found) > 1:
                    raise UsageError(f"{name}: could be {self._ids[found[0]]} or {self._ids[found[1]]}")
                if found is not None:
                    return found[0]
        return None


def _stems(name: str) -> Iterable[str]:
    """A name without its extension, and as it is: ids have an extension where two files differ in nothing else."""
    stem, dot, _ = name.rpartition(".")
    return (stem, name) if dot and stem else (name,)


def recording(id: str) -> str:
    """The recording that a clip of UCF101 or HMDB51 was cut from, as far as its name says."""
    folder, _, name = id.casefold().rpartition("/")
    match = UCF_GROUP.fullmatch(name) or HMDB_GROUP.fullmatch(name)
    return f"{folder}/{match[1]}" if match else id
