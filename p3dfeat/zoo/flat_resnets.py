"""The files of 2-D ResNets, local or on the hub, for conversion to P3D networks."""

import os
from contextlib import suppress
from pathlib import Path

from p3dfeat.errors import WeightsError
from p3dfeat.events import Fetching
from p3dfeat.zoo.cards import FILE_KINDS
from p3dfeat.zoo.conversion.inflation import FlatResNet
from p3dfeat.zoo.download import hub
from p3dfeat.zoo.download.progress import OnFetch


def locate_resnet(text: str, *, on_fetch: OnFetch | None = None) -> FlatResNet:
    """The files of a 2-D ResNet: a folder, a weights file, or ``user/repo[@revision]`` on the hub, fetched if needed.

    Raises WeightsError if ``text`` is none of these, or if a file is missing or unreachable.
    """
    path = Path(text)
    if os.path.isdir(path):
        if not (path / hub.WEIGHTS).is_file():
            raise WeightsError(f"{path}: a folder without {hub.WEIGHTS}; name the weights file itself")
        return FlatResNet(path / hub.WEIGHTS, *_configs(path), origin=path.resolve().name)
    if os.path.isfile(path):
        configs = _configs(path.parent) if path.name == hub.WEIGHTS else ({}, {})
        return FlatResNet(path, *configs, origin=path.name)
    repository = hub.parse_repository(text)
    if repository is None or path.suffix in (*FILE_KINDS, ".toml"):
        raise WeightsError(f"{text}: no such file, nor user/repo on the hub")
    name, revision = repository
    report = on_fetch or (lambda event: None)
    if hub.cached(name, hub.WEIGHTS, revision) is None:
        report(Fetching(name, hub.address(name), 0, None))
    weights, commit = hub.fetch(
        name,
        hub.WEIGHTS,
        revision,
        on_bytes=lambda done, total: report(Fetching(name, hub.address(name), done, total)),
    )
    for file in (hub.CONFIG, hub.PREPROCESSING):  # timm has only the first
        with suppress(hub.MissingFileError):
            hub.fetch(name, file, commit)
    return FlatResNet(weights, *_configs(weights.parent), origin=f"{name}@{commit}")


def _configs(folder: Path) -> tuple[dict[str, object], dict[str, object]]:
    config, preprocessing = folder / hub.CONFIG, folder / hub.PREPROCESSING
    return (
        hub.read_config(config) if config.is_file() else {},
        hub.read_config(preprocessing) if preprocessing.is_file() else {},
    )
