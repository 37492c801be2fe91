"""Numbers with nouns in messages."""

import pytest

from ildfv.counted import counted


@pytest.mark.parametrize(("n", "text"), [(0, "0 passes"), (1, "1 pass"), (2, "2 passes"), (1200, "1,200 passes")])
def test_the_noun_agrees_with_the_number(n, text):
    assert counted(n, "pass", "passes") == text
    assert counted(n, "slice") == text.replace("passes", "slices").replace("pass", "slice")
