"""The words that a reader meets: worst patterns only. A check that nags would be switched off."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Constructions that readers stumbled over, with what to write.
WORST = {
    r"\bso many\b(?! \w+ that)": "number of",
    r"\bto be had\b": "available",
    r"\bgoes on with\b": "continues, resumes",
    r"\bis told\b": "is reported",
    r"\bheld to\b": "checked against",
    r"\bfor want of\b": "because there is no",
    r"^(Found|Read|Only noted) (is|are)\b": "subject first",
    r"\bat hand\b": "available",
}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "recipes").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_standard_words(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text("utf-8"), flags=re.S)
    for pattern, better in WORST.items():
        found = re.search(pattern, text, re.M | re.I)
        assert found is None, f"{page.name}: {found.group()!r}: write {better!r}"


def test_messages_and_helps_use_standard_words():
    for path in (ROOT / "p3dfeat").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for pattern, better in WORST.items():
                    found = re.search(pattern, node.value, re.M | re.I)
                    assert found is None, f"{path.name}:{node.lineno}: {found.group()!r}: write {better!r}"
