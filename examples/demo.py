"""The main job from nothing: sample videos, extract, classify, a look into the feature file, and a map of it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from examples.sample_videos import write_samples

FOLDER = Path("demo")
COMMANDS = (
    "p3dfeat extract demo/videos -o demo/feats.h5 --model p3d-camera --overwrite",
    "p3dfeat classify demo/videos/pan_left.mp4 demo/videos/tour.mp4 -m p3d-camera --top-k 3 --timeline",
    "p3dfeat info demo/feats.h5",
    "p3dfeat similar demo/feats.h5 pan_left --top 3",
    "p3dfeat map demo/feats.h5 -o demo/map.html",
)


def main() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for path in write_samples(FOLDER / "videos"):
        print(f"wrote {path}", flush=True)
    for command in COMMANDS:
        print(f"\n$ {command}", flush=True)
        done = subprocess.run(shlex.split(command), check=False)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
