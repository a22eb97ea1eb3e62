"""Videos at web addresses, as users name them."""

import json
import os
import time

import pytest

import p3dfeat as package
from tests import commands
from tests.videos import numbered_video
from tests.web import Web, serving


@pytest.fixture
def web(tmp_path):
    web = Web()
    web.files["/v/one.mp4"] = numbered_video(tmp_path / "one.mp4", 20).read_bytes()
    web.files["/v/two.mp4"] = numbered_video(tmp_path / "two.mp4", 30).read_bytes()
    with serving(web) as address:
        web.url = address
        yield web


def test_extract_classify_and_dry_runs_take_addresses_and_a_second_run_asks_nobody(p3dfeat, web, tmp_path):
    host = web.url.removeprefix("http://")
    urls = [f"{web.url}/v/one.mp4", f"{web.url}/v/two.mp4?token=secret"]
    planned = p3dfeat("extract", *urls, "--dry-run", "-n", 1, "--json").records
    assert [record["num_frames"] for record in planned[:-1]] == [20, 30]
    output = tmp_path / "f.h5"
    ended = p3dfeat("extract", *urls, f"{web.url}/v/gone.mp4", "-o", output, "-n", 1)
    assert (ended.code, "2 stored, 0 skipped, 1 failed" in ended.stderr) == (3, True)
    assert f"failed: {web.url}/v/gone.mp4: not fetched: HTTP 404 (not found)" in ended.stderr
    with package.open_features(output) as features:
        (query,) = [id for id in features if "~" in id]
        assert set(features) == {f"{host}/v/one", query}
        about = features[f"{host}/v/one"].attributes
        assert about["source"] == urls[0]
        assert about["size_bytes"] == len(web.files["/v/one.mp4"])
    assert b"secret" not in output.read_bytes()
    asked = len(web.requests)
    assert "nothing to do: 2 already stored" in p3dfeat("extract", *urls, "-o", output, "-n", 1).stderr
    assert len(web.requests) == asked
    shown = p3dfeat("classify", urls[0], "--json").records
    assert shown[0]["source"] == urls[0]


def test_an_id_that_is_stored_does_not_pass_to_another_address(p3dfeat, web, tmp_path):
    def extract(name: str):
        row = f"path,start_seconds,end_seconds,id\n{web.url}/v/{name},,,mine\n"
        (tmp_path / "s.csv").write_text(row)
        return p3dfeat("extract", tmp_path / "s.csv", "-o", tmp_path / "f.h5", "-n", 1)

    assert extract("one.mp4?signature=1").code == 0
    assert "1 already stored" in extract("one.mp4?signature=2").stderr
    ended = extract("two.mp4")
    assert ended.code == 4
    assert "id 'mine' is stored for another file" in ended.stderr


def test_what_is_fetched_may_refer_to_nothing_else(p3dfeat, web, tmp_path):
    web.files["/list.mp4"] = f"#EXTM3U\n#EXTINF:1,\n{web.url}/v/one.mp4\n".encode()
    web.redirects["/local.mp4"] = f"file://{tmp_path}/one.mp4"
    ended = p3dfeat("extract", f"{web.url}/list.mp4", f"{web.url}/local.mp4", "-o", tmp_path / "f.h5")
    assert ended.code == 4
    ledger = [json.loads(line) for line in (tmp_path / "f.h5.failed.jsonl").read_text().splitlines()]
    assert ledger[0]["error"].startswith("not a video but a playlist (HLS)")
    assert ledger[1]["error"] == "not fetched: redirected to 'file'; only http and https are followed"
    assert not web.asked("/v/one.mp4")


def test_the_time_of_a_video_counts_its_download(p3dfeat, web, tmp_path):
    web.files["/slow.mp4"] = bytes(20_000_000)
    web.seconds_a_block = 0.1
    ended = p3dfeat("extract", f"{web.url}/slow.mp4", "-o", tmp_path / "f.h5", "--timeout", 1)
    assert ended.code == 4
    assert f"{web.url}/slow.mp4: timed out" in ended.stderr
    assert web.sent_bytes < 5_000_000


def test_a_kill_in_the_middle_of_a_download_leaves_nothing(web, tmp_path):
    web.files["/slow.mp4"] = bytes(20_000_000)
    web.seconds_a_block = 0.1
    (tmp_path / "tmp").mkdir()
    arguments = ("extract", f"{web.url}/slow.mp4", "-o", tmp_path / "f.h5", "-q")
    env = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    process = commands.Command(*arguments, stdout=None, stderr=None, env=env)
    try:
        until = time.monotonic() + 60
        while web.sent_bytes < 500_000 and time.monotonic() < until:
            time.sleep(0.05)
        assert web.sent_bytes >= 500_000
    finally:
        process.kill()
        process.wait(timeout=30)
    assert not [path.name for path in (tmp_path / "tmp").iterdir() if path.name.startswith("p3dfeat")]
    until = time.monotonic() + 20
    while (sent := web.sent_bytes) < 20_000_000 and time.monotonic() < until:  # its decoder ends with it
        time.sleep(1)
        if web.sent_bytes == sent:
            break
    assert web.sent_bytes < 15_000_000
