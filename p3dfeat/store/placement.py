"""Check the position of a new video in a feature file, to which users may have added data."""

from collections.abc import Sequence
from pathlib import Path

import h5py

from p3dfeat.errors import VideoError
from p3dfeat.store.layout import reading
from p3dfeat.store.members import ITSELF, LINK, address_of, has, is_hard
from p3dfeat.store.resuming import folders_of
from p3dfeat.store.stored import Stored


class Placement:
    """Checks the ids of new videos. in_file: whether the output holds anything that is kept."""

    def __init__(self, stored: Stored, output: Path, *, in_file: bool):
        self._stored, self._output, self._in_file = stored, output, in_file
        self._folders = folders_of(stored.ids)
        self._folder_names: dict[int, str] = {}  # of folders that videos are added to, by their address in the output

    def check(self, id: str) -> None:
        """A video cannot hold other videos, of any run, and cannot replace data that a user has added.

        Raises VideoError.
        """
        parts = id.split("/")
        for n in range(1, len(parts)):
            if "/".join(parts[:n]) in self._stored.ids:
                raise VideoError(f"id {id!r} lies inside video {'/'.join(parts[:n])!r} of {self._output}; rename one")
        if id in self._folders:
            raise VideoError(f"id {id!r} is a folder of videos in {self._output}; rename one")
        if self._in_file:
            with reading(self._output):
                self.check_not_taken(self._stored.opened(), id)

    def check_not_taken(self, place: h5py.Group, id: str) -> None:
        """Raises VideoError if the name of a new video, or of its folder, is used by something else."""
        parts = id.split("/")
        folders = {address_of(place): ""}
        for n, name in enumerate(parts, 1):
            if not has(place, name):
                self._check_only_name(id, parts[: n - 1], place)
                return
            found = place[name] if is_hard(place, name) else LINK
            way = "/".join(parts[:n])
            if n == len(parts) or not isinstance(found, h5py.Group):
                what = LINK if found == LINK else "no video"
                raise VideoError(f"id {id!r}: {self._output} holds {way!r}, which is {what}; rename one")
            if (address := address_of(found)) in folders:
                raise VideoError(f"id {id!r}: {self._output} holds {way!r}, which is {ITSELF}; rename one")
            folders[address] = way
            place = found

    def _check_only_name(self, id: str, folder: Sequence[str], place: h5py.Group) -> None:
        """Use only one name of a folder with two names: otherwise two videos could get the same place."""
        used = self._folder_names.setdefault(address_of(place), "/".join(folder))
        if used != "/".join(folder):
            raise VideoError(f"id {id!r}: its folder is also {used!r} in {self._output}; use one of these names")
