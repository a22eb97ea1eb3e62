"""Declaration of options: each once, as a field of a settings class.

A field created by ``option`` is an option of the command, with the field's name, type, default and help.
``with_options`` creates a Python function with the same options. Settings are checked at construction.
"""

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from p3dfeat.errors import P3DFeatWarning, UsageError

P = ParamSpec("P")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
S = TypeVar("S")
R = TypeVar("R")

Parse = Callable[[str], Any]
KEY: Final = "option"  # of a field's metadata


@dataclass(frozen=True)
class Option:
    """The command-line form of a field.

    names: used instead of ``--field-name``, or an additional short one. former: name in earlier versions, still valid.
    group: heading in the help; default: ``GROUP`` of the class that declares the field.
    parse: converts text to the field's value. text: the default, as such a text.
    variable: environment variable that gives a default. many: whether it may be repeated; the value is a tuple.
    """

    help: str
    names: tuple[str, ...] = ()
    former: str | None = None
    metavar: str | None = None
    minimum: int | None = None
    parse: Parse | None = None
    text: str = ""
    variable: str | None = None
    many: bool = False
    group: str | None = None


def option(default: Any, *names: str, help: str, **about: Any) -> Any:
    """A field that is an option; see ``Option``."""
    return dataclasses.field(default=default, metadata={KEY: Option(help, names, **about)})


def options_of(settings: type) -> dict[str, tuple["dataclasses.Field[Any]", Option]]:
    """The fields of a settings class that are options, by their names."""
    return {
        field.name: (field, _with_group(settings, field))
        for field in dataclasses.fields(settings)
        if KEY in field.metadata
    }


def _with_group(settings: type, field: "dataclasses.Field[Any]") -> Option:
    about: Option = field.metadata[KEY]
    declared_in = next(base for base in settings.__mro__ if field.name in vars(base).get("__annotations__", {}))
    return about if about.group else dataclasses.replace(about, group=getattr(declared_in, "GROUP", None))


def values_of(field: "dataclasses.Field[Any]") -> tuple[str, ...]:
    """All valid values of an option, if they can be listed."""
    return get_args(field.type) if get_origin(field.type) is Literal else ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of all settings. An invalid value raises UsageError, with a message of one line.

    GROUP: heading of the class's options in the help.
    """

    GROUP: ClassVar[str] = "Options"

    def __post_init__(self) -> None:
        for name, (field, about) in options_of(type(self)).items():
            value, words = getattr(self, name), name.replace("_", " ")
            known = values_of(field)
            if known and value not in known:
                raise UsageError(f"{words} {value!r}: unknown; known are {', '.join(known)}")
            if about.minimum is not None and value is not None and value < about.minimum:
                raise UsageError(f"{words} {value}: must be at least {about.minimum}")


class with_options(Generic[P, S]):  # noqa: N801  # a decorator
    """Turn a function of a settings object into a function of keyword options, which type checkers know.

        extract = with_options(ExtractSettings)(run_extract)
        extract("videos/", "feats.h5", clips=10)  # run_extract("videos/", "feats.h5", ExtractSettings(clips=10))

    Former names of options are accepted, with a warning.
    """

    def __init__(self, settings: Callable[P, S]):
        self._settings = settings

    @overload
    def __call__(self, function: Callable[[A, B, C, S], R]) -> Callable[Concatenate[A, B, C, P], R]: ...
    @overload
    def __call__(self, function: Callable[[A, B, S], R]) -> Callable[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(self, function: Callable[[A, S], R]) -> Callable[Concatenate[A, P], R]: ...
    def __call__(self, function: Callable[..., R]) -> Callable[..., R]:
        *subjects, _ = inspect.signature(function).parameters.values()
        names = [subject.name for subject in subjects]
        make: Any = self._settings

        @wraps(function)
        def call(*arguments: Any, **options: Any) -> R:
            named = {name: options.pop(name) for name in names if name in options}
            return function(*arguments, **named, settings=make(**_renamed(make, options)))

        accepted = [*subjects, *inspect.signature(make).parameters.values()]
        call.__signature__ = inspect.Signature(accepted)  # type: ignore[attr-defined]
        call.__name__ = call.__qualname__ = function.__name__.removeprefix("run_")
        return call


def _renamed(settings: type, options: dict[str, Any]) -> dict[str, Any]:
    """Options by their current names."""
    names = {about.former: name for name, (_, about) in options_of(settings).items() if about.former is not None}
    for former in names.keys() & options.keys():
        warnings.warn(f"option {former}: is now called {names[former]}", P3DFeatWarning, stacklevel=3)
    return {names.get(name, name): value for name, value in options.items()}
