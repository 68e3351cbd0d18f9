"""Small trained models: listed here, some in the wheel, the others in `zoo/` of the repository.

`list` and `find` say which there are and what each measures, `load` gives a model, `path` its
folder, `data` what it was trained on. `index.json` lists the checksums of all files, so that it
does not matter from where one got them. Begin with `catalogue.py`.
"""

from narrows.zoo.catalogue import Entry, find, list
from narrows.zoo.places import data, fetch, load, path

__all__ = ["Entry", "data", "fetch", "find", "list", "load", "path"]
