"""From what a user names - a model, a file, a folder, a repository on the hub - to a card and a weights file here."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from p3dfeat.config import EMBEDDED_MODEL
from p3dfeat.errors import UsageError, WeightsError
from p3dfeat.types import Fetching
from p3dfeat.zoo import cache, https, hub
from p3dfeat.zoo.cards import Card, Source, card_from_content, card_names, load_card, published_card

MIRROR: Final = "P3DFEAT_MIRROR"
FILE_KINDS: Final = (".safetensors", ".caffemodel", ".h5", ".params", ".pth", ".pt", ".tar", ".zip", ".toml", ".bin")

OnFetch = Callable[[Fetching], None]


@dataclass(frozen=True)
class Located:
    """A weights file and what is known of it."""

    weights: Path
    card: Card | None = None
    origin: str = ""  # where it was fetched from: a URL, or user/repo@commit; nothing for a file of the user's
    sha256: str | None = None  # what it must have


def locate(text: str, *, on_fetch: OnFetch | None = None) -> Located:
    """What ``text`` names: a model, a card, a weights file, a folder, or ``user/repo[@revision]``; fetched if need be.

    Raises UsageError for an unknown name, WeightsError where weights are missing, unreachable or other than published.
    """
    if text in card_names():
        return weights_of(published_card(text), on_fetch=on_fetch)
    path = Path(text)
    if os.path.isdir(path):
        return _in_folder(path)
    if path.suffix == ".toml":
        return weights_of(load_card(path), on_fetch=on_fetch)
    if os.path.isfile(path):  # unlike Path's own, false where one may not look
        beside = path.with_suffix(".toml")
        card = load_card(beside) if beside.is_file() else None
        return Located(path, card, sha256=card.checksums.get("sha256") if card else None)
    if (repository := hub.parse_repository(text)) and path.suffix not in FILE_KINDS:
        try:
            return _on_hub(*repository, on_fetch=on_fetch)
        except WeightsError as error:
            raise WeightsError(f"{text}: no file or folder here, and on the hub: {error}") from None
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(f"{path}: no such file")
    known = ", ".join(card_names())
    raise UsageError(
        f"model {text!r}: unknown; known are {known}; or name a weights file, a card, a folder, or user/repo on the hub"
    )


def find_card(text: str) -> Card:
    """The card of a model by name, or a card's own file. Raises UsageError for anything else."""
    if text in card_names():
        return published_card(text)
    if not text.endswith(".toml"):
        raise UsageError(f"card {text!r}: neither a model nor a .toml file; models are {', '.join(card_names())}")
    return load_card(Path(text))


def weights_here(card: Card) -> Located | None:
    """The weights of ``card`` if they need not be fetched."""
    if card.weights is not None:
        return Located(card.weights, card, sha256=card.checksums.get("sha256"))
    if found := cache.kept(card):
        return Located(found.path, card, found.origin, found.sha256)
    for source in card.sources:
        if source.hub and (path := hub.cached(source.hub, source.file, source.revision)):
            return _located_on_hub(path, card, f"{source.hub}@{path.parent.name}")
    return None


def _located_on_hub(path: Path, card: Card | None, origin: str) -> Located:
    """A file in the hub's cache, where a large one lies under its sha256."""
    blob = path.resolve().name
    known = card.checksums.get("sha256") if card else None
    return Located(path, card, origin, known or (blob if re.fullmatch("[0-9a-f]{64}", blob) else None))


def weights_of(card: Card, *, on_fetch: OnFetch | None = None) -> Located:
    """The weights of ``card``, fetched where they are not here yet."""
    return weights_here(card) or fetch(card, on_fetch=on_fetch)


def fetch(card: Card, *, place: str | None = None, anew: bool = False, on_fetch: OnFetch | None = None) -> Located:
    """Fetch the weights of ``card`` from its sources, first to last.

    place: from this URL, or file fetched by hand, instead.
    anew: even where they are here already.
    Raises WeightsError that tells what was tried and the ways on.
    """
    if card.weights is not None:
        raise UsageError(f"model {card.name}: its weights are {card.weights}; there is nothing to fetch")
    report = on_fetch or (lambda event: None)
    if place is not None and re.match("https?://", place):
        return _from_url(card, place, report, anew=True)
    if place is not None:
        return _from_file(card, Path(place))
    if not card.sources:
        raise WeightsError(f"model {card.name}: its card names neither a weights file nor a source of one")
    tried = []
    for source in card.sources:
        try:
            if source.hub:
                return _from_hub(card, source, report, anew=anew)
            if url := _url(source):
                return _from_url(card, url, report, anew=anew)
        except https.NotFetchedError as error:
            tried.append(f"{error.host}: {error.reason}")
        except WeightsError as error:
            tried.append(str(error))
    raise WeightsError(_ways_on(card, tried))


def _url(source: Source) -> str | None:
    """Where the file is fetched from: the mirror, if there is one."""
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    return f"{mirror}/{source.file}" if mirror else source.url


def _ways_on(card: Card, tried: list[str]) -> str:
    """One message: what could not be reached, and the three ways on."""
    source = next((s for s in card.sources if s.by_hand), None) or card.sources[0]
    problem = f"could not be fetched: {'; '.join(dict.fromkeys(tried))}" if tried else "has to be fetched by hand"
    mirror = f"{MIRROR} to a URL that has {source.file}"
    if source.hub:
        first, mirror = f"hf download {source.hub} where there is a network", f"HF_ENDPOINT to a mirror of {hub.HOST}"
    elif source.page:
        first = f"get {source.file} from {source.page} with a browser"
    else:
        first = f"get {source.url} where there is a network"
    return (
        f"model {card.name}: {problem}. Three ways on: (1) {first}, then p3dfeat weights download {card.name} --from "
        f"FILE; (2) set {mirror}; (3) --model {EMBEDDED_MODEL}, which comes with p3dfeat and names camera movements"
    )


def _from_url(card: Card, url: str, report: OnFetch, *, anew: bool) -> Located:
    if not re.match("https?://", url):
        raise UsageError(f"{https.without_secrets(url)}: not a URL; {MIRROR} must begin with https:// or http://")
    with cache.filling(card) as folder:
        found = cache.kept(card)
        if found is not None and not anew:  # another process was faster
            return Located(found.path, card, found.origin, found.sha256)
        part = folder / f"{url.rpartition('/')[2].partition('?')[0] or 'weights'}.part"
        place = https.without_secrets(url)
        https.download(url, part, on_bytes=lambda done, total: report(Fetching(card.name, place, done, total)))
        found = cache.keep(card, part, place)
    return Located(found.path, card, found.origin, found.sha256)


def _from_file(card: Card, source: Path) -> Located:
    with cache.filling(card) as folder:
        part = folder / f"{source.name}.part"
        try:
            shutil.copyfile(source, part)
        except FileNotFoundError:
            raise WeightsError(f"{source}: no such file") from None
        except OSError as error:
            part.unlink(missing_ok=True)
            raise WeightsError(f"{source}: cannot be copied to {folder} ({error.strerror})") from None
        found = cache.keep(card, part, source.name)
    return Located(found.path, card, found.origin, found.sha256)


def _from_hub(card: Card, source: Source, report: OnFetch, *, anew: bool) -> Located:
    assert source.hub is not None
    place = hub.address(str(source))
    path, commit = hub.fetch(
        source.hub,
        source.file,
        source.revision,
        anew=anew,
        on_bytes=lambda done, total: report(Fetching(card.name, place, done, total)),
    )
    found = cache.digests(path, tuple(card.checksums))
    for kind, expected in card.checksums.items():
        if found[kind] != expected:
            raise WeightsError(f"{source}: its {kind} is {found[kind][:12]}..., the card says {expected[:12]}...")
    return _located_on_hub(path, card, f"{source.hub}@{commit}")


def _on_hub(repository: str, revision: str | None, *, on_fetch: OnFetch | None) -> Located:
    """A repository in our layout; one without config.json may carry its card in its weights."""
    report = on_fetch or (lambda event: None)

    def on_bytes(done: int, total: int | None) -> None:
        report(Fetching(repository, hub.address(repository), done, total))

    try:
        config, commit = hub.fetch(repository, hub.CONFIG, revision)
        revision = commit  # both files of one commit, whatever is pushed meanwhile
        card = _configured(hub.read_config(config), config.with_name(hub.WEIGHTS), repository)
    except hub.MissingFileError:
        card = None
    weights, commit = hub.fetch(repository, hub.WEIGHTS, revision, on_bytes=on_bytes)
    return _located_on_hub(weights, card, f"{repository}@{commit}")


def _in_folder(folder: Path) -> Located:
    weights, config = folder / hub.WEIGHTS, folder / hub.CONFIG
    if not weights.is_file():
        raise WeightsError(f"{folder}: a folder without {hub.WEIGHTS}; name the weights file itself")
    if not config.is_file():
        return Located(weights)
    return Located(weights, _configured(hub.read_config(config), weights, str(folder)))


def _configured(content: dict[str, object], weights: Path, place: str) -> Card:
    """The card in a config.json."""
    own = content.pop("p3dfeat", None)
    if not isinstance(own, dict):
        raise WeightsError(
            f"{place}: its {hub.CONFIG} is not one of p3dfeat's; of a 2-D ResNet, p3dfeat weights recycle makes a P3D"
        )
    return replace(card_from_content(own, weights), weights=weights)
