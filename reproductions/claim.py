"""What a claim is: a sentence of a document, and the numbers that decide about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from narrows.report import Block
from narrows.tasks import Call, Outcome
from reproductions.verdict import Estimate, Relation

Size = Literal["tiny", "default", "full"]
Plain = str | int | float | bool | None
Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Scale:
    """How large the runs are.

    Attributes:
        size: "tiny" proves that the code runs and nothing else; "default" is meant for two
            cores; "full" is the document's own scale, meant for a GPU.
        seeds: runs of whatever is drawn by chance.
        data: name of the image data set where a claim leaves the choice; None for the claim's.
    """

    size: Size = "default"
    seeds: int = 5
    data: str | None = None

    def pick(self, tiny: Choice, default: Choice, full: Choice) -> Choice:
        """One of three numbers, by size."""
        return {"tiny": tiny, "default": default, "full": full}[self.size]

    def images(self) -> str:
        """The data set asked for; else MNIST where it is on this machine, else digits."""
        from narrows.data.loaders import mnist
        from narrows.data.loading import data_root

        if self.data is not None:
            return self.data
        here = self.size != "tiny" and mnist.present(data_root())
        return "mnist" if here else "digits"


@dataclass(frozen=True)
class Evidence:
    """The finished trials of a claim.

    Attributes:
        outcomes: in the order of the claim's trials, none of them failed.
    """

    outcomes: Sequence[Outcome[Call]]

    def where(self, **arguments: Plain) -> list[Outcome[Call]]:
        """Outcomes whose trial had these arguments, by seed.

        Raises:
            LookupError: if there is none.
        """
        found = [
            outcome
            for outcome in self.outcomes
            if all(outcome.task.arguments.get(k) == v for k, v in arguments.items())
        ]
        if not found:
            raise LookupError(f"no trial of this claim has {arguments}")
        return sorted(found, key=lambda outcome: _seed(outcome.task))

    def values(self, figure: str, **arguments: Plain) -> list[float]:
        """One figure of such outcomes, one value per seed."""
        return [float(outcome.result[figure]) for outcome in self.where(**arguments)]

    def array(self, name: str, **arguments: Plain) -> Any:
        """An array of the first seed's outcome."""
        return self.where(**arguments)[0].result[name]


@dataclass(frozen=True)
class Hypothesis:
    """What a sentence says as a number.

    Attributes:
        quantity: what is measured, with its unit; what the hypothesis is known by in the ledger.
        relation: the side of the bound on which the document puts it.
        bound: the line.
        estimate: from the evidence.
        since: date on which it was stated in this form.
    """

    quantity: str
    relation: Relation
    bound: float
    estimate: Callable[[Evidence], Estimate]
    since: str = "2026-11-21"


@dataclass(frozen=True)
class Former:
    """A hypothesis that was given up after its results were known.

    Attributes:
        quantity: what was measured.
        relation: the side of the bound on which the document was thought to put it.
        bound: the line.
        until: date of the change.
        reason: for it.
    """

    quantity: str
    relation: Relation
    bound: float
    until: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """A sentence of a document under test.

    Attributes:
        name: what a user types.
        document: number of the document, such as "001".
        place: where the sentence stands.
        says: the sentence in our words.
        hypotheses: all must be supported for the claim to be.
        trials: what has to be run, by scale.
        figures: blocks for the page, made from the evidence.
        minutes: of one core that all trials take at the default size with five seeds.
        notes: what differs from the document, and what the test cannot say.
        needs: a data source that must be on this machine; None for what is always there.
        former: hypotheses that were given up after a look at results, with the reason.
        ours: True for a test of our own repair or idea, which no sentence of the document states;
            listed apart and not counted among the document's claims.
        course: True for a claim about the course of training: its models need not have stopped
            improving.
    """

    name: str
    document: str
    place: str
    says: str
    hypotheses: Sequence[Hypothesis]
    trials: Callable[[Scale], Sequence[Call]]
    figures: Callable[[Evidence], Sequence[Block]]
    minutes: float
    notes: Sequence[str] = field(default_factory=tuple)
    needs: str | None = None
    former: Sequence[Former] = ()
    ours: bool = False
    course: bool = False

    @property
    def lacks(self) -> str:
        """Says what is missing on this machine; "" if nothing is."""
        from narrows.data.loading import data_root, present

        if self.needs is None or present(self.needs, data_root()):
            return ""
        return f"not run: data {self.needs!r} are not here; `narrows data {self.needs}` says more"


def ratios(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Estimate of first / second, paired over seeds."""
    return Estimate.over_seeds([a / b for a, b in zip(first, second, strict=True)])


def differences(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Estimate of first - second, paired over seeds."""
    return Estimate.over_seeds([a - b for a, b in zip(first, second, strict=True)])


def _seed(trial: Call) -> float:
    seed = trial.arguments.get("seed", 0)
    return seed if isinstance(seed, (int, float)) else 0
