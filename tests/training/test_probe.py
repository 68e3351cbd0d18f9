"""Precision and layout chosen by a few steps."""

import dataclasses

import pytest
import torch
import yaml

import narrows as nw
from narrows.training import Engine, fit
from narrows.training.engine import choice, fastest

USUAL = ("32-true", False)


class StopOnce(nw.training.Callback):
    """Ctrl-C after the first epoch of the first run."""

    stopped = False

    def after_epoch(self, model, row):
        if not StopOnce.stopped:
            StopOnce.stopped = True
            raise KeyboardInterrupt
        return False


def model_and_batch(shape=(1, 8, 8)):
    torch.manual_seed(0)
    model = nw.Autoencoder(shape, nw.VectorQuantizer(8, 4))
    return model, torch.rand(16, *shape)


def test_the_usual_stands_unless_another_is_faster_by_more_than_chance():
    near = {USUAL: 1.0, ("bf16-mixed", False): 0.97, ("bf16-mixed", True): 1.4}
    assert choice(near, USUAL) == USUAL
    assert choice(near | {("32-true", True): 0.8}, USUAL) == ("32-true", True)


def test_a_probe_leaves_model_and_random_numbers_alone():
    model, x = model_and_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    found = fastest(model, x, precisions=("32-true", "bf16-mixed"), layouts=(False, True))
    assert torch.equal(torch.rand(3), expected)
    assert found[0] in ("32-true", "bf16-mixed")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_only_what_is_auto_is_probed(monkeypatch):
    seen = []

    def probe(model, x, *, precisions, layouts):
        seen.append((precisions, layouts))
        return precisions[-1], layouts[-1]

    monkeypatch.setattr("narrows.training.engine.fastest", probe)
    model, x = model_and_batch()
    vectors, v = nw.Autoencoder((5,), nw.VectorQuantizer(8, 4)), torch.rand(16, 5)
    both = Engine(precision="auto", channels_last="auto")
    assert both.settled(model, x) == Engine(precision="bf16-mixed", channels_last=True)
    assert both.settled(vectors, v) == Engine(precision="bf16-mixed", channels_last=False)
    Engine(precision="64-true", channels_last="auto").settled(model, x)
    Engine(precision="auto", channels_last=True).settled(model, x)
    assert Engine(precision="bf16-mixed").settled(model, x) == Engine(precision="bf16-mixed")
    assert seen == [
        (("32-true", "bf16-mixed"), (False, True)),
        (("32-true", "bf16-mixed"), (False,)),
        (("64-true",), (False, True)),
        (("32-true", "bf16-mixed"), (True,)),
    ]


def test_the_run_says_which_it_was_and_a_resumed_one_keeps_it(tmp_path, monkeypatch):
    data = nw.data.load("digits", train_examples=64)
    engine = Engine(precision="auto", channels_last="auto")
    monkeypatch.setattr("narrows.training.engine.fastest", lambda *_, **__: ("bf16-mixed", True))

    def trained(**options):
        torch.manual_seed(0)
        model = nw.Autoencoder(data.shape, nw.VectorQuantizer(8, 4), network=nw.Conv(hidden=8))
        out = tmp_path / "run"
        stop = [StopOnce()]
        return fit(
            model, data, epochs=2, engine=engine, out=out, callbacks=stop, show=False, **options
        )

    with pytest.raises(KeyboardInterrupt):
        trained()
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    named = kept["fit"]["engine"]["init_args"]
    assert (named["precision"], named["channels_last"]) == ("bf16-mixed", True)
    monkeypatch.setattr("narrows.training.engine.fastest", lambda *_, **__: USUAL)
    trained(resume=True)  # other settings would be refused
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == kept


def test_several_processes_must_name_it():
    model, x = model_and_batch()
    engine = dataclasses.replace(Engine(precision="auto"), devices=2)
    with pytest.raises(ValueError, match="name them where several train together"):
        engine.settled(model, x)
