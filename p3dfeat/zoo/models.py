"""A card and its weights together: a network ready to run, and its preprocessing."""

from dataclasses import dataclass
from pathlib import Path

from p3dfeat.config import Sampling, default_model
from p3dfeat.nets import P3D
from p3dfeat.system.forks import begin_computing
from p3dfeat.zoo.cards import Card
from p3dfeat.zoo.conversion.convert import convert
from p3dfeat.zoo.download.progress import OnFetch
from p3dfeat.zoo.fetching import Located, locate


@dataclass(frozen=True)
class Model:
    """A P3D network with its weights, in evaluation mode on the CPU, and its card.

    ``model.net(x, layers=("pool5", "logits"))`` takes preprocessed clips (N, C, T, H, W) float32.
    """

    card: Card
    net: P3D
    weights_sha256: str
    origin: str = ""  # source of the weights: a URL, or user/repo@commit; empty for a local file

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def sees_flow(self) -> bool:
        """Whether the network takes optical flow, not pictures."""
        return self.card.input.channels == "flow"

    def sampling(
        self,
        *,
        clips: int | None = None,
        stride: int | None = None,
        step: int | None = None,
        fps: float | None = None,
        tail: str = "pad",
        every: float | None = None,
        offset: int | None = None,
        spacing: str = "ends",
    ) -> Sampling:
        """The given sampling, completed with the model's clip length and step. The default is 20 clips."""
        spec = self.card.input
        if clips is None and stride is None and every is None:
            clips = 20
        step = spec.step if step is None else step
        return Sampling(
            clips=clips,
            stride=stride,
            step=step,
            length=spec.length,
            fps=fps,
            tail=tail,
            every=every,
            offset=offset,
            spacing=spacing,
        )


def load_model(name_or_path: str | Path | None = None, *, on_fetch: OnFetch | None = None) -> Model:
    """Load a model by its name, by a path, or by its repository on the hub. Weights are fetched on first use.

    Supported files: safetensors, .caffemodel, .caffemodel.h5, MXNet's .params (also zipped), and the community port's
    .pth.tar. A card of the same name beside the file is used if there is one.

    Args:
        name_or_path (str | Path | None): A name from ``p3dfeat weights list``; a weights file or a card; a folder with
            config.json and model.safetensors; or ``user/repo[@revision]`` on the Hugging Face hub. None: the default
            model.
        on_fetch (Callable | None): Called with Fetching events while weights are fetched.

    Returns:
        Model: The network in evaluation mode on the CPU, and its card.

    Raises:
        UsageError: The name is unknown.
        WeightsError: The weights are missing, unreachable or damaged, or belong to another network.

    Example:
        >>> model = p3dfeat.load_model("p3d-camera")
        >>> model.net(x, layers=("pool5",))  # x: (N, C, T, H, W) float32, preprocessed
    """
    begin_computing()  # before a download begins
    return load_located(locate(str(name_or_path or default_model()), on_fetch=on_fetch))


def load_located(located: Located) -> Model:
    """The model of a local weights file. Raises WeightsError if it is damaged or belongs to another network."""
    begin_computing()
    sha256 = located.check()
    converted = convert(located.weights, card=located.card)
    net = P3D(converted.card.architecture)
    net.load_state_dict(converted.state, strict=False)  # everything except the unused counters of batch norm
    return Model(converted.card, net.eval(), sha256, located.origin)
