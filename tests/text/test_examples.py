"""The examples in docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["csvs", "html", "jsons", "lines", "paths", "urls"])
def test_examples_say_what_is_so(name):
    failed, tried = doctest.testmod(importlib.import_module(f"p3dfeat.text.{name}"))
    assert tried
    assert not failed
