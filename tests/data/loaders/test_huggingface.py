import sys

import numpy as np
import pytest
import torch
from PIL import Image

from narrows.data import load
from narrows.data.loaders import huggingface
from narrows.data.mapped import MappedSplit

RANDOM = np.random.default_rng(0)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"narrows\[huggingface\]"):
        load("huggingface:anything")


@pytest.fixture
def pets(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("cat", "dog"):
        (tmp_path / "pets" / "train" / name).mkdir(parents=True)
        for number in range(10):
            pixels = RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / "train" / name / f"{number}.png")
    return tmp_path / "pets"


@pytest.mark.filterwarnings("ignore")
def test_a_local_image_folder_is_streamed(pets, monkeypatch):
    data = load("huggingface:pets", root=pets.parent)
    assert (data.shape, data.classes) == ((3, 8, 8), ("cat", "dog"))
    assert sum(map(len, (data.train, data.validation, data.test))) == 20
    (pets / "train" / "cat" / "bad.png").write_bytes(b"")
    monkeypatch.setattr(huggingface, "LARGE", 500)
    mapped = load(f"huggingface:{pets}")
    assert isinstance(mapped.train, MappedSplit)
    assert len(mapped.origin.skipped) == 1
    index = torch.arange(4)
    assert torch.equal(mapped.train.batch(index), data.train.batch(index))
