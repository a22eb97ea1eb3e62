"""Web addresses as inputs: only those that the user wrote, only http and https, with ids that are stable and safe."""

import io

import pytest

from p3dfeat.errors import UsageError
from p3dfeat.sources import find_videos


def only(*inputs: str, stdin: str = ""):
    (video,), failures = find_videos(inputs, stdin=io.StringIO(stdin))
    assert not failures
    return video


@pytest.mark.parametrize(
    ("url", "id", "source"),
    [
        ("http://example.org/a/clip.mp4", "example.org/a/clip", "http://example.org/a/clip.mp4"),
        ("HTTPS://Example.ORG:8443/a.webm#t=3", "example.org:8443/a", "HTTPS://Example.ORG:8443/a.webm"),
        ("http://example.org", "example.org/index", "http://example.org"),
        ("http://example.org/a/../../../etc//./passwd", "example.org/a/etc/passwd", None),
        ("http://example.org/%2e%2e/%2fetc", "example.org/%2e%2e/%2fetc", None),
        ("http://example.org/..\\x.mp4", "example.org/..\\x", None),
        ("http://[::1]:80/a.mp4", "::1:80/a", None),
        ("http://name:secret@example.org/a.mp4", "example.org/a", "http://example.org/a.mp4"),
        ("http://example.org/a@b.mp4", "example.org/a@b", "http://example.org/a@b.mp4"),
        ("http://example.org/a.mp4?key=secret", "example.org/a~", "http://example.org/a.mp4"),
        ("http://example.org/watch?v=1", "example.org/watch~", "http://example.org/watch"),
        ("http://example.org/[ab]*?.mp4", "example.org/[ab]*~", "http://example.org/[ab]*"),
    ],
)
def test_an_address_is_named_by_host_and_path(url, id, source):
    video = only(url)
    assert video.remote
    assert video.id.partition("~")[0] == id.partition("~")[0]
    assert ("~" in video.id) == ("~" in id)
    assert source is None or video.source == source
    assert "secret" not in video.id + video.source
    assert only("-", stdin=url) == video


def test_queries_tell_videos_apart_whatever_else_is_asked_for():
    urls = [f"http://example.org/watch?v={name}" for name in "abc"]
    videos, failures = find_videos(urls)
    assert not failures
    assert len({video.id for video in videos}) == 3
    assert [only(url).id for url in urls] == [video.id for video in videos]


@pytest.mark.parametrize(
    ("url", "id", "source"),
    [
        ("https://host/@user/video.mp4", "host/@user/video", "https://host/@user/video.mp4"),
        (
            "http://192.168.1.5:8080/me@home/x.mp4",
            "192.168.1.5:8080/me@home/x",
            "http://192.168.1.5:8080/me@home/x.mp4",
        ),
        ("https://user:pw@host/a.mp4", "host/a", "https://host/a.mp4"),
        ("https://host/x?mail=a@b.c", "host/x~a7671ab5", "https://host/x"),
    ],
)
def test_an_at_sign_behind_the_host_is_part_of_the_path_or_query(url, id, source):
    video = only(url)
    assert (video.id, video.path, video.source) == (id, url, source)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://user:pa/ss@host/x.mp4", "https://host/x.mp4"),
        ("https://user:pa#ss@host/x", "https://host/x"),
        ("https://user:pa?ss@host/x", "https://host/x"),
        ("https://u:p@pa/ss@host/x", "https://host/x"),
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_never_shown(tmp_path, url, masked):
    with pytest.raises(UsageError) as caught:
        find_videos([url])
    (tmp_path / "s.csv").write_text(f"path,start_seconds,end_seconds\n{url},0,1\n")
    videos, failures = find_videos(["-", str(tmp_path / "s.csv")], stdin=io.StringIO(url))
    assert not videos
    assert failures[0].source == masked
    remedy = "write @ as %40, / as %2F, # as %23 and ? as %3F in user, password, path and query"
    assert str(caught.value) == f"{masked}: not clear where its password ends; {remedy}"
    for failure in failures:
        text = f"{failure.id} {failure.source} {failure.error}"
        assert remedy in text
        assert "pa/ss" not in text.replace("pass", "")
        assert "user:" not in text


@pytest.mark.parametrize(
    "url", ["https://user:secret@host:port/x", "https://user:secret@[::1/x", "s3://AKIA:s/ecret@b/k"]
)
def test_no_message_holds_a_part_of_a_password(url):
    with pytest.raises(UsageError) as caught:
        find_videos([url])
    assert "ecret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["data:video/mp4;base64," + "A" * 9000, f"http://example.org/{'x' * 9000}", f"{'s' * 9000}://x"]
)
def test_what_is_too_long_for_a_message_is_cut_in_it(text):
    with pytest.raises(UsageError) as caught:
        find_videos([text])
    assert len(str(caught.value)) < 600
    _, (failure,) = find_videos(["-"], stdin=io.StringIO(text))
    assert failure.id == failure.source == text[:200] + "..."
    assert len(str(failure.error)) < 400


def test_what_is_stored_is_not_cut():
    url = f"http://example.org/{'x' * 7000}.mp4"
    assert only(url).source == url


def test_an_address_that_is_taken_for_a_path_shows_no_password_either():
    _, (failure,) = find_videos(["-"], stdin=io.StringIO(" https://user:secret@host/x"))
    assert "secret" not in f"{failure.id} {failure.source} {failure.error}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://example.org/a.mp4", "ftp addresses are not fetched, only http, https, s3, gs and hf"),
        ("file:///etc/passwd", "file addresses are not fetched"),
        ("sftp://example.org/a.mp4", "sftp addresses are not fetched"),
        ("s3://name:secret@bucket/a.mp4", "holds a password or a query"),
        ("s3://bucket/a.mp4?X-Amz-Signature=secret", "holds a password or a query"),
        ("s3://", "not an address of a store"),
        ("s3://bucket/a\x1b[2J.mp4", "not an address of a store"),
        ("hf://simplecache::s3://bucket/a.mp4", "not an address of a store"),
        ("rtsp://name:secret@example.org/a", "rtsp addresses are not fetched"),
        ("data:video/mp4;base64,AAAA", "data addresses are not fetched"),
        ("http://", "not an address"),
        ("http:///a.mp4", "not an address"),
        ("http://example.org:http/a.mp4", "not an address"),
        ("http://[::1/a.mp4", "not an address"),
        ("http://example.org/a b.mp4", "not an address"),
        ("http://example.org/a\x1b[2J.mp4", "not an address"),
        (f"http://example.org/{'x' * 9000}", "not an address"),
    ],
)
def test_other_addresses_are_refused_and_in_a_list_fail_alone(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        find_videos([text])
    assert "secret" not in str(caught.value)
    videos, (failure,) = find_videos(["-"], stdin=io.StringIO(f"{text}\nhttp://example.org/a.mp4\n"))
    assert [video.id for video in videos] == ["example.org/a"]
    assert message in str(failure.error)
    assert "secret" not in failure.source + failure.id


def test_lists_and_segments_may_name_addresses(tmp_path):
    (tmp_path / "list.txt").write_text("http://example.org/a.mp4\n")
    (tmp_path / "s.csv").write_text(
        "path,start_seconds,end_seconds,id\nhttps://example.org/a.mp4?sig=1,1,2,mine\nftp://example.org/b,,,\n"
    )
    videos, (failure,) = find_videos([f"@{tmp_path}/list.txt", f"{tmp_path}/s.csv"])
    assert [(v.id, v.path, v.start_seconds) for v in videos] == [
        ("example.org/a", "http://example.org/a.mp4", None),
        ("mine", "https://example.org/a.mp4?sig=1", 1.0),
    ]
    assert "ftp addresses are not fetched" in str(failure.error)


def test_an_address_given_twice_is_read_once_and_two_of_one_id_are_told_apart():
    videos, failures = find_videos(["http://example.org/a.mp4", "http://example.org/a.mp4#x"])
    assert (len(videos), failures) == (1, [])
    videos, failures = find_videos(["http://example.org/a.mp4", "https://example.org/a.mp4"])
    assert not failures
    assert len({video.id for video in videos}) == 2
    videos, failures = find_videos(["http://example.org/a.mp4", "http://example.org/a.avi"])
    assert [video.id for video in videos] == ["example.org/a.mp4", "example.org/a.avi"]


def test_a_file_may_be_called_like_an_address_of_another_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data:,x.mp4").write_bytes(b"")
    assert only("data:,x.mp4").id == "data:,x"
