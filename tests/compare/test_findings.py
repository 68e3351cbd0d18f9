"""The plain-language answer says what the figures say, and no more."""

from narrows.compare.pages.run import answer


def figures(bits, nmse):
    return {"bits_per_dimension": bits, "nmse": nmse}


def test_a_model_with_fewer_bits_and_less_error_is_named_without_a_claim():
    said = " ".join(answer({"a": figures(1.0, 0.01), "b": figures(2.0, 0.05)}))
    assert "a has 2 times fewer bits and 5 times less distortion than b" in said
    assert "chance is not excluded" in said
    assert "best" not in said


def test_models_that_trade_bits_for_error_beat_nobody():
    said = " ".join(answer({"a": figures(1.0, 0.05), "b": figures(2.0, 0.01)}))
    assert "each model with less distortion needs more bits" in said


def test_a_model_without_a_rate_is_not_compared():
    said = " ".join(answer({"a": figures(1.0, 0.05), "b": {"nmse": 0.0001}}))
    assert "Without a rate, and so not compared: b." in said
    assert "fewer bits" not in said


def test_models_are_listed_by_their_rate():
    said = answer({"late": figures(3.0, 0.01), "early": figures(1.0, 0.05)})[0]
    assert said.index("early") < said.index("late")
