"""A run on Ray against the same run on one machine, and against Ray Data: python -m benchmarks.cluster

All compute on this machine: a warm Ray cluster of one node with all cores. Ray Data gets the same decoders and the same
engine as two stages of ``map_batches``, and writes nothing. The weights of P3D-63 are random.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.end_to_end import CARD
from benchmarks.engines import random_net
from benchmarks.table import Row, alternate, main_on_clips, median
from p3dfeat import extract, load_model
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import make_engine
from p3dfeat.sources import find_videos
from p3dfeat.types import Batch, Clip, Video
from p3dfeat.video import Decoders
from p3dfeat.zoo import Model, published_card
from stress.ray_nodes import ray_nodes

ROUNDS: Final = 5
SIDES: Final = {"the embedded model": (60, 0.85), "P3D-63": (12, 0.95)}  # clips of each video, share asked


@contextmanager
def one_node() -> Iterator[str]:
    """A cluster of one node, joined; yields its address."""
    import ray

    with ray_nodes(1, len(os.sched_getaffinity(0))) as cluster:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield cluster.address
        finally:
            ray.shutdown()


class DataDecode:
    """A stage of Ray Data: videos to clips."""

    def __init__(self, spec: InputSpec, sampling: Sampling):
        self._decoders, self._spec, self._sampling = Decoders(), spec, sampling

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        videos = [Video(str(number), str(path), str(path)) for number, path in enumerate(rows["path"])]
        items = self._decoders.read(videos, self._spec, self._sampling)
        return {"clips": np.stack([np.array(item.frames) for _, item in items if isinstance(item, Clip)])}


class DataCompute:
    """A stage of Ray Data: clips to features."""

    def __init__(self, model: Model):
        self._engine = make_engine(model.net, model.card.input, device="cpu", weights_sha256=model.weights_sha256)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        return {"pool5": self._engine.start(Batch(np.asarray(rows["clips"]))).result()["pool5"]}


def by_data(paths: Sequence[str], model: Model, clips: int) -> int:
    """Run the videos through Ray Data; returns the number of rows."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    decode = (model.card.input, model.sampling(clips=clips))
    stages = (
        ray.data.from_items([{"path": path} for path in paths])
        .map_batches(DataDecode, fn_constructor_args=decode, batch_size=4, num_cpus=0.5, compute=_one())
        .map_batches(DataCompute, fn_constructor_args=(model,), batch_size=8, num_cpus=0.5, compute=_one())
    )
    return sum(len(rows["pool5"]) for rows in stages.iter_batches(batch_size=None))


def _one() -> Any:
    import ray

    return ray.data.ActorPoolStrategy(size=1)


def rows(quick: bool, clips: Path) -> list[Row]:
    asked = {name: f"at least {share}x" for name, (_, share) in SIDES.items()}
    if not clips.is_dir():
        missing = f"no videos in {clips.name}; name a folder with --clips"
        return [Row(_measure(name), asked[name], missing, None) for name in SIDES]
    models = {
        "the embedded model": load_model("p3d-camera"),
        "P3D-63": Model(published_card(CARD), random_net(63), weights_sha256="0" * 64),
    }
    found = []
    with tempfile.TemporaryDirectory(prefix="p3dfeat-benchmark-") as folder, one_node() as address:
        for name, (count, share) in SIDES.items():
            count, rounds = (1, 1) if quick else (count, ROUNDS)
            rates, data = _rates(clips, models[name], count, Path(folder), address, rounds)
            ratio = rates["ray"] / rates["here"]
            figures = f"{rates['here']:.1f} and {rates['ray']:.1f} clips/s; Ray Data {data / rates['here']:.2f}x"
            reached = f"{ratio:.3f}x ({figures})"
            found.append(Row(_measure(name), asked[name], reached, ratio >= share, {**rates, "data": data}))
    return found


def _rates(
    clips: Path, model: Model, count: int, folder: Path, address: str, rounds: int
) -> tuple[dict[str, float], float]:
    """Clips per second here and on Ray, from the first video opened to the last one stored; and of Ray Data."""
    rates: dict[str, list[float]] = {"here": [], "ray": []}
    paths = [video.path for video in find_videos([str(clips)])[0]]

    def run(side: str, **options: Any) -> Callable[[], None]:
        def once() -> None:
            summary = extract(clips, folder / f"{side}.h5", model=model, clips=count, overwrite=True, **options)
            rates[side].append(summary.clips_per_second)

        return once

    sides = {"here": run("here"), "ray": run("ray", cluster=address), "data": lambda: by_data(paths, model, count)}
    seconds = alternate(sides, rounds, uncounted=1)
    return {side: median(values[1:]) for side, values in rates.items()}, len(paths) * count / median(seconds["data"])


def _measure(name: str) -> str:
    return f"extract on a warm Ray node with all cores, {name}: clips/s against this machine without Ray"


if __name__ == "__main__":
    main_on_clips(rows, __doc__)
