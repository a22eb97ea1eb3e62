"""Remove videos from a feature file. As with adding, the file is at every moment the old or the new one."""

from collections.abc import Sequence
from pathlib import Path

from p3dfeat.errors import FeatureFileError, OutputError, UsageError
from p3dfeat.store.commit import commit
from p3dfeat.store.layout import foreign_names, open_hdf5, read_attributes, reading
from p3dfeat.store.members import Item, refers
from p3dfeat.store.reading.file import is_own_video, video_ids
from p3dfeat.store.side_files.lock import Lock
from p3dfeat.store.side_files.parts import journals
from p3dfeat.system.disk import writing


def remove_videos(path: str | Path, ids: Sequence[str], *, with_added: bool = False) -> int:
    """Remove videos from a feature file; return the number of bytes that are no longer used.

    Other videos and all other data in the file stay as they are. The file keeps its size until a tool such as
    ``h5repack`` copies it.

    Args:
        path (str | Path): Feature file.
        ids (Sequence[str]): Ids of videos to remove.
        with_added (bool): Also remove arrays and attributes that other software added to these videos.

    Returns:
        int: Bytes of the videos' arrays.

    Raises:
        FeatureFileError: The file is missing, damaged or not a p3dfeat file.
        UsageError: An id is not in the file, or the video holds something that p3dfeat did not write.
        OutputError: The file cannot be written, another run is writing it, or a run on it was interrupted.

    Example:
        >>> remove_videos("feats.h5", ["archery/clip7"])
    """
    if not Path(path).exists():
        raise FeatureFileError(f"{path}: no such file")
    with Lock(path) as lock:
        if journals(lock.folder):
            raise OutputError(f"{lock.parts}: holds videos of a run that was interrupted; run its command again first")
        references = []

        def look(item: Item) -> None:
            references.extend([True] if refers(item) else [])

        with open_hdf5(lock.target) as file, reading(lock.target):
            layers = read_attributes(file, lock.target)["layers"]
            kept = set(video_ids(file, lock.target, look))
            size = 0
            for id in dict.fromkeys(ids):
                if id not in kept or not is_own_video(file, id):
                    raise UsageError(f"{path}: holds no video {id!r}; p3dfeat info {path} --all lists its videos")
                if not with_added and (added := foreign_names(file[id], layers)):
                    what = f"{path}: video {id!r} holds {added[0]!r}, which p3dfeat did not write"
                    raise UsageError(f"{what}; --with-added removes it, too")
                size += sum(file[id][name].id.get_storage_size() for name in file[id])
        removed = set(ids)
        if removed:
            with writing(lock.target):
                commit.add(
                    lock.target,
                    lock.folder,
                    [],
                    kept - removed,
                    removed=removed,
                    in_place=not references,
                    on_new=lambda status: None,
                )
        return size
