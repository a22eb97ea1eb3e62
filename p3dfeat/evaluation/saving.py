"""Save a classifier of all labelled videos, for new videos."""

from pathlib import Path

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.classification import Task
from p3dfeat.evaluation.descriptors import Descriptors
from p3dfeat.evaluation.learning.head import Head, check_head_name, softmax_temperature
from p3dfeat.evaluation.learning.learners import with_ones
from p3dfeat.evaluation.learning.tuning import Problem, choose, train
from p3dfeat.options.evaluating import FeatureOptions


def check_save(settings: FeatureOptions) -> None:
    """Raise UsageError for a classifier that cannot be saved, before the work."""
    if settings.save is None:
        return
    check_head_name(Path(settings.save))
    if settings.fuse:
        raise UsageError("save: a classifier of fused files cannot be saved; leave --fuse or --save out")


def save_head(task: Task, descriptors: Descriptors, settings: FeatureOptions) -> str:
    """Train on all videos of a task and save the classifier; return its path. Probabilities are calibrated."""
    assert settings.save is not None
    problem = Problem((with_ones(descriptors.rows[0]),), task.problem.targets, task.problem.groups)
    choice = choose(problem, settings.learner, settings.c, settings.seed, scores=True)
    linear = train(problem, settings.learner, choice).linears[0]
    about = descriptors.origins[0].settings
    preprocessing, sampling = (about.get(name) or {} for name in ("preprocessing", "sampling"))
    head = Head(
        np.asarray(linear.weights, np.float32),
        np.asarray(linear.bias, np.float32),
        task.classes,
        descriptors.origins[0].layer,
        settings.normalise,
        settings.learner,
        softmax_temperature(choice.scores, task.problem.targets),
        str(about.get("model", "")),
        str(about.get("weights_sha256", "")),
        dict(preprocessing),
        int(sampling.get("step", 1)),
        sampling.get("fps"),
    )
    head.written(Path(settings.save))
    return str(settings.save)
