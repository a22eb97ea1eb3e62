"""Model cards: TOML files that say what a checkpoint is, checked when loaded."""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Final

from p3dfeat.config import InputSpec
from p3dfeat.errors import P3DFeatError, UsageError, WeightsError
from p3dfeat.nets.architecture import Architecture

LABELS: Final = "labels.toml"  # class names by label set


@dataclass(frozen=True)
class Card:
    """What a checkpoint is: its net, its preprocessing, its classes, and where all that comes from."""

    name: str
    title: str
    architecture: Architecture
    input: InputSpec
    labels: tuple[str, ...]  # index = class
    licence: str
    citation: str
    notes: str  # how it was made, how good it is, and what is not known
    metrics: dict[str, float]  # published or measured, by name
    weights: Path  # the safetensors file
    sha256: str | None  # of that file
    self_test: tuple[float, ...]  # logits of the self-test clip, or nothing


def weights_folder() -> Path:
    """Where the cards and embedded weights are: inside the installed package, else the repository's weights/."""
    installed = Path(__file__).parents[1] / "_weights"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "weights"


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


def find_card(name_or_path: str) -> Card | None:
    """The card of a model by name, or of a card or weights file by path; None for weights without a card beside them.

    Raises UsageError for an unknown name and WeightsError for a missing or wrong file.
    """
    if name_or_path in card_names():
        return load_card(weights_folder() / f"{name_or_path}.toml")
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return load_card(path)
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise WeightsError(f"{path}: no such file")
        known = ", ".join(card_names())
        raise UsageError(f"model {name_or_path!r}: unknown; known are {known}, or the path of a card or weights file")
    beside = path.with_suffix(".toml")
    return load_card(beside) if beside.is_file() else None


def card_content(card: Card) -> dict[str, Any]:
    """A card as its file holds it, for storing with the weights; defaults are left out."""
    spec = {field.name: getattr(card.input, field.name) for field in fields(InputSpec)}
    plain = InputSpec(resize=(1, 1))
    return {
        "name": card.name,
        "title": card.title,
        "licence": card.licence,
        "citation": card.citation,
        "notes": card.notes,
        "metrics": card.metrics,
        "labels": list(card.labels),
        "self_test": list(card.self_test),
        "net": {field.name: getattr(card.architecture, field.name) for field in fields(Architecture)},
        "input": {name: value for name, value in spec.items() if value is not None and value != getattr(plain, name)},
    }


def card_from_content(content: dict[str, Any], weights: Path) -> Card:
    """The card stored with ``weights``. Raises WeightsError naming the file and the field."""
    try:
        return _card(weights, {**content, "weights": weights.name})
    except P3DFeatError as error:
        raise WeightsError(f"{weights}: its card: {error}") from None


def load_card(path: Path) -> Card:
    """Read and check a card. Raises WeightsError naming the file and the field."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WeightsError(f"{path.name}: not a readable card ({error})") from None
    try:
        return _card(path, content)
    except P3DFeatError as error:
        raise WeightsError(f"{path.name}: {error}") from None


def _card(path: Path, content: dict[str, Any]) -> Card:
    table = _Table("card", content)
    labels = table.take("labels", list | str)
    if isinstance(labels, str):
        labels = label_set(labels)
    net = _Table("net", table.take("net", dict))
    architecture = Architecture(
        stages=tuple(net.take("stages", list)),
        kinds=net.take("kinds", str),
        family=net.take("family", str),
        channels=net.take("channels", int),
        classes=net.take("classes", int),
        base_width=net.take("base_width", int),
    )
    net.done()
    if not all(isinstance(label, str) for label in labels):
        raise UsageError("labels: must all be text")
    if len(labels) != architecture.classes:
        raise UsageError(f"labels: {len(labels)} names for {architecture.classes} classes")
    spec = _input_spec(table.take("input", dict))
    if spec.num_channels != architecture.channels:
        raise UsageError(f"input.channels {spec.channels!r}: has {spec.num_channels}, net.channels is not that")
    architecture.check_input(spec.length, *spec.size)
    card = Card(
        name=table.take("name", str),
        title=table.take("title", str),
        architecture=architecture,
        input=spec,
        labels=tuple(labels),
        licence=table.take("licence", str),
        citation=table.take("citation", str, ""),
        notes=table.take("notes", str, ""),
        metrics=table.take("metrics", dict, {}),
        weights=path.parent / table.take("weights", str),
        sha256=table.take("sha256", str, None),
        self_test=tuple(table.take("self_test", list, [])),
    )
    table.done()
    return card


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


class _Table:
    """One table of a card, from which every field must be taken, by its type."""

    def __init__(self, name: str, content: dict[str, Any]):
        self._prefix = "" if name == "card" else f"{name}."
        self._content = dict(content)

    def take(self, field: str, kind: type | UnionType, *default: Any) -> Any:
        if field not in self._content:
            if default:
                return default[0]
            raise UsageError(f"{self._prefix}{field}: missing")
        value = self._content.pop(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = getattr(kind, "__name__", str(kind))
            raise UsageError(f"{self._prefix}{field}: must be a {wanted}, not {value!r}")
        return value

    def done(self) -> None:
        if self._content:
            raise UsageError(f"{self._prefix}{next(iter(self._content))}: unknown field")
