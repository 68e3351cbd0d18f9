"""Files that are written whole or not at all, so that no reader ever meets half of one."""

import json
import os
from pathlib import Path

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
