"""How `make docs` reads docstrings: `Source:` begins a paragraph, `Example:` a block of code."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import re

import griffe


class Sources(griffe.Extension):
    """Else either word is taken for the title of a box."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Of every object."""
        if obj.docstring:
            text = re.sub(r"^Source: ", "**Source:** ", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
