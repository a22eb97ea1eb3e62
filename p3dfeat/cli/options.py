"""Create commands from settings classes: with the options of the class, and those shared by all commands."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.markup import escape
from typer.core import TyperArgument, TyperCommand, TyperGroup

from p3dfeat.cli import completion, config_file
from p3dfeat.cli.output import Log, out
from p3dfeat.options import Option, options_of, values_of

S = TypeVar("S")
Command = Callable[..., None]

INPUTS_HELP: Final = "Videos, folders, globs, @list.txt, a CSV of segments, http(s) addresses, or - for {stdin}."
FORMER: Final = "__former"  # suffix of parameters for former option names
COMPLETE: Final = {"model": completion.models, "layers": completion.layers}


def _set_json(value: bool) -> bool:
    out.wants_json = value
    return value


def _set_quiet(value: bool) -> bool:
    out.quiet = value
    return value


def _set_log(value: str) -> str:
    out.log = Log(value) if value else None
    return value


def _set_debug(value: bool) -> bool:
    out.debug = value
    return value


def flag(*names: str, help: str, group: str = "Output", **about: Any) -> Any:
    """An option without a value."""
    return typer.Option(*names, metavar="", rich_help_panel=group, help=help, **about)


class PlainCommand(TyperCommand):
    """A command that reads a configuration file. Its help leaves out Python's types, such as ``<list[str]>``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(param.name == "config" for param in self.params):
            ctx.default_map = config_file.defaults(ctx, args)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperArgument):
                param.display_type_rich = lambda ctx: ""  # type: ignore[method-assign]
            elif param.name == "help":
                param.metavar, param.rich_help_panel = "", "Output"
        return params


class PlainGroup(TyperGroup):
    """A group of commands whose help leaves out ``<bool>``."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


def register(
    app: typer.Typer, function: Command, name: str | None = None, *, group: str = "", hidden: bool = False
) -> None:
    """Add a command to an app. Its docstring is the help; the text after "Examples:" is shown at the end.

    group: name of the app, if it is a group of commands.
    """
    table = (name or function.__name__).replace("_", "-")
    function.table = f"{group}.{table}" if group else table  # type: ignore[attr-defined]  # in a configuration file
    text, _, examples = inspect.cleandoc(function.__doc__ or "").partition("Examples:")
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    lines = ["Examples:", *(f"[bold]{escape(line.strip())}[/]" for line in examples.splitlines() if line.strip())]
    epilog = "\n".join(lines) if examples else None
    add = app.command(name, cls=PlainCommand, help="\n\n".join(paragraphs), epilog=epilog, hidden=hidden)
    add(function)


# Options of every command; their values are kept in ``out``.
SHARED: Final = {
    "json": flag("--json", callback=_set_json, help="Print one JSON object per line on stdout."),
    "quiet": flag("--quiet", "-q", callback=_set_quiet, help="Print only errors on stderr."),
    "log": typer.Option(
        "--log",
        metavar="FILE",
        rich_help_panel="Output",
        callback=_set_log,
        help="Also append messages and progress, with the time, to FILE.",
    ),
    "config": typer.Option(
        "--config",
        metavar="FILE",
        rich_help_panel="Output",
        help=f"Configuration file with defaults for options. Default: {config_file.NAME} in the working folder.",
    ),
    "show_config": flag("--show-config", help="Print the options in effect as a configuration file, and exit."),
    "debug": flag("--debug", callback=_set_debug, help="Show Python tracebacks of errors."),
}


def command(settings: type | None = None, *, json: bool = True, quiet: bool = True) -> Callable[[Command], Command]:
    """Turn a function into a command. Its parameter ``settings``, if any, is created from options of that class.

    json, quiet: whether it accepts --json, and --quiet and --log; all accept --debug.
    """
    has = {"json": json, "quiet": quiet, "log": quiet, "debug": True}
    has |= dict.fromkeys(("config", "show_config"), settings is not None)
    shared = [name for name in SHARED if has[name]]

    def wrap(function: Command) -> Command:
        own = [param for param in inspect.signature(function).parameters.values() if param.name != "settings"]
        options = {} if settings is None else options_of(settings)
        made = [_parameter(field.name, field, about) for field, about in options.values()]
        former = [
            _parameter(name + FORMER, field, about)
            for name, (field, about) in options.items()
            if about.former is not None
        ]

        def call(**values: Any) -> None:
            common = {name: values.pop(name) for name in shared}
            given = {name: values.pop(name) for name in options}
            for name, (_, about) in options.items():
                if about.former is not None and (value := values.pop(name + FORMER)) is not None:
                    out.say(f"{_flag(about.former)}: is now called {_flag(name, about)}")
                    given[name] = value
                if about.parse is not None:
                    given[name] = about.parse(given[name])
                elif about.many:
                    given[name] = tuple(given[name])
            if common.get("show_config"):
                out.data(config_file.text_of(call.table, given))  # type: ignore[attr-defined]
                raise typer.Exit
            function(**values, **({} if settings is None else {"settings": settings(**given)}))

        parameters = [*own, *made, *former, *(_switch(name, SHARED[name]) for name in shared)]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        call.__name__, call.__doc__ = function.__name__, function.__doc__
        return call

    return wrap


def formerly(name: str, now: str, command: Command) -> Command:
    """A command under its former name; it prints the new name."""

    def call(**values: Any) -> None:
        out.say(f"{name}: is now called {now}")
        command(**values)

    call.__signature__ = inspect.signature(command)  # type: ignore[attr-defined]
    call.__annotations__, call.__doc__ = command.__annotations__, command.__doc__
    return call


def _flag(name: str, about: Option | None = None) -> str:
    long = [flag for flag in about.names if flag.startswith("--")] if about else []
    return long[0] if long else "--" + name.replace("_", "-")


def _parameter(name: str, field: Any, about: Option) -> inspect.Parameter:
    """An option as a Typer parameter; one with a former name is hidden, and None if it is not given."""
    kind, default = (str, about.text) if about.parse is not None else (field.type, field.default)
    if about.many:
        kind, default = list[str], list(default)
    values = values_of(field)
    named: dict[str, Any] = {
        "metavar": "" if kind is bool else about.metavar,
        "help": f"{about.help} Values: {', '.join(values)}." if values else about.help,
        "rich_help_panel": about.group,
        "autocompletion": COMPLETE.get(field.name),
    }
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
    kind, default = (str, "") if name in ("log", "config") else (bool, False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
