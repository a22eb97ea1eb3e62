"""p3dfeat eval"""

import typer

from p3dfeat.cli.commands.eval.experiments import activitynet, aslan, folder, hmdb51, pca, scenes, ucf101
from p3dfeat.cli.options import PlainGroup, register

evaluate = typer.Typer(cls=PlainGroup)
for each in (ucf101, hmdb51, activitynet, aslan, scenes, folder, pca):
    register(evaluate, each, group="eval")

__all__ = ["evaluate"]
