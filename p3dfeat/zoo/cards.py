"""Model cards: TOML files that describe a checkpoint. They are checked when loaded."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from p3dfeat.config import LARGEST, InputSpec, Sampling, crop_names
from p3dfeat.errors import P3DFeatError, UsageError, WeightsError
from p3dfeat.nets.architecture import STAGES, Architecture
from p3dfeat.text.counts import counted
from p3dfeat.text.urls import without_secrets
from p3dfeat.zoo.card_table import Table

LABELS: Final = "labels.toml"  # class names by label set

# Names become file names in caches, so they must stay in their folder: no "..", no part that begins with "." or "-".
NAME: Final = r"(?!.*\.\.)\w[\w.-]{0,199}"
FILE_NAME: Final = r"(?!.*\.\.)\w[\w. +=,@()-]{0,199}"
HUB_NAME: Final = r"(?!.*\.\.)[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}"
REVISION: Final = r"(?!.*\.\.)\w[\w.+-]{0,99}(?:/\w[\w.+-]{0,99})*"  # a commit, a tag, a branch or refs/pr/1
FILE_KINDS: Final = (".safetensors", ".caffemodel", ".h5", ".params", ".pth", ".pt", ".tar", ".zip", ".bin")
CHECKSUMS: Final = {"md5": 32, "sha1": 40, "sha256": 64}  # hexadecimal digits


@dataclass(frozen=True)
class Source:
    """One place where a checkpoint is published: the Hugging Face hub, a URL, or a web page for a browser."""

    file: str  # its name there
    hub: str | None = None  # user/repo
    revision: str | None = None  # of that repository; a commit, unless the card says that none is known
    url: str | None = None  # of the file itself, or of a zip that contains it
    page: str | None = None  # web page where a person can download the file with a browser

    @property
    def by_hand(self) -> bool:
        return self.page is not None

    @property
    def place(self) -> str:
        """The place, including any secrets in the address. Use it only for the name of a cache folder."""
        if self.hub is not None:
            return f"{self.hub}@{self.revision}" if self.revision else self.hub
        return self.url or f"{self.page} (by hand: {self.file})"

    def __str__(self) -> str:
        """The place for messages, without secrets."""
        if self.page is not None:
            return f"{without_secrets(self.page)} (by hand: {self.file})"
        return without_secrets(self.place)


@dataclass(frozen=True)
class Test:
    """The protocol by which a model's accuracy was measured: scores are averaged over all clips and crops."""

    clips: int  # evenly spaced, per video
    crops: int = 1  # per clip: 1, 3 or 10, see config.CROPS
    mirror: bool = False

    def __post_init__(self) -> None:
        Sampling(clips=self.clips)
        crop_names(self.crops, mirror=self.mirror)


@dataclass(frozen=True)
class Card:
    """The description of a checkpoint: its network, preprocessing, classes and sources."""

    name: str
    title: str
    architecture: Architecture
    input: InputSpec  # includes the sampling of the training: length and step
    labels: tuple[str, ...]  # index = class
    label_set: str | None  # name of the known label set, such as "kinetics400"
    licence: str
    citation: str
    notes: str  # how it was created and how good it is
    unknown: str  # unknown facts, as text
    metrics: Mapping[str, float]  # published or measured, by name, as fractions; compare models by the first one
    weights: Path | None  # the file beside the card; None: it is fetched from the sources
    sources: tuple[Source, ...]  # in order of preference
    checksums: Mapping[str, str]  # {"md5", "sha1", "sha256": digest} of the weights file, after unpacking an archive
    self_test: tuple[float, ...]  # logits of the self-test clip, or empty
    test: Test | None = None  # how the first metric was measured; None: unknown

    @property
    def identity(self) -> str:
        """The identity of its weights file: its checksums or, if none is known, the place of publication."""
        return repr(sorted(self.checksums.items()) or [source.place for source in self.sources[:1]])

    @property
    def fetchable(self) -> bool:
        """Whether its weights are local or can be downloaded automatically."""
        return self.weights is not None or any(not source.by_hand for source in self.sources)


def weights_folder() -> Path:
    """The folder of cards and embedded weights: in the installed package, else the repository's weights/cards."""
    installed = Path(__file__).parents[1] / "_weights"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "weights" / "cards"


@cache
def card_names() -> tuple[str, ...]:
    """Names of all models that come with p3dfeat."""
    return tuple(sorted(path.stem for path in weights_folder().glob("*.toml") if path.name != LABELS))


@cache
def label_set(name: str) -> tuple[str, ...]:
    """The class names of a label set, such as "kinetics400". Raises UsageError for an unknown one."""
    known = tomllib.loads((weights_folder() / LABELS).read_text(encoding="utf-8"))
    if name not in known:
        raise UsageError(f"labels: unknown set {name!r}; known are {', '.join(known)}")
    return tuple(known[name])


def published_card(name: str) -> Card:
    """The card of a model that comes with p3dfeat. Raises UsageError for an unknown name."""
    if name not in card_names():
        raise UsageError(f"model {name!r}: unknown; known are {', '.join(card_names())}")
    return load_card(weights_folder() / f"{name}.toml")


def card_beside(path: Path) -> Card | None:
    """The card of the same name beside a weights file, if there is one."""
    beside = path.with_suffix(".toml")
    return load_card(beside) if beside.is_file() else None


def card_content(card: Card) -> dict[str, Any]:
    """The content of a card, as in a card file, for storing it with the weights. Defaults are left out."""
    spec = {field.name: getattr(card.input, field.name) for field in fields(InputSpec)}
    plain = InputSpec(resize=(1, 1))
    return {
        "name": card.name,
        "title": card.title,
        "licence": card.licence,
        "citation": card.citation,
        "notes": card.notes,
        "unknown": card.unknown,
        "metrics": dict(card.metrics),
        "labels": list(card.labels),
        "self_test": list(card.self_test),
        **({} if card.test is None else {"test": asdict(card.test)}),
        "net": {field.name: getattr(card.architecture, field.name) for field in fields(Architecture)},
        "input": {name: value for name, value in spec.items() if value is not None and value != getattr(plain, name)},
    }


def card_from_content(content: dict[str, Any], weights: Path) -> Card:
    """The card stored with ``weights``. Raises WeightsError naming the file and the field."""
    try:
        own = {field: value for field, value in content.items() if field != "weights"}
        return replace(_card(weights, own), weights=weights)
    except P3DFeatError as error:
        raise WeightsError(f"{weights}: its card: {error}") from None


def load_card(path: Path) -> Card:
    """Read and check a card. Raises WeightsError naming the file and the field."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not TOML, not UTF-8, a number too long
        raise WeightsError(f"{path.name}: not a readable card ({error})") from None
    try:
        return _card(path, content)
    except P3DFeatError as error:
        raise WeightsError(f"{path.name}: {error}") from None


def _card(path: Path, content: dict[str, Any]) -> Card:
    table = Table("", content)
    architecture = _architecture(Table("net", table.take("net", dict)))
    named_set, labels = _labels(table.take("labels", list | str, None), architecture.classes)
    spec = _input_spec(table.take("input", dict))
    if spec.num_channels != architecture.channels:
        raise UsageError(f"input.channels {spec.channels!r}: has {spec.num_channels}, net.channels is not that")
    architecture.check_input(spec.length, *spec.size)
    beside = table.take("weights", str, None)
    if beside is not None and not re.fullmatch(FILE_NAME, beside):
        raise UsageError(f"weights {beside!r}: must be the name of a file beside the card")
    card = Card(
        name=table.take("name", str),
        title=table.take("title", str),
        architecture=architecture,
        input=spec,
        labels=labels,
        label_set=named_set,
        licence=table.take("licence", str),
        citation=table.take("citation", str, ""),
        notes=table.take("notes", str, "").strip(),
        unknown=table.take("unknown", str, "").strip(),
        metrics=_numbers(Table("metrics", table.take("metrics", dict, {}))),
        weights=None if beside is None else path.parent / beside,
        sources=tuple(_source(n, entry) for n, entry in enumerate(table.take("sources", list, []), start=1)),
        checksums=_checksums(Table("checksums", table.take("checksums", dict, {}))),
        self_test=_answer(table.take("self_test", list, []), architecture.classes),
        test=_test(table.take("test", dict, None)),
    )
    table.done()
    for field in ("title", "licence", "citation", "notes", "unknown"):
        _check_printable(field, getattr(card, field).replace("\n", " "))
    if not re.fullmatch(NAME, card.name):
        raise UsageError(f"name {card.name!r}: must be letters, digits and - _ . alone, without .. and - . in front")
    if not card.checksums:
        _check_kinds(card)
    return card


def _check_kinds(card: Card) -> None:
    """Raise UsageError unless files without a checksum have the extension of a weights file."""
    named = {f"sources[{number}].file": source.file for number, source in enumerate(card.sources, start=1)}
    if card.weights is not None:
        named["weights"] = card.weights.name
    for field, file in named.items():
        if not file.lower().endswith(FILE_KINDS):
            raise UsageError(f"{field} {file!r}: must end in one of {', '.join(FILE_KINDS)}, or have a checksum")


def safe_name(text: str) -> str:
    """A valid model name from any text."""
    return re.sub(r"[^\w.-]+|\.\.+", "-", text).lstrip(".-")[:200] or "model"


def _architecture(net: "Table") -> Architecture:
    """The architecture of a card. ``depth`` is short for the blocks and the width of a published network."""
    depth = net.take("depth", int, None)
    if depth is not None and depth not in STAGES:
        raise UsageError(f"net.depth: no published P3D has {depth}; known are {', '.join(map(str, STAGES))}")
    architecture = Architecture(
        stages=tuple(net.take("stages", list)) if depth is None else STAGES[depth],
        kinds=net.take("kinds", str),
        family=net.take("family", str),
        channels=net.take("channels", int),
        classes=net.take("classes", int),
        base_width=net.take("base_width", int) if depth is None else 64,
    )
    net.done()
    return architecture


def _labels(labels: list[Any] | str | None, classes: int) -> tuple[str | None, tuple[str, ...]]:
    """The name of the label set, or None, and the class names; numbered names if the card has none."""
    if labels is None:
        return None, numbered_labels(classes)
    named_set = labels if isinstance(labels, str) else None
    names = label_set(labels) if isinstance(labels, str) else tuple(labels)
    if not all(isinstance(label, str) for label in names):
        raise UsageError("labels: must all be text")
    for label in names:
        _check_printable("labels", label)
    if len(names) != classes:
        raise UsageError(f"labels: {counted(len(names), 'name')} for {counted(classes, 'class')}")
    return named_set, names


def _check_printable(field: str, text: str) -> None:
    """Raise UsageError for control characters: a card may come from anywhere, and terminals show its text."""
    if not text.isprintable():
        raise UsageError(f"{field}: {text!r} holds characters that are no text")


def numbered_labels(classes: int) -> tuple[str, ...]:
    """The names "class 0", "class 1" ..., for classes with unknown names."""
    return tuple(f"class {number}" for number in range(classes))


def _source(number: int, content: object) -> Source:
    if not isinstance(content, dict):
        raise UsageError(f"sources: entry {number} must be a table")
    table = Table(f"sources[{number}]", content)
    hub, url, page = (table.take(field, str, None) for field in ("hub", "url", "page"))
    if sum(place is not None for place in (hub, url, page)) != 1:
        raise UsageError(f"sources[{number}]: give one of hub, url and page")
    if hub is not None and not re.fullmatch(HUB_NAME, hub):
        raise UsageError(f"sources[{number}].hub: must be user/repo, not {without_secrets(hub)!r}")
    if url is not None and not url.startswith(("https://", "http://")):
        raise UsageError(f"sources[{number}].url: must begin with https:// or http://")
    usual = {"file": "model.safetensors"} if hub else {"file": without_secrets(url).rpartition("/")[2]} if url else {}
    file = table.take("file", str, *usual.values())
    if not re.fullmatch(FILE_NAME, file):
        raise UsageError(f"sources[{number}].file: must be the name of a file, not {file!r}")
    revision = table.take("revision", str, None) if hub else None
    if revision is not None and not re.fullmatch(REVISION, revision):
        raise UsageError(f"sources[{number}].revision: must be a branch, tag or commit, not {revision!r}")
    source = Source(file=file, hub=hub, revision=revision, url=url, page=page)
    table.done()
    if not source.place.isprintable():
        raise UsageError(f"sources[{number}]: holds characters that are no text")
    return source


def _checksums(table: "Table") -> dict[str, str]:
    found = {kind: table.take(kind, str) for kind in CHECKSUMS if kind in table}
    table.done()
    for kind, digest in found.items():
        if not re.fullmatch(rf"[0-9a-f]{{{CHECKSUMS[kind]}}}", digest):
            raise UsageError(f"checksums.{kind}: must be {CHECKSUMS[kind]} digits of 0-9 and a-f, not {digest!r}")
    return found


def _answer(logits: list[Any], classes: int) -> tuple[float, ...]:
    if logits and len(logits) != classes:
        raise UsageError(f"self_test: {counted(len(logits), 'logit')} for {counted(classes, 'class')}")
    return tuple(_number("self_test", value) for value in logits)


def _test(content: dict[str, Any] | None) -> Test | None:
    if content is None:
        return None
    mirror = content.get("mirror", False)
    if not isinstance(mirror, bool):
        raise UsageError("test.mirror: must be true or false")
    table = Table("test", {name: value for name, value in content.items() if name != "mirror"})
    test = Test(table.take("clips", int), table.take("crops", int, 1), mirror)
    table.done()
    return test


def _numbers(table: "Table") -> dict[str, float]:
    found = {field: _number(f"metrics.{field}", table.take(field, int | float)) for field in table}
    for field in found:
        _check_printable("metrics", field)
    return found


def _number(field: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST:
        raise UsageError(f"{field}: must be numbers")
    return float(value)


def _input_spec(content: dict[str, Any]) -> InputSpec:
    known = {field.name for field in fields(InputSpec)}
    for name in content:
        if name not in known:
            raise UsageError(f"input.{name}: unknown field; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    try:
        return InputSpec(**values)
    except TypeError as error:
        raise UsageError(f"input: a value of the wrong type ({error})") from None
