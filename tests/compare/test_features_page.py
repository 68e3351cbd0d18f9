"""The page of a dictionary: of text, of plain vectors, and what it refuses."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.cli.main import main
from narrows.compare.pages.features import Beside, spread, write_features
from narrows.data.loaders.activations.contexts import Source
from narrows.interop import Language, record_text
from narrows.interop.language import Contexts, unembedding
from narrows.interop.splicing import spliced_loss
from narrows.metrics import Firing, directions, file_bits, fired, firing
from narrows.metrics.features.strongest import values_of

WORDS = ["<s>", " the", "<script>alert(1)</script>", " a&b", " $x$", "\n", " <i>", " sat"]
D = 6


class Tiny(nn.Module):
    """A language model without attention: each word predicts the next."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(len(WORDS), D)
        self.layer = nn.Linear(D, D)
        self.head = nn.Linear(D, len(WORDS), bias=False)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.head(self.layer(self.embed(input_ids))))

    def get_output_embeddings(self):
        return self.head


class Words:
    """A tokenizer of eight words."""

    bos_token_id = 0

    def encode(self, text, *, add_special_tokens):
        raise NotImplementedError

    def decode(self, ids):
        return "".join(WORDS[i] for i in ids)


def language(seed: int = 0) -> Language:
    return Language(Tiny(seed), Words(), "tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    ids = torch.randint(1, len(WORDS), (30, 12), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = 0
    out = tmp_path_factory.mktemp("acts")
    record_text(language(), "layer", contexts=Contexts([*ids]), out=out, shard_rows=100)
    return out


@pytest.fixture(scope="module")
def data(folder):
    return nw.data.load(f"activations:{folder}", fractions=(0.3, 0.3))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    torch.manual_seed(0)
    bottleneck = nw.SparseDictionary(12, D, coder=nw.OMP(2))
    model = nw.Autoencoder.for_vectors(D, bottleneck, network=nw.networks.Mlp(hidden=()))
    return nw.fit(model, data, epochs=3, batch_size=32, out=tmp_path_factory.mktemp("r") / "run")


def test_where_an_atom_fires_is_where_its_coefficient_is_not_zero(run, data):
    with torch.no_grad():
        code = run.model.latent(data.test.images).code
    dense = code.coefficients(12)
    found = fired(run.model, data.test, atoms=[3, 7], batch_size=10)
    for atom, places in found.items():
        assert torch.equal(places.rows, dense[:, atom].nonzero()[:, 0])
        torch.testing.assert_close(places.values, dense[places.rows, atom])
        assert torch.equal(values_of(code, atom), dense[:, atom])
        best = dense[:, atom].abs().argsort(descending=True, stable=True)[:2]
        assert torch.equal(places.strongest(2), best[dense[best, atom] != 0])
    with pytest.raises(ValueError, match=r"features in 0\.\.11, got 12"):
        fired(run.model, data.test, atoms=[12])


def test_a_direction_is_what_one_atom_more_adds(run, data):
    model = run.model
    with torch.no_grad():
        latent = model.latent(data.test.images[:5])
        y = model.likelihood.mean(model.decoder(latent.z))
        nothing = model.likelihood.mean(model.decoder(model.bottleneck.centre[None]))
    added = latent.code.coefficients(12) @ directions(model, atoms=range(12))
    torch.testing.assert_close(nothing + added, y, atol=1e-4, rtol=1e-4)


def test_the_page_shows_contexts_words_and_loss_and_escapes_all_of_them(
    run, data, folder, tmp_path
):
    lm = language()
    loss = spliced_loss(lm, run.model, folder=folder, data=data, contexts=5)
    beside = Beside(Source.open(folder), loss, unembedding(lm.module), WORDS)
    path = write_features(tmp_path / "f.html", run.model, data=data, beside=beside, most=3)
    page = path.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "a&amp;b" in page
    assert "loss recovered" in page
    assert "bits a vector" in page
    assert len(re.findall(r"<h2[^>]*>Feature \d+", page)) == 3
    assert '<mark class="m4">' in page
    plain = write_features(tmp_path / "f.md", run.model, data=data, beside=beside, most=3)
    assert "<script>" not in plain.read_text().replace(r"\<script", "")


def test_the_strongest_example_is_the_darkest_in_its_own_context(run, data, folder):
    source = Source.open(folder)
    atom = spread(firing(run.model, data.test), 1)[0]
    places = fired(run.model, data.test, atoms=[atom])[atom]
    row = int(data.test.rows[places.strongest(1)[0]])
    window = source.window(row, before=3, after=2)
    assert row in window
    assert source.context[window].unique().tolist() == [int(source.context[row])]
    own = source.values(window)[window.tolist().index(row)]
    assert torch.equal(own, data.test.batch(places.strongest(1))[0])


def test_features_are_chosen_over_all_rates():
    rates = torch.tensor([0.0, 0.5, 0.001, 0.02, 0.3, 0.1])
    found = Firing(0, 0, 0, 0, rates, 1000)
    assert spread(found, 3) == [3, 4, 1]
    assert spread(found, 99) == [3, 5, 4, 1]
    assert spread(Firing(0, 0, 0, 0, torch.zeros(3), 10), 5) == []


def test_activations_of_another_model_are_refused(run, data, folder):
    with pytest.raises(ValueError, match="holds activations of tiny, and tiny has other weights"):
        spliced_loss(language(1), run.model, folder=folder, data=data)
    with pytest.raises(TypeError, match="output embeddings, got Linear"):
        unembedding(nn.Linear(2, 2))


def test_the_command_writes_the_page_of_a_run(run, folder, capsys, tmp_path):
    out = tmp_path / "page.html"
    data = ["--data", f"activations:{folder}"]
    assert main(["features", str(run.folder), *data, "--features", "1,2", "--out", str(out)]) == 0
    assert "Feature 2" in out.read_text()
    assert main(["features", str(run.folder), *data, "--features", "x"]) == 1
    assert "numbers of features, such as 3,17, got 'x'" in capsys.readouterr().err
    assert main(["features", str(run.folder), "--data", "superposition", "--model", "m"]) == 1
    assert "goes with activations:DIR" in capsys.readouterr().err


def test_bits_of_a_file_are_near_the_rate_that_the_prior_promises(run, data):
    x = data.test.images
    with torch.no_grad():
        promised = run.model.bits(x).mean().item()
    assert file_bits(run.model, data.test) == pytest.approx(promised, rel=0.03, abs=1)
    assert file_bits(run.model, x, most=10) != file_bits(run.model, x)
    with pytest.raises(ValueError, match="at least one example"):
        file_bits(run.model, x[:0])
