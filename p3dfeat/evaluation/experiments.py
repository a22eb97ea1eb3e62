"""Experiments with one label per video: UCF101, HMDB51, scenes, any labelled folder, and the effect of dimension."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.classification import (
    IN_NO_LIST,
    Outcome,
    Split,
    Task,
    check_strict,
    class_rows,
    confusion,
    left_out_notes,
    outcomes,
    split_notes,
    split_rows,
    wrong,
)
from p3dfeat.evaluation.descriptors import Descriptors
from p3dfeat.evaluation.learning.tuning import folds
from p3dfeat.evaluation.lists import ListSplit, Names, hmdb51_splits, recording, ucf101_splits
from p3dfeat.evaluation.reporting import paper
from p3dfeat.evaluation.reporting.protocol import described
from p3dfeat.evaluation.reporting.result import Evaluation, Row
from p3dfeat.evaluation.saving import check_save, save_head
from p3dfeat.labels import Labels
from p3dfeat.options import FeatureOptions, FolderSettings, ListsSettings, ScenesSettings, with_options
from p3dfeat.text.counts import counted, named

Files = str | Path | Sequence[str | Path]

PATTERN: Final = "re:"
FEW: Final = 2  # videos of a class without which it cannot be trained and tested
NO_LABEL: Final = "no label"


def run_ucf101(files: Files, splits: str | Path, settings: ListsSettings) -> Evaluation:
    """Action recognition on UCF101: each official split, and the mean.

    Args:
        files (str | Path | Sequence): Feature files of the videos, with the same settings.
        splits (str | Path): Folder with trainlist01.txt, testlist01.txt and so on.
        **options: learner, c, seed, layer, normalise, fuse, save, report, strict, on_event.

    Returns:
        Evaluation: Accuracy in per cent for each split, and the mean.

    Raises:
        UsageError: A list is wrong, or no video of it has features.
        FeatureFileError: A feature file is damaged.

    Example:
        >>> p3dfeat.evaluate_ucf101("ucf.h5", "ucfTrainTestlist/").result["accuracy"]
    """
    return _lists("ucf101", files, ucf101_splits(Path(splits)), settings, paper.UCF101)


def run_hmdb51(files: Files, splits: str | Path, settings: ListsSettings) -> Evaluation:
    """Action recognition on HMDB51: each official split, and the mean.

    Args:
        files (str | Path | Sequence): Feature files of the videos, with the same settings.
        splits (str | Path): Folder with brush_hair_test_split1.txt and so on.
        **options: learner, c, seed, layer, normalise, fuse, save, report, strict, on_event.

    Returns:
        Evaluation: Accuracy in per cent for each split, and the mean.

    Raises:
        UsageError: A list is wrong, or no video of it has features.
        FeatureFileError: A feature file is damaged.

    Example:
        >>> p3dfeat.evaluate_hmdb51("hmdb.h5", "testTrainMulti_7030_splits/").result["accuracy"]
    """
    return _lists("hmdb51", files, hmdb51_splits(Path(splits)), settings, ())


def _lists(
    experiment: str, files: Files, lists: Sequence[ListSplit], settings: FeatureOptions, numbers: tuple[Row, ...]
) -> Evaluation:
    task, splits, descriptors, missing = list_task(_several(files), lists, settings)
    results = list(outcomes(task, splits, settings, settings.on_event))
    protocol = described(descriptors, settings, f"{counted(len(splits), 'official split')}, and their mean.")
    evaluation = Evaluation(experiment, protocol, split_rows(task, results), numbers)
    return finished(evaluation, task, results, descriptors, settings, missing)


def list_task(
    files: Sequence[str | Path], lists: Sequence[ListSplit], settings: FeatureOptions
) -> tuple[Task, list[Split], Descriptors, dict[str, str]]:
    """The task, its splits, the descriptors, and the listed videos without features, with the reason."""
    descriptors = _loaded(files, settings)
    listed_labels = {label for split in lists for side in (split.train, split.test) for label in side.values()}
    names, told = Names(descriptors.ids, listed_labels), Names(list(descriptors.left_out), listed_labels)
    labels: dict[int, str] = {}
    missing: dict[str, str] = {}
    sides: list[tuple[str, list[int], list[int]]] = []
    for split in lists:
        places: tuple[list[int], list[int]] = ([], [])
        for side, listed in enumerate((split.train, split.test)):
            for name, label in listed.items():
                place = names.place(name)
                if place is None:
                    if told.place(name) is None:
                        missing[name] = "no features"
                    continue
                if labels.setdefault(place, label).casefold() != label.casefold():
                    raise UsageError(f"{name}: {descriptors.ids[place]} is of {labels[place]} and {label} in the lists")
                places[side].append(place)
        if both := set(places[0]) & set(places[1]):
            raise UsageError(f"split {split.name}: {descriptors.ids[min(both)]} is a training and a test video")
        if not places[0] or not places[1]:
            raise UsageError(
                f"split {split.name}: features of {len(places[0])} training and {len(places[1])} test videos; ids must "
                f"end like the names of the list, such as {next(iter(split.train))!r} without its extension"
            )
        sides.append((split.name, *places))
    used = np.array(sorted(labels), np.int64)
    where = {int(place): number for number, place in enumerate(used)}
    known = descriptors.only(used, IN_NO_LIST)
    classes = {name.casefold(): name for name in sorted(labels.values())}  # two spellings of a class are one
    task = Task.of(
        known, [(classes[labels[int(place)].casefold()],) for place in used], [recording(i) for i in known.ids]
    )
    splits = [
        Split(name, *(np.array([where[place] for place in sorted(set(side))], np.intp) for side in both))
        for name, *both in sides
    ]
    return task, splits, known, missing


def run_scenes(files: Files, settings: ScenesSettings) -> Evaluation:
    """Scene recognition on YUPENN and Dynamic Scene: each video is labelled by a classifier of all others.

    The authors average the features of plain and mirrored frames: extract with ``mirror=True``.

    Args:
        files (str | Path | Sequence): Feature files of the videos, with the same settings.
        labels (str | Path): "folders", a CSV or JSON file, or "column:NAME".
        **options: learner, c, seed, layer, normalise ("sqrt-l2"), fuse, save, report, strict, on_event.

    Returns:
        Evaluation: Accuracy in per cent of each class, and of all videos.

    Raises:
        UsageError: A class has one video, or there are no labels.
        FeatureFileError: A feature file is damaged.

    Example:
        >>> p3dfeat.evaluate_scenes("yupenn.h5").result["accuracy"]
    """
    task, descriptors = labelled(_several(files), settings.labels, settings, groups=None)
    everything = np.arange(len(task))
    splits = [
        Split(id, np.delete(everything, place), everything[place : place + 1]) for place, id in enumerate(task.ids)
    ]
    results = list(outcomes(task, splits, settings, settings.on_event))
    mirrored = any(crop.endswith("-mirrored") for crop in descriptors.origins[0].crops)
    protocol = described(descriptors, settings, "Leave one video out: each is labelled by a classifier of all others.")
    notes = () if mirrored else ("features of plain frames only; the authors also use mirrored ones: extract --mirror",)
    evaluation = Evaluation("scenes", protocol, class_rows(task, results), (*paper.DYNAMIC_SCENE, *paper.YUPENN), notes)
    return finished(evaluation, task, results, descriptors, settings)


def run_folder(files: Files, settings: FolderSettings) -> Evaluation:
    """Cross-validation on any labelled videos: stratified, and with each recording on one side only.

    Args:
        files (str | Path | Sequence): Feature files of the videos, with the same settings.
        labels (str | Path): "folders", a CSV or JSON file, or "column:NAME".
        groups (str | Path | None): Recordings: a CSV or JSON file of ids and groups, "column:NAME", or "re:PATTERN",
            whose first group is taken from the id. None: segments of one video file are one recording.
        folds (int): Number of folds.
        **options: learner, c, seed, layer, normalise, fuse, save, report, strict, on_event.

    Returns:
        Evaluation: Accuracy in per cent for each fold, and the mean.

    Raises:
        UsageError: There are too few labels or recordings.
        FeatureFileError: A feature file is damaged.

    Example:
        >>> p3dfeat.evaluate_folder("feats.h5", groups=r"re:(.*_g\\d+)_c\\d+").result["accuracy"]
    """
    task, descriptors = labelled(_several(files), settings.labels, settings, groups=settings.groups)
    splits = fold_splits(task, settings)
    results = list(outcomes(task, splits, settings, settings.on_event))
    recordings = counted(len(np.unique(task.problem.groups)), "recording")
    sentence = f"{settings.folds} folds, stratified by class; all videos of a recording are in one fold ({recordings})."
    evaluation = Evaluation("folder", described(descriptors, settings, sentence), split_rows(task, results))
    return finished(evaluation, task, results, descriptors, settings)


def fold_splits(task: Task, settings: FolderSettings) -> list[Split]:
    """The folds of a cross-validation."""
    return [
        Split(f"fold {number}", train, test)
        for number, (train, test) in enumerate(
            folds(task.problem.targets, task.problem.groups, settings.folds, settings.seed), 1
        )
    ]


def labelled(
    files: Sequence[str | Path], choice: str | Path, settings: FeatureOptions, *, groups: str | Path | None
) -> tuple[Task, Descriptors]:
    """The task of all videos with a label whose class has at least two videos."""
    descriptors = _loaded(files, settings)
    labels = Labels.of(choice)
    found = [labels.label(id, columns) for id, columns in zip(descriptors.ids, descriptors.columns, strict=True)]
    descriptors = descriptors.only(np.flatnonzero([label is not None for label in found]), NO_LABEL)
    known = [label for label in found if label is not None]
    if not known:
        raise UsageError(f"labels {choice}: none of {counted(len(found), 'video')} has one")
    counts = Counter(known)
    keep = np.flatnonzero([counts[label] >= FEW for label in known])
    if not len(keep):
        raise UsageError(f"labels {choice}: no class has two videos")
    descriptors = descriptors.only(keep, "the only video of its class")
    return Task.of(descriptors, [(known[place],) for place in keep], _groups(descriptors, groups)), descriptors


def _groups(descriptors: Descriptors, choice: str | Path | None) -> list[str] | None:
    """The recording of each video. Raises UsageError for a video without one."""
    if choice is None:
        return None
    text = str(choice)
    if text.startswith(PATTERN):
        try:
            pattern = re.compile(text.removeprefix(PATTERN))
        except re.error as error:
            raise UsageError(f"groups {text}: not a pattern ({error})") from None
        if pattern.groups < 1:
            raise UsageError(f"groups {text}: must have a group, such as re:(.*)_c\\d+")
        found = [match[1] if (match := pattern.search(id)) else None for id in descriptors.ids]
    else:
        labels = Labels.of(choice, kind="groups")
        found = [labels.label(id, columns) for id, columns in zip(descriptors.ids, descriptors.columns, strict=True)]
    if without := [id for id, group in zip(descriptors.ids, found, strict=True) if group is None]:
        raise UsageError(f"groups {text}: none for {named(without, 'video')}")
    return [str(group) for group in found]


def _loaded(files: Sequence[str | Path], settings: FeatureOptions) -> Descriptors:
    check_save(settings)
    return Descriptors.loaded(files, settings.layer, normalise=settings.normalise, fuse=settings.fuse)


def _several(files: Files) -> list[str | Path]:
    return [files] if isinstance(files, str | Path) else list(files)


def finished(
    evaluation: Evaluation,
    task: Task,
    results: Iterable[Outcome],
    descriptors: Descriptors,
    settings: FeatureOptions,
    missing: dict[str, str] | None = None,
) -> Evaluation:
    """With what went wrong, what was left out, and the saved classifier. Raises UsageError if ``strict`` forbids it."""
    results = list(results)
    left_out = {**descriptors.left_out, **(missing or {})}
    check_strict(left_out, settings.strict)
    saved = save_head(task, descriptors, settings) if settings.save is not None else None
    notes = (*evaluation.notes, *split_notes(task, results), *left_out_notes(left_out))
    return replace(
        evaluation,
        notes=notes,
        left_out=left_out,
        wrong=wrong(task, results),
        confusion=confusion(task, results),
        saved=saved,
    )


evaluate_ucf101 = with_options(ListsSettings)(run_ucf101)
evaluate_hmdb51 = with_options(ListsSettings)(run_hmdb51)
evaluate_scenes = with_options(ScenesSettings)(run_scenes)
evaluate_folder = with_options(FolderSettings)(run_folder)
