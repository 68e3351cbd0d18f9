"""A server of small models on digits, each kind of code among them."""

import threading
from pathlib import Path

import pytest
import torch

import narrows as nw
from narrows.explore.examples import Examples, display_for
from narrows.explore.explorer import Explorer
from narrows.explore.server import Service
from narrows.explore.subject import Subject
from tests.families import FAMILIES

KINDS = ("vq ema", "normal", "sparse top-k")


def explorer_of(data, models, folder=None):
    display = display_for(data)
    usual = data.test.batch(torch.arange(min(8, len(data.test))))
    subjects = [
        Subject(name, model, usual=usual, display=display, folder=folder)
        for name, model in models.items()
    ]
    return Explorer(data.name, subjects, Examples(data, display))


def served(explorer):
    service = Service(explorer)
    thread = threading.Thread(target=service.run)
    thread.start()
    yield service.address
    service.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="package")
def explorer():
    data, models = nw.data.load("digits"), {}
    for name in KINDS:
        torch.manual_seed(0)
        network = nw.Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)
        models[name] = nw.Autoencoder.for_images(data.shape, FAMILIES[name](), network=network)
    models["vq ema"].prior = nw.priors.PixelCNN((4, 4), 24, hidden=8, layers=1)
    return explorer_of(data, models, Path("runs/none"))


@pytest.fixture(scope="package")
def address(explorer):
    yield from served(explorer)
