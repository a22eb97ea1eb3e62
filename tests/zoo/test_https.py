"""A file comes whole over plain http, whatever happens on the way, or an error says why not."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from p3dfeat.errors import WeightsError
from p3dfeat.system.disk import Folder
from p3dfeat.zoo.download import https
from p3dfeat.zoo.download.cache import Part
from tests import commands
from tests.web import Fault, Web, serving, unused_address

CONTENT = os.urandom(30_000_000)
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    limited(monkeypatch, wait_seconds=0.01)


def limited(monkeypatch, **limits) -> None:
    monkeypatch.setattr(https, "LIMITS", replace(https.LIMITS, **limits))


@pytest.fixture
def web():
    web = Web()
    web.files["/weights.params"] = CONTENT
    with serving(web) as address:
        web.url = f"{address}/weights.params"
        yield web


def download(url: str, part: Path, on_bytes=lambda done, total: None) -> None:
    with Folder.opened(part.parent) as folder:
        https.download(url, Part(folder, part.name), on_bytes=on_bytes)


def fetched(web: Web, part, progress: list | None = None) -> bytes:
    download(web.url, part, lambda done, total: progress is None or progress.append((done, total)))
    return part.read_bytes()


def test_a_file_comes_whole_and_says_how_far_it_is(web, tmp_path):
    progress: list = []
    assert fetched(web, tmp_path / "w.part", progress) == CONTENT
    assert progress[0] == (0, len(CONTENT))
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_a_cut_connection_is_gone_on_with_where_it_was_cut(web, tmp_path):
    web.faults["/weights.params"] += [Fault(cut_after=HALF)]
    assert fetched(web, tmp_path / "w.part") == CONTENT
    first, second = web.asked("/weights.params")
    assert "Range" not in first.headers
    assert int(second.headers["Range"].removeprefix("bytes=").rstrip("-")) > HALF - 1_000_000
    assert web.sent_bytes < len(CONTENT) + 1_000_000


def test_many_cuts_are_no_obstacle_as_long_as_each_brings_something(web, tmp_path):
    web.faults["/weights.params"] += [Fault(cut_after=2_000_000)] * 12
    assert fetched(web, tmp_path / "w.part") == CONTENT
    assert len(web.asked("/weights.params")) == 13


def test_cuts_that_bring_nothing_end_in_an_error(web, tmp_path):
    web.faults["/weights.params"] += [Fault(cut_after=0)] * 20
    with pytest.raises(WeightsError, match="the connection was cut"):
        fetched(web, tmp_path / "w.part")
    assert len(web.asked("/weights.params")) == https.LIMITS.barren_attempts


def test_a_later_run_goes_on_where_an_earlier_one_failed(web, tmp_path):
    web.faults["/weights.params"] += [Fault(cut_after=HALF), Fault(status=404)]
    with pytest.raises(WeightsError, match="HTTP 404"):
        fetched(web, tmp_path / "w.part")
    before = web.sent_bytes
    assert fetched(web, tmp_path / "w.part") == CONTENT
    assert web.sent_bytes - before < len(CONTENT) - HALF + 1_000_000


def test_a_part_that_is_whole_already_is_not_fetched_again(web, tmp_path):
    fetched(web, tmp_path / "w.part")
    before = web.sent_bytes
    assert fetched(web, tmp_path / "w.part") == CONTENT
    assert web.sent_bytes == before


def test_a_file_that_changed_meanwhile_is_begun_anew(web, tmp_path):
    web.faults["/weights.params"] += [Fault(cut_after=HALF), Fault(status=404)]
    with pytest.raises(WeightsError):
        fetched(web, tmp_path / "w.part")
    web.files["/weights.params"] = CONTENT[::-1]
    assert fetched(web, tmp_path / "w.part") == CONTENT[::-1]


@pytest.mark.parametrize("lacking", ["ranges", "etags"])
def test_a_server_that_cannot_continue_sends_all_again(web, tmp_path, lacking):
    setattr(web, lacking, False)
    web.faults["/weights.params"] += [Fault(cut_after=HALF)]
    assert fetched(web, tmp_path / "w.part") == CONTENT


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "not found"), (401, "unauthorized"), (403, "forbidden"), (410, "")]
)
def test_what_will_not_pass_is_not_tried_again(web, tmp_path, status, reason):
    web.faults["/weights.params"] += [Fault(status=status)] * 5
    with pytest.raises(WeightsError, match=rf"weights.params: HTTP {status} \({reason}"):
        fetched(web, tmp_path / "w.part")
    assert len(web.asked("/weights.params")) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(web, tmp_path, status):
    web.faults["/weights.params"] += [Fault(status=status)] * 3
    assert fetched(web, tmp_path / "w.part") == CONTENT


def test_a_server_that_stays_busy_ends_in_an_error(web, tmp_path):
    web.faults["/weights.params"] += [Fault(status=503)] * 20
    with pytest.raises(WeightsError, match=r"HTTP 503 \(service unavailable\)"):
        fetched(web, tmp_path / "w.part")
    assert len(web.asked("/weights.params")) == https.LIMITS.barren_attempts


def test_retry_after_is_waited_for(web, tmp_path):
    web.faults["/weights.params"] += [Fault(status=429, headers={"Retry-After": "1"})]
    started = time.monotonic()
    assert fetched(web, tmp_path / "w.part") == CONTENT
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("later", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_wait_that_is_too_long_is_left_to_the_user(web, tmp_path, later):
    web.faults["/weights.params"] += [Fault(status=429, headers={"Retry-After": later})]
    with pytest.raises(WeightsError, match=r"HTTP 429 .*it asks to come back in \d+ s"):
        fetched(web, tmp_path / "w.part")


def test_a_date_that_has_passed_is_no_wait(web, tmp_path):
    later = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    web.faults["/weights.params"] += [Fault(status=503, headers=later)]
    assert fetched(web, tmp_path / "w.part") == CONTENT


def test_a_server_that_ignores_which_version_is_wanted_does_not_mix_two(web, tmp_path):
    web.heeds_if_range = False
    web.faults["/weights.params"] += [Fault(cut_after=HALF), Fault(status=404)]
    with pytest.raises(WeightsError):
        fetched(web, tmp_path / "w.part")
    web.files["/weights.params"] = CONTENT[::-1]
    assert fetched(web, tmp_path / "w.part") == CONTENT[::-1]


def test_a_part_that_the_server_can_make_nothing_of_is_begun_anew(web, tmp_path):
    fetched(web, tmp_path / "w.part")
    web.faults["/weights.params"] += [Fault(status=416)]
    assert fetched(web, tmp_path / "w.part") == CONTENT


def test_small_steps_are_steps(web, tmp_path):
    web.files["/weights.params"] = CONTENT[:2_000_000]
    web.faults["/weights.params"] += [Fault(cut_after=150_000)] * 12
    assert fetched(web, tmp_path / "w.part") == CONTENT[:2_000_000]


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "socks5://127.0.0.1:1"), ("HTTP_PROXY", "foo://x"), ("SSL_CERT_FILE", "/nonexistent")],
)
def test_settings_of_the_environment_that_are_of_no_use_are_an_error_in_a_line(web, tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(WeightsError, match="proxy or certificate settings"):
        fetched(web, tmp_path / "w.part")


@pytest.mark.parametrize(
    "target", ["http://a..b/x", f"http://{'a' * 300}/x", "file:///etc/passwd", "http://127.0.0.1:1/"]
)
def test_redirects_to_nowhere_are_errors_in_a_line(web, tmp_path, target):
    web.redirects["/away"] = target
    with pytest.raises(WeightsError):
        download(web.url.replace("weights.params", "away"), tmp_path / "x.part")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 0-1/{'9' * 5000}"},
        {"Content-Range": f"bytes 0-1/{'9' * 400}"},
        {"Retry-After": "Fri, 31 Dec 99999999999999 23:59:59 GMT"},
        {"Retry-After": "9" * 5000},
    ],
)
def test_headers_that_make_no_sense_are_errors_in_a_line(web, tmp_path, headers):
    status = 206 if "Content-Range" in headers else 429
    web.faults["/weights.params"] += [Fault(status=status, headers=headers)] * 10
    with pytest.raises(WeightsError):
        fetched(web, tmp_path / "w.part")


def test_redirects_are_followed(web, tmp_path):
    web.redirects["/old"] = web.url
    download(web.url.replace("weights.params", "old"), tmp_path / "w.part")
    assert (tmp_path / "w.part").read_bytes() == CONTENT


def test_another_range_than_asked_for_is_refused(web, tmp_path):
    web.faults["/weights.params"] += [Fault(cut_after=HALF)]
    wrong = Fault(status=206, headers={"Content-Range": "bytes 0-1/2"})
    web.faults["/weights.params"] += [wrong]
    with pytest.raises(WeightsError, match="another range"):
        fetched(web, tmp_path / "w.part")


def test_nobody_there_is_told_at_once(tmp_path):
    with pytest.raises(WeightsError, match="no connection"):
        download(f"{unused_address()}/x", tmp_path / "x.part")


def test_secrets_in_an_address_are_not_told(web, tmp_path):
    url = web.url.replace("http://", "http://user:secret@") + "?signature=secret"
    web.faults["/weights.params"] += [Fault(status=404)]
    with pytest.raises(WeightsError) as caught:
        download(url, tmp_path / "x.part")
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith(web.url)
    assert "Authorization" in web.requests[-1].headers


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://", "http://[x"])
def test_what_is_no_web_address_is_an_error_in_a_line(tmp_path, url):
    with pytest.raises(WeightsError):
        download(url, tmp_path / "x.part")


def test_too_little_room_is_told_before_anything_is_written(web, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})())
    with pytest.raises(WeightsError, match=r"30 MB are needed, 1 MB are free; .*P3DFEAT_CACHE"):
        fetched(web, tmp_path / "w.part")
    assert list(tmp_path.iterdir()) == []


FETCH = """
import sys
from pathlib import Path
from p3dfeat.system.disk import Folder
from p3dfeat.zoo.download import https
from p3dfeat.zoo.download.cache import Part
try:
    with Folder.opened(Path(sys.argv[2])) as folder:
        https.download(sys.argv[1], Part(folder, "w.part"), on_bytes=lambda done, total: None)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def test_a_disk_that_fills_up_is_an_error_and_what_came_is_kept(web, tmp_path):
    done = commands.run(web.url, tmp_path, program=commands.LIMITED.format(most=10_000_000) + FETCH)
    assert done.stderr.startswith("CacheError: ")
    assert "w.part: cannot be written (File too large); P3DFEAT_CACHE may name another folder" in done.stderr
    assert (tmp_path / "w.part").read_bytes() == CONTENT[:10_000_000]
    assert fetched(web, tmp_path / "w.part") == CONTENT


def test_a_killed_process_loses_nothing(web, tmp_path):
    web.seconds_a_block = 0.005
    process = commands.Command(web.url, tmp_path, program=FETCH, stdout=None, stderr=None)
    while not (tmp_path / "w.part").exists() or (tmp_path / "w.part").stat().st_size < 3_000_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    web.seconds_a_block = 0
    kept = (tmp_path / "w.part").stat().st_size
    assert fetched(web, tmp_path / "w.part") == CONTENT
    assert web.asked("/weights.params")[-1].headers["Range"] == f"bytes={kept}-"


def test_a_file_that_is_too_large_is_refused_and_nothing_of_it_is_kept(web, tmp_path, monkeypatch):
    limited(monkeypatch, most_bytes=len(CONTENT) - 1)
    with pytest.raises(WeightsError, match=r"larger than the 0\.0 GB that weights may have"):
        fetched(web, tmp_path / "w.part")
    assert web.sent_bytes < len(CONTENT)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_unknown_length_is_held_to_the_limit_as_it_comes(web, tmp_path, monkeypatch):
    web.announces = False
    assert fetched(web, tmp_path / "w.part") == CONTENT
    (tmp_path / "w.part").unlink()
    limited(monkeypatch, most_bytes=1_000_000)
    with pytest.raises(WeightsError, match="larger than"):
        fetched(web, tmp_path / "w.part")
    assert web.sent_bytes < 2 * len(CONTENT)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_server_is_left_and_what_came_stays_for_the_next_attempt(web, tmp_path, monkeypatch):
    limited(monkeypatch, slow_seconds=0, slow_bytes=len(CONTENT))  # over at once, however fast this machine is
    with pytest.raises(WeightsError, match=r"w[^ ]*\.params: too slow, [\d,]+ bytes in 0 s"):
        fetched(web, tmp_path / "w.part")
    kept = (tmp_path / "w.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    monkeypatch.undo()
    assert fetched(web, tmp_path / "w.part") == CONTENT
    assert web.asked("/weights.params")[-1].headers["Range"] == f"bytes={kept}-"


def test_what_is_here_already_is_no_sign_of_speed(web, tmp_path, monkeypatch):
    web.faults["/weights.params"] += [Fault(cut_after=HALF), Fault(status=404)]
    with pytest.raises(WeightsError):
        fetched(web, tmp_path / "w.part")
    limited(monkeypatch, slow_seconds=0, slow_bytes=HALF)
    with pytest.raises(WeightsError, match="too slow"):
        fetched(web, tmp_path / "w.part")


def test_a_disk_that_others_fill_meanwhile_ends_it_and_what_came_stays(web, tmp_path, monkeypatch):
    web.announces = False
    free = iter([1 << 40, 1 << 40])
    monkeypatch.setattr("p3dfeat.http.fetch.SPACE_LOOKED_AT_BYTES", 1 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": next(free, 5_000_000)})())
    with pytest.raises(
        WeightsError, match=rf"{tmp_path}: 5 MB are free; make room beyond 268 MB, or set P3DFEAT_CACHE"
    ):
        fetched(web, tmp_path / "w.part")
    assert 1 << 20 < (tmp_path / "w.part").stat().st_size < len(CONTENT)


def test_a_redirect_from_the_internet_into_the_network_at_home_is_refused(web, tmp_path, monkeypatch):
    monkeypatch.setattr("p3dfeat.http.client._is_global", lambda address: str(address) == "127.0.0.2")
    internet = Web()
    internet.redirects["/w.params"] = web.url
    with serving(internet, "127.0.0.2") as address, pytest.raises(WeightsError) as caught:
        download(f"{address}/w.params", tmp_path / "w.part")
    assert str(caught.value) == f"{address}/w.params: redirected from the internet into a private network"
    assert web.requests == []


def test_redirects_in_a_circle_end(web, tmp_path):
    web.redirects["/weights.params"] = web.url
    with pytest.raises(WeightsError, match="redirected more than 10 times"):
        fetched(web, tmp_path / "w.part")


@pytest.mark.parametrize("url", ["http://me:s3/cret@127.0.0.1/w", "http://me:s3cret@127.0.0.1:x/w?token=s3cret"])
def test_no_part_of_a_password_is_told(tmp_path, url):
    with pytest.raises(WeightsError) as caught:
        download(url, tmp_path / "w.part")
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.part", "w.part.version"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("begun", [True, False])
def test_a_link_in_place_of_a_partial_file_is_not_written_through(web, tmp_path, name, link, begun):
    (tmp_path / "thesis").write_text("years")
    (tmp_path / "cache").mkdir()
    if begun:
        (tmp_path / "cache" / "w.part").write_bytes(CONTENT[:1000])
        (tmp_path / "cache" / name).unlink(missing_ok=True)
    link(tmp_path / "thesis", tmp_path / "cache" / name)
    with suppress(WeightsError):
        fetched(web, tmp_path / "cache" / "w.part")
    assert (tmp_path / "thesis").read_text() == "years"


def test_a_link_in_place_of_a_partial_file_is_named_with_the_remedy(web, tmp_path):
    (tmp_path / "w.part").symlink_to(tmp_path / "thesis")
    with pytest.raises(WeightsError, match=r"w\.part: a link, .*; move it away"):
        fetched(web, tmp_path / "w.part")
