"""A score's numbers, and what it refuses."""

import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motif.errors import InputError
from motif.measure import Score

values = st.lists(st.floats(-1, 1), min_size=2, max_size=30).map(tuple)


@settings(deadline=None)
@given(values)
def test_mean_and_standard_error_are_numpys(per_image):
    score = Score("x", per_image)
    assert score.mean == pytest.approx(np.mean(per_image), abs=1e-12)
    assert score.standard_error == pytest.approx(
        np.std(per_image, ddof=1) / math.sqrt(len(per_image)), abs=1e-12
    )


@settings(deadline=None)
@given(values, st.integers(2, 4))
def test_repeating_pictures_shrinks_the_error_by_counting_pictures(per_image, times):
    once, often = Score("x", per_image), Score("x", per_image * times)
    n = len(per_image)
    assert often.n == times * n
    assert often.standard_error == pytest.approx(
        once.standard_error * math.sqrt((n - 1) / (times * n - 1)), abs=1e-9
    )


def test_one_picture_has_a_mean_and_an_unknown_error():
    score = Score("clip-i", (0.5,))
    assert (score.mean, score.standard_error, score.n) == (0.5, None, 1)
    assert json.loads(score.to_json())["standard_error"] is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_refused_by_its_picture(bad):
    with pytest.raises(InputError, match=r"b\.png \(1 of 3"):
        Score("clip-i", (0.1, bad, 0.2), images=("a.png", "b.png", "c.png"))


def test_no_pictures_no_score():
    with pytest.raises(InputError, match="no pictures"):
        Score("clip-i", ())


@settings(deadline=None)
@given(values)
def test_json_holds_every_bit(per_image):
    read = json.loads(Score("x", per_image, {"scale": 2.5}, {"raw cosine": 0.3}).to_json())
    assert tuple(read["per_image"]) == per_image
    assert read["n"] == len(per_image)
    assert read["choices"] == {"scale": 2.5}
    assert read["also"] == {"raw cosine": 0.3}


def test_row_is_a_line_of_a_table():
    score = Score("clip-t", (0.7, 0.8), {"encoder": "paper"}, {"raw cosine": 0.3})
    assert score.row() == {
        "metric": "clip-t",
        "mean": 0.75,
        "standard error": statistics.stdev((0.7, 0.8)) / math.sqrt(2),
        "n": 2,
        "raw cosine": 0.3,
        "encoder": "paper",
    }
    assert str(score) == "clip-t 0.7500 ± 0.0500 (n=2)"


def test_a_score_is_a_value():
    assert Score("x", (1.0, 2.0)) == Score("x", (1.0, 2.0))
    with pytest.raises(AttributeError):
        Score("x", (1.0,)).name = "y"  # pyright: ignore[reportAttributeAccessIssue]
