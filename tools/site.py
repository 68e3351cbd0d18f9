"""What `make docs` adds to docs: reference, examples, and mathematics without a script.

A hook of MkDocs. The reference has one page for each package, made from what the package exports;
each example is a page; formulas become MathML, which browsers draw by themselves.
"""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import ast
import html
import re
from collections.abc import Iterator
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "narrows"
HIDDEN = {"cli", "kernels"}  # commands print their own help; kernels have no public names
TUTORIALS = ("sparse_codes", "variational_codes", "autoencoders", "vector_quantisation", "bits")
MODULES = ("autoencoder", "codes", "distributions", "latent", "layer", "objectives", "hub")


def on_config(config: MkDocsConfig) -> None:
    """Fills what the navigation names by its folder."""
    config.nav = [_filled(entry) for entry in config.nav or []]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    for name, text in [*_reference(), *_examples()]:
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links to examples lead to their pages."""
    return re.sub(r"\]\(\.\./examples/(\w+)\.py\)", r"](examples/\1.md)", markdown)


def on_page_content(content: str, **_: object) -> str:
    """Draws formulas, those of tutorials too."""
    content = re.sub(
        r"<(span|div) class=\"arithmatex\">\\([(\[])(.*?)\\[)\]]</\1>", _drawn, content, flags=re.S
    )
    if "jp-Notebook" not in content:
        return content
    content = re.sub(r"<script.*?</script>", "", content, flags=re.S)
    parts = re.split(r"(<pre.*?</pre>|<code.*?</code>|<style.*?</style>)", content, flags=re.S)
    shown = [
        part if i % 2 else re.sub(r"(\$\$?)([^$<>]+?)\1", _in_dollars, part)
        for i, part in enumerate(parts)
    ]
    return "".join(shown)


def _drawn(found: re.Match[str]) -> str:
    return _mathml(found[3], display="block" if found[2] == "[" else "inline")


def _in_dollars(found: re.Match[str]) -> str:
    return _mathml(found[2], display="block" if found[1] == "$$" else "inline")


def _mathml(formula: str, *, display: str) -> str:
    return latex2mathml.converter.convert(html.unescape(formula), display=display)


def _filled(entry: object) -> object:
    """A title with a folder becomes one with the pages of that folder."""
    match entry:
        case {"Reference": _}:
            return {"Reference": [name for name, _ in _reference()]}
        case dict() if len(entry) == 1 and isinstance(next(iter(entry.values())), list):
            ((title, inner),) = entry.items()
            return {title: [made for one in inner for made in _several(one)]}
        case {"Tutorials": _}:
            found = (f"tutorials/{name}.py" for name in TUTORIALS)
            return {"Tutorials": [name for name in found if (ROOT / "docs" / name).is_file()]}
        case {"Results": _}:
            return {"Results": _pages("results")}
        case {"The five documents": _}:
            return {"The five documents": _pages("documents")}
    return entry


def _several(entry: object) -> list[object]:
    if isinstance(entry, dict) and "Examples" in entry:
        return [name for name, _ in _examples()]
    return [entry]


def _pages(folder: str) -> list[object]:
    found = sorted(
        (ROOT / "docs" / folder).glob("*.md"), key=lambda path: (path.stem != "README", path.stem)
    )
    return [f"{folder}/{path.name}" for path in found]


def _examples() -> Iterator[tuple[str, str]]:
    """Each script of examples as a page: its first sentence, then its code."""
    for path in sorted((ROOT / "examples").glob("*.py")):
        text = path.read_text()
        title = path.stem.replace("_", " ").capitalize()
        yield f"examples/{path.stem}.md", f"# {title}\n\n```python\n{text}```\n"


def _reference() -> Iterator[tuple[str, str]]:
    """One page for each package, and one for each module beside the packages."""
    yield "reference/index.md", _overview()
    for name in MODULES:
        yield (
            f"reference/{name}.md",
            f"# narrows.{name}\n\n{_entries(f'narrows.{name}', PACKAGE / f'{name}.py')}",
        )
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        if folder.name not in HIDDEN:
            body = _entries(f"narrows.{folder.name}", folder / "__init__.py")
            yield f"reference/{folder.name}.md", f"# narrows.{folder.name}\n\n{body}"


def _entries(module: str, path: Path) -> str:
    """The module's text, and an entry for each of its public names, where it is defined."""
    tree = ast.parse(path.read_text())
    homes = _homes(tree)
    made = [f"::: {homes.get(name, f'{module}.{name}')}" for name in _exported(tree)]
    return "\n\n".join([ast.get_docstring(tree) or "", *made]) + "\n"


def _homes(tree: ast.Module) -> dict[str, str]:
    """Where each imported name comes from."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _exported(tree: ast.Module) -> list[str]:
    """Names of `__all__`, or the public classes and functions."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    kinds = (ast.ClassDef, ast.FunctionDef)
    return [n.name for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]


def _overview() -> str:
    """Each flat name with a link to where it is explained."""
    lines = ["# Names of narrows", "", "| `nw.` | in |", "| --- | --- |"]
    for name, home in sorted(_homes(ast.parse((PACKAGE / "__init__.pyi").read_text())).items()):
        package = home.rpartition(".")[0]
        path = PACKAGE.parent / package.replace(".", "/") / "__init__.py"
        if package != "narrows":
            home = _homes(ast.parse(path.read_text())).get(name, home) if path.is_file() else home
            lines.append(f"| [`{name}`][{home}] | `{package}` |")
    return "\n".join(lines) + "\n"
