"""Commands that take a settings object: its options become the command's, and what all commands share is added."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import typer

from p3dfeat.cli.output import out
from p3dfeat.options import Option, options_of

S = TypeVar("S")
Command = Callable[..., None]

INPUTS_HELP: Final = "Videos, folders, globs, @list.txt, a CSV of segments, http(s) addresses, or - for {stdin}."
FORMER: Final = "__former"  # end of the name of a parameter that has the name an option had before


def _set_json(value: bool) -> bool:
    out.wants_json = value
    return value


def _set_quiet(value: bool) -> bool:
    out.quiet = value
    return value


def _set_debug(value: bool) -> bool:
    out.debug = value
    return value


# Of every command; out knows their values.
SHARED: Final = {
    "json": typer.Option("--json", callback=_set_json, help="One JSON object per line on stdout."),
    "quiet": typer.Option("--quiet", "-q", callback=_set_quiet, help="Nothing on stderr but errors."),
    "debug": typer.Option("--debug", callback=_set_debug, help="Show tracebacks."),
}


def command(settings: type | None = None, *, json: bool = True, quiet: bool = True) -> Callable[[Command], Command]:
    """A function as a command. Its parameter ``settings``, if it has one, is made of options of that class.

    json, quiet: whether it takes --json and --quiet; all take --debug.
    """
    shared = [name for name, has in (("json", json), ("quiet", quiet), ("debug", True)) if has]

    def wrap(function: Command) -> Command:
        own = [param for param in inspect.signature(function).parameters.values() if param.name != "settings"]
        options = {} if settings is None else options_of(settings)
        made = [_parameter(field.name, field.type, field.default, about) for field, about in options.values()]
        former = [
            _parameter(name + FORMER, field.type, field.default, about)
            for name, (field, about) in options.items()
            if about.former is not None
        ]

        def call(**values: Any) -> None:
            for name in shared:
                values.pop(name)
            given = {name: values.pop(name) for name in options}
            for name, (_, about) in options.items():
                if about.former is not None and (value := values.pop(name + FORMER)) is not None:
                    out.say(f"{_flag(about.former)}: is called {_flag(name, about)} now")
                    given[name] = value
                if about.parse is not None:
                    given[name] = about.parse(given[name])
            function(**values, **({} if settings is None else {"settings": settings(**given)}))

        parameters = [*own, *made, *former, *(_switch(name, SHARED[name]) for name in shared)]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        call.__name__, call.__doc__ = function.__name__, function.__doc__
        return call

    return wrap


def formerly(name: str, now: str, command: Command) -> Command:
    """A command under the name that it had before, which says the one it has now."""

    def call(**values: Any) -> None:
        out.say(f"{name}: is called {now} now")
        command(**values)

    call.__signature__ = inspect.signature(command)  # type: ignore[attr-defined]
    call.__annotations__, call.__doc__ = command.__annotations__, command.__doc__
    return call


def _flag(name: str, about: Option | None = None) -> str:
    long = [flag for flag in about.names if flag.startswith("--")] if about else []
    return long[0] if long else "--" + name.replace("_", "-")


def _parameter(name: str, kind: Any, default: Any, about: Option) -> inspect.Parameter:
    """An option as a parameter that Typer reads; one of a former name is hidden, and None where it is not given."""
    text = about.parse is not None
    kind, default = (str, about.text) if text else (kind, default)
    named: dict[str, Any] = {"metavar": about.metavar, "help": about.help, "min": about.minimum}
    flags = [_flag(name, about), *(flag for flag in about.names if not flag.startswith("--"))]
    if name.endswith(FORMER):
        assert about.former is not None
        flags, default, kind, named["hidden"] = [_flag(about.former)], None, kind | None, True
    elif about.variable is not None:
        named["envvar"] = about.variable
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(*flags, **named)],
    )


def _switch(name: str, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
