"""The p3dfeat command: its subcommands, and its exit codes."""

import itertools
import os
import sys
import traceback
import warnings
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn, cast

import typer

from p3dfeat._version import __version__
from p3dfeat.cli.commands.bench import bench
from p3dfeat.cli.commands.classify import classify
from p3dfeat.cli.commands.doctor import doctor
from p3dfeat.cli.commands.duplicates import duplicates
from p3dfeat.cli.commands.export import export
from p3dfeat.cli.commands.extract import extract
from p3dfeat.cli.commands.info import info
from p3dfeat.cli.commands.map import map as map_command
from p3dfeat.cli.commands.merge import merge
from p3dfeat.cli.commands.remove import remove
from p3dfeat.cli.commands.similar import similar
from p3dfeat.cli.commands.verify import verify
from p3dfeat.cli.commands.weights import weights
from p3dfeat.cli.interrupts import interrupts
from p3dfeat.cli.options import PlainGroup, register
from p3dfeat.cli.output import close_quietly, out
from p3dfeat.cli.streams import PipeClosedError
from p3dfeat.errors import P3DFeatError, P3DFeatWarning, UsageError

EVAL_HELP = "Evaluate features with the protocols of UCF101, HMDB51, ActivityNet, ASLAN, scenes and your own labels."
INTERRUPTED = 130  # Typer's exit code for a KeyboardInterrupt


class EvalGroup(PlainGroup):
    """The group ``eval``. Its commands are created when one of them is asked for: their many options take time."""

    _created: dict[str, Any] | None = None

    @property
    def commands(self) -> MutableMapping[str, Any]:
        if self._created is None:
            from p3dfeat.cli.commands.eval import evaluate

            self._created = dict(cast(Any, typer.main.get_command(evaluate)).commands)
        return self._created

    @commands.setter
    def commands(self, none: Any) -> None:
        """Click's constructor sets the commands that it is given, here none."""


app = typer.Typer(
    name="p3dfeat",
    cls=PlainGroup,
    help="Extract Pseudo-3D ResNet (P3D) features from videos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (extract, classify, info, export, similar, duplicates, map_command):
    register(app, command)
for command in (verify, merge, remove, doctor, bench):
    register(app, command)
app.add_typer(typer.Typer(cls=EvalGroup, help=EVAL_HELP, no_args_is_help=True), name="eval")
app.add_typer(weights, name="weights")


def _print_version(value: bool) -> None:
    if value:
        out.data(f"p3dfeat {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", metavar="", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Extract Pseudo-3D ResNet (P3D) features from videos."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its exit code."""
    interrupts.install()
    os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")  # a file cannot make HDF5 load code
    try:
        code = run(arguments)
    except KeyboardInterrupt:  # just before it returned
        code = interrupts.exit_code
    interrupts.end(code)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    out.quiet = out.debug = out.wants_json = False
    out.log = None
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(arguments)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print p3dfeat's warnings on stderr; those of libraries are for programmers, and only shown with --debug."""
    if issubclass(category, P3DFeatWarning):
        with suppress(P3DFeatError):  # the reader of stderr may be gone
            out.say(f"note: {message}")
    elif out.debug:
        out.say(f"{category.__name__}: {message}")


def _run(arguments: list[str] | None) -> int:
    try:
        _refuse_swallowed_files(sys.argv[1:] if arguments is None else arguments)
        command = typer.main.get_command(app)
        code = command.main(args=arguments, prog_name="p3dfeat", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as ended:
        if ended.code != 1:
            raise
        return PipeClosedError.exit_code  # of rich, which shows the help: the reader is gone
    except PipeClosedError as closed:
        return closed.exit_code if interrupts.asked_by is None else _interrupted()
    except P3DFeatError as error:
        _report(error, str(error))
        return error.exit_code if interrupts.asked_by is None else interrupts.exit_code
    except Exception as error:
        if interrupts.asked_by is not None:  # a library's error, caused by the signal
            return _interrupted()
        if hasattr(error, "format_message"):  # Typer's own: a wrong option or argument
            message = error.format_message().rstrip(".").replace("Value error, ", "")
            if message:  # if empty, Typer has shown the help
                out.error(f"{message}; see {_command_of(error, arguments)} --help")
            return 2
        traceback.print_exc()
        out.error(f"a bug in p3dfeat: {type(error).__name__}: {error}; please report it with the lines above")
        return 1
    finally:
        close_quietly()


def _command_of(error: Any, arguments: Sequence[str] | None) -> str:
    """The command whose help lists the option of a usage error."""
    context = getattr(error, "ctx", None)
    if context is not None:
        return str(context.command_path)
    given = sys.argv[1:] if arguments is None else arguments
    names = [command.callback.__name__ for command in app.registered_commands if command.callback is not None]
    return f"p3dfeat {given[0]}" if given and given[0] in names else "p3dfeat"


def _refuse_swallowed_files(arguments: Sequence[str]) -> None:
    """Raise UsageError for a file name that would be read as an option: a shell may expand *.mp4 to -o.mp4."""
    for argument in itertools.takewhile(lambda argument: argument != "--", arguments):
        if argument.startswith("-") and "." in argument and os.path.isfile(argument):
            raise UsageError(f"{argument}: a file has this name, but a dash begins an option; write ./{argument}")


def _interrupted() -> int:
    with suppress(P3DFeatError):  # the reader of stderr may be gone
        out.error(interrupts.words)
    return interrupts.exit_code


def _report(error: P3DFeatError, text: str) -> None:
    if out.debug:
        traceback.print_exception(error)
    out.error(text)
