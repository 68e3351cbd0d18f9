"""Files that are written whole or not at all, and read with a sentence about what is wrong."""

import json
import os
from pathlib import Path
from typing import Any

import yaml


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_yaml(path: Path, value: object) -> None:
    """Writes a YAML file whole or not at all."""
    write_text(path, yaml.safe_dump(value, sort_keys=False))


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: of the file.
        remedy: what the user can do if it is damaged.

    Raises:
        ValueError: with the file, the fault and the remedy.
    """
    try:
        return _mapping(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({_fault(path, error)}): {remedy}") from error


def read_rows(path: Path, remedy: str) -> list[dict[str, Any]]:
    """The objects of a file with one in each line; arguments and errors as `read_json` has them."""
    try:
        return [_mapping(json.loads(line)) for line in path.read_bytes().splitlines()]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({_fault(path, error)}): {remedy}") from error


def read_yaml(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping that a YAML file holds; arguments and errors as `read_json` has them."""
    try:
        return _mapping(yaml.safe_load(path.read_bytes()))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({_fault(path, error)}): {remedy}") from error


def _mapping(content: object) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"expected names with values, got {type(content).__name__}")
    return content


def _fault(path: Path, error: Exception) -> str:
    """One line on why a file cannot be read."""
    return " ".join(str(error).split()) if path.stat().st_size else "it is empty"
