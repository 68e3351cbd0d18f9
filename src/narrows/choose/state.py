"""What a second call must find as it was."""

from dataclasses import dataclass, field
from pathlib import Path

from narrows.choose.question import Question
from narrows.saving.writing import read_json, write_json


@dataclass
class State:
    """The data's fingerprint, the cut of them, the epochs of heats, the seconds spent."""

    content: str
    options: dict[str, object] | None = None
    heats: list[int] = field(default_factory=list)
    spent: float = 0.0

    @classmethod
    def read(cls, path: Path, question: Question, content: str) -> "State":
        """What an earlier call left.

        Raises:
            ValueError: if another question was asked, or of data of another content.
        """
        if not path.is_file():
            return cls(content)
        found = read_json(path, "delete it to begin anew")
        if found.get("question") != _plain(question):
            raise ValueError(
                f"{path} holds the answer to another question; give another --out, or the same "
                "recipes, data, bits and settings"
            )
        if found.get("content") != content:
            raise ValueError(
                f"{path} holds the answer on other examples: {question.source.data} has changed "
                "since; give another --out"
            )
        return cls(content, found["options"], found["heats"], found["spent"])

    def save(self, path: Path, question: Question, seconds: float) -> None:
        """Adds to the time that was spent, and writes all."""
        self.spent += seconds
        write_json(path, {
            "question": _plain(question), "content": self.content, "options": self.options,
            "heats": self.heats, "spent": self.spent,
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
