"""The ledger: one JSON line for each finished run, and every figure in docs made from it.

`append` adds a line to evidence/KIND.jsonl, `read` gets the lines of a kind; lines are never
changed. `close` packs old lines into a volume (`xzcat` shows them). `python -m evidence` writes the
tables and plots of README and docs anew, between the markers
`<!-- evidence: MODULE.FUNCTION NAME=VALUE -->` and `<!-- end -->`. Begin with `ledger.py`.
"""

from evidence.ledger import FOLDER, Run, append, close, kinds, latest, now, read

__all__ = ["FOLDER", "Run", "append", "close", "kinds", "latest", "now", "read"]
