"""Commands that draw, move or mask the codes of a run; each file is one command."""
