"""p3dfeat weights"""

import typer

from p3dfeat.cli.commands.weights.catalogue import list_models, show
from p3dfeat.cli.commands.weights.compare import compare
from p3dfeat.cli.commands.weights.files import check, convert, download, inflate
from p3dfeat.cli.commands.weights.push import push
from p3dfeat.cli.options import PlainGroup, formerly, register

HELP = "List, download, check, convert, inflate, compare and publish model weights."

weights = typer.Typer(cls=PlainGroup, help=HELP, no_args_is_help=True)
register(weights, list_models, "list")
for each in (show, download, check, convert, inflate, compare, push):
    register(weights, each, group="weights")
register(weights, formerly("weights verify", "weights check", check), "verify", hidden=True)
register(weights, formerly("weights recycle", "weights inflate", inflate), "recycle", hidden=True)

__all__ = ["weights"]
