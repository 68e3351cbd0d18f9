import math

import pytest
import torch

from narrows.functional.usage import tally, usage, usage_advice


def test_perplexity_is_the_size_for_uniform_use_and_one_for_a_single_code():
    uniform = usage(torch.full((512,), 7))
    assert uniform["perplexity"] == pytest.approx(512, rel=1e-12)
    assert uniform["entropy_bits"] == pytest.approx(9, rel=1e-12)
    single = usage(torch.eye(8)[3] * 100)
    assert single == {"usage": 1 / 8, "perplexity": 1.0, "entropy_bits": 0.0, "dead_codes": 7.0}


def test_entropy_matches_its_definition():
    counts = torch.tensor([1, 2, 5, 0])
    expected = -sum(p * math.log2(p) for p in (1 / 8, 2 / 8, 5 / 8))
    assert usage(counts)["entropy_bits"] == pytest.approx(expected, rel=1e-12)


def test_summed_counts_differ_from_the_mean_over_batches():
    batches = [torch.eye(4)[k] * 10 for k in range(4)]
    assert usage(sum(batches))["perplexity"] == pytest.approx(4)
    assert all(usage(batch)["perplexity"] == 1 for batch in batches)


def test_an_empty_set_uses_nothing():
    assert usage(torch.zeros(4))["usage"] == 0


def test_advice_is_given_only_where_most_codes_are_dead():
    assert usage_advice(usage(torch.tensor([1, 1, 1, 0])), 4) == []
    (advice,) = usage_advice(usage(torch.tensor([1, 0, 0, 0])), 4)
    assert "25% of the 4 codes" in advice
    assert advice.endswith("): take a smaller size: 4 codes cost 2 bits a site, used or not")
    (advice,) = usage_advice(usage(torch.tensor([1, 0, 0, 0])), 4, ["revive them"])
    assert "): revive them, or take a smaller size" in advice


def test_a_tally_counts_every_index_and_leaves_out_those_below_zero():
    index = torch.randint(-1, 9, (4, 5, 6))
    expected = torch.bincount(index[index >= 0], minlength=12)
    assert torch.equal(tally(index, 12), expected)
