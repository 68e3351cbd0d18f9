"""The page: whole in itself, and usable by everyone."""

import base64
import hashlib
import html
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from narrows import report

RNG = np.random.default_rng(0)
MODELS = ("identity", "variational, normal", "vector quantizer with a long name", "sparse")


def images(n):
    return RNG.random((n, 1, 8, 8))


def example():
    series = {m: (range(40), np.exp(-np.arange(40) / 9) + 0.1 * RNG.random(40)) for m in MODELS}
    points = {m: [(i + 1.0, 0.1 / (i + 1))] for i, m in enumerate(MODELS)}
    table = report.Table(
        "Test split.",
        {
            "nmse": report.Column("NMSE", best="lowest"),
            "what": report.Column("what"),
            **{str(i): report.Column(f"quantity {i}", "bits per example") for i in range(12)},
        },
        {m: {"nmse": 0.1 * (i + 1), "what": "words " * 20} for i, m in enumerate(MODELS)},
    )
    strips = report.strips({m: images(12) for m in MODELS}, caption="Reconstructions.")
    return [
        report.Section("Results", ["Four models.", table]),
        report.Section(
            "Rate and distortion",
            [
                report.Gallery(
                    [report.rate_distortion(points), report.curves(series, quantity="NMSE")]
                )
            ],
        ),
        report.Section("Pictures", [strips, report.grid(images(64), what="samples")]),
        report.Section(
            "Codes",
            [
                report.Gallery(
                    [
                        report.scatter(RNG.normal(size=(300, 5)), np.arange(300) % 10, title=m)
                        for m in MODELS
                    ]
                )
            ],
        ),
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return report.Page(
        "Four <bottlenecks>",
        ["The first wins.", "But look at the bits."],
        example(),
        warnings=["one run failed & is counted"],
        commands=["narrows demo --out demo", "narrows train " + "--long-option=1 " * 20],
        versions={"narrows": "0.1.0"},
    ).write(tmp_path_factory.mktemp("page") / "new folder" / "report.html")


class Elements(HTMLParser):
    """Tags with their attributes, in order; checks that they nest."""

    VOID = frozenset({"meta", "img", "br", "path", "use", "rect"})

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def elements(path):
    return Elements(path.read_text())


def test_every_element_is_closed(elements):
    assert elements.open == []


def test_nothing_is_fetched_from_anywhere(elements, path):
    assert elements.of("script") == [{}]  # the page's own, which the policy names by its hash
    assert not elements.of("link")
    for _, attributes in elements.found:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert "url(http" not in path.read_text()
    policy = elements.of("meta")[2]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'")
    script = path.read_text().split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy["content"]


def test_it_is_small(path):
    assert path.stat().st_size < 5_000_000


def test_the_answer_stands_before_everything_else(path):
    text = path.read_text()
    order = [
        text.index(part) for part in ("The first wins.", "one run failed &amp;", "<nav", "<h2")
    ]
    assert order == sorted(order)


def test_every_picture_has_words_and_every_table_its_headings(elements):
    assert elements.of("html")[0]["lang"] == "en"
    assert all(a["alt"] for a in elements.of("img"))
    pictures = [a for a in elements.of("svg") if a.get("class") == "figure"]
    assert len(pictures) == 6
    assert all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in pictures)
    assert len(elements.of("caption")) == len(elements.of("table")) == 1
    assert all(a["scope"] in ("row", "col") for a in elements.of("th"))
    assert len(elements.of("h1")) == 1


def test_what_scrolls_can_be_scrolled_by_keyboard(elements):
    scrolling = [a for tag, a in elements.found if a.get("class") == "scroll" or tag == "pre"]
    assert len(scrolling) == 4
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolling)


def test_ids_are_unique_and_links_lead_somewhere(elements):
    ids = [a["id"] for tag, a in elements.found if "id" in a and tag not in ("path", "clippath")]
    assert len(ids) == len(set(ids))
    for link in elements.of("a"):
        assert link["href"].removeprefix("#") in ids


def test_text_is_escaped(path):
    text = path.read_text()
    assert "<title>Four &lt;bottlenecks&gt;</title>" in text
    assert "<bottlenecks>" not in text


NASTY = [
    "<script>alert(1)</script>",
    "$x_1$ \\frac{",
    "_hidden",
    "](http://x.y) | *a*",
    "# 1\n\n- b",
]


def nasty(tmp_path):
    """A page all of whose strings are a user's."""
    table = report.Table(NASTY[0], {n: report.Column(n, n) for n in NASTY},
                         {n: dict.fromkeys(NASTY, n) for n in NASTY}, corner=NASTY[0])  # fmt: skip
    series = {n: ([1, 2], [1.0, 2.0 + i]) for i, n in enumerate(NASTY)}
    pictures = [
        report.curves(series, quantity="loss"),
        report.rate_distortion({n: [(1.0 + i, 2.0)] for i, n in enumerate(NASTY)}),
        report.scatter(RNG.normal(size=(9, 3)), np.array((NASTY * 2)[:9]), title=NASTY[1]),
        report.strips({n: images(2) for n in NASTY}, caption=NASTY[0]),
    ]
    sections = [report.Section(n, [n, table, *pictures]) for n in NASTY]
    return report.Page(
        NASTY[0], NASTY, sections, warnings=NASTY, commands=NASTY, versions=dict.fromkeys(NASTY, 1)
    )


def test_no_string_of_a_users_becomes_markup_mathematics_or_a_hidden_line(tmp_path):
    page = nasty(tmp_path)
    found = Elements(page.write(tmp_path / "report.html").read_text())
    assert found.of("script") == [{}]
    assert not [link for link in found.of("a") if not link["href"].startswith("#")]
    text = page.write(tmp_path / "report.md").read_text()
    outside = re.sub(r"(?m)^    .*$", "", text)  # commands stand word for word
    assert "<script" not in outside.replace("\\<script", "")
    assert not re.search(r"(?<!\\)\]\((?!figures/)", outside)
    assert not re.search(r"(?m)^#+ 1$", outside)
    rows = [line for line in outside.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(NASTY) + 2}
    plot = report.curves({"_hidden": ([1, 2], [1.0, 2.0]), "b": ([1], [1.0])}, quantity="loss")
    assert b"_hidden" in plot.data


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    class Broken(report.Picture):
        @property
        def suffix(self):
            raise RuntimeError("no picture")

    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="no picture"):
        report.Page("t", ["a"], [report.Section("s", [Broken(b"", "", "")])]).write(target)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert target.read_text() == "old"


def contrast(first, second):
    """WCAG 2.2's contrast ratio of two colours."""

    def luminance(colour):
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_stand_out_from_the_paper(dark):
    from narrows.report import theme

    def shade(colour):
        return theme.DARK[colour] if dark else colour

    paper = shade(theme.PAPER)
    assert min(contrast(shade(c), paper) for c in (theme.INK, theme.MUTED)) >= 4.5
    assert min(contrast(shade(c), paper) for c in theme.SERIES) >= 3
    assert contrast(shade(theme.SERIES[0]), paper) >= 4.5  # links, underlined


def test_no_two_of_forty_series_look_alike():
    from narrows.report import theme

    styles = {tuple(theme.series_style(i).values()) for i in range(40)}
    assert len(styles) == 40


chromium = shutil.which("chromium") or shutil.which("chromium-browser")
in_browser = pytest.mark.skipif(chromium is None, reason="needs the chromium browser")


def browse(tmp_path, *arguments):
    return subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", *arguments,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip


@in_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_no_screen_has_to_be_scrolled_sideways(path, tmp_path, width):
    # A frame of the wanted width, since the window of a headless browser has a minimum.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe width="{width}" height="900" srcdoc="{html.escape(path.read_text())}"></iframe>'
        "<script>onload = () => { const d = document.querySelector('iframe').contentDocument;"
        "const figures = [...d.querySelectorAll('svg.figure, img')];"
        "const widths = figures.map(f => f.getBoundingClientRect().width);"
        "document.body.textContent = `RESULT ${d.documentElement.scrollWidth} "
        "${d.documentElement.clientWidth} ${Math.min(...widths)} ${d.images.length} "
        "${[...d.images].filter(i => i.naturalWidth > 0).length} END` }</script>"
    )
    found = browse(tmp_path, "--dump-dom", frame.as_uri())
    content, window, narrowest, pictures, loaded = map(
        float, found.split("RESULT")[1].split("END")[0].split()
    )
    assert content <= window <= width
    assert narrowest > 250
    assert pictures == loaded == 5


@in_browser
def test_tables_sort_and_pictures_enlarge_by_click_and_key(tmp_path):
    columns = {"db": report.Column("quality"), "what": report.Column("words")}
    rows = {"one": {"db": 9.5, "what": "b"}, "two": {"db": 1234.5, "what": "a"},
            "three": {"db": None, "what": "c"}}  # fmt: skip
    table = report.Table("figures", columns, rows)
    picture = report.curves({"run": ([1, 2], [1.0, 2.0])}, quantity="loss")
    page = report.Page("A page", ["So."], [report.Section("All", [table, picture])])
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe width="900" height="900" srcdoc="{html.escape(page.html())}"></iframe>'
        "<script>onload = () => { const d = document.querySelector('iframe').contentDocument;"
        "const names = () => [...d.querySelectorAll('tbody th')].map(t => t.textContent).join();"
        "const heads = d.querySelectorAll('thead th'), said = [];"
        "heads[1].click(); said.push(names()); heads[1].click(); said.push(names());"
        "const enter = new KeyboardEvent('keydown', {key: 'Enter'});"
        "heads[2].dispatchEvent(enter); said.push(names(), heads[2].ariaSort);"
        "const f = d.querySelector('svg.figure'), w = f.getBoundingClientRect().width;"
        "f.dispatchEvent(enter); said.push(f.getBoundingClientRect().width > w);"
        "f.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}));"
        "said.push(f.getBoundingClientRect().width === w);"
        "document.body.textContent = `RESULT ${said.join(' ')} END` }</script>"
    )
    found = browse(tmp_path, "--dump-dom", frame.as_uri())
    assert found.split("RESULT")[1].split("END")[0].split() == [
        "one,two,three", "two,one,three", "two,one,three", "ascending", "true", "true",
    ]  # fmt: skip


@in_browser
def test_it_paints_in_light_and_in_dark(path, tmp_path):
    from PIL import Image

    corner = {}
    for scheme, flag in (("light", "1"), ("dark", "0")):
        shot = tmp_path / f"{scheme}.png"
        browse(
            tmp_path, "--window-size=1280,900", f"--screenshot={shot}",
            f"--blink-settings=preferredColorScheme={flag}", path.as_uri(),
        )  # fmt: skip
        picture = np.asarray(Image.open(shot).convert("L"))
        corner[scheme] = int(picture[2, 2])
        assert np.ptp(picture) > 150  # there is writing on it
    assert corner["light"] > 240
    assert corner["dark"] < 40
