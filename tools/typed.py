"""Prints the share of the public interface whose types an editor knows, as pyright counts it.

With `--check` the exit code is 1 if it is below 95 %. What lacks a type is listed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = 0.95
SHOWN = 30


def completeness() -> tuple[float, list[str]]:
    """The share of exported symbols with known types, and what is said of the others."""
    # This option of pyright takes the Python that is first on the PATH, whatever is configured.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["pyright", "--verifytypes", "narrows", "--ignoreexternal", "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    report = json.loads(done.stdout)["typeCompleteness"]
    unknown = [
        f"{symbol['name']}: {diagnostic['message'].splitlines()[0]}"
        for symbol in report["symbols"]
        for diagnostic in symbol["diagnostics"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
    ]
    return report["completenessScore"], unknown


def main() -> int:
    """Prints the share; with `--check`, returns 1 if it is below the target."""
    share, unknown = completeness()
    print(f"{share:.1%} of the public interface has known types, {TARGET:.0%} wanted")
    if share >= TARGET:
        return 0
    for line in unknown[:SHOWN]:
        print(f"  {line}")
    if len(unknown) > SHOWN:
        print(f"  and {len(unknown) - SHOWN} more")
    return int("--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
