"""`python -m evidence`: docs from the ledger. `python -m evidence collect FOLDER NAME` adds to it.

Without arguments it writes every table, number and plot of README and docs that comes from the
ledger; with `--check` it writes nothing and fails if something would change. `collect` appends
the races of a folder that `narrows choose` wrote, under a name; `close` packs a ledger's lines.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from evidence import benchmarks, rate_distortion
from evidence.collect import collect
from evidence.ledger import close, kinds
from evidence.pages import ROOT, filled, pages
from narrows.report import Picture
from narrows.report.theme import PAPER
from narrows.saving.writing import write_bytes

IMAGES = ROOT / "docs" / "images"
PLOTS: Mapping[str, Callable[[], Picture]] = {
    "vq-curves": benchmarks.curves_plot,
    "sparse-mnist": lambda: benchmarks.sparse_plot("mnist"),
    "sparse-cifar10": lambda: benchmarks.sparse_plot("cifar10"),
    "rate-distortion-mnist": lambda: rate_distortion.plot("mnist"),
    "rate-distortion-cifar10": lambda: rate_distortion.plot("cifar10"),
}


def made() -> Iterator[tuple[Path, bytes]]:
    """Every file and what belongs into it."""
    for path in pages():
        yield path, filled(path.read_text(encoding="utf-8")).encode()
    for name, plot in PLOTS.items():
        yield IMAGES / f"{name}.svg", on_paper(plot().data)


def on_paper(svg: bytes) -> bytes:
    """A plot with a background, readable where pages are dark; short ids, recurring styles once."""
    text = svg.decode().replace('style="fill:none"', f'style="fill:{PAPER}"', 1)
    text = text[text.index("<svg") :].replace("xlink:href", "href")
    for number, name in enumerate(dict.fromkeys(re.findall(r' id="(\w+)"', text))):
        text = re.sub(rf'(?<=["#]){name}\b', f"i{number}", text)
    text = re.sub(r' clip-path="([^"]*)" style="([^"]*)"', r' style="\2;clip-path:\1"', text)
    styles = Counter(re.findall(r' style="([^"]*)"', text))
    rules = list[str]()
    for number, (style, uses) in enumerate(styles.most_common()):
        if uses > 1:
            rules.append(f".s{number}{{{style}}}")
            text = text.replace(f' style="{style}"', f' class="s{number}"')
    return text.replace("</style>", "".join([*rules, "</style>"]), 1).encode()


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser("python -m evidence", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    commands = parser.add_subparsers(dest="command")
    collecting = commands.add_parser("collect", help="append the races of a choice")
    collecting.add_argument("folder", type=Path, help="that narrows choose wrote")
    collecting.add_argument("name", help="of the choice")
    closing = commands.add_parser("close", help="pack the lines of a ledger into a volume")
    closing.add_argument("kind", choices=kinds(), help="of runs")
    given = parser.parse_args()
    if given.command == "close":
        print(f"wrote {close(given.kind)}")
        return 0
    if given.command == "collect":
        print(f"appended {collect(given.folder, given.name)} lines")
        return 0
    changed = [(p, c) for p, c in made() if not p.is_file() or p.read_bytes() != c]
    for path, content in changed:
        if not given.check:
            write_bytes(path, content)
        print(f"{'differs' if given.check else 'wrote'}: {path.relative_to(ROOT)}")
    return int(given.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
