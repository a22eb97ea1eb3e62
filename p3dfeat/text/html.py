"""Pages of HTML that show external text, run only their own script, and load nothing."""

import base64
import hashlib
import html
from collections.abc import Mapping
from typing import Any, Final

from p3dfeat.text.jsons import json_text
from p3dfeat.text.lines import one_line

# "</" ends an inline element, "<!--" keeps a later "</script>" from ending it; browsers change CR and NUL before they
# compute the hash.
NOT_INLINE: Final = ("</", "<!--", "\r", "\0")
UNSAFE_IN_SCRIPT: Final = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def escaped(text: str) -> str:
    """A name, a label or other text, for HTML: between tags or in a quoted attribute.

    Characters that are not printable are escaped as by ``one_line``.

        >>> escaped("<b>\\n")
        '&lt;b&gt;\\\\n'
    """
    return html.escape(one_line(text))


def data_script(id: str, data: Any) -> str:
    """An element that holds data as JSON for the page's script. The data cannot end the element or begin a comment.

    id: of the element. data: any value that ``json_line`` accepts.

        >>> data_script("rows", ["</script>"])
        '<script type="application/json" id="rows">["\\\\u003c/script\\\\u003e"]</script>'
    """
    text = json_text(data).translate(UNSAFE_IN_SCRIPT)  # in JSON, these characters are in strings only
    return f'<script type="application/json" id="{escaped(id)}">{text}</script>'


def page(title: str, body: str, *, data: Mapping[str, Any] | None = None, script: str = "", style: str = "") -> str:
    """A whole page. Its policy allows pictures that are embedded or stored beside it, and nothing else from outside.

    title: plain text. body: HTML, without inline scripts, handlers and style attributes, which the policy blocks.
    data: for each id, the data of a ``data_script``. script, style: inline; the script runs after the body.
    Raises ValueError if script or style contain text that is not allowed in an inline element.

        >>> page("Report", "<p>hello</p>").startswith("<!doctype html>")
        True
    """
    policy = ["default-src 'none'", "img-src data: 'self'", "base-uri 'none'", "form-action 'none'"]
    inline = {"style": "", "script": ""}
    for kind, text in (("style", style), ("script", script)):
        if text:
            policy.append(f"{kind}-src '{_hash(kind, text)}'")
            inline[kind] = f"<{kind}>{text}</{kind}>\n"
    scripts = "".join(f"{data_script(id, value)}\n" for id, value in (data or {}).items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">\n'
        f"<title>{escaped(title)}</title>\n{inline['style']}</head>\n"
        f"<body>\n{body}\n{scripts}{inline['script']}</body>\n</html>\n"
    )


def _hash(kind: str, text: str) -> str:
    """Hash of an inline element's content (Content Security Policy Level 3, section 6.7.2.3)."""
    held = [part for part in NOT_INLINE if part in text]
    if held:
        raise ValueError(f"{kind}: holds {held[0]!r}; an inline element cannot")
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
