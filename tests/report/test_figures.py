"""Figures show the data they were given."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from scipy.signal import savgol_filter

from narrows import report
from narrows.report import curves, theme

RNG = np.random.default_rng(0)


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.data)))


def texts(picture):
    root = ET.fromstring(picture.data)
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]


@pytest.mark.parametrize(("count", "window", "order"), [(100, 25, 3), (400, 11, 1), (64, 15, 2)])
def test_smoothing_is_scipys_savitzky_golay_where_that_is_well_conditioned(count, window, order):
    values = RNG.normal(size=count)
    ours = report.smooth(values, window, order=order)
    order = min(order, max(1, min(window, count // 4) // 7))
    np.testing.assert_allclose(ours, savgol_filter(values, window, order), atol=1e-10)


@pytest.mark.parametrize("degree", range(8))
def test_smoothing_reproduces_polynomials_up_to_its_order(degree):
    # The notebook's setting, 201 and 7, at which SciPy 1.17 returns nearly zero.
    values = np.linspace(-1, 1, 1000) ** degree
    np.testing.assert_allclose(report.smooth(values, 201, order=7), values, atol=1e-9)


def test_smoothing_removes_noise():
    clean = np.exp(-np.arange(4000) / 500)
    noisy = clean + 0.1 * RNG.normal(size=4000)
    assert np.std(report.smooth(noisy) - clean) < 0.3 * np.std(noisy - clean)


def test_smoothed_logarithms_stay_positive_where_smoothed_values_do_not():
    spiky = np.full(400, 1e-3)
    spiky[200] = 10.0
    assert report.smooth(spiky).min() < 0
    assert report.smooth(spiky, logarithmic=True).min() > 0
    picture = report.curves({"a": (range(400), spiky)}, quantity="loss")
    heights = [float(y) for y in re.findall(r"L[\d.]+ (-?[\d.]+)", picture.data.decode())]
    assert max(heights) < 1e4  # a value below 0 has no place on a logarithmic axis


def test_few_values_are_left_as_they_are():
    values = RNG.normal(size=11)
    assert np.array_equal(report.smooth(values), values)


def test_curves_carry_their_labels_and_units_and_say_where_they_end():
    series = {"vq": (np.arange(20), np.linspace(1, 0.25, 20)), "ae": ([0, 1], [0.5, 0.125])}
    picture = report.curves(series, quantity="loss", unit="nats per example", step="step")
    assert {"vq", "ae", "loss [nats per example]", "step"} <= set(texts(picture))
    assert "vq from 1 to 0.25" in picture.alt
    assert "ae from 0.5 to 0.125" in picture.alt
    assert "Logarithmic" in picture.caption


def test_smoothing_is_said_only_where_it_is_done():
    few, many = (report.curves({"a": (range(n), np.ones(n))}, quantity="x") for n in (11, 12))
    assert "smoothed" not in few.caption
    assert "smoothed" in many.caption


def test_negative_values_take_a_linear_axis_and_missing_ones_are_left_out():
    picture = report.curves({"a": (range(5), [3, 1, np.nan, -1, -2])}, quantity="loss")
    assert "Linear" in picture.caption
    assert "from 3 to -2" in picture.alt
    with pytest.raises(ValueError, match="at least one finite value of loss"):
        report.curves({"a": ([0], [np.nan])}, quantity="loss")


def test_distortion_against_bits_names_every_point():
    points = {"vq": [(2.0, 0.05), (1.0, 0.2)], "sparse": [(1.5, 0.1)], "none": []}
    picture = report.rate_distortion(points)
    assert "vq 0.2 at 1, 0.05 at 2; sparse 0.1 at 1.5." in picture.alt
    assert {"vq", "sparse", "NMSE", "bits per dimension"} <= set(texts(picture))
    with pytest.raises(ValueError, match="at least one"):
        report.rate_distortion({"none": []})


def test_intervals_are_drawn_and_said():
    plain = report.rate_distortion({"vq": [(1.0, 0.2), (2.0, 0.1)]})
    barred = report.rate_distortion({"vq": [(1.0, 0.2, 0.05), (2.0, 0.1)]})
    assert "0.2 ± 0.05 at 1, 0.1 at 2" in barred.alt
    assert "95 % intervals" in barred.caption
    assert "intervals" not in plain.caption
    assert barred.data.count(b"<path") > plain.data.count(b"<path")


def test_the_principal_plane_is_that_of_scikit_learn():
    from sklearn.decomposition import PCA

    codes = RNG.normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    plane, share = report.principal_plane(codes)
    reference = PCA(2).fit(codes)
    np.testing.assert_allclose(np.abs(plane), np.abs(reference.transform(codes)), atol=1e-9)
    np.testing.assert_allclose(share, reference.explained_variance_ratio_)


@pytest.mark.parametrize("codes", [np.zeros((5, 3)), np.arange(4.0)[:, None]])
def test_degenerate_codes_still_have_a_plane(codes):
    plane, share = report.principal_plane(codes)
    assert plane.shape == (len(codes), 2)
    assert np.isfinite(plane).all()
    assert share[1] == 0
    report.scatter(codes, title="degenerate")


def test_a_scatter_names_the_classes_and_the_variance_shown():
    picture = report.scatter(RNG.normal(size=(60, 2)), np.arange(60) % 3, title="vq")
    assert {"0", "1", "2", "vq"} <= set(texts(picture))
    assert "100% of their variance" in picture.alt
    with pytest.raises(ValueError, match="flatten them"):
        report.scatter(np.zeros((2, 3, 4)), title="maps")


def test_a_grid_holds_every_image_at_its_place():
    images = np.linspace(0, 1, 5)[:, None, None, None] * np.ones((5, 1, 48, 30))
    shown = pixels(report.grid(images, what="greys", columns=3))
    assert shown.shape == (2 * 48 + 4, 3 * 30 + 8, 4)
    centres = [shown[24 + 52 * (i // 3), 15 + 34 * (i % 3)] for i in range(6)]
    assert [tuple(c) for c in centres] == [
        *[(v, v, v, 255) for v in (0, 64, 128, 191, 255)],
        (0, 0, 0, 0),
    ]


def test_colours_keep_their_order_and_small_images_are_enlarged_by_whole_factors():
    image = np.zeros((1, 3, 2, 2))
    image[0, 0, 0, 0] = image[0, 2, 1, 1] = 1
    shown = pixels(report.grid(image, what="dots"))
    assert shown.shape == (28, 28, 4)
    assert tuple(shown[0, 0]) == tuple(shown[13, 13]) == (255, 0, 0, 255)
    assert tuple(shown[14, 14]) == (0, 0, 255, 255)


def test_values_outside_the_unit_interval_are_clipped():
    images = np.array([-3.0, 1.004, np.nan])[:, None, None, None] * np.ones((3, 1, 48, 48))
    shown = pixels(report.grid(images, what="extremes"))
    assert [shown[5, 5 + 52 * i, 0] for i in range(3)] == [0, 255, 0]


def test_what_is_not_an_image_is_refused():
    for images in (np.zeros((4, 8, 8)), np.zeros((4, 2, 8, 8)), np.zeros((0, 1, 8, 8))):
        with pytest.raises(ValueError, match=r"expected images \[n, channels"):
            report.grid(images, what="nothing")
    with pytest.raises(ValueError, match="rows of equal length"):
        report.strips({"a": np.zeros((2, 1, 8, 8)), "b": np.zeros((3, 1, 8, 8))}, caption="")


def test_stretching_spans_the_unit_interval_and_can_keep_zero_grey():
    images = RNG.normal(size=(4, 1, 5, 5)) * [[[[7.0]]], [[[1]]], [[[0]]], [[[0.1]]]]
    plain, signed = report.stretch(images), report.stretch(images, symmetric=True)
    assert plain[[0, 1, 3]].min((1, 2, 3)).tolist() == [0, 0, 0]
    assert plain[[0, 1, 3]].max((1, 2, 3)).tolist() == [1, 1, 1]
    np.testing.assert_allclose(signed[2], 0.5)
    np.testing.assert_array_equal(np.sign(signed - 0.5), np.sign(images))


def test_equal_codes_get_equal_colours_in_every_map():
    codes = RNG.normal(size=(4, 6))
    index = RNG.integers(0, 4, size=(2, 3, 3))
    colours = report.pca_rgb(codes[index]).transpose(0, 2, 3, 1)
    assert colours.shape == (2, 3, 3, 3)
    for code in range(4):
        assert np.ptp(colours[index == code], axis=0).max() < 1e-12
    assert report.pca_rgb(RNG.normal(size=(2, 3, 3, 2)))[:, 2].max() == 0


def test_colours_show_how_codes_differ_and_not_where_they_lie():
    steps = RNG.permutation(9) / 8
    codes = np.array([100.0, 0, 0]) + steps[:, None] * np.array([0, 0, 1.0])
    red, green, blue = report.pca_rgb(codes.reshape(1, 3, 3, 3))[0].reshape(3, 9)
    np.testing.assert_allclose(np.abs(red - red[steps == 0]), steps, atol=1e-9)
    assert green.tolist() == blue.tolist() == [0] * 9


def test_the_same_figure_is_the_same_file():
    first, again = (report.rate_distortion({"a": [(1.0, 0.5)]}) for _ in range(2))
    assert first.data == again.data


def test_pictures_save_under_their_own_ending(tmp_path):
    curve = report.rate_distortion({"a": [(1.0, 0.5)]})
    assert curve.save(tmp_path / "rd").read_bytes().startswith(b"<?xml")
    assert report.grid(np.zeros((1, 1, 8, 8)), what="x").save(tmp_path / "v1.2").name == "v1.2.png"


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    report.rate_distortion({"a": [(1.0, 0.5)]})
    assert dict(matplotlib.rcParams) == before


def test_every_colour_of_a_figure_follows_the_readers_theme():
    series = {f"model {i}": (range(30), RNG.random(30) + 0.1) for i in range(12)}
    inline = str(report.curves(series, quantity="loss").inline)
    assert not re.findall(r"#[0-9a-f]{6}", inline)


def test_points_of_one_class_share_a_group_and_keep_their_places():
    """Against matplotlib's own SVG: the same points, in a fraction of the bytes."""
    import io
    import re

    from narrows.report import theme

    figure, axes = theme.new_figure()
    axes.scatter(RNG.normal(size=200), RNG.normal(size=200), color=theme.SERIES[0])
    axes.scatter(RNG.normal(size=100), RNG.normal(size=100), color=theme.SERIES[1])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True)
    ours = theme.to_svg(figure).decode()

    def places(svg):
        found = re.findall(r'<use xlink:href="#\w+" x="([\d.-]+)" y="([\d.-]+)"', svg)
        return np.array(found, dtype=float)

    theirs = buffer.getvalue().decode()
    assert places(ours).shape == places(theirs).shape
    assert np.abs(places(ours) - places(theirs)).max() <= 0.051
    assert len(ours) < 0.75 * len(theirs)
    assert ours.count("<g") == ours.count("</g>")
    import xml.etree.ElementTree as ElementTree

    ElementTree.fromstring(ours)


def test_a_legend_has_no_more_columns_than_its_figure_has_room_for():
    """Text becomes wider in a reader's fonts; beside another figure it would run into that."""
    assert theme._columns(["ae", "vae", "vq"], 5.2) == 3
    assert theme._columns(["ae", "vae", "vq", "omp"], 5.2) == 2, "two and two"
    assert theme._columns(["ae, 4 bits/dim", "vae-laplace, 0.42 bits/dim"], 5.2) == 2
    assert theme._columns(["ae", "sparse-lasso (step=x2), 8.5 bits/dim"], 5.2) == 1


def test_a_long_legend_leaves_the_axes_their_height():
    def box(names):
        svg = curves({name: ([1, 2], [1.0, 2.0]) for name in names}, quantity="loss").data
        return float(re.search(rb'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1])

    names = [f"sparse-lasso (step=x{i}), 8.5 bits/dim" for i in range(8)]
    assert box(names) - box(names[:3]) == pytest.approx(5 * 0.19 * 72, abs=1)


def test_a_beaten_point_is_shown_and_not_joined():
    clean = report.rate_distortion({"vq": [(1.0, 0.3), (3.0, 0.1)]})
    beaten = report.rate_distortion({"vq": [(1.0, 0.3), (2.0, 0.5), (3.0, 0.1)]})
    assert "Pale" in beaten.caption
    assert "Pale" not in clean.caption
    assert "at 2" in beaten.alt
    from narrows.report.rate_distortion import _split

    assert _split([(3.0, 0.1), (1.0, 0.3), (2.0, 0.5)]) == (([1, 3], [0.3, 0.1]), ([2], [0.5]))


def test_tick_labels_keep_all_their_digits():
    figure, axes = theme.new_figure()
    axes.plot([0.0, 1.0], [0.0, 1.0])
    axes.set_yticks([0.0625, 0.175])
    svg = theme.to_svg(figure).decode()
    assert re.findall(r">(0\.\d{3,})<", svg) == ["0.0625", "0.1750"]


def test_a_short_svg_is_well_formed_and_draws_every_line():
    figure, axes = theme.new_figure()
    for height in (0.25, 0.5, 0.75):
        axes.errorbar([1, 2], [height, height], yerr=0.1, color="#123456")
    svg = theme.to_svg(figure).decode()
    ET.fromstring(svg)
    assert len(re.findall(r"M[\d. ]+L", "".join(re.findall(r'd="([^"]*)"[^>]*#123456', svg)))) == 9


@pytest.mark.parametrize("kind", ["svg+xml", "png"])
def test_a_notebook_shows_a_picture_whole(kind):
    drawn = report.curves({"a": ([1, 2], [3, 4])}, quantity="q", caption="<look>")
    picture = drawn if kind == "svg+xml" else report.grid(np.ones((1, 1, 8, 8)), what="<look>")
    found = re.search(rf'src="data:image/{re.escape(kind)};base64,([^"]+)"', picture._repr_html_())
    assert base64.b64decode(found[1]) == picture.data
    assert "<figcaption>&lt;look&gt;" in picture._repr_html_()
