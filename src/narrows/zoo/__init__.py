"""Small trained models: listed here, some in the wheel, the others in `zoo/` of the repository.

`list` and `find` say which there are and what each measures, `load` gives a model, `data` what it
was trained on, `path` its folder, `as_run` that of a run. `models/index.json` has the checksums of
all files, so that it does not matter from where one got them. Begin with `catalogue.py`.
"""

from narrows.zoo.catalogue import Entry, find, list
from narrows.zoo.places import as_run, data, is_here, load, path

__all__ = ["Entry", "as_run", "data", "find", "is_here", "list", "load", "path"]
