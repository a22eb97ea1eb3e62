"""A card and its weights, together: a net ready to run and the preprocessing it wants."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from p3dfeat.config import DEFAULT_MODEL, Sampling
from p3dfeat.errors import UsageError, WeightsError
from p3dfeat.nets import P3D
from p3dfeat.zoo.cards import Card, find_card
from p3dfeat.zoo.convert import convert


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

    def check_sees_pictures(self) -> None:
        """Raise UsageError for a net that takes optical flow, which is not made from videos here."""
        if self.card.input.channels == "flow":
            raise UsageError(f"model {self.name}: takes optical flow, which p3dfeat does not compute from videos")

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

    Weights may be safetensors, .caffemodel, .caffemodel.h5, MXNet's .params (also zipped) or the community port's
    .pth.tar, with a card of the same name beside them or none; see ``p3dfeat.zoo.convert``.
    Raises UsageError for an unknown name, WeightsError where weights are missing, damaged or another net's.
    """
    card = find_card(str(name_or_path))
    weights = card.weights if card is not None else Path(name_or_path)
    try:
        with open(weights, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{weights}: not readable ({error.strerror})") from None
    if card is not None and card.sha256 is not None and sha256 != card.sha256:
        raise WeightsError(f"{weights}: sha256 is {sha256[:12]}..., the card says {card.sha256[:12]}...")
    converted = convert(weights, card=card)
    net = P3D(converted.card.architecture)
    net.load_state_dict(converted.state, strict=False)  # all but the counters of batch norm, which nothing reads
    return Model(converted.card, net.eval(), sha256)
