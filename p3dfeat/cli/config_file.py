"""A configuration file: defaults for options, which the command line overrides.

# p3dfeat.toml
model = "p3d-camera"     # for every command that has the option

[extract]
clips = 10
layers = ["pool5", "prob"]

[eval.folder]            # a command of a group
folds = 10
"""

import itertools
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from p3dfeat.cli.output import out
from p3dfeat.errors import UsageError

NAME: Final = "p3dfeat.toml"  # read from the working folder, unless --config names another file
# Not from a file: inputs and outputs of a run, and its display, are given on the command line only.
ONLY_TYPED: Final = frozenset(
    {
        *("help", "version", "config", "show_config", "log", "dry_run"),
        *("inputs", "output", "file", "ids", "against", "not_in", "overwrite", "with_added"),
        *("files", "splits", "annotations", "predictions", "pairs", "test_pairs", "fuse"),
        *("save", "report", "write_predictions", "shard"),
    }
)

# Options that the command line excludes by these others.
EXCLUDES: Final = {"clips": ("--clip-stride", "--stride"), "clip_stride": ("--clips", "-n")}


def defaults(ctx: Any, arguments: Sequence[str]) -> dict[str, str | bool]:
    """Values for the options of the present command, by parameter name. Raises UsageError."""
    path = _named(arguments) or (Path(NAME) if os.path.isfile(NAME) else None)
    if path is None:
        return {}
    root = ctx.find_root()
    commands = {
        name: {param.name: param for param in command.params if param.name not in ONLY_TYPED}
        for name, command in _commands(root.command)
        if any(param.name == "config" for param in command.params)
    }
    command = ctx.command_path.removeprefix(f"{root.command_path} ").replace(" ", ".")
    found = _chosen(command, _read(path), commands, path)
    for name, flags in EXCLUDES.items():
        if any(argument.partition("=")[0] in flags for argument in arguments):
            found.pop(name, None)
    if not {"-q", "--quiet"} & set(arguments):  # not parsed yet
        out.say(f"options from {path}: {', '.join(name.replace('_', '-') for name in found) or 'none'}")
    return found


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """(name, command) of all commands; those of groups as "eval.folder"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name}.")
        else:
            yield before + name, command


def _named(arguments: Sequence[str]) -> Path | None:
    """The file that --config names."""
    for number, argument in enumerate(itertools.takewhile(lambda argument: argument != "--", arguments)):
        if argument.startswith("--config="):
            return Path(argument.removeprefix("--config="))
        if argument == "--config" and number + 1 < len(arguments):
            return Path(arguments[number + 1])
    return None


def _read(path: Path) -> dict[str, Any]:
    """The tables of a file. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML ({error})") from None


def _chosen(
    command: str, tables: Mapping[str, Any], commands: Mapping[str, Mapping[str, Any]], path: Path
) -> dict[str, str | bool]:
    """Values of the top level, overridden by the command's own table. All keys are checked. Raises UsageError.

    commands: {command: {parameter: option}}.
    """
    options = {name: option for known in commands.values() for name, option in known.items()}
    found: dict[str, str | bool] = {}
    own: dict[str, str | bool] = {}
    groups = {name.partition(".")[0] for name in commands if "." in name}
    nested = {key: value for key, value in tables.items() if key in groups and isinstance(value, dict)}
    for key, group in nested.items():
        for name in (name for name, value in group.items() if not isinstance(value, dict)):
            example = next(command for command in commands if command.startswith(f"{key}."))
            raise UsageError(f"{path}: {key}.{name}: options stand in the table of a command, such as [{example}]")
    inner_tables = {f"{key}.{name}": value for key, group in nested.items() for name, value in group.items()}
    for key, value in {**{k: v for k, v in tables.items() if k not in nested}, **inner_tables}.items():
        if key in commands and isinstance(value, dict):
            for inner, inner_value in value.items():
                name = _parameter(inner, commands[key], path, key)
                typed = _typed(inner_value, commands[key][name], f"{path}: {key}.{inner}")
                if key == command:
                    own[name] = typed
        else:
            name = _parameter(key, options, path)
            typed = _typed(value, options[name], f"{path}: {key}")
            if name in commands[command]:
                found[name] = typed
    return found | own


def _parameter(key: str, options: Mapping[str, Any], path: Path, command: str = "") -> str:
    """The parameter that a key names. Raises UsageError."""
    name = key.replace("-", "_")
    if name in options:
        return name
    place = f"{command}.{key}" if command else key
    if name in ONLY_TYPED:
        raise UsageError(f"{path}: {place}: can only be given on the command line")
    near = get_close_matches(name, list(options), 1)
    hint = (
        f"; did you mean {near[0].replace('_', '-')}?"
        if near
        else f"; see p3dfeat {command.replace('.', ' ') or 'extract'} --help"
    )
    raise UsageError(f"{path}: {place}: no such option{hint}")


def _typed(value: Any, option: Any, place: str) -> str | bool:
    """A value as command-line text. Raises UsageError."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if isinstance(value, bool) != bool(getattr(option, "is_flag", False)):
        kind = "true or false" if getattr(option, "is_flag", False) else "a value, not true or false"
        raise UsageError(f"{place}: must be {kind}")
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return str(value)
    raise UsageError(f"{place}: must be text, a number, true or false, or a list of texts")


def text_of(command: str, options: Mapping[str, Any]) -> str:
    """Options as a configuration file; those without a value as comments."""
    lines = [f"[{command}]"]
    for name, value in options.items():
        if name in ONLY_TYPED:
            continue
        key = name.replace("_", "-")
        if value is None:
            lines.append(f"# {key} =")
        elif isinstance(value, tuple):
            lines.append(f"{key} = [{', '.join(json.dumps(item) for item in value)}]")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines)
