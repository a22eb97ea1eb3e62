"""How long ``p3dfeat classify`` takes on a short clip, beyond what importing torch takes: python -m benchmarks.start"""

import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from benchmarks.table import Row, alternate, main, median

LIMIT = 0.8  # seconds
WHERE = (  # what the command imports or does, one after the other, and when each is through
    "import time; started = time.perf_counter(); marks = {}; mark = lambda name: marks.setdefault(name, round("
    "time.perf_counter() - started, 2)); from p3dfeat.video.workers.pool import Decoders; decoders = Decoders(1); "
    "mark('decoder process started'); import torch; mark('torch imported'); "
    "from p3dfeat.workflows.classify import classify_videos; from p3dfeat.options import ClassifySettings; "
    "from p3dfeat.zoo import load_model; mark('p3dfeat imported'); "
    "model = load_model('p3d-camera'); mark('model loaded'); from p3dfeat.sources import find_videos; import sys; "
    "videos = find_videos([sys.argv[1]])[0]; mark('video found'); list(classify_videos(videos, model=model, "
    "settings=ClassifySettings(), decoders=decoders)); mark('classified'); decoders.close(); print(marks)"
)


def short_clip(path: Path) -> None:
    """Two seconds, 320 x 240."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        x, y = np.meshgrid(np.arange(320), np.arange(240))
        for number in range(50):
            pixels = np.stack([(x + 3 * number) % 256, (y * 2) % 256, (x + y) % 256], -1).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def rows(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        short_clip(clip)
        command = ["-m", "p3dfeat", "classify", str(clip), "-m", "p3d-camera", "--json"]
        sides = {
            "import torch": lambda: _run(["-c", "import torch"]),
            "classify": lambda: _run(command),
        }
        seconds = alternate(sides, 2 if quick else 9, uncounted=1)
        where = _run(["-c", WHERE, str(clip)])
    medians = {name: median(values) for name, values in seconds.items()}
    more = medians["classify"] - medians["import torch"]
    return [
        Row(
            "classify, a short clip, the embedded model: seconds more than `import torch`",
            f"at most {LIMIT}",
            f"{more:.2f} ({medians['classify']:.2f} against {medians['import torch']:.2f})",
            more <= LIMIT,
            {"seconds": seconds, "through_after_seconds": where.strip()},
        )
    ]


def _run(arguments: list[str]) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(rows, __doc__)
