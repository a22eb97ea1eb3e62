"""Check this installation: its versions, and whether it computes correct values."""

import platform
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np
import torch

from p3dfeat._version import __version__
from p3dfeat.closeness import relative_l2
from p3dfeat.config import EMBEDDED_MODEL, default_model
from p3dfeat.engines import ENGINE_CLASSES
from p3dfeat.engines.normalize import normalize
from p3dfeat.engines.selection import synthetic_clip
from p3dfeat.errors import WeightsError
from p3dfeat.video.bitstreams.codecs import available_decoders, ffmpeg_version
from p3dfeat.zoo import (
    Model,
    card_names,
    load_located,
    load_model,
    obtain,
    resolve_here,
    weights_folder,
    weights_here,
)
from p3dfeat.zoo.download.cache import cache_folder
from p3dfeat.zoo.download.hub import cache_folder as hub_cache_folder

PACKAGES: Final = ("torch", "av", "h5py", "numpy", "huggingface-hub", "safetensors", "typer", "rich")
TOLERANCE: Final = (
    1e-3  # of the self-test, relative L2; other processors round differently by 1e-6, a wrong network is off by 1e-1
)


@dataclass(frozen=True)
class Diagnosis:
    """Everything that a bug report should contain."""

    p3dfeat: str
    python: str
    platform: str
    packages: dict[str, str]
    ffmpeg: str
    devices: list[str]
    engines: dict[str, str]  # and their versions
    cpu_threads: int
    decoders: list[str]
    models: list[str]
    embedded_weights: str
    default_model: str
    weights_cache: str  # folder of downloaded files
    hub_cache: str  # folder of the Hugging Face Hub, as set by HF_HUB_CACHE or HF_HOME
    self_test_error: float  # relative L2 of the embedded model's logits to the stored ones
    self_test_passed: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def doctor() -> Diagnosis:
    """Check this installation, and run the embedded model once.

    Returns:
        Diagnosis: Versions, devices, codecs, and the error of the embedded model's logits to the stored ones.

    Raises:
        WeightsError: The embedded model is missing.

    Example:
        >>> p3dfeat.doctor().self_test_passed
    """
    error = self_test_error(load_model(EMBEDDED_MODEL))
    return Diagnosis(
        p3dfeat=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        platform=platform.platform(),
        packages={name: _installed(name) for name in PACKAGES},
        ffmpeg=ffmpeg_version(),
        devices=_devices(),
        engines={name: _installed(name) for name in ENGINE_CLASSES},
        cpu_threads=torch.get_num_threads(),
        decoders=available_decoders(),
        models=list(card_names()),
        embedded_weights=str(weights_folder()),
        default_model=default_model(),
        weights_cache=_cache(),
        hub_cache=str(hub_cache_folder()),
        self_test_error=error,
        self_test_passed=error <= TOLERANCE,
    )


def _cache() -> str:
    try:
        return str(cache_folder())
    except WeightsError as error:
        return str(error)


@dataclass(frozen=True)
class WeightsCheck:
    """The result of checking one model's weights."""

    name: str
    path: str
    checksums: tuple[str, ...]  # the kinds of checksums that are known and match
    self_test: str  # how the output for the self-test clip was judged
    error: str | None = None  # the problem; checksums, self_test and sha256 are then empty
    sha256: str = ""  # of the file

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"checksums": list(self.checksums)}


def check_weights(name: str) -> WeightsCheck:
    """Recompute the checksums of a model's weights and run it on the self-test clip; nothing is downloaded.

    name: model name, or path of a card, a weights file or its folder. Raises UsageError if it is unknown.
    """
    reference = resolve_here(name)
    card = reference.card
    located = obtain(reference) if reference.weights or card is None else weights_here(card)
    if located is None:
        return WeightsCheck(name, "", (), "", f"not here; p3dfeat weights download {name} fetches it")
    located = replace(located, checksums={**located.checksums, **(card.checksums if card else {})})
    try:
        model = load_located(located)
        answer = _self_test(model)
    except WeightsError as error:
        return WeightsCheck(name, str(located.weights), (), "", str(error))
    return WeightsCheck(
        name, str(located.weights), tuple(sorted(located.checksums)), answer, sha256=model.weights_sha256
    )


def _self_test(model: Model) -> str:
    """How the output for the self-test clip was judged. Raises WeightsError if it is wrong."""
    if model.card.self_test:
        error = self_test_error(model)
        if not error <= TOLERANCE:
            raise WeightsError(f"self test: off by {error:.1e}")
        return f"stored answer, off by {error:.1e}"
    logits = np.array(self_test_logits(model))
    if not np.isfinite(logits).all() or np.ptp(logits) == 0:
        raise WeightsError("self test: its logits are not finite, or all the same")
    return "finite logits; no answer is stored"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _devices() -> list[str]:
    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def self_test_logits(model: Model) -> list[float]:
    """The model's logits for the self-test clip."""
    x = normalize(torch.from_numpy(synthetic_clip(model.card.input)), model.card.input)
    with torch.inference_mode():
        return [float(value) for value in model.net(x, layers=("logits",))["logits"][0]]


def self_test_error(model: Model) -> float:
    """Relative L2 between the model's logits and those in its card, which must have some."""
    return relative_l2(self_test_logits(model), model.card.self_test)
