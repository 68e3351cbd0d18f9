"""The claims of the documents and what came of them, from the ledger."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evidence.ledger import Run, latest
from evidence.pages import ROOT, grid
from reproductions import CLAIMS, Claim, Scale
from reproductions.claim import Former, Plain, Size
from reproductions.examination import shared
from reproductions.page import RULE, numbers
from reproductions.training import Setting
from reproductions.verdict import Estimate, Verdict, holm, judge, p_value, together

IMAGES = "docs/images"


@dataclass(frozen=True)
class Judged:
    """A claim and its last run, of the document's own size where there is one.

    Attributes:
        claim: as it is stated now.
        run: of the ledger; None if there is none with these hypotheses.
    """

    claim: Claim
    run: Run | None

    def estimate(self, quantity: str) -> Estimate:
        """What was measured."""
        assert self.run is not None
        found = self.run.figures["estimates"][quantity]
        mean, low, high = (
            math.nan if found[k] is None else found[k] for k in ("mean", "low", "high")
        )
        return Estimate(mean, low, high, found["n"], found.get("kind", ""))

    def verdicts(self) -> list[Verdict]:
        """Of each hypothesis, by rule."""
        if self.run is None:
            return ["not run"]
        return [
            judge(self.estimate(h.quantity), h.relation, h.bound) for h in self.claim.hypotheses
        ]

    @property
    def verdict(self) -> Verdict:
        """Of the whole claim; "undertrained" if a model behind it has no floor or is below it."""
        if self.run is not None:
            figures = self.run.figures
            unheld = "models" not in figures and _settings(self.claim, "default")
            if unheld or figures.get("shortfalls"):
                return "undertrained"
        return together(self.verdicts())


def page() -> str:
    """What the pages of the documents leave out: dates, p values, cost, notes, pictures."""
    judged = [find(claim) for claim in CLAIMS]
    theirs = [one for one in judged if not one.claim.ours]
    ours = [one for one in judged if one.claim.ours]
    counts = Counter(one.verdict for one in theirs)
    order = ("supported", "contradicted", "inconclusive", "undertrained", "not run")
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict])
    parts = [
        f"{len(theirs)} claims: {said}.", RULE, _listed(theirs),
        "Tests of our own repairs and ideas, which no document states:", _listed(ours),
    ]  # fmt: skip
    heading = "## Notes, and hypotheses that were changed"
    return "\n\n".join([*parts, heading, *_notes(judged)])


def _listed(judged: Sequence[Judged]) -> str:
    head = ["claim", "place", "verdict", "stated", "values", "Holm's p", "trials, minutes, commit"]
    ps = _adjusted()
    rows = []
    for one in judged:
        claim = one.claim
        known = [ps.get((claim.name, h.quantity), "–") for h in claim.hypotheses]
        values = {row[3] for row in _rows(one)}
        rows.append([
            f"[{claim.name}](../documents/{claim.document}.md)", f"{claim.document}, {claim.place}",
            one.verdict, ", ".join(sorted({str(h.since) for h in claim.hypotheses})),
            ", ".join(sorted(values)), ", ".join(known), _cost(one.run) if one.run else "–",
        ])  # fmt: skip
    return grid(head, rows)


def _adjusted() -> dict[tuple[str, str], str]:
    """Holm's p by claim and quantity: those of a document together, our own apart."""
    families: dict[tuple[str, bool], list[tuple[str, str, float]]] = {}
    for one in map(find, CLAIMS):
        family = families.setdefault((one.claim.document, one.claim.ours), [])
        if one.run is not None:
            family += [
                (one.claim.name, h.quantity, p_value(one.estimate(h.quantity), h.bound))
                for h in one.claim.hypotheses
            ]
    found = {}
    for family in families.values():
        ps = holm([p for _, _, p in family])
        found |= {(c, q): f"{p:.2g}" for (c, q, _), p in zip(family, ps, strict=True)}
    return found


def verdicts(document: str) -> str:
    """The table of one document.

    Args:
        document: its number.
    """
    head = ["claim", "the document says", "predicted as", "measured [95 % interval]", "verdict"]
    rows = []
    for claim in CLAIMS:
        if claim.document == document:
            one = find(claim)
            name, says = f"`{claim.name}`", claim.says
            several = len(claim.hypotheses) > 1
            for row in _rows(one):
                verdict = f"**{one.verdict}**" if name else ""
                verdict += f" ({row[-1]})" if several else ""
                rows.append([name, says, f"{row[0]} {row[1]}", row[2], verdict.strip()])
                name = says = ""
    return grid(head, rows)


def warnings(document: str) -> str:
    """What is missing of the models behind a document's verdicts, and what their runs warned of.

    Args:
        document: its number.
    """
    names: dict[str, list[str]] = {}
    for claim in CLAIMS:
        run = find(claim).run
        if claim.document == document and run is not None and _settings(claim, "default"):
            for text in _short(run.figures):
                names.setdefault(text, []).append(f"`{claim.name}`")
    rows = [[text, ", ".join(claims)] for text, claims in names.items()]
    return grid(["models", "claims"], rows)


def _short(figures: Mapping[str, Any]) -> list[str]:
    """On the floors of a run's models: the first that is missed, and how many more."""
    if "models" not in figures:
        return ["measured before models were held to a floor, so that no verdict is drawn"]
    missed = figures["shortfalls"]
    found = [f"below the floor, so that no verdict is drawn: {text}" for text in missed[:1]]
    if len(missed) > 1:
        found = [f"{found[0]}; and {len(missed) - 1} more in {figures['models']} models"]
    if figures["models"] and not missed:
        found = ["all reach their floor"]
    return found + [f"warned while training: {text}" for text in figures["advice"]]


def sizes(document: str) -> str:
    """How large the runs behind each claim are, beside the document's own scale.

    Args:
        document: its number.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    for claim in CLAIMS:
        if claim.document == document:
            run = find(claim).run
            known = None if run is None else run.figures.get("settings")
            here = _size(known) if known else "not run yet" if run is None else "not recorded"
            there = _size(_settings(claim, "full"))
            if "epochs" in there:
                rows.setdefault((here, there), []).append(f"`{claim.name}`")
    head = ["claims", "here", "at `--full`"]
    return grid(head, [[", ".join(names), *both] for both, names in rows.items()])


def _settings(claim: Claim, size: Size) -> Mapping[str, Plain]:
    """What all trials share that train anything."""
    trained = [t for t in claim.trials(Scale(size, 2)) if "epochs" in t.arguments]
    return shared(trained) if trained else {}


def _size(settings: Mapping[str, Plain]) -> str:
    """Examples, passes and updates of a claim's models, and what else all of them share."""
    found = []
    examples, epochs = settings.get("train_examples"), settings.get("epochs")
    batch = settings.get("batch_size", Setting.batch_size)
    if isinstance(examples, int) and isinstance(epochs, int) and isinstance(batch, int):
        updates = f"{epochs * math.ceil(examples / batch):,} updates of {batch}"
        found.append(f"up to {examples:,} examples x {epochs} epochs = {updates}")
    # Which data they are depends on what is on this machine.
    said = {"data", "train_examples", "test_examples", "epochs", "batch_size"}
    found += [f"{k.replace('_', ' ')} {v}" for k, v in settings.items() if k not in said and v]
    return ", ".join(found)


def measured(claim: str, index: str = "1") -> str:
    """The mean of one hypothesis, for a sentence.

    Args:
        claim: its name.
        index: of the hypothesis, from 1.
    """
    (known,) = [one for one in CLAIMS if one.name == claim]
    quantity = known.hypotheses[int(index) - 1].quantity
    runs = [r for r in latest("claims", claim=claim) if quantity in r.figures["estimates"]]
    return numbers(Judged(known, runs[-1]).estimate(quantity))[0]


def find(claim: Claim) -> Judged:
    """A claim with its last run that measured what the claim now states."""
    wanted = {h.quantity for h in claim.hypotheses}
    try:
        runs = latest("claims", claim=claim.name)
    except LookupError:
        runs = []
    fitting = [run for run in runs if wanted <= run.figures["estimates"].keys()]
    fitting.sort(key=lambda run: run.configuration["size"] == "full")  # stable: the last of each
    return Judged(claim, fitting[-1] if fitting else None)


def _rows(one: Judged) -> list[list[str]]:
    """Quantity, the document's side, measured, values, verdict."""
    rows = []
    for hypothesis, verdict in zip(one.claim.hypotheses, one.verdicts(), strict=False):
        row = [hypothesis.quantity, f"{hypothesis.relation} {hypothesis.bound:g}"]
        if one.run is None:
            rows.append([*row, "–", "–", verdict])
            continue
        estimate = one.estimate(hypothesis.quantity)
        mean, low, high = numbers(estimate)
        rows.append([*row, f"{mean} [{low}, {high}]", str(estimate.n), verdict])
    return rows


def _notes(judged: Sequence[Judged]) -> list[str]:
    """What several claims have in common once."""
    names: dict[str, list[str]] = {}
    for one in judged:
        pictures = _pictures(one.claim.name, one.run.figures["pictures"]) if one.run else []
        for text in [*map(_struck, one.claim.former), *pictures, *one.claim.notes]:
            names.setdefault(text, []).append(one.claim.name)
    return [f"**{', '.join(claims)}.** {text}" for text, claims in names.items()]


def _struck(former: Former) -> str:
    what = f"{former.quantity}, {former.relation} {former.bound:g}"
    return f"Until {former.until}: ~~{what}~~. Given up because {former.reason}."


def _pictures(name: str, known: Sequence[Sequence[str]]) -> list[str]:
    """Those of a claim's pictures that the repository keeps."""
    files = [f"claim-{name}-{index}.png" for index in range(1, len(known) + 1)]
    return [
        f"*{caption}*\n\n![{alt}](../images/{file})"
        for file, (alt, caption) in zip(files, known, strict=True)
        if (ROOT / IMAGES / file).is_file()
    ]


def _cost(run: Run) -> str:
    assert run.seconds is not None
    return f"{run.figures['trials']}, {run.seconds / 60:.1f}, {run.commit}"
