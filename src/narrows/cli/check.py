"""`narrows check`: what a bug report needs, and whether this machine is ready."""

import os

from narrows.cli import parsing


def run(arguments: list[str]) -> None:
    """Prints versions, device, compiler and data folders."""
    parsing.parse(parsing.parser("check", "Show versions, device and data folders."), arguments)
    import torch

    from narrows.training.run import environment

    facts = environment()
    for name, version in facts["versions"].items():
        print(f"{name:18} {version}")
    print(f"{'python':18} {facts['python']} on {facts['platform']}")
    print(f"{'processor':18} {facts['processor']}, {facts['cores']} cores")
    devices = ", ".join(facts["cuda"]) or "none; training runs on the CPU"
    print(f"{'CUDA devices':18} {devices} (torch built for CUDA: {torch.version.cuda or 'no'})")
    root = os.environ.get("NARROWS_DATA")
    state = "not set" if not root else f"{root}{'' if os.path.isdir(root) else ' (missing)'}"
    print(f"{'NARROWS_DATA':18} {state}")
