"""What came of the claims, as a page, as pictures, as JSON and as lines of the ledger."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrows.report import Block, Column, Gallery, Page, Picture, Section, Table
from narrows.report.table import format_cell
from narrows.saving.writing import write_bytes, write_text
from narrows.training.run import environment
from reproductions.claim import Former
from reproductions.examination import Examined, Finding
from reproductions.figures import pictures
from reproductions.verdict import Estimate, holm, p_value

RULE = (
    "Rule. Each hypothesis is a number and a bound; where one was changed after a look at results, "
    "its claim says so. Supported: the whole 95 % interval lies on the document's side of the "
    "bound; contradicted: it lies on the other side; inconclusive: it holds the bound, or is not "
    "defined. A claim with several hypotheses is supported when all are, contradicted when one is. "
    "Undertrained: a model behind the claim is below its floor, so that nothing is concluded. The "
    "floor of a model: its copies beat the mean image and explain at least half the variance that "
    "PCA with as many numbers explains, they differ from each other, and the last quarter of "
    "training improved the validation NMSE by less than 3 %, which a claim about the course of "
    "training does not ask. The p values are adjusted for all "
    "hypotheses of a document together (Holm, 1979): where one is 0.05 or more, its own interval "
    "alone is no proof. The rule writes the verdicts."
)
_SHOWN = 6  # shortfalls that are spelled out
TITLE = "Claims of the five documents, put to the test"


def write(examined: Sequence[Examined], out: Path, command: str) -> Path:
    """Writes `claims.html`, `claims.json` and `claims/`, the pictures, to a folder.

    Args:
        examined: in the order shown.
        out: the folder.
        command: that makes all this again.

    Returns:
        The page.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = [as_json(one) for one in examined]
    write_text(out / "claims.json", json.dumps(found, indent=1) + "\n")
    (out / "claims").mkdir(exist_ok=True)
    for one in examined:
        for index, (data, _, _) in enumerate(pictures(one.figures), 1):
            write_bytes(out / "claims" / f"{one.claim.name}-{index}.png", data)
    facts = environment()
    return Page(
        TITLE,
        [count(examined), RULE],
        [*summaries(examined), *(section(one, adjusted(examined)) for one in examined)],
        warnings=[f"{one.claim.name}: {text}" for one in examined for text in one.problems],
        commands=[command],
        versions={**facts["versions"], "processor": facts["processor"], "cores": facts["cores"]},
    ).write(out / "claims.html")


def count(examined: Sequence[Examined]) -> str:
    """How many claims came out how, in a sentence."""
    theirs = [one for one in examined if not one.claim.ours]
    counts = Counter(one.verdict for one in theirs)
    order = ("supported", "contradicted", "inconclusive", "undertrained", "not run")
    parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict])
    ours = sum(one.claim.ours for one in examined)
    apart = f" Listed apart: {ours} tests of our own repairs and ideas." if ours else ""
    return f"{len(theirs)} claims: {parts}.{apart}"


def sentence(finding: Finding) -> str:
    """A finding in one line."""
    h, (mean, low, high) = finding.hypothesis, numbers(finding.estimate)
    n = finding.estimate.n
    return f"{h.quantity}: {mean} [{low}, {high}], n = {n}; to be {h.relation} {h.bound:g}: " + (
        finding.verdict
    )


def numbers(estimate: Estimate) -> tuple[str, str, str]:
    """Mean, lower and upper end, to the place that two digits of the interval's width reach.

    One place more where an end would otherwise be written as zero and is not.
    """
    values = (estimate.mean, estimate.low, estimate.high)
    width = estimate.high - estimate.low
    if not math.isfinite(width) or width <= 0:
        mean, low, high = (format_cell(value) for value in values)
        return mean, low, high
    place = max(0, 1 - math.floor(math.log10(width)))
    if any(value and not round(value, place) for value in values[1:]):
        place += 1
    if place > 6 and abs(estimate.mean) < 1e-3:
        mean, low, high = (f"{value:.2g}" for value in values)
        return mean, low, high
    place = min(place, 6)
    mean, low, high = (f"{value:.{place}f}" for value in values)
    return mean, low, high


def summaries(examined: Sequence[Examined]) -> list[Section]:
    """The documents' claims, and apart from them the tests of our own repairs and ideas."""
    theirs = [one for one in examined if not one.claim.ours]
    ours = [one for one in examined if one.claim.ours]
    found = [Section("All claims", [summary(theirs)])] if theirs else []
    if ours:
        found.append(Section("Tests of our own repairs and ideas", [summary(ours)]))
    return found


def summary(examined: Sequence[Examined]) -> Table:
    """One row per claim."""
    columns = {"verdict": Column("verdict"), "says": Column("the document says")}
    rows = {
        f"{one.claim.document} {one.claim.name}": {
            "verdict": one.verdict,
            "says": one.claim.says,
        }
        for one in examined
    }
    return Table("Claims and verdicts.", columns, rows, corner="claim")


def adjusted(examined: Sequence[Examined]) -> dict[tuple[str, str], float]:
    """Holm's p by claim and quantity, the document's hypotheses together, ours apart."""
    families: dict[tuple[str, bool], list[tuple[str, Finding]]] = {}
    for one in examined:
        family = families.setdefault((one.claim.document, one.claim.ours), [])
        family += [(one.claim.name, finding) for finding in one.findings]
    found = {}
    for family in families.values():
        ps = holm([p_value(f.estimate, f.hypothesis.bound) for _, f in family])
        names = [(name, f.hypothesis.quantity) for name, f in family]
        found |= dict(zip(names, ps, strict=True))
    return found


def section(one: Examined, ps: Mapping[tuple[str, str], float]) -> Section:
    """All about one claim, with Holm's p by claim and quantity."""
    blocks: list[Block | str] = [
        f"Document {one.claim.document}, {one.claim.place}: {one.claim.says}",
        f"Verdict: {one.verdict}.",
    ]
    if one.findings:
        blocks.append(table(one, ps))
    blocks += floors(one.models, one.shortfalls, one.advice)
    blocks += [given_up(former) for former in one.claim.former]
    blocks += [*side_by_side(one.figures), *one.claim.notes, *one.problems, cost(one)]
    return Section(f"{one.claim.document} {one.claim.name}", blocks)


def given_up(former: Former) -> str:
    """A hypothesis that was changed after a look, in a sentence."""
    return (
        f"Given up on {former.until}: {former.quantity}, to be {former.relation} "
        f"{former.bound:g}. Reason: {former.reason}."
    )


def floors(models: int, shortfalls: Sequence[str], advice: Sequence[str]) -> list[str]:
    """Sentences on the models behind a claim: floors missed, and what their runs warned of."""
    found = []
    if models and not shortfalls:
        found.append(f"All {models} models reach their floor.")
    if shortfalls:
        rest = len(shortfalls) - _SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        found.append(f"Below the floor: {'; '.join(shortfalls[:_SHOWN])}{more}.")
    return found + [f"Warned while training: {text}." for text in advice]


def side_by_side(blocks: Sequence[Block]) -> list[Block]:
    """Neighbouring plots and pictures as galleries; strips keep the width of the page."""
    return [
        found
        for narrow, group in itertools.groupby(blocks, lambda b: isinstance(b, Picture))
        for found in ([Gallery(list(group))] if narrow else group)
    ]


def table(one: Examined, ps: Mapping[tuple[str, str], float]) -> Table:
    """One row per hypothesis."""
    columns = {
        "quantity": Column("quantity"),
        "predicted": Column("the document's side"),
        "since": Column("stated on"),
        "measured": Column("measured", "mean [95 % interval]"),
        "n": Column("values"),
        "p": Column("p", "Holm"),
        "verdict": Column("verdict"),
    }
    rows = {}
    for index, f in enumerate(one.findings, 1):
        mean, low, high = numbers(f.estimate)
        rows[str(index)] = {
            "quantity": f.hypothesis.quantity,
            "predicted": f"{f.hypothesis.relation} {f.hypothesis.bound:g}",
            "since": f.hypothesis.since,
            "measured": f"{mean} [{low}, {high}]",
            "n": f.estimate.n,
            "p": f"{ps[one.claim.name, f.hypothesis.quantity]:.2g}",
            "verdict": f.verdict,
        }
    kinds = ", ".join(dict.fromkeys(f.estimate.kind for f in one.findings))
    return Table(f"Intervals: {kinds}.", columns, rows, corner="")


def cost(one: Examined) -> str:
    """Trials and time."""
    return (
        f"{one.trials} trials, {one.seconds / 60:.1f} minutes of one core, size {one.scale.size}; "
        f"alone: python -m reproductions {one.claim.name}"
    )


def record(examined: Sequence[Examined], folder: Path | None = None) -> int:
    """Appends every claim that was judged to the ledger, where that does not hold it yet.

    Args:
        examined: what came of the claims.
        folder: of the ledger; by default that of the repository.

    Returns:
        How many were appended.
    """
    from evidence import ledger

    place, count = folder or ledger.FOLDER, 0
    for one in (one for one in examined if one.findings):
        scale = {"size": one.scale.size, "seeds": one.scale.seeds}
        data = {} if one.scale.data is None else {"data": one.scale.data}
        estimates = {
            f.hypothesis.quantity: {
                k: getattr(f.estimate, k) for k in ("mean", "low", "high", "n", "kind")
            }
            for f in one.findings
        }
        shown = [[alt, caption] for _, alt, caption in pictures(one.figures)]
        figures = {
            "estimates": estimates, "trials": one.trials, "pictures": shown,
            "settings": dict(one.settings), "models": one.models,
            "shortfalls": list(one.shortfalls), "advice": list(one.advice),
        }  # fmt: skip
        run = ledger.now({"claim": one.claim.name, **scale, **data}, figures, seconds=one.seconds)
        if not ledger.holds("claims", run, place):
            ledger.append("claims", run, place)
            count += 1
    return count


def as_json(one: Examined) -> dict[str, Any]:
    """Everything but the pictures."""
    return {
        "claim": one.claim.name,
        "document": one.claim.document,
        "place": one.claim.place,
        "says": one.claim.says,
        "verdict": one.verdict,
        "hypotheses": [
            {
                "quantity": f.hypothesis.quantity,
                "relation": f.hypothesis.relation,
                "bound": f.hypothesis.bound,
                "mean": f.estimate.mean,
                "interval_95": [f.estimate.low, f.estimate.high],
                "values": f.estimate.n,
                "kind": f.estimate.kind,
                "verdict": f.verdict,
            }
            for f in one.findings
        ],
        "size": one.scale.size,
        "seeds": one.scale.seeds,
        "settings": dict(one.settings),
        "models": one.models,
        "shortfalls": list(one.shortfalls),
        "advice": list(one.advice),
        "trials": one.trials,
        "core_minutes": one.seconds / 60,
        "problems": list(one.problems),
    }
