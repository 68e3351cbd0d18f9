"""`python -m reproductions [NAME...]`: what the documents say, put to the test."""

import difflib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from narrows.cli import parsing
from narrows.cli.main import UsageError, guarded

if TYPE_CHECKING:
    from reproductions import Claim

_ABOUT = """Test the claims of the documents that narrows grew from, and say what was found.

NAME is a claim, or a document by its package (vq_notebook) or number (003); all claims without
any. Finished trials are kept in OUT/trials: the same command again does only what is missing.
Writes OUT/claims.html, claims.json and pictures.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs `python -m reproductions ARGUMENTS`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: run(given))


def run(arguments: list[str]) -> int:
    """Runs what is missing, writes the page; exit code 1 if a trial failed."""
    parser = parsing.parser("reproductions", _ABOUT)
    parser.add_argument("names", type=str, nargs="*", help="claims or documents; default all")
    parser.add_argument("--list", action="store_true", help="show the claims and run nothing")
    parser.add_argument(
        "--data",
        type=str,
        default=None,
        help="data set for claims on any images; default mnist or digits",
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each, seeds 0, 1, ...")
    parser.add_argument(
        "--budget", type=float, default=None, help="minutes of wall clock; default 60, --full none"
    )
    parser.add_argument("--full", action="store_true", help="the documents' own scale, for a GPU")
    parser.add_argument("--tiny", action="store_true", help="proves that it runs, nothing else")
    parser.add_argument(
        "--jobs", type=int, default=None, help="processes at a time; default 2, on one core 1"
    )
    parser.add_argument("--out", type=str, default="runs/claims", help="folder; kept and reused")
    parser.add_argument(
        "--ledger", action="store_true", help="append what is new to evidence/claims.jsonl"
    )
    config = parsing.parse(parser, arguments)
    return _run(config, shlex.join(["python", "-m", "reproductions", *arguments]))


def _run(config: Namespace, command: str) -> int:
    from narrows import data as sources
    from narrows.tasks import Call, Outcome
    from reproductions import Claim, Scale, examine, page

    chosen = choose(config.names)
    if config.list:
        print("\n".join(f"{claim.document}  {claim.name:32} {claim.says}" for claim in chosen))
        return 0
    jobs = min(2, os.cpu_count() or 1) if config.jobs is None else config.jobs
    _check(config, jobs)
    if config.data is not None:
        sources.load(config.data)  # settles whether it is there before anything runs
    size = "full" if config.full else "tiny" if config.tiny else "default"
    budget = 60.0 if config.budget is None and not config.full else config.budget
    scale = Scale(size, config.seeds, config.data)
    out = Path(config.out)

    def report(claim: Claim, outcome: Outcome[Call]) -> None:
        state = outcome.error or f"{outcome.cost.seconds:.0f} s"
        words = " ".join(f"{k}={v}" for k, v in outcome.task.arguments.items())
        print(f"{claim.name}: {words}: {state}", file=sys.stderr, flush=True)

    examined = examine(chosen, scale, out, jobs=jobs, minutes=budget, report=report)
    path = page.write(examined, out, command)
    if config.ledger:
        print(f"{page.record(examined)} claims appended to the ledger")
    for one in examined:
        print(f"{one.claim.document}  {one.claim.name:32} {one.verdict}")
        for text in [*map(page.sentence, one.findings), *one.problems]:
            print(f"       {text}")
    print(f"{page.count(examined)}\nreport: {path}\nfigures: {out / 'claims.json'}")
    return 1 if any("failed" in text for one in examined for text in one.problems) else 0


def choose(names: list[str]) -> list["Claim"]:
    """The claims of these names and documents, in the order of the list; all without names.

    Raises:
        UsageError: for an unknown name, with the one that was probably meant.
    """
    from reproductions import CLAIMS, DOCUMENTS

    numbers = {claims[0].document: claims for claims in DOCUMENTS.values()}
    known = {claim.name: (claim,) for claim in CLAIMS} | numbers | dict(DOCUMENTS)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "--list shows them"
            raise UsageError(f"there is no claim {name!r}; {hint}")
    chosen = {claim.name for name in names or DOCUMENTS for claim in known[name]}
    return [claim for claim in CLAIMS if claim.name in chosen]


def _check(config: Namespace, jobs: int) -> None:
    if config.seeds < 1 or jobs < 1:
        raise UsageError(f"--seeds and --jobs must be at least 1, got {config.seeds} and {jobs}")
    if config.full and config.tiny:
        raise UsageError("--full and --tiny exclude each other")
    if config.budget is not None and not config.budget > 0:
        raise UsageError(f"--budget is minutes, more than 0; got {config.budget:g}")


if __name__ == "__main__":
    sys.exit(main())
