"""p3dfeat weights"""

import typer

from p3dfeat.cli.commands.weights.catalogue import list_models, show
from p3dfeat.cli.commands.weights.compare import compare
from p3dfeat.cli.commands.weights.files import check, convert, download, inflate
from p3dfeat.cli.commands.weights.push import push
from p3dfeat.cli.options import formerly

HELP = "Models: list, fetch, check, convert, inflate, compare and publish their weights."

weights = typer.Typer(help=HELP, no_args_is_help=True)
weights.command(name="list")(list_models)
for each in (show, download, check, convert, inflate, compare, push):
    weights.command()(each)
weights.command(name="verify", hidden=True)(formerly("weights verify", "weights check", check))
weights.command(name="recycle", hidden=True)(formerly("weights recycle", "weights inflate", inflate))

__all__ = ["weights"]
