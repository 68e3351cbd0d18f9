"""Mathematics as pure functions: tensors in, tensors out, no state; one idea a file.

The modules of bottlenecks, priors and networks are thin around these. Import each from its file,
`from narrows.functional.nearest import nearest`; begin with `straight_through.py` and `nearest.py`.
"""
