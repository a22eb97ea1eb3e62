"""What decoders of other machines say comes as it was said, or is refused."""

import pytest

from p3dfeat.cluster.messages import heard_of, said_of
from p3dfeat.cluster.nodes import Node, alive, load_of
from p3dfeat.errors import NotAVideoError, OutOfTimeError, VideoError
from p3dfeat.types import Video, VideoEnd, VideoInfo, VideoStart
from p3dfeat.video.workers.messages import NonsenseError
from p3dfeat.workflows.pipeline import Row

VIDEOS = [Video(f"v{number}", f"/v{number}.mp4", f"v{number}.mp4") for number in range(3)]
INFO = VideoInfo(2.0, 25.0, 50, 64, 48, 0, "1:1", "h264", "yuv420p", 1000, "0" * 16, "2026-01-01T00:00:00+00:00")
HAPPENED = [
    (0, VideoStart(2)),
    (0, Row((0.0, 0.64), 0, 0)),
    (0, Row((1.36, 2.0), 34, 3)),
    (0, VideoEnd(INFO, 50)),
    (2, NotAVideoError("not a video but a text")),
    (1, VideoStart(1, again=True)),
    (1, OutOfTimeError("took too long")),
    (1, VideoError("damaged")),
]


def test_a_block_is_heard_as_it_was_said():
    group = heard_of(said_of(HAPPENED), VIDEOS)
    assert group.num_clips == 2
    heard = [(VIDEOS.index(video), item) for video, item in group.happened]
    assert [(number, type(item)) for number, item in heard] == [(number, type(item)) for number, item in HAPPENED]
    for (_, mine), (_, theirs) in zip(heard, HAPPENED, strict=True):
        assert str(mine) == str(theirs) if isinstance(mine, VideoError) else mine == theirs


SAID = said_of(HAPPENED[:3])


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}",
        b"[]\n",
        b'{"clips": 1}',
        SAID.replace(b'"clips": 2', b'"clips": 3'),
        SAID.replace(b"\n0 ", b"\n7 "),
        SAID.replace(b"\n0 ", b"\n-1 "),
        SAID.replace(b"\n0 ", b"\nx "),
        SAID.replace(b'"slot": 1', b'"slot": 2'),
        SAID.replace(b'"slot": 1', b'"slot": true'),
        SAID.replace(b'"first_frame": 34', b'"first_frame": -1'),
        SAID.replace(b'"padded_frames": 3', b'"padded_frames": -3'),
        SAID.replace(b"ClipAt", b"Ready"),
        SAID + b'0 {"is": "Ready", "of": {}}\n',
        SAID + b"0 \xff\xfe\n",
        SAID + b"\n",
    ],
)
def test_nonsense_is_refused(said):
    with pytest.raises(NonsenseError):
        heard_of(said, VIDEOS)


@pytest.mark.parametrize("cpus", [0.5, 1, 2, 3, 8, 64])
@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("with_gpus", [True, False])
def test_what_is_set_aside_fits_on_the_node(cpus, gpus, with_gpus):
    load = load_of(Node("n", "127.0.0.1", cpus, gpus), with_gpus=with_gpus or gpus > 0)
    assert load is not None
    assert load.networks * load.network_cpus + load.decoder_cpus <= cpus
    assert load.networks * load.network_gpus <= gpus
    assert load.decoders >= 1
    assert load.decoder_cpus > 0
    for reserved in (load.network_cpus, load.decoder_cpus):
        assert reserved <= 1 or reserved == int(reserved)  # as Ray demands
    if not with_gpus and not gpus:
        assert load.networks == 1


def test_nodes_that_are_gone_or_have_no_cpu_get_no_work():
    listed = [
        {"NodeID": "b", "NodeManagerAddress": "10.0.0.2", "Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"NodeID": "a", "NodeManagerAddress": "10.0.0.1", "Alive": False, "Resources": {"CPU": 4.0}},
        {"NodeID": "c", "NodeManagerAddress": "10.0.0.3", "Alive": True, "Resources": {}},
    ]
    nodes = alive(listed)
    assert [(node.id, node.cpus, node.gpus) for node in nodes] == [("b", 4.0, 1), ("c", 0.0, 0)]
    assert load_of(nodes[1], with_gpus=True) is None
