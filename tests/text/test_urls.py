"""Addresses keep no secrets, not even those that are not written as they should be."""

import pytest

from p3dfeat.text.urls import is_doubtful, scrubbed, without_secrets

DOUBTFUL = [
    ("https://user:pa/ss@host/x.mp4", "https://host/x.mp4"),
    ("https://user:pa#ss@host/x", "https://host/x"),
    ("https://user:pa?ss@host/x", "https://host/x"),
    ("https://u:p@s/s@host/x", "https://host/x"),
    ("https://user:/pass@host/x", "https://host/x"),
    ("https://user:12/pass@host/x", "https://host/x"),
    ("https://user:99999/@host/x", "https://host/x"),
    ("https://user:pa/ss@host/x?key=a@b", "https://b"),
    ("s3://AKIA:abc/def+g@bucket/key", "s3://bucket/key"),
]
SOUND = [
    ("https://host/@user/video.mp4", "https://host/@user/video.mp4"),
    ("http://192.168.1.5:8080/me@home/x.mp4", "http://192.168.1.5:8080/me@home/x.mp4"),
    ("http://localhost:8080/me@home/x.mp4", "http://localhost:8080/me@home/x.mp4"),
    ("http://[::1]:8080/me@home/x.mp4", "http://[::1]:8080/me@home/x.mp4"),
    ("http://[::1]/me@home/x.mp4", "http://[::1]/me@home/x.mp4"),
    ("http://nas:8080/@me/x.mp4", "http://nas:8080/@me/x.mp4"),
    ("https://user:pw@host/a.mp4", "https://host/a.mp4"),
    ("https://user:p@w@host/a.mp4", "https://host/a.mp4"),
    ("https://user:pw@host/@me/a.mp4", "https://host/@me/a.mp4"),
    ("https://host/x?mail=a@b.c", "https://host/x"),
    ("https://host/a@2x.mp4#t=3", "https://host/a@2x.mp4"),
    ("data:video/mp4;base64,AAAA", "data:video/mp4;base64,AAAA"),
]


@pytest.mark.parametrize(("url", "shown"), DOUBTFUL)
def test_a_password_that_is_not_encoded_is_noticed_and_not_shown(url, shown):
    assert is_doubtful(url)
    assert without_secrets(url) == shown


@pytest.mark.parametrize(("url", "shown"), SOUND)
def test_addresses_as_they_should_be_are_sound(url, shown):
    assert not is_doubtful(url)
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("404 for url 'https://u:pw@host/x?key=1'", "404 for url 'https://host/x'"),
        ("(see https://u:p/w@host/x).", "(see https://host/x)."),
        ("https://a/x,https://u:pw@b/y", "https://a/x,https://b/y"),
        ("https://proxy/https://u:pw@b/y", "https://proxy/https://b/y"),
        ("u'https://u:p'w@host/x' and ftp://u:pw@other", "u'https://host/x' and ftp://other"),
        ("https://u:p://w@host/x", "https://host/x"),
        ("clip.mp4: no video stream", "clip.mp4: no video stream"),
        ("mail a@b.c, 3:4, a//b", "mail a@b.c, 3:4, a//b"),
    ],
)
def test_addresses_in_a_text_lose_their_secrets_and_the_text_stays(text, shown):
    assert scrubbed(text) == shown


def test_long_texts_are_scrubbed_at_once():
    assert scrubbed("a" * 200_000 + "://u:pw@host/") == "a" * 200_000 + "://host/"
    assert scrubbed("https://" * 20_000).startswith("https://")
