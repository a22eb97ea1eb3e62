"""The commands of p3dfeat eval: one per experiment."""

from pathlib import Path
from typing import Annotated

import typer

from p3dfeat.cli.commands.eval.showing import evaluated
from p3dfeat.cli.options import command
from p3dfeat.options import (
    ActivityNetSettings,
    AslanSettings,
    FolderSettings,
    ListsSettings,
    PcaSettings,
    ScenesSettings,
)

Files = Annotated[list[Path], typer.Argument(metavar="FILE.h5", help="Feature files with the same settings.")]
SomeFiles = Annotated[
    list[Path] | None, typer.Argument(metavar="[FILE.h5]", help="Feature files; none with --predictions.")
]
Splits = Annotated[
    Path, typer.Option("--splits", metavar="DIR", rich_help_panel="Input", help="Folder with the official lists.")
]
Annotations = Annotated[
    Path,
    typer.Option("--annotations", metavar="FILE", rich_help_panel="ActivityNet", help="activity_net.v1-3.min.json."),
]
Pairs = Annotated[
    Path,
    typer.Option("--pairs", metavar="FILE", rich_help_panel="ASLAN", help="View2.mat, or a CSV of fold,id1,id2,same."),
]


@command(ListsSettings)
def ucf101(files: Files, splits: Splits, settings: ListsSettings) -> None:
    """Evaluate action recognition on UCF101: each official split, and the mean.

    Examples:
        p3dfeat eval ucf101 ucf.h5 --splits ucfTrainTestlist/
        p3dfeat eval ucf101 rgb.h5 --fuse flow.h5 --splits ucfTrainTestlist/ --report ucf101.html
    """
    evaluated("evaluate_ucf101", settings, [str(file) for file in files], splits)


@command(ListsSettings)
def hmdb51(files: Files, splits: Splits, settings: ListsSettings) -> None:
    """Evaluate action recognition on HMDB51: each official split, and the mean.

    Examples:
        p3dfeat eval hmdb51 hmdb.h5 --splits testTrainMulti_7030_splits/
    """
    evaluated("evaluate_hmdb51", settings, [str(file) for file in files], splits)


@command(ActivityNetSettings)
def activitynet(settings: ActivityNetSettings, annotations: Annotations, files: SomeFiles = None) -> None:
    """Evaluate classification of untrimmed videos on ActivityNet, or score a result file.

    The scores are the official ones: top-1, top-3 and mean average precision.

    Examples:
        p3dfeat eval activitynet anet.h5 --annotations activity_net.v1-3.min.json
        p3dfeat eval activitynet --annotations activity_net.v1-3.min.json --predictions results.json
    """
    evaluated("evaluate_activitynet", settings, [str(file) for file in files or []], annotations)


@command(AslanSettings)
def aslan(files: Files, pairs: Pairs, settings: AslanSettings) -> None:
    """Evaluate action similarity on ASLAN: do two videos show the same action?

    Examples:
        p3dfeat extract samples/ --layers prob,pool5,res5c,res4b35 -o aslan.h5
        p3dfeat eval aslan aslan.h5 --pairs View2.mat --report aslan.html
        p3dfeat eval aslan aslan.h5 --pairs train_pairs.mat --test-pairs test_pairs.mat
    """
    evaluated("evaluate_aslan", settings, [str(file) for file in files], pairs)


@command(ScenesSettings)
def scenes(files: Files, settings: ScenesSettings) -> None:
    """Evaluate scene recognition: each video is labelled by a classifier of all others.

    Examples:
        p3dfeat extract YUPENN/ --mirror -o yupenn.h5
        p3dfeat eval scenes yupenn.h5
    """
    evaluated("evaluate_scenes", settings, [str(file) for file in files])


@command(FolderSettings)
def folder(files: Files, settings: FolderSettings) -> None:
    """Evaluate labels of your own by cross-validation.

    Examples:
        p3dfeat eval folder feats.h5 --report report.html
        p3dfeat eval folder feats.h5 --labels labels.csv --groups column:recording
        p3dfeat eval folder feats.h5 --save mylabels.safetensors
    """
    evaluated("evaluate_folder", settings, [str(file) for file in files])


@command(PcaSettings)
def pca(files: Files, settings: PcaSettings) -> None:
    """Show the effect of dimension: accuracy with fewer and fewer principal components.

    Examples:
        p3dfeat eval pca ucf.h5 --splits ucfTrainTestlist/ --report pca.html
        p3dfeat eval pca feats.h5 --labels folders --dimensions 100,50,10
    """
    evaluated("evaluate_pca", settings, [str(file) for file in files])
