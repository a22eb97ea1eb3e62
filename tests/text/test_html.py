"""Pages that text from elsewhere cannot break out of."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from p3dfeat.text.html import data_script, escaped, page

NASTY = ["</script><script>x()</script>", "<!--", "]]>", "&lt;", "\u2028\u2029", "\x1b\u202e", "\udcff", "'\""]


class Elements(HTMLParser):
    """The tags of a page, as a browser sees them, and the text in each."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags:
            self.texts.setdefault(self.tags[-1][0], []).append(data)

    def handle_comment(self, data):
        self.tags.append(("comment", {}))


@pytest.mark.parametrize("text", NASTY)
def test_text_is_text_between_tags_and_in_attributes(text):
    found = Elements(f'<p title="{escaped(text)}">{escaped(text)}</p>')
    assert [tag for tag, _ in found.tags] == ["p"]
    shown = found.tags[0][1]["title"]
    assert shown is not None
    assert shown.isprintable()
    assert "".join(found.texts["p"]) == shown


def test_data_reach_the_script_as_they_were_and_cannot_leave_their_element():
    element = data_script('a"b', {"rows": NASTY})
    found = Elements(element)
    assert found.tags == [("script", {"type": "application/json", "id": 'a"b'})]
    (text,) = found.texts["script"]
    assert json.loads(text) == {"rows": NASTY}
    assert not re.search("[<>&\u2028\u2029]", text)


def test_a_page_is_whole_and_lets_nothing_in():
    script, style = "document.title += 'ü';", "p { color: red }"
    text = page("<Report>", "<p>hello</p>", data={"rows": NASTY}, script=script, style=style)
    found = Elements(text)
    assert [tag for tag, _ in found.tags] == [
        *("html", "head", "meta", "meta", "title", "style", "body", "p", "script", "script"),
    ]
    assert found.tags[2][1] == {"charset": "utf-8"}
    policy = dict(part.split(" ", 1) for part in found.tags[3][1]["content"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data: 'self'"
    assert "unsafe" not in str(policy)
    for kind, inline in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
        assert f"<{kind}>{inline}</{kind}>" in text
    assert "<title>&lt;Report&gt;</title>" in text


def test_a_page_without_a_script_allows_none():
    assert "script-src" not in page("Report", "")
    assert "style-src" not in page("Report", "")


@pytest.mark.parametrize("kind", ["script", "style"])
@pytest.mark.parametrize("text", ["a</script>", "a</", "<!-- <script>", "a\r\nb", "a\0b"])
def test_what_an_inline_element_cannot_hold_is_refused(kind, text):
    with pytest.raises(ValueError, match=f"{kind}: holds"):
        page("Report", "", **{kind: text})
