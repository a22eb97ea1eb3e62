"""A card and its weights, together: a net ready to run and the preprocessing it wants."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from p3dfeat.config import DEFAULT_MODEL, Sampling
from p3dfeat.errors import WeightsError
from p3dfeat.nets import P3D
from p3dfeat.zoo.cards import Card, find_card


@dataclass(frozen=True)
class Model:
    """A P3D net with its weights, in evaluation mode on the CPU, and its card.

    ``model.net(x, layers=("pool5", "logits"))`` takes preprocessed clips (N, C, T, H, W) float32.
    """

    card: Card
    net: P3D
    weights_sha256: str

    @property
    def name(self) -> str:
        return self.card.name

    def sampling(
        self,
        *,
        clips: int | None = None,
        stride: int | None = None,
        step: int | None = None,
        fps: float | None = None,
        tail: str = "pad",
    ) -> Sampling:
        """The sampling asked for, completed by the model's own clip length and step; 20 clips unless told otherwise."""
        spec = self.card.input
        if clips is None and stride is None:
            clips = 20
        step = spec.step if step is None else step
        return Sampling(clips=clips, stride=stride, step=step, length=spec.length, fps=fps, tail=tail)


def load_model(name_or_path: str | Path = DEFAULT_MODEL) -> Model:
    """A model by its name (``p3dfeat.load_model("p3d-camera")``), or by the path of its card or weights.

    Raises UsageError for an unknown name, WeightsError where weights are missing, damaged or another net's.
    """
    card = find_card(str(name_or_path))
    try:
        content = card.weights.read_bytes()
    except OSError as error:
        raise WeightsError(f"{card.weights}: not readable ({error.strerror})") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if card.sha256 is not None and sha256 != card.sha256:
        raise WeightsError(f"{card.weights}: sha256 is {sha256[:12]}..., the card says {card.sha256[:12]}...")
    net = P3D(card.architecture)
    load_weights(net, card.weights)
    return Model(card, net.eval(), sha256)


def load_weights(net: P3D, path: Path) -> None:
    """Fill ``net`` from a safetensors file of its own names; every tensor is accounted for. Raises WeightsError."""
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None
    expected = {name: value for name, value in net.state_dict().items() if value.dtype.is_floating_point}
    for name, value in expected.items():
        if name not in stored:
            raise WeightsError(f"{path}: tensor {name} is missing")
        if stored[name].shape != value.shape:
            found, wanted = tuple(stored[name].shape), tuple(value.shape)
            raise WeightsError(f"{path}: tensor {name} is {found}, the card's net wants {wanted}")
    surplus = sorted(stored.keys() - expected.keys())
    if surplus:
        raise WeightsError(f"{path}: tensor {surplus[0]} belongs to no layer of the card's net")
    weights: dict[str, Tensor] = {name: value.to(torch.float32) for name, value in stored.items()}
    net.load_state_dict(weights, strict=False)
