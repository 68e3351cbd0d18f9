"""A page on this machine where a person moves the codes of trained models and sees them decoded.

`edits` is what may be changed in a code, `subject` one model, `server` the page's requests, `serve`
the process. `page.html` is all that a browser is given.
"""

from narrows.explore.edits import alternatives, between, changed
from narrows.explore.subject import Subject

__all__ = ["Subject", "alternatives", "between", "changed"]
