"""How `make docs` reads docstrings: formulas, sources and examples as a page shows them."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import re
import textwrap

import griffe

MATH = r"^( *)\.\. math::(.*\n?(?:\n*\1 +.*\n?)*)"
SOURCE = r"^Source:[ \n]((?:.*\n?)(?: +.*\n?)*)"


class Shown(griffe.Extension):
    """`.. math::` is a formula, `Source:` a paragraph and `Example:` a block of code."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Of every object."""
        if obj.docstring:
            text = re.sub(SOURCE, _paragraph, obj.docstring.value, flags=re.MULTILINE)
            text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
            text = re.sub(MATH, _displayed, text, flags=re.MULTILINE)
            # Correlations <x, d> are no tags; lines with code show what they hold.
            text = re.sub(r"^[^`\n]*<\w[^`\n]*$", _escaped, text, flags=re.MULTILINE)
            obj.docstring.value = text


def _paragraph(found: re.Match[str]) -> str:
    first, _, rest = found[1].partition("\n")
    return f"**Source:** {first.strip()}\n{textwrap.dedent(rest)}"


def _displayed(found: re.Match[str]) -> str:
    """Between dollars."""
    lines = [line.strip() for line in found[2].splitlines()]
    return "\n".join(["$$", *(line for line in lines if line), "$$", ""])


def _escaped(found: re.Match[str]) -> str:
    return found[0] if ">>>" in found[0] else re.sub(r"<(?=\w)", "&lt;", found[0])
