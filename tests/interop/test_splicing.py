"""A dictionary spliced into a language model: nothing lost, everything lost, and what stays."""

import copy

import pytest
import torch

from narrows.interop import loss_recovered

transformers = pytest.importorskip("transformers", reason="pip install 'narrows[transformers]'")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=11, hidden_size=8, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16,
        initializer_range=0.5,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def batches():
    """Two batches of three contexts; the last one of each is padded."""
    ids = torch.randint(11, (2, 3, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[:, 2, 4:] = 0
    return [{"input_ids": i, "attention_mask": m} for i, m in zip(ids, mask, strict=True)]


def spliced(model, reconstruct, **options):
    options = {"mean": torch.full((8,), 0.1), **options}
    return loss_recovered(
        model, "model.layers.0", inputs=batches(), reconstruct=reconstruct, **options
    )


def test_a_perfect_reconstruction_loses_nothing_and_zeros_everything(model):
    perfect = spliced(model, lambda rows: rows)
    assert perfect.recovered == pytest.approx(1)
    assert perfect.recovered_over_mean == pytest.approx(1)
    assert perfect.tokens == 2 * (6 + 6 + 3)
    assert spliced(model, torch.zeros_like).recovered == 0
    # As transformers counts it, example by example.
    losses = []
    for batch in batches():
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        losses.append(model(**batch, labels=labels).loss.item())
    assert perfect.clean == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_zeros_are_what_the_rest_of_the_model_makes_of_zeros(model):
    found = spliced(model, lambda rows: rows, first=False)
    logits = model.lm_head(model.model.norm(model.model.layers[1](
        torch.zeros(1, 7, 8), position_embeddings=model.model.rotary_emb(
            torch.zeros(1, 7, 8), torch.arange(7)[None]
        ),
    )))[0]  # fmt: skip
    logits = logits.detach()
    assert torch.allclose(logits, logits[:1].expand_as(logits), atol=1e-5)
    asked = torch.cat([b["input_ids"][:, 1:][b["attention_mask"][:, 1:].bool()] for b in batches()])
    expected = torch.nn.functional.cross_entropy(logits[:1].expand(len(asked), -1), asked)
    assert found.zero == pytest.approx(expected.item(), rel=1e-4)


def test_first_tokens_padding_and_large_rows_stay(model):
    seen = []

    def record(rows):
        seen.append(rows)
        return rows

    spliced(model, record)
    assert sum(map(len, seen)) == 2 * (6 + 6 + 3)
    norms = torch.cat(seen).norm(dim=1)
    seen.clear()
    spliced(model, record, limits=[norms.median().item()], first=False)
    assert all(rows.norm(dim=1).max() <= norms.median() for rows in seen)


def test_the_model_is_left_as_it_was(model):
    before = model(**batches()[0]).logits
    spliced(model, torch.zeros_like)
    assert torch.equal(model(**batches()[0]).logits, before)


def test_a_transcoders_target_is_replaced_by_what_its_source_gives(model):
    source = "model.layers.0.post_attention_layernorm"

    def spliced(reconstruct, source=source):
        return loss_recovered(
            model, (source, "model.layers.0.mlp"), inputs=batches(), reconstruct=reconstruct,
            mean=torch.zeros(8),
        )  # fmt: skip

    mlp = copy.deepcopy(model.model.layers[0].mlp)
    assert spliced(mlp).recovered == pytest.approx(1, abs=1e-5)
    assert spliced(lambda rows: rows[:, :8] * 0).recovered == 0
    with pytest.raises(ValueError, match="before its source"):
        spliced(mlp, source="model.layers.1.mlp")


def test_nothing_to_predict_is_refused(model):
    with pytest.raises(ValueError, match="no layer 'lyers'"):
        loss_recovered(model, "lyers", inputs=[], reconstruct=torch.zeros_like, mean=torch.zeros(8))
    with pytest.raises(ValueError, match="at least two tokens"):
        loss_recovered(
            model, "model.layers.0", inputs=[], reconstruct=torch.zeros_like, mean=torch.zeros(8)
        )
