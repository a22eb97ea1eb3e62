"""Who calls p3dfeat from several threads or processes at once gets what one call gives, or an error at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import p3dfeat
from p3dfeat.engines import ENGINE_CLASSES
from tests import commands

PATIENCE_SECONDS = 120  # for what takes two; a child that hangs does so for ever

# A parent that does one thing, and a child of it that does another: tells what came of the child's.
FORKED = """
import json, multiprocessing, os, sys, warnings
import p3dfeat, p3dfeat.workflows.extract, p3dfeat.workflows.classify  # they import torch, as users' programs do
warnings.simplefilter("ignore")
method, before, then, video, folder = sys.argv[1:]

def do(what, name):
    action, _, engine = what.partition(" ")
    if action == "extract":
        return p3dfeat.extract(video, f"{folder}/{name}.h5", model="p3d-camera", clips=1, engine=engine).stored
    if action == "classify":
        return len(p3dfeat.classify(video, model="p3d-camera", clips=1, engine=engine))
    if action == "load":
        return p3dfeat.load_model("p3d-camera").name

def told(teller):
    try:
        teller.send(do(then, "child"))
    except Exception as error:
        teller.send([type(error).__name__, str(error)])

if __name__ == "__main__":
    do(before, "parent")
    hearer, teller = multiprocessing.Pipe()
    child = multiprocessing.get_context(method).Process(target=told, args=(teller,))
    child.start()
    found = hearer.recv() if hearer.poll(60) else "it hangs"
    child.kill()
    print(json.dumps(found))
"""

# Three threads that meet nothing that was loaded before them.
THREADED = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import p3dfeat
engine, folder, *videos = sys.argv[1:]
ready = Barrier(len(videos))

def work(job):
    number, video = job
    ready.wait()
    for name in ("first", "again"):
        p3dfeat.extract(video, f"{folder}/{number}-{name}.h5", model="p3d-camera", clips=3, engine=engine, workers=1)
    return p3dfeat.classify(video, model="p3d-camera", clips=2, engine=engine, workers=1)[0].predictions[0]

with ThreadPoolExecutor(len(videos)) as pool:
    for prediction in pool.map(work, enumerate(videos)):
        print(prediction.label, prediction.probability)
"""


def output_of(code: str, path: Path, *arguments: object) -> str:
    script = path / "program.py"
    script.write_text(code)
    command = [sys.executable, str(script), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def of_child(tmp_path: Path, method: str, before: str, then: str, video: Path) -> object:
    arguments = (method, before, then, video, tmp_path)
    if method != "fork":  # such a child reads the program once more, from its file
        return json.loads(output_of(FORKED, tmp_path, *arguments))
    ended = commands.run(*arguments, program=FORKED, timeout=PATIENCE_SECONDS)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize(
    ("before", "then"),
    [
        ("extract torch", "extract torch"),
        ("extract torch", "classify openvino"),
        ("extract openvino", "extract openvino"),
        ("extract openvino", "classify torch"),
        ("classify torch", "load"),
        ("load", "extract torch"),
    ],
)
def test_a_child_forked_after_use_is_told_to_spawn_and_never_hangs(tmp_path, folder, before, then):
    kind, text = of_child(tmp_path, "fork", before, then, folder / "left.mp4")
    assert kind == "UsageError"
    assert "was forked after its parent had used p3dfeat" in text
    assert text.endswith("use the multiprocessing start method 'spawn'")
    assert "\n" not in text
    assert not (tmp_path / "child.h5").exists()
    assert not (tmp_path / "child.h5.parts").exists()


@pytest.mark.parametrize(
    ("method", "before", "then"),
    [
        ("fork", "nothing", "extract torch"),
        ("fork", "nothing", "extract openvino"),
        ("spawn", "extract torch", "extract openvino"),
        ("forkserver", "extract openvino", "extract torch"),
    ],
)
def test_children_forked_before_use_or_spawned_compute(tmp_path, folder, method, before, then):
    assert of_child(tmp_path, method, before, then, folder / "left.mp4") == 1


@pytest.mark.parametrize("engine", ENGINE_CLASSES)
def test_each_of_three_threads_gives_what_it_gives_alone(tmp_path, folder, engine):
    videos = [folder / "left.mp4", folder / "right.mp4", folder / "archery" / "clip7.mp4"]
    lines = output_of(THREADED, tmp_path, engine, tmp_path, *videos).splitlines()
    for number, (video, line) in enumerate(zip(videos, lines, strict=True)):
        alone = p3dfeat.classify(video, model="p3d-camera", clips=2, engine=engine, workers=1)[0].predictions[0]
        assert line == f"{alone.label} {alone.probability}"
        p3dfeat.extract(video, tmp_path / f"{number}.h5", model="p3d-camera", clips=3, engine=engine, workers=1)
        with p3dfeat.open_features(tmp_path / f"{number}.h5") as features:
            wanted = {name: rows.tobytes() for name, rows in features[video.stem].items()}
        for name in ("first", "again"):
            with p3dfeat.open_features(tmp_path / f"{number}-{name}.h5") as features:
                assert {name: rows.tobytes() for name, rows in features[video.stem].items()} == wanted
