"""The structure of a P3D ResNet as data: depth, width, block kinds and the arithmetic of its family."""

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

from p3dfeat.errors import ShapeError, UsageError
from p3dfeat.text.counts import counted

KINDS: Final = ("A", "B", "C")
EXPANSION: Final = 4  # a bottleneck's output is four times as wide as its middle

STAGES: Final = {63: (3, 4, 6, 3), 131: (3, 4, 23, 3), 199: (3, 8, 36, 3)}  # from ResNet-50, -101, -152

MOST_BLOCKS: Final = 1000  # per network; P3D-199 has 50
MOST: Final = 1_000_000  # classes, channels, width: more is a mistake, or an attempt to exhaust memory

HALVED: Final = 2**4  # frames that the four temporal pools reduce to one, which is the input of res5


@dataclass(frozen=True)
class Arithmetic:
    """The differences between the families of P3D networks. S and T include their batch norm."""

    rectified_t_in_b: bool  # B: relu(S x) + relu(T x), else relu(relu(S x) + T x)
    halved_c: bool  # C: relu(0.5 s + 0.5 T s) with s = relu(S x), else s + relu(T s)
    padded_pools: bool  # pool1 padded (0, 1, 1), all pools floor; else no padding, all pools ceil
    strided_spatial: bool  # a stage's first block strides in S (in kind B also in T), else in its first 1x1x1


FAMILIES: Final = {
    "authors": Arithmetic(rectified_t_in_b=False, halved_c=True, padded_pools=False, strided_spatial=False),
    "gluoncv": Arithmetic(rectified_t_in_b=True, halved_c=False, padded_pools=True, strided_spatial=False),
    # The "v1.5" 2-D ResNets of torchvision, timm and transformers, with the authors' S and T.
    "recycled": Arithmetic(rectified_t_in_b=False, halved_c=True, padded_pools=True, strided_spatial=True),
}


@dataclass(frozen=True)
class Architecture:
    """A P3D ResNet (Qiu, Yao, Mei, ICCV 2017, section 3), complete enough to build it.

    stages: number of blocks in res2, res3, res4, res5. ``Architecture.of_depth`` knows them for P3D-63, 131 and 199.
    kinds: block kinds, cycled over the blocks of res2 to res4; "ABC" is the paper's mixed network, "A" its P3D-A.
    family: "authors" (Caffe), "gluoncv" or "recycled" (from a 2-D ResNet). Families differ in arithmetic, not in the
    shapes of weights.
    channels: input channels; 3 for pictures, 2 for optical flow, 1 for luma.
    base_width: channels after conv1; 64 in the published networks. pool5 is 32 times as wide.
    """

    stages: tuple[int, int, int, int] = STAGES[199]
    kinds: str = "ABC"
    family: str = "authors"
    channels: int = 3
    classes: int = 400
    base_width: int = 64

    def __post_init__(self) -> None:
        if len(self.stages) != 4 or not all(isinstance(depth, int) and depth >= 1 for depth in self.stages):
            raise UsageError(f"stages {self.stages}: must be four block counts of at least 1, for res2 to res5")
        if sum(self.stages) > MOST_BLOCKS:
            raise UsageError(f"stages {self.stages}: more than {MOST_BLOCKS:,} blocks")
        if not self.kinds or set(self.kinds) - set(KINDS):
            raise UsageError(f"kinds {self.kinds!r}: must be a cycle of the letters A, B and C, such as 'ABC'")
        if self.family not in FAMILIES:
            raise UsageError(f"family {self.family!r}: unknown; known are {', '.join(FAMILIES)}")
        for name in ("channels", "classes", "base_width"):
            if not 1 <= getattr(self, name) <= MOST:
                raise UsageError(f"{name} {getattr(self, name)}: must be from 1 to {MOST:,}")

    @classmethod
    def of_depth(
        cls,
        depth: int,
        *,
        kinds: str = "ABC",
        family: str = "authors",
        channels: int = 3,
        classes: int = 400,
        base_width: int = 64,
    ) -> "Architecture":
        """P3D-63, P3D-131 or P3D-199. Raises UsageError for another depth."""
        if depth not in STAGES:
            raise UsageError(f"depth {depth}: no published P3D; known are {', '.join(map(str, STAGES))}")
        return cls(STAGES[depth], kinds, family, channels, classes, base_width)

    @property
    def arithmetic(self) -> Arithmetic:
        return FAMILIES[self.family]

    @property
    def feature_width(self) -> int:
        """Width of pool5; 2048 in the published networks."""
        return (self.base_width << 3) * EXPANSION

    @property
    def depth(self) -> int:
        """Number of layers with weights, counted as in "P3D-199": 4 per block (3 in res5), conv1, the classifier."""
        return 4 * sum(self.stages[:3]) + 3 * self.stages[3] + 2

    @property
    def num_weights(self) -> int:
        """Number of values in a weights file: convolutions, batch norms with their statistics, and the classifier."""
        width = self.base_width
        total = width * self.channels * 49 + 4 * width
        for stage in (2, 3, 4, 5):
            middle = self.base_width << (stage - 2)
            out = middle * EXPANSION
            total += width * out + 4 * out  # the shortcut of its first block
            for _ in self.stage_blocks(stage):
                total += width * middle + 9 * middle**2 + middle * out + 4 * (2 * middle + out)
                if stage < 5:
                    total += 3 * middle**2 + 4 * middle  # T
                width = out
        return total + width * self.classes + self.classes

    def stage_blocks(self, stage: int) -> tuple[str, ...]:
        """Names of the blocks of stage 2, 3, 4 or 5, as in the authors' network: res2a res2b, res3a res3b1."""
        first, *rest = range(self.stages[stage - 2])
        if stage in (3, 4):
            return (f"res{stage}a", *(f"res{stage}b{i}" for i in rest))
        return tuple(f"res{stage}{_letters(i)}" for i in (first, *rest))

    def block_kinds(self) -> dict[str, str]:
        """{block name: "A", "B" or "C"} for res2 to res4. The cycle does not restart at a new stage."""
        names = [name for stage in (2, 3, 4) for name in self.stage_blocks(stage)]
        return dict(zip(names, islice(cycle(self.kinds), len(names)), strict=True))

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer a forward pass can return, in network order."""
        blocks = [name for stage in (2, 3, 4, 5) for name in self.stage_blocks(stage)]
        return ("pool1", *blocks, "pool5", "logits", "prob")

    def check_layers(self, layers: tuple[str, ...]) -> None:
        """Raise UsageError naming the first layer this network does not have."""
        for name in layers:
            if name not in self.layers:
                raise UsageError(f"layer {name!r}: not in this network; it has {', '.join(self.layers)}")

    def check_input(self, length: int, height: int, width: int) -> None:
        """Raise ShapeError unless the pools reduce the clip to one frame of at least one pixel."""
        padded = self.arithmetic.padded_pools
        shortest, longest = (HALVED, 2 * HALVED - 1) if padded else (1, HALVED)  # floor and ceil mode
        smallest = 1 if padded else 3
        if not shortest <= length <= longest:
            raise ShapeError(
                f"clip of {counted(length, 'frame')}: the four temporal pools of the {self.family} family reduce "
                f"{shortest} to {longest} frames to one; choose a length in that range"
            )
        if min(height, width) < smallest:
            raise ShapeError(
                f"picture of {height}x{width}: nothing would be left after pool1 of the {self.family} family; "
                f"use at least {smallest}x{smallest}"
            )


def _letters(index: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa: block letters for stages of any depth."""
    letters = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return letters
