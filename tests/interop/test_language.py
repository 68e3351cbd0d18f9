"""A language model with random weights and a tokenizer of words, made here, saved in a folder."""

import re

import pytest
import torch

import narrows as nw
from narrows.cli.main import main
from narrows.data.loaders.activations.shards import joined, open_shards, read_manifest
from narrows.interop.language import Language, read_texts
from narrows.saving.writing import read_json

transformers = pytest.importorskip("transformers", reason="pip install 'narrows[transformers]'")
WORDS = [
    "the",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "under",
    "mat",
    "tree",
    "and",
    "<b>",
    "&",
    "slept",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_language(tmp_path_factory.mktemp("lm"))


def small_language(folder):
    """Writes a model with two layers of width 8, and a word for each token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = {word: number for number, word in enumerate(["<s>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(known), hidden_size=8, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Two files of 300 and 70 words."""
    folder = tmp_path_factory.mktemp("text")
    numbers = torch.randint(len(WORDS), (370,), generator=torch.Generator().manual_seed(0))
    words = [WORDS[number] for number in numbers]
    files = [folder / "one.txt", folder / "two.txt"]
    files[0].write_text(" ".join(words[:300]))
    files[1].write_text(" ".join(words[300:]))
    return files


def command(place, text, out, *more, tokens=200, layer="model.layers.0") -> int:
    words = ["activations", str(place), "--layer", layer, "--text", *map(str, text)]
    return main([*words, "--tokens", str(tokens), "--context", "16", "--out", str(out), *more])


def test_contexts_lie_in_one_file_and_begin_with_the_first_token(place, text):
    tokenizer = Language.load(str(place)).tokenizer
    found = read_texts(text, tokenizer, tokens=395, length=16)
    assert [len(ids) for ids in found.ids] == [16] * 20 + [16] * 4 + [11]
    assert all(ids[0] == 0 for ids in found.ids)
    said = tokenizer.decode(torch.cat([ids[1:] for ids in found.ids[:20]]).tolist())
    assert said == text[0].read_text()
    few = read_texts(text, tokenizer, tokens=20, length=16)
    assert [len(ids) for ids in few.ids] == [16, 4]
    assert torch.equal(few.ids[1], found.ids[1][:4])


def test_the_command_writes_what_the_layer_gives_for_every_token(place, text, tmp_path, capsys):
    assert command(place, text, tmp_path / "acts") == 0
    printed = capsys.readouterr().out
    assert "187 of 200 rows to train on" in printed
    assert "left out         13 rows at position 0" in printed
    shards = open_shards(tmp_path / "acts", read_manifest(tmp_path / "acts"), verify=True)
    language = Language.load(str(place))
    contexts = read_texts(text, language.tokenizer, tokens=200, length=16)
    # One context at a time, without padding, through all of the model.
    with torch.no_grad():
        alone = [
            language.module(ids[None], output_hidden_states=True).hidden_states[1][0]
            for ids in contexts.ids
        ]
    torch.testing.assert_close(joined(shards, "values"), torch.cat(alone), atol=1e-5, rtol=1e-4)
    assert torch.equal(joined(shards, "token"), torch.cat([*contexts.ids]).int())
    assert read_json(tmp_path / "acts" / "vocabulary.json", "")["2"] == "the"
    assert nw.data.load(f"activations:{tmp_path / 'acts'}", fractions=(0.2, 0.2)).shape == (8,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "layers.0"}, "no layer 'layers.0'; near it are model.layers.0"),
        ({"layer": "model.layer.1"}, "near it are model.layers.1"),
        ({"tokens": 1000}, "1,000 tokens were asked for and the 2 text files have 395; give more"),
        ({"more": ("--dtype", "int8")}, "--dtype is one of float32"),
        ({"more": ("--encoding", "klingon")}, "no encoding 'klingon'"),
    ],
)
def test_a_wrong_request_is_answered(place, text, tmp_path, capsys, change, message):
    assert command(place, text, tmp_path, *change.pop("more", ()), **change) in (1, 2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("caf\xe9 ".encode("latin-1"), "is not utf-8: byte 0xe9 at 3; .* such as latin-1"),
        ("the cat".encode("utf-16"), "is not utf-8: byte 0xff at 0; .* such as utf-16"),
        (b"the\0cat", "holds zero bytes"),
        (b"\x1f\x8b\x08\x00", "is compressed; unpack it first"),
        (b"", "the 1 text files have 0"),
        (None, "no text file"),
    ],
)
def test_files_that_are_not_text_are_named(place, tmp_path, content, message):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    tokenizer = Language.load(str(place)).tokenizer
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_texts([file], tokenizer, tokens=10)


def test_another_encoding_can_be_named(place, tmp_path):
    (tmp_path / "text.txt").write_bytes("the cat".encode("utf-16"))
    tokenizer = Language.load(str(place)).tokenizer
    found = read_texts([tmp_path / "text.txt"], tokenizer, tokens=3, encoding="utf-16")
    assert found.ids[0].tolist() == [0, 2, 3]


def test_places_without_a_model_are_named(tmp_path):
    with pytest.raises(ValueError, match=re.escape("config.json or a GGUF file")):
        Language.load(str(tmp_path))
    for name in "ab":
        (tmp_path / f"{name}.gguf").write_bytes(b"")
    with pytest.raises(ValueError, match=r"several GGUF files .a.gguf, b.gguf.; name one"):
        Language.load(str(tmp_path))


def test_a_transcoder_of_an_mlp_from_text_to_its_page(place, text, tmp_path):
    more = ("--target-layer", "model.layers.0.mlp")
    layer = "model.layers.0.post_attention_layernorm"
    assert command(place, text, tmp_path / "acts", *more, tokens=390, layer=layer) == 0
    words = ["--data", f"activations:{tmp_path / 'acts'}", "--out", str(tmp_path / "run")]
    small = ["--epochs", "2", "--fit.show", "false", "--model.bottleneck.size", "32"]
    assert main(["train", "sae-transcoder", *words, *small]) == 0
    run = nw.Run.load(tmp_path / "run")
    assert (run.model.bottleneck.inputs, run.model.target_shape) == (8, (8,))
    assert run.model.bottleneck.size == 32
    assert main(["features", str(tmp_path / "run"), "--model", str(place), "--most", "2"]) == 0
    page = (tmp_path / "run" / "features.html").read_text()
    assert "loss recovered" in page


@pytest.mark.slow
def test_dictionaries_of_a_layer_are_compared_from_nothing(place, text, tmp_path, capsys):
    """The page of recipes made for another width, with the loss of the model they are of."""
    assert command(place, text, tmp_path / "acts", tokens=390) == 0
    words = ["compare", "sae-topk", "sae-omp", "--data", f"activations:{tmp_path / 'acts'}"]
    words += ["--seeds", "1", "--epochs", "1", "--jobs", "1", "--out", str(tmp_path / "out")]
    small = ["--set", "model.bottleneck.size=24", "--set", "fit.batch_size=16", "--steps", "1"]
    assert main([*words, *small, "--language", str(place)]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    for column in ("share of variance", "loss recovered", "bits a vector", "dead"):
        assert column in page
    capsys.readouterr()
    assert main([*words, "--language", str(tmp_path / "acts")]) == 1  # no model
    assert "config.json or a GGUF file" in capsys.readouterr().err


def test_a_recipe_keeps_what_the_command_says_of_it(tmp_path):
    words = ["--epochs", "1", "--fit.show", "false", "--out", str(tmp_path / "run")]
    data = ["--data", "superposition", "--data-options", "{size: 32, dim: 16, n: 300, l0: 2}"]
    assert main(["train", "sae-matryoshka", *data, *words, "--model.bottleneck.size", "200"]) == 0
    bottleneck = nw.Run.load(tmp_path / "run").model.bottleneck
    assert (bottleneck.size, bottleneck.in_features) == (200, 16)
