"""The package stays one that a stranger finds the way in; who may import whom is in pyproject.toml (make imports)."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from docs import picture

MAX_LINES, MAX_MODULES = 350, 12
ROOT = Path(__file__).parents[1]


def test_no_module_is_long_and_no_folder_is_crowded():
    files = picture.modules()
    assert len(files) > 100
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in files.items()}
    assert [name for name, count in lines.items() if count > MAX_LINES] == []
    inside = Counter(path.parent for path in files.values() if path.name != "__init__.py")
    assert [folder for folder, count in inside.items() if count > MAX_MODULES] == []


def test_the_picture_shows_the_package_as_it_is():
    """Make architecture draws it."""
    assert picture.PICTURE.read_text(encoding="utf-8") == picture.svg()


@pytest.mark.parametrize("stub", sorted((ROOT / "p3dfeat").glob("*/**/*.pyi")), ids=lambda path: path.parent.name)
def test_no_module_imports_the_lazy_package_that_it_is_in(stub):
    """Its names are loaded when they are first used, so import-linter does not see where they come from."""
    package = ".".join(stub.parent.relative_to(ROOT).parts)
    for name, path in picture.modules().items():
        if name.startswith(package + "."):
            imports = [
                node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
            ]
            assert package not in [node.module for node in imports], f"{name} imports {package}"


def test_every_path_in_the_documents_is_there():
    """Of modules, tests and folders that a text names."""
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {
        (text.name, word)
        for text in texts
        for word in text.read_text(encoding="utf-8").split("`")[1::2]
        if word.startswith(("p3dfeat/", "tests/", "docs/", "benchmarks/", "stress/", "weights/")) and " " not in word
    }
    assert len(named) > 50
    assert [(text, word) for text, word in sorted(named) if not list(ROOT.glob(word.rstrip("/")))] == []
