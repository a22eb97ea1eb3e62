"""Weights with p3dfeat's names and their card, and the safetensors file that holds both."""

import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors.torch import save as to_bytes
from torch import Tensor

from p3dfeat.errors import WeightsError
from p3dfeat.system.disk import Folder
from p3dfeat.zoo.cards import Card, card_content

CARD_KEY: Final = "p3dfeat_card"  # key in the metadata of a safetensors file


@dataclass(frozen=True)
class Converted:
    """Weights with p3dfeat's names, and their card."""

    card: Card
    state: dict[str, Tensor]


def save(converted: Converted, path: Path, *, overwrite: bool = False) -> None:
    """Write a safetensors file that contains its card. Raises WeightsError, and leaves no incomplete file.

    overwrite: replace an existing file; otherwise it is an error.
    """
    final = Path(os.path.realpath(path))
    fresh = f"{final.name}.{secrets.token_hex(8)}.writing"
    try:
        if final.exists() and not final.is_file():
            raise WeightsError(f"{path}: a folder, a pipe or a device, not a file; name another")
        with Folder.opened(final.parent) as folder:
            try:
                with os.fdopen(folder.new(fresh), "wb") as file:
                    file.write(file_content(converted))
                    with suppress(FileNotFoundError):
                        os.fchmod(file.fileno(), stat.S_IMODE(os.stat(final).st_mode))
                _give_name(folder, fresh, final.name, overwrite)
            finally:
                folder.unlink(fresh)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror or error})") from None


def _give_name(folder: Folder, fresh: str, name: str, overwrite: bool) -> None:
    if overwrite:
        if folder.holds(name):
            os.close(folder.open(name, os.O_RDWR, several_names=True))  # fails for a write-protected file, which stays
        folder.replace(fresh, name)
        return
    try:
        folder.link_new(fresh, name, folder)
    except FileExistsError:
        raise WeightsError(f"{folder.path / name}: exists; name another, or overwrite it") from None


def file_content(converted: Converted) -> bytes:
    """The content of a safetensors file that holds its card."""
    metadata = {CARD_KEY: json.dumps(card_content(converted.card), ensure_ascii=False)}
    return to_bytes({name: value.contiguous() for name, value in converted.state.items()}, metadata)
