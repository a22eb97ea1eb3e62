"""The meaning of a model name: a published model, a card, a weights file, a folder, or a repository on the hub."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from p3dfeat.errors import UsageError, WeightsError
from p3dfeat.zoo.cards import FILE_KINDS, Card, card_beside, card_from_content, card_names, load_card, published_card
from p3dfeat.zoo.download import hub


@dataclass(frozen=True)
class Reference:
    """The model that a user names. Nothing has been fetched yet.

    It has either weights (a local file), or a repository on the hub with an optional revision, or neither. In the last
    case, the card says where its weights are.
    """

    text: str
    card: Card | None = None
    weights: Path | None = None
    repository: tuple[str, str | None] | None = None


def resolve(text: str) -> Reference:
    """The meaning of ``text``: a model, a card, a weights file, a folder, or ``user/repo[@revision]`` on the hub.

    Raises UsageError for an unknown name, WeightsError if a file or a folder is missing or a card is damaged.

        resolve("p3d-camera").card.title
        resolve("someone/p3d@main").repository  # ("someone/p3d", "main")
    """
    if text in card_names():
        return Reference(text, published_card(text))
    path = Path(text)
    if os.path.isdir(path):
        return _in_folder(path)
    if path.suffix == ".toml":
        return Reference(text, load_card(path))
    if os.path.isfile(path):  # unlike Path.is_file, it gives False if access is denied
        return Reference(text, card_beside(path), path)
    if (repository := hub.parse_repository(text)) and path.suffix not in FILE_KINDS:
        return Reference(text, repository=repository)
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(f"{path}: no such file")
    known = ", ".join(card_names())
    raise UsageError(
        f"model {text!r}: unknown; known are {known}; or name a weights file, a card, a folder, or user/repo on the hub"
    )


def resolve_here(text: str) -> Reference:
    """As ``resolve``, for commands that download nothing. Raises UsageError for a repository on the hub, too."""
    reference = resolve(text)
    if reference.repository is not None:
        raise UsageError(f"{text}: no file or folder here; name a weights file, a card or a known model")
    return reference


def _in_folder(folder: Path) -> Reference:
    weights, config = folder / hub.WEIGHTS, folder / hub.CONFIG
    if not weights.is_file():
        raise WeightsError(f"{folder}: a folder without {hub.WEIGHTS}; name the weights file itself")
    if not config.is_file():
        return Reference(str(folder), weights=weights)
    return Reference(str(folder), configured_card(hub.read_config(config), weights, str(folder)), weights)


def find_card(text: str) -> Card:
    """The card with this model name or in this .toml file. Raises UsageError for anything else."""
    if text in card_names():
        return published_card(text)
    if not text.endswith(".toml"):
        raise UsageError(f"card {text!r}: neither a model nor a .toml file; models are {', '.join(card_names())}")
    return load_card(Path(text))


def configured_card(content: dict[str, object], weights: Path, place: str) -> Card:
    """The card in a config.json. Raises WeightsError if there is none."""
    own = content.pop("p3dfeat", None)
    if not isinstance(own, dict):
        raise WeightsError(
            f"{place}: its {hub.CONFIG} is not one of p3dfeat's; of a 2-D ResNet, p3dfeat weights inflate makes a P3D"
        )
    return replace(card_from_content(own, weights), weights=weights)
