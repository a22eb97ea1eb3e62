"""CSV that a spreadsheet shows, and does not run."""

import csv

import numpy as np
import pytest

from p3dfeat.text.csvs import csv_cell, csv_line

FORMULAS = ["=1+1", "+1", "-x", "@x", "\t=1", "\rx", "  =1", "\u00a0=1", "＝1", "＋1", "－1", "＠x", " ＝1", "\ufeff=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_takes_for_a_formula_gets_a_quote(text):
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["archery/clip7", "a=b", "a-b", " a", "", "日本", "(-1)"])
def test_other_text_stays_as_it_is(text):
    assert csv_cell(text) == text


def test_numbers_stay_numbers_and_a_line_reads_back_as_it_was():
    cells = ["a,b", 'c"d', "e\nf", "=g", -1, -0.5, np.float32(-0.25), np.int64(-3), None, ""]
    line = csv_line(cells)
    assert not line.endswith("\n")
    (row,) = csv.reader([line])
    assert row == ["a,b", 'c"d', "e\nf", "'=g", "-1", "-0.5", "-0.25", "-3", "", ""]


def test_what_is_no_text_can_be_written():
    assert csv_line(["\udcff"]).encode() == rb"\udcff"
