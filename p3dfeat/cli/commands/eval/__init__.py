"""p3dfeat eval"""

import typer

from p3dfeat.cli.commands.eval.experiments import activitynet, aslan, folder, hmdb51, pca, scenes, ucf101
from p3dfeat.cli.options import PlainGroup, register

HELP = "Evaluate features with the protocols of UCF101, HMDB51, ActivityNet, ASLAN, scenes and your own labels."

evaluate = typer.Typer(cls=PlainGroup, help=HELP, no_args_is_help=True)
for each in (ucf101, hmdb51, activitynet, aslan, scenes, folder, pca):
    register(evaluate, each, group="eval")

__all__ = ["evaluate"]
