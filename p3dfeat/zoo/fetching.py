"""From a reference to a local weights file: from a cache, or fetched from the sources in its card."""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from p3dfeat.config import EMBEDDED_MODEL
from p3dfeat.errors import P3DFeatWarning, UsageError, WeightsError
from p3dfeat.events import Fetching
from p3dfeat.text.urls import without_secrets
from p3dfeat.zoo.cards import Card, Source, card_names
from p3dfeat.zoo.download import cache, hub
from p3dfeat.zoo.download.progress import NotFetchedError, OnFetch
from p3dfeat.zoo.reference import Reference, configured_card, resolve

MIRROR: Final = "P3DFEAT_MIRROR"


@dataclass(frozen=True)
class Located:
    """A local weights file with its card, origin and checksums."""

    weights: Path
    card: Card | None = None
    origin: str = ""  # source of the download: a URL, or user/repo@commit; empty for a file of the user
    checksums: Mapping[str, str] = field(default_factory=dict)  # expected checksums

    def check(self) -> str:
        """Check all checksums and return the sha256. Raises WeightsError if the file is missing or has changed."""
        try:
            found = cache.digests(self.weights, (*self.checksums, "sha256"))
        except OSError as error:
            raise WeightsError(f"{self.weights}: not readable ({error.strerror})") from None
        if wrong := cache.differing(self.checksums, found):
            remedy = f"; p3dfeat weights download {_named(self.card)} --force" if self.origin and self.card else ""
            raise WeightsError(f"{self.weights}: damaged or replaced: its {wrong}{remedy}")
        return found["sha256"]


def locate(text: str, *, on_fetch: OnFetch | None = None) -> Located:
    """The weights that ``text`` names: ``resolve``, then ``obtain``."""
    return obtain(resolve(text), on_fetch=on_fetch)


def obtain(reference: Reference, *, on_fetch: OnFetch | None = None) -> Located:
    """The weights of a reference, fetched if they are not local. They are not checked yet.

    Raises WeightsError if they are missing or unreachable.
    """
    card = reference.card
    if reference.weights is not None:
        return Located(reference.weights, card, checksums=card.checksums if card else {})
    if reference.repository is None:
        assert card is not None
        return weights_of(card, on_fetch=on_fetch)
    if hub.cached(reference.repository[0], hub.WEIGHTS, reference.repository[1]) is None:
        asking = f"{reference.text}: no file or folder here; asking the Hugging Face hub"
        warnings.warn(asking, P3DFeatWarning, stacklevel=2)
    try:
        return _on_hub(*reference.repository, on_fetch=on_fetch)
    except WeightsError as error:
        raise WeightsError(f"{reference.text}: no file or folder here, and on the hub: {error}") from None


def weights_here(card: Card) -> Located | None:
    """The local weights of ``card``, or None if they must be fetched."""
    if card.weights is not None:
        return Located(card.weights, card, checksums=card.checksums) if card.weights.is_file() else None
    if found := cache.kept(card):
        return _located_in_cache(found, card)
    for source in card.sources:
        if source.hub and (path := hub.cached(source.hub, source.file, source.revision)):
            return _located_on_hub(path, card, f"{source.hub}@{path.parent.name}")
    return None


def _located_in_cache(found: cache.Kept, card: Card) -> Located:
    return Located(found.path, card, found.origin, {"sha256": found.sha256} | dict(card.checksums))


def _located_on_hub(path: Path, card: Card | None, origin: str) -> Located:
    """A file in the hub's cache. The cache stores a large file under its sha256."""
    blob = path.resolve().name
    known = {"sha256": blob} if re.fullmatch("[0-9a-f]{64}", blob) else {}
    return Located(path, card, origin, known | dict(card.checksums if card else {}))


def weights_of(card: Card, *, on_fetch: OnFetch | None = None) -> Located:
    """The weights of ``card``, fetched if they are not local yet."""
    return weights_here(card) or fetch(card, on_fetch=on_fetch)


def fetch(card: Card, *, place: str | None = None, anew: bool = False, on_fetch: OnFetch | None = None) -> Located:
    """Fetch the weights of ``card``. Its sources are tried in order.

    place: a URL, or a file downloaded by hand, to use instead.
    anew: fetch even if the weights are local already.
    Raises WeightsError with the failed attempts and the remaining options.
    """
    if card.weights is not None:
        if not card.weights.is_file():
            raise WeightsError(f"{card.weights}: no such file, though the card of {card.name} names it")
        raise UsageError(f"model {card.name}: its weights are {card.weights}; there is nothing to fetch")
    report = on_fetch or (lambda event: None)
    if place is not None:
        return _from_place(card, place, report)
    if not card.sources:
        raise WeightsError(f"model {card.name}: its card names neither a weights file nor a source of one")
    tried: dict[str, str] = {}
    for source in card.sources:
        url = _url(source)
        if url in tried or (url is None and source.by_hand):
            continue
        try:
            return (
                _from_hub(card, source, report, anew=anew) if url is None else _from_url(card, url, report, anew=anew)
            )
        except cache.CacheError:
            raise
        except NotFetchedError as error:
            tried[url or str(source)] = f"{error.host}: {error.reason}"
        except WeightsError as error:
            tried[url or str(source)] = str(error)
    raise WeightsError(_ways_on(card, list(tried.values())))


def _url(source: Source) -> str | None:
    """The URL of the file, on the mirror if there is one; None for the hub and for downloads by hand."""
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    return f"{mirror}/{quote(source.file)}" if mirror and not source.hub else source.url


def _named(card: Card) -> str:
    """The name of this card on the command line."""
    return card.name if card.name in card_names() else "CARD.toml"


def _ways_on(card: Card, tried: list[str]) -> str:
    """An error message with the failed attempts and three options for the user."""
    source = next((s for s in card.sources if s.by_hand), None) or card.sources[0]
    keep = f"p3dfeat weights download {_named(card)} --from FILE"
    problem = f"could not be fetched: {'; '.join(tried)}" if tried else "has to be fetched by hand"
    mirror = f"{MIRROR} to a URL that has {source.file}"
    if source.hub:
        first, mirror = f"hf download {source.hub} where there is a network", f"HF_ENDPOINT to a mirror of {hub.HOST}"
    elif source.page:
        first = f"get {source.file} from {without_secrets(source.page)} with a browser"
    else:
        first = f"get {source} where there is a network"
    return (
        f"model {card.name}: {problem}. Three ways on: (1) {first}, then {keep}; "
        f"(2) set {mirror}; (3) --model {EMBEDDED_MODEL}, which comes with p3dfeat and names camera movements"
    )


def _from_place(card: Card, place: str, report: OnFetch) -> Located:
    """Fetch from the user's place: a URL or a local file."""
    if not re.match(r"\w+://", place):
        return _from_file(card, Path(place))
    if not re.match("(?i)https?://", place):
        raise UsageError(f"{without_secrets(place)}: only http and https, or a file here")
    return _from_url(card, place, report, anew=True)


def _from_url(card: Card, url: str, report: OnFetch, *, anew: bool) -> Located:
    if not re.match("(?i)https?://", url):
        raise UsageError(f"{without_secrets(url)}: not a URL; {MIRROR} must begin with https:// or http://")
    place = without_secrets(url)
    if url.lower().startswith("http://") and not card.checksums:
        text = f"{place}: plain http, and no checksum is published: whoever is on the way may change the weights"
        warnings.warn(text, P3DFeatWarning, stacklevel=2)
    report(Fetching(card.name, place, 0, None))  # first, because the lock and the connection may take long
    with cache.filling(card) as folder:
        found = cache.kept(card)
        if found is not None and not anew:  # another process was faster
            return _located_in_cache(found, card)
        part = cache.part_for(folder, unquote(place.rpartition("/")[2]) or "weights")
        if anew:
            part.drop()
        from p3dfeat.zoo.download import https

        https.download(url, part, on_bytes=lambda done, total: report(Fetching(card.name, place, done, total)))
        return _located_in_cache(cache.keep(card, part, place, _reads_as(card)), card)


def _from_file(card: Card, source: Path) -> Located:
    if not source.is_file():
        raise WeightsError(f"{source}: no such file")
    with cache.filling(card) as folder:
        part = cache.part_for(folder, source.name)
        try:
            with open(source, "rb") as given, part.opened(0, "") as file:
                shutil.copyfileobj(given, file)
        except OSError as error:
            part.drop()
            raise WeightsError(f"{source}: cannot be copied to {folder.path} ({error.strerror or error})") from None
        return _located_in_cache(cache.keep(card, part, source.name, _reads_as(card)), card)


def _reads_as(card: Card) -> Callable[[Path], object]:
    """A function that checks that a file holds the tensors of ``card``'s network."""

    def read(path: Path) -> object:
        from p3dfeat.zoo.conversion.convert import convert  # imports torch; files with a checksum do not need it

        return convert(path, card=card)

    return read


def _from_hub(card: Card, source: Source, report: OnFetch, *, anew: bool) -> Located:
    assert source.hub is not None
    place = hub.address(str(source))
    report(Fetching(card.name, place, 0, None))
    path, commit = hub.fetch(
        source.hub,
        source.file,
        source.revision,
        anew=anew,
        on_bytes=lambda done, total: report(Fetching(card.name, place, done, total)),
    )
    located = _located_on_hub(path, card, f"{source.hub}@{commit}")
    if wrong := cache.differing(located.checksums, cache.digests(path, tuple(located.checksums))):
        raise WeightsError(f"{source}: not the published file: its {wrong}")
    return located


def _on_hub(repository: str, revision: str | None, *, on_fetch: OnFetch | None) -> Located:
    """The weights in a repository with p3dfeat's layout. Without config.json, the weights may contain the card."""
    report = on_fetch or (lambda event: None)

    def on_bytes(done: int, total: int | None) -> None:
        report(Fetching(repository, hub.address(repository), done, total))

    try:
        config, commit = hub.fetch(repository, hub.CONFIG, revision)
        revision = commit  # take both files from one commit, even if someone pushes meanwhile
        card = configured_card(hub.read_config(config), config.with_name(hub.WEIGHTS), repository)
    except hub.MissingFileError:
        card = None
    weights, commit = hub.fetch(repository, hub.WEIGHTS, revision, on_bytes=on_bytes)
    return _located_on_hub(weights, card, f"{repository}@{commit}")
