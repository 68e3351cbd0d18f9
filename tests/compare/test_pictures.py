"""Pictures show what they say: checked where the answer is known."""

import numpy as np
import pytest
import torch

import narrows as nw
from narrows.compare.pages import gallery
from narrows.compare.pictures import changes, codes, units
from narrows.compare.pictures.codes import decoded, z_of

SHAPE = (1, 8, 8)


def images(n, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def model(bottleneck, network=None, fit=True):
    torch.manual_seed(0)
    network = network or nw.networks.Conv(hidden=8, residual_layers=0, downsamplings=1)
    made = nw.Autoencoder.for_images(SHAPE, bottleneck, network=network).eval()
    if fit:
        made.bottleneck.update([made.latent(images(64))])
        made.prior.fit([made.latent(images(64))])
    return made


@pytest.fixture(scope="module")
def models():
    b = nw.bottlenecks
    return {
        "plain": model(b.Identity(2)),
        "normal": model(b.Variational(2)),
        "vq": model(b.VectorQuantizer(40, 4)),
        "sparse": model(b.SparseDictionary(24, 4, coder=b.TopK(2))),
        "rvq": model(b.ResidualQuantizer(b.VectorQuantizer(8, 4), stages=2)),
        "two numbers": model(b.Identity(2), nw.networks.Mlp([16])),
    }


def each(draw, models, x):
    drawn = [draw(name, model, x=x) for name, model in models.items()]
    return [picture for picture in drawn if picture is not None]


def size(picture):
    import io

    from PIL import Image

    return Image.open(io.BytesIO(picture.data)).size


def test_a_linear_decoder_answers_to_a_feature_with_its_column(models):
    linear = model(nw.bottlenecks.Identity(3), nw.networks.Mlp([]))
    x = images(50)
    found, what = units._responses(linear, x)
    z = z_of(linear, x)
    deviation = z.std(0)
    order = deviation.argsort(descending=True)
    eye = torch.eye(3)
    columns = decoded(linear, eye) - decoded(linear, torch.zeros(3, 3))
    assert what == "feature"
    assert torch.allclose(found, (2 * deviation[:, None, None, None] * columns)[order], atol=1e-5)


def test_the_receptive_field_of_a_linear_feature_is_its_row():
    linear = model(nw.bottlenecks.Identity(3), nw.networks.Mlp([]))
    x = images(50)
    eye = torch.eye(64).view(64, *SHAPE)
    rows = (linear.encoder(eye) - linear.encoder(torch.zeros_like(eye))).detach()
    order = linear.encoder(x).var(0).argsort(descending=True)
    assert torch.allclose(units._fields(linear, x), rows.T.view(3, *SHAPE)[order], atol=1e-5)


def test_codes_are_answered_to_by_use_and_every_tile_is_of_one_size(models):
    found = each(units.responses, models, images(40))
    names = [picture.caption.partition(":")[0] for picture in found]
    assert names == ["plain", "normal", "vq", "sparse", "two numbers"], "rvq has two codes a site"
    assert "the 32 codes used most" in found[2].caption
    assert "the 24 atoms used most" in found[3].caption
    assert len({size(picture)[0] for picture in found}) == 1, "eight columns, however few images"


def test_codebooks_and_dictionaries_count_what_is_used(models):
    x = images(40)
    found = each(units.covers, models, x)
    assert len(found) == 2
    used = len(models["vq"].encode(x).unique())
    assert f"{used} of 40 codes in use" in found[0].caption
    assert "atoms" in found[1].caption
    assert "UMAP" not in found[0].caption


def test_the_latent_plane_is_drawn_where_there_is_one(models):
    (picture,) = each(codes.plane, models, images(40))
    assert picture.caption.startswith("two numbers")
    assert picture.alt.startswith("144 images")


def test_the_plane_runs_left_to_right_and_bottom_to_top():
    """With z = (pixel 0, pixel 1) the right column is bright in 0, the top row in 1."""
    plain = model(nw.bottlenecks.Identity(2), nw.networks.Mlp([]), fit=False)
    with torch.no_grad():
        for part, wide in ((plain.encoder, False), (plain.decoder, True)):
            layer = next(m for m in part.modules() if isinstance(m, torch.nn.Linear))
            layer.weight.zero_()
            layer.bias.zero_()
            for j in (0, 1):
                layer.weight[(j, j)] = 1
            assert (layer.weight.shape[0] > layer.weight.shape[1]) == wide
    (picture,) = each(codes.plane, {"p": plain}, images(200))
    import io

    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("L")).astype(int)
    step = (pixels.shape[0] + 4) // 12
    first = pixels[3::step, 3::step]  # pixel 0 of every tile
    second = pixels[3::step, 5::step]  # pixel 1
    assert (np.diff(first, axis=1) > 0).all()
    assert (np.diff(first, axis=0) == 0).all()
    assert (np.diff(second, axis=0) < 0).all()


def test_a_spectrum_ends_where_the_directions_do(models):
    picture = codes.spectra({"two numbers": models["two numbers"]}, images(60))
    assert picture is not None
    assert "two numbers from 1 to" in picture.alt
    model = models["plain"]
    assert codes.spectra({"plain": model}, images(1).repeat(5, 1, 1, 1)) is None


def test_only_continuous_codes_are_walked_along(models):
    names = [p.caption for p in each(changes.traversals, models, images(20))]
    assert names == ["plain", "normal", "two numbers"]


def test_a_map_needs_sites_and_a_mask_changes_what_is_near(models):
    x = images(6)
    found = codes.latent_maps(models, x)
    assert list(found.rows) == ["originals", "plain", "normal", "vq", "sparse", "rvq"]
    assert len(each(changes.masked, models, x)) == 5
    assert codes.latent_maps({"two numbers": models["two numbers"]}, x) is None


def test_every_model_gets_a_row_between_two_images_and_against_noise(models):
    for found in changes.interpolations(models, images(2), b=images(2, seed=1)):
        assert list(found.rows) == ["pixels blended", *models]
    strip = changes.denoised(models, images(3))
    assert list(strip.rows) == ["clean", "noise 0.5", *models]
    assert "Trained to remove noise: no model." in strip.caption
    trained = model(nw.bottlenecks.Identity(2))
    trained.objective = nw.objectives.Denoising(0.5)
    said = changes.denoised({**models, "trained": trained}, images(3)).caption
    assert "Trained to remove noise: trained." in said


def test_curves_are_drawn_for_what_was_recorded_and_look_the_same_everywhere():
    rows = [{"epoch": e, "loss": 5.0 / e, "validation_nmse": 1.0 / e} for e in range(1, 20)]
    coded = [{**row, "validation_usage": 0.5, "commitment": 2.0} for row in rows]
    histories = {"plain": rows, "vq": coded}
    (losses,) = gallery.training(histories, gallery._LOSSES)
    (usage,) = gallery.training(histories, gallery._USE)
    assert len(losses.blocks) == 3
    assert len(usage.blocks) == 1
    alone = usage.blocks[0].data.decode()
    from narrows.report import theme

    assert theme.SERIES[1] in alone, "vq is the second model of the page"
    assert theme.SERIES[0] not in alone
    gap = [{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": 1.0}]
    assert gallery.column(gap, "loss") == ([2], [1.0])


def test_a_gallery_puts_tables_beside_their_pictures_and_vectors_have_no_images(models):
    data = nw.data.load("digits", train_examples=100, test_examples=60)
    histories = {name: [{"epoch": 1.0, "loss": 1.0}] for name in models}
    measured = {"Samples": ["the table"]}
    found = gallery.sections(data, models, histories=histories, measured=measured)
    by_heading = {section.heading: section for section in found}
    assert by_heading["Samples"].blocks[0] == "the table"
    assert {"Reconstructions", "Latent maps", "The latent plane", "Denoising"} <= by_heading.keys()
    torch.manual_seed(0)
    vectors = nw.Autoencoder.for_vectors(6, nw.bottlenecks.Identity(3)).eval()
    from narrows.data import Dataset, Split

    split = Split(torch.randn(30, 6))
    found = gallery.sections(
        Dataset("v", split, split, split),
        {"v": vectors},
        histories={"v": [{"epoch": 1.0, "loss": 2.0}]},
    )
    assert [section.heading for section in found] == [
        "Training", "Structure of the codes", "Codes",
    ]  # fmt: skip


@pytest.mark.slow
def test_umap_is_an_extra_and_keeps_clusters_apart():
    pytest.importorskip("umap")
    from narrows.report.codes import umap_plane

    random = np.random.default_rng(0)
    codes = random.normal(size=(60, 5)) + 30 * (np.arange(60) % 2)[:, None]
    plane, share = umap_plane(codes)
    assert plane.shape == (60, 2)
    assert share is None
    one, two = plane[::2], plane[1::2]
    within = max(np.ptp(one, 0).max(), np.ptp(two, 0).max())
    assert np.linalg.norm(one.mean(0) - two.mean(0)) > within / 2
