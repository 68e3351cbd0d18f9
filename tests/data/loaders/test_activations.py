"""Activations on the disk: of any module, interrupted, damaged, of every float type."""

import json
import math

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.data.loaders.activations import shards as files
from narrows.data.loaders.activations.outliers import outliers
from narrows.data.mapped import MappedSplit
from narrows.interop.activations import record


def net(width: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))


def inputs(batches: int = 12) -> torch.Tensor:
    """Batches of 5 contexts with 4 positions: 20 rows each."""
    return torch.randn(batches, 5, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(tmp_path):
    record(net(), "1", inputs=inputs(), out=tmp_path / "acts", shard_rows=50)
    return tmp_path / "acts"


def load(folder, **options) -> nw.data.Dataset:
    return nw.data.load(f"activations:{folder}", **options)


def edited(folder, change) -> None:
    path = folder / files.MANIFEST
    content = json.loads(path.read_text())
    change(content)
    content.pop("checksum")
    path.write_text(json.dumps(content))


def test_rows_are_what_the_layer_gives_and_each_is_in_one_part(folder):
    data = load(folder)
    expected = net()[:2](inputs()).detach().flatten(0, -2)
    found = torch.cat([part.images for part in (data.train, data.validation, data.test)])
    assert isinstance(data.train, MappedSplit)
    order = found[:, 0].argsort()
    torch.testing.assert_close(found[order], expected[expected[:, 0].argsort()])
    assert "240 activations of 1 (float32) in 60 contexts" in data.note


def test_a_context_lies_in_one_part(folder):
    data = load(folder)
    shards = files.open_shards(folder, files.read_manifest(folder), verify=True)
    context = files.joined(shards, "context")
    parts = [set(context[part.rows].tolist()) for part in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == 60
    assert set().union(*parts) == set(range(60))
    assert files.joined(shards, "position").unique().tolist() == [0, 1, 2, 3]


def test_features_may_be_channels_of_a_map(tmp_path):
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 3, 2)
    x = torch.rand(10, 1, 3, 3)
    record(conv, "", inputs=[x], out=tmp_path, axis=1)
    shard = files.open_shards(tmp_path, files.read_manifest(tmp_path), verify=True)[0]
    assert torch.equal(shard.values, conv(x).detach().movedim(1, -1).flatten(0, 2))
    assert shard.position.tolist() == list(range(4)) * 10


def test_a_pass_ends_at_the_layer(tmp_path):
    class Refuses(nn.Module):
        def forward(self, x):
            raise AssertionError("computed in vain")

    record(nn.Sequential(net(), Refuses()), "0.1", inputs=inputs(2), out=tmp_path)


def test_an_interrupted_extraction_goes_on_and_ends_in_the_same_files(folder, tmp_path):
    def stops(rows):
        if rows > 100:
            raise KeyboardInterrupt

    again = tmp_path / "again"
    arguments = {"inputs": inputs(), "out": again, "shard_rows": 50}
    with pytest.raises(KeyboardInterrupt):
        record(net(), "1", **arguments, progress=stops)
    with pytest.raises(ValueError, match="unfinished, with 120 rows so far: run the same"):
        load(again)
    damaged = again / "00001.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9])  # the machine died: written once more
    written = []
    record(net(), "1", **arguments, progress=written.append)
    assert written == [120, 180, 240]
    for path in folder.glob("0*"):
        assert (again / path.name).read_bytes() == path.read_bytes()
    assert files.read_manifest(again) == files.read_manifest(folder)


def test_another_extraction_does_not_go_into_the_same_folder(folder):
    with pytest.raises(ValueError, match=r"another extraction .layer was '1', now '0'"):
        record(net(), "0", inputs=inputs(), out=folder)
    other = net()
    nn.init.zeros_(other[0].bias)
    with pytest.raises(ValueError, match=r"another extraction .weights was"):
        record(other, "1", inputs=inputs(), out=folder)


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_narrow_types_are_kept_on_the_disk_and_given_as_float32(tmp_path, dtype):
    record(net(), "1", inputs=inputs(), out=tmp_path, dtype=dtype, shard_rows=50)
    data = load(tmp_path)
    assert {one.dtype for one in data.train.sources} == {dtype}
    values = net()[:2](inputs()).detach().flatten(0, -2)[data.train.rows].to(dtype).float()
    assert torch.equal(data.train.batch(torch.arange(len(data.train))), values)


def test_a_layer_in_bfloat16_is_kept_in_it(tmp_path):
    record(net().bfloat16(), "1", inputs=inputs().bfloat16(), out=tmp_path)
    assert load(tmp_path).train.sources[0].dtype == torch.bfloat16


def test_outliers_are_those_of_the_rule():
    norms = torch.tensor([900.0, 1.0, 2.0, 3.0, 19.9, 20.1, math.nan, math.inf, 2.0])
    positions = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8])
    out = outliers(norms, positions, largest=10, first=True)
    assert out.medians == (2.0,)  # the lower of the two in the middle of 1, 2, 2, 3, 19.9, 20.1
    assert out.kept.tolist() == [1, 2, 3, 4, 8]
    assert out.counts() == {"not_finite": 2, "first": 1, "massive": 1}
    kept = outliers(norms, positions, largest=1e9, first=False).kept
    assert kept.tolist() == [0, 1, 2, 3, 4, 5, 8]
    with pytest.raises(ValueError, match="at least 1 times the median"):
        outliers(norms, positions, largest=0.5, first=True)


def test_what_is_left_out_is_counted_and_shown_and_the_rule_can_be_changed(tmp_path):
    x = inputs()
    x[3, 2, 1, 0] = math.nan
    x[5, 1, 2] = 1e5
    module = nn.Sequential(nn.Identity())
    left = record(module, "0", inputs=x, out=tmp_path, first=True)
    assert left.counts() == {"not_finite": 1, "first": 60, "massive": 1}
    row = (3 * 5 + 2) * 4 + 1
    assert files.read_manifest(tmp_path)["left_out"] == {**left.counts(), "not_finite_rows": [row]}
    data = load(tmp_path)
    assert f"1 rows with NaN or infinite values (row {row})" in data.note
    assert "60 rows at position 0; 1 rows with a norm over 10 times" in "; ".join(
        data.origin.skipped
    )
    everything = load(tmp_path, first=False, largest=1e9)
    assert sum(map(len, (everything.train, everything.validation, everything.test))) == 239


@pytest.mark.parametrize(
    ("layer", "message"),
    [("2.x", "no layer '2.x'; near it are"), ("hidden", "near it are block")],
)
def test_a_wrong_layer_is_answered_with_the_nearest(tmp_path, layer, message):
    module = nn.Module()
    module.block = net()
    with pytest.raises(ValueError, match=message):
        record(module, layer, inputs=inputs(), out=tmp_path)


def test_layers_that_give_nothing_to_store_are_refused(tmp_path):
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return {"out": self.used(x)}

    with pytest.raises(ValueError, match="does not reach the layer"):
        record(Idle(), "idle", inputs=inputs(), out=tmp_path)
    with pytest.raises(TypeError, match=r"gives a tensor of numbers .*got dict"):
        record(Idle(), "", inputs=inputs(), out=tmp_path)
    with pytest.raises(ValueError, match="at least one batch of inputs, got none"):
        record(net(), "1", inputs=[], out=tmp_path)
    mixed = [torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)]
    with pytest.raises(ValueError, match="rows of width 4, got 5"):
        record(nn.Identity(), "", inputs=mixed, out=tmp_path)


def test_damage_is_named_with_its_remedy(folder):
    path = folder / "00001.safetensors"
    whole = path.read_bytes()
    for content, fault in [
        (b"", "00001.safetensors is empty .it has 0 bytes"),
        (whole[:-5], "00001.safetensors is damaged .it has"),
        (whole[:-1] + b"\x00", "its checksum is not the listed one"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{fault}.*: run the same narrows activations"):
            load(folder)
    load(folder, verify=False)  # of a large folder only sizes are compared
    path.unlink()
    with pytest.raises(ValueError, match=r"00001.safetensors is missing"):
        load(folder)


def test_shards_of_two_widths_are_refused(folder, tmp_path):
    record(net(7), "1", inputs=inputs(3), out=tmp_path / "wide", shard_rows=50)
    other = files.read_manifest(tmp_path / "wide")["shards"][0]
    (folder / other["file"]).write_bytes((tmp_path / "wide" / other["file"]).read_bytes())
    edited(folder, lambda content: content["shards"].__setitem__(0, other))
    with pytest.raises(ValueError, match=r"00000.safetensors holds float32 of width 7, 00001.*6"):
        load(folder)


def test_folders_without_activations_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="that narrows activations wrote"):
        load(tmp_path)
    (folder / files.MANIFEST).write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        load(folder)
    record(net(), "1", inputs=inputs(1)[:, :2], out=tmp_path / "few")
    with pytest.raises(ValueError, match=r"at least 10 rows of 3 contexts .* has 8 of 2"):
        load(tmp_path / "few")


class Stop(nw.training.Callback):
    """Stops after a number of steps, once."""

    left = 0

    def after_step(self, model, loss):
        Stop.left -= 1
        if Stop.left == 0:
            raise KeyboardInterrupt


def test_training_from_shards_resumes_exactly_within_an_epoch(folder, tmp_path):
    data = load(folder, buffer=32)
    often = nw.training.Checkpoints(seconds=0)

    def train(out, resume=False):
        torch.manual_seed(0)
        network = nw.networks.Mlp(hidden=())
        model = nw.Autoencoder((6,), nw.SparseDictionary(12, 6, coder=nw.TopK(2)), network=network)
        nw.fit(
            model, data, epochs=2, batch_size=16, out=out, resume=resume, callbacks=[Stop()],
            checkpoints=often,
        )  # fmt: skip
        return model.state_dict()

    straight = train(tmp_path / "straight")
    Stop.left = 17
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped")
    again = train(tmp_path / "stopped", resume=True)
    assert all(torch.equal(value, again[name]) for name, value in straight.items())


def test_two_layers_give_pairs_of_one_forward_pass(tmp_path):
    def grown(x, channel):  # one row in 240 is massive in one of the two layers
        x[3, 1, 2, channel] = 1e4
        return x

    module, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)), inputs()
    nn.init.eye_(module[0].weight)
    record(module, "0", target="2", inputs=grown(x, 0), out=tmp_path, shard_rows=50)
    data = load(tmp_path)
    assert data.shape == (7,)
    assert data.inputs == 4
    assert "with 2 as targets" in data.note
    assert "1 rows with a norm over" in data.note
    pairs = torch.cat([part.images for part in (data.train, data.validation, data.test)])
    assert len(pairs) == 239
    torch.testing.assert_close(pairs[:, 4:], module[1:](pairs[:, :4]).detach())
    with pytest.raises(ValueError, match=r"another extraction .target was '2'|.target was None"):
        record(module, "0", target="1", inputs=x, out=tmp_path)


def test_layers_whose_rows_do_not_belong_together_are_refused(tmp_path):
    class Halves(nn.Module):
        def forward(self, x):
            return x[:, ::2]

    module = nn.Sequential(nn.Linear(4, 4), Halves())
    with pytest.raises(ValueError, match="one row of the target for each"):
        record(module, "0", target="1", inputs=inputs(), out=tmp_path)
    with pytest.raises(ValueError, match="no layer '3'"):
        record(module, "0", target="3", inputs=inputs(), out=tmp_path)
