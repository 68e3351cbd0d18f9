"""Runs commands in children: one to its end, watched, and others killed as a file is to appear.

Reads [{"words": [...], "out": folder}, ...] as JSON; prints what happened to each.
"""

import contextlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import narrows.cli.main
import narrows.compare.pages.run  # so that children need not import it
import narrows.export
from narrows.saving import writing

WHOLE = re.compile(r"/\.[^/]*\.partial-|/\.lock$|/metrics\.jsonl$")  # the last one grows by lines


def child(words, out, *, kill=None):
    """What a command wrote straight to its place, the files that it finished, and its status."""
    reading, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        found, finished, sync = [], [], os.fsync

        def watch(event, details):
            if event != "open" or not str(details[0]).startswith(str(out)):
                return
            writes = details[2] & (os.O_WRONLY | os.O_RDWR)
            if writes and not WHOLE.search(str(details[0])):
                found.append(str(details[0]))

        def flush(handle):
            name = os.readlink(f"/proc/self/fd/{handle}")
            if kill == len(finished):
                os.truncate(name, os.path.getsize(name) // 2)
                os.kill(os.getpid(), 9)
            finished.append(name)
            sync(handle)

        writing.os.fsync = flush
        sys.addaudithook(watch)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            code = narrows.cli.main.main(words)
        os.write(sending, json.dumps([found, len(finished)]).encode())
        os._exit(code)
    os.close(sending)
    with os.fdopen(reading) as told:
        text = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return [*(json.loads(text) if text else [[], -1]), status]


def contents(out):
    """Every file below a folder that is not in the making, and the names of those that are."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != writing.LOCK]
    making = [path.name for path in paths if writing.PARTIAL in str(path)]
    return {str(p): p.read_bytes() for p in paths if writing.PARTIAL not in str(p)}, making


def trial(words, out, later):
    """How a command ends, and what is wrong after a kill at a file in the middle."""
    before = out.with_name(f"{out.name}-before")
    shutil.copytree(out, before) if out.exists() else before.mkdir()

    def begin():
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(before, out)
        return contents(out)[0]

    start = begin()
    straight, count, status = child(words, out)
    whole, wrong = contents(out)[0], [f"status {status}"] if status else []
    begin()
    status = child(words, out, kill=count // 2)[-1]
    left, making = contents(out)
    new = [name for name in left if left[name] != start.get(name) and "jsonl" not in name]
    if status != -9 or not making or len(new) > count // 2:
        wrong.append(f"killed: status {status}, {making}, {new}")
    for name in [] if later else new:
        Path(name).unlink()  # of commands that never overwrite
    status = child(later or words, out)[-1]
    after, making = contents(out)
    more = after.keys() - whole.keys() if not later else set()  # a checkpoint before the last
    less = whole.keys() - after.keys()
    if status or making or more or less:
        wrong.append(f"afterwards: status {status}, {making}, {more}, {less}")
    return {"straight": straight, "files": count, "wrong": wrong}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump([trial(a["words"], Path(a["out"]), a.get("later")) for a in asked], sys.stdout)
