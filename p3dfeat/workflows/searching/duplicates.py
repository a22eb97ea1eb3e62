"""Near-duplicates among the videos of a feature file."""

from pathlib import Path

from p3dfeat.explore.duplicates import Group, duplicate_groups
from p3dfeat.explore.vectors import load_vectors
from p3dfeat.options import DuplicatesSettings, with_options
from p3dfeat.store import open_features
from p3dfeat.zoo.download.cache import cache_folder_if_any


def run_duplicates(file: str | Path, settings: DuplicatesSettings) -> list[Group]:
    """Find groups of near-identical videos: re-encodings, and with ``parts`` also cuts of the same source.

    Args:
        file (str | Path): Feature file with pool5.
        above (float): Least cosine between the descriptors of two videos that count as duplicates.
        parts (bool): Also compare clips: a video is a part of another if the cosine of each of its clips to one of the
            other's is at least ``above``.
        on_progress (Callable | None): Called with the numbers of blocks compared so far and in all.

    Returns:
        list[Group]: Each with the ids of its videos, and the least cosine that joined two of them.

    Raises:
        UsageError: pool5 is not stored, or ``above`` is no cosine.
        FeatureFileError: The feature file is missing or damaged.

    Example:
        >>> [group.ids for group in p3dfeat.duplicates("feats.h5")]
    """
    tell = settings.on_progress or (lambda done, total: None)
    with open_features(file) as features:
        vectors = load_vectors(features, cache=cache_folder_if_any())
        clips = load_vectors(features, clips=True, cache=cache_folder_if_any()) if settings.parts else None
        return duplicate_groups(vectors, settings.above, clips=clips, on_progress=tell)


duplicates = with_options(DuplicatesSettings)(run_duplicates)
