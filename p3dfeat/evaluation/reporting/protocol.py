"""What an experiment did, in sentences."""

from typing import Any, Final

from p3dfeat.evaluation.descriptors import Descriptors, Origin
from p3dfeat.evaluation.learning.tuning import INNER_FOLDS, c_grid
from p3dfeat.options.evaluating import FeatureOptions, LearnerOptions
from p3dfeat.text.counts import counted

NORMALISED: Final = {
    "l2": "scaled to unit length",
    "sqrt-l2": "changed to the signed square root of each number, and scaled to unit length",
    "none": "used as they are",
}
LEARNERS: Final = {
    "svm": "linear support vector machine, one class against the rest, squared hinge loss (LinearSVC's)",
    "logistic": "multinomial logistic regression",
    "ridge": "ridge regression to targets of 1 and -1",
}


def described(descriptors: Descriptors, settings: FeatureOptions, splits: str) -> tuple[str, ...]:
    """Features, classifier and splits of an experiment."""
    features = " and ".join(_features(origin) for origin in descriptors.origins)
    sentences = [f"Features: {features}, {NORMALISED[settings.normalise]}.", classifier(settings)]
    if len(descriptors.origins) > 1:
        sentences.append("Fusion: weighted mean of scores; weights by cross-validation on training videos only.")
    return (*sentences, f"Splits: {splits}")


def classifier(settings: LearnerOptions) -> str:
    """The sentence about the classifier."""
    values = ", ".join(f"{c:g}" for c in c_grid(settings.learner))
    c = (
        f"C from {values} by {INNER_FOLDS}-fold cross-validation on training data only, seed {settings.seed}"
        if settings.c is None
        else f"C = {settings.c:g}"
    )
    return f"Classifier: {LEARNERS[settings.learner]}; {c}."


def _features(origin: Origin) -> str:
    found: dict[str, Any] = dict(origin.settings)
    model = found.get("model", "?")
    sampling = found.get("sampling")
    clips = sampling.get("clips") if isinstance(sampling, dict) else None
    of_clips = counted(clips, "clip") if clips else "all clips"
    crops = f" and {len(origin.crops)} crops" if len(origin.crops) > 1 else ""
    return f"{origin.layer} of {model}, the mean over {of_clips}{crops}"
