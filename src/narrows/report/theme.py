"""One look for all figures, on paper and on screen, in light and in dark.

A figure is drawn in the colours of the light theme and is a valid picture of its own. The page
puts it inline and replaces each of these colours by a CSS variable, which the reader's theme
sets. No pyplot: figures are plain objects, and nothing global is left changed.
"""

import io
import re
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, LINES, PAPER = "#1f2329", "#5d6672", "#d5dae1", "#fdfdfc"
SERIES = (
    "#1f6bc4", "#d9480f", "#12805c", "#8a3ffc", "#a56200", "#c2255c", "#0b7285", "#52606d",
    "#5c940d", "#364fc7",
)  # fmt: skip
DARK = {
    INK: "#e8eaed", MUTED: "#a3acb8", LINES: "#3a414b", PAPER: "#16191d",
    "#1f6bc4": "#6aa9f4", "#d9480f": "#ff8a52", "#12805c": "#43c59e", "#8a3ffc": "#b794ff",
    "#a56200": "#e0a63c", "#c2255c": "#f26d9b", "#0b7285": "#4cc3d6", "#52606d": "#a9b5c2",
    "#5c940d": "#a3d34f", "#364fc7": "#92a5ff",
}  # fmt: skip
"""What each colour of the light theme becomes in the dark one."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES = ("-", "--", "-.", ":")

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small files, readable by machines
    "svg.hashsalt": "narrows",  # the same figure is the same file
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # a reader without it gets the next sans-serif
    "path.simplify": True,
}


def series_style(index: int) -> dict[str, Any]:
    """Colour, marker and dash of the index-th series; no two of the first 40 agree in all."""
    return {
        "color": SERIES[index % len(SERIES)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[(index // len(SERIES)) % len(DASHES)],
    }


def new_figure(width: float = 5.2, height: float = 3.6) -> tuple[Figure, Axes]:
    """A figure with one pair of axes in the house style, sizes in inches.

    It is narrow on purpose: at 400 px its text is still readable, and wide pages put two of
    them side by side.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.grid(color=LINES, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=10)
    axes.xaxis.label.set(color=INK, fontsize=11)
    axes.yaxis.label.set(color=INK, fontsize=11)
    return figure, axes


def label(text: str) -> str:
    """A user's text for matplotlib: never mathematics, never left out of a legend."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def legend(axes: Axes, always: bool = False) -> None:
    """A legend above the axes, clear of the data; without need only if `always`."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1 or always:
        figure = axes.get_figure(root=True)
        assert figure is not None
        columns = _columns(labels, figure.get_figwidth())
        rows = -(-len(labels) // columns)
        if rows > _ROWS:  # a long legend makes the figure taller, not its axes flatter
            figure.set_figheight(figure.get_figheight() + 0.19 * (rows - _ROWS))
        figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, fontsize=10,
            frameon=False, labelcolor=INK, handlelength=1.8, columnspacing=1.2, borderpad=0.2,
        )  # fmt: skip


_ROWS = 3  # of a legend, that the usual height has room for


def _columns(labels: list[str], width: float) -> int:
    """As many columns as `width` inches have room for, whatever font the reader's page has."""
    each = 0.45 + 0.075 * max(len(label) for label in labels)  # with line and marker
    room = max(1, min(3, int(width / each)))
    return 2 if room == 3 and len(labels) == 4 else room


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG, without a background and without the time of its making."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _short(buffer.getvalue().decode()).encode()


_POINT = re.compile(r'<use xlink:href="(#\w+)" x="([\d.-]+)" y="([\d.-]+)" style="([^"]*)"/>(\s*)')
_LINES = re.compile(r'<path d="([^"]*)"([^>]*fill:none[^>]*)/>\n(?:<path d="[^"]*"\2/>\n)+')


def _short(svg: str) -> str:
    """The same picture in half the bytes: short numbers, no names of groups, equal styles once."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"|(?<=<g) id="[^"]*"', "", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    svg = re.sub(r'(?<=[;:]) (?=[^<>]*"/?>)', "", svg)  # in styles
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', _coordinates, svg)
    svg = re.sub(r'<path d="M[^LCz"]*" [^>]*/>\n', "", svg)  # a line of one point shows nothing
    return _LINES.sub(_one_path, _points_joined(_bare_groups_dropped(svg)))


def _coordinates(attribute: re.Match[str]) -> str:
    """Tenths of a point are enough; hundredths for markers, which are small."""

    def shorter(number: re.Match[str]) -> str:
        value = float(number[0])
        return f"{value:.{1 if abs(value) >= 10 else 2}f}".rstrip("0").rstrip(".")

    text = re.sub(r"-?\d+\.\d+", shorter, attribute[0])
    return re.sub(r'\s*([MLCz])\s*|\s+(?=")', r"\1", text)


def _points_joined(svg: str) -> str:
    """Neighbouring points of equal style share one group."""
    parts, end, last = [], 0, ""
    for point in _POINT.finditer(svg):
        marker, x, y, style, _ = point.groups()
        if point.start() != end or style != last:
            parts += ["</g>" if last else "", svg[end : point.start()], f'<g style="{style}">']
        parts.append(f'<use xlink:href="{marker}" x="{x}" y="{y}"/>')
        end, last = point.end(), style
    return "".join(parts) + ("</g>" if last else "") + svg[end:]


def _one_path(lines: re.Match[str]) -> str:
    """Neighbouring lines of equal style as one path."""
    path = "".join(re.findall(r' d="([^"]*)"', lines[0]))
    return f'<path d="{path}"{lines[2]}/>\n'


def _bare_groups_dropped(svg: str) -> str:
    parts, bare = re.split(r"(<g[^>]*>|</g>)\n?", svg), []
    for index, part in enumerate(parts):
        if part.startswith("<g"):
            bare.append(part == "<g>")
        if part == "<g>" or (part == "</g>" and bare.pop()):
            parts[index] = ""
    return "".join(parts)


def inline_svg(svg: bytes, label: str) -> Markup:
    """An SVG file of `to_svg` as part of a page: themed, labelled, without ids that could clash."""
    text = svg.decode()
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None  # matplotlib always writes one
    text = text[text.index(">", text.index("<svg")) + 1 :]
    # The page has a style of its own.
    text = re.sub(r"<(metadata|style)[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)
    for colour in DARK:
        text = text.replace(colour, f"var(--{_name(colour)})")
    return Markup(
        f'<svg class="figure" role="img" aria-label="{escape(label)}" {box[0]} '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{text}'
    )


def variables(dark: bool) -> str:
    """The CSS variables that `inline_svg` refers to."""
    return " ".join(f"--{_name(c)}: {DARK[c] if dark else c};" for c in DARK)


def _name(colour: str) -> str:
    names = {INK: "ink", MUTED: "muted", LINES: "lines", PAPER: "paper"}
    return names.get(colour) or f"series-{SERIES.index(colour) + 1}"
