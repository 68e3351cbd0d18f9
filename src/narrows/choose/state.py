"""What a second call must find as it was."""

from dataclasses import dataclass, field
from pathlib import Path

from narrows.choose.question import Question
from narrows.saving.writing import read_json, write_json


@dataclass
class State:
    """The cut of the data, the epochs of heats, the seconds spent."""

    options: dict[str, object] | None = None
    heats: list[int] = field(default_factory=list)
    spent: float = 0.0

    @classmethod
    def read(cls, path: Path, question: Question) -> "State":
        """What an earlier call left; nothing if another question was asked."""
        if not path.is_file():
            return cls()
        found = read_json(path, "delete it to begin anew")
        if found.get("question") != _plain(question):
            raise ValueError(
                f"{path} holds the answer to another question; give another --out, or the same "
                "recipes, data, bits and settings"
            )
        return cls(found["options"], found["heats"], found["spent"])

    def save(self, path: Path, question: Question, seconds: float) -> None:
        """Adds to the time that was spent, and writes all."""
        self.spent += seconds
        write_json(path, {
            "question": _plain(question), "options": self.options, "heats": self.heats,
            "spent": self.spent,
        })  # fmt: skip


def _plain(question: Question) -> dict[str, object]:
    """What makes a question another one: not the minutes, of which there may be more."""
    return {
        "recipes": list(question.recipes),
        "data": question.source.data,
        "rates": list(question.rates),
        "options": dict(question.source.options),
        "settings": dict(question.settings),
        "batch_size": question.batch_size,
    }
