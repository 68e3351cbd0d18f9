# %% [markdown]
# # Sparse codes: a few parts out of many
#
# A *sparse code* describes an input by a few atoms out of a large dictionary. You learn a dictionary of
# photographs, solve for codes in three ways, and train a network that guesses them in one step.

# %%
import math

import torch

import narrows as nw

torch.manual_seed(0)
data = nw.data.load("patches", n=9000)  # whitened 8 x 8 patches of two photographs
train, test = data.train.images, data.test.images


def pictures(vectors):
    """Vectors as grey images in which 0 is mid-grey."""
    return nw.report.stretch(vectors.reshape(-1, 1, 8, 8), symmetric=True)


# %% [markdown]
# ## Why sparse?
#
# Principal components explain most variance with fewest numbers, yet each of them covers the whole patch.
# Olshausen and Field (1996) asked for something else: *many* atoms $d_j$, of which each patch needs *few*:
#
# $$\min_{a}\ \tfrac12 \Big| x - \sum_j a_j d_j \Big|^2 + \lambda \sum_j |a_j|, \qquad |d_j| = 1.$$
#
# Solve for $a$, improve the atoms for these $a$, repeat.

# %%
penalty = nw.sparse.L1(0.5)


def lasso(signals, dictionary):
    """Codes that minimise the sum above."""
    return nw.sparse.coordinate_descent(signals, dictionary, penalty=penalty)


atoms = nw.sparse.learn_dictionary(train, 128, encode=lasso, epochs=10)
components = torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh
nw.report.labelled(
    nw.report.strips(
        {
            "patches": pictures(test[:12]),
            "principal components": pictures(components[:12]),
            "atoms": pictures(atoms[:12]),
            "more atoms": pictures(atoms[12:24]),
        },
        caption="Components are waves across the patch; atoms are short edges and bars.",
    )
)

# %% [markdown]
# The atoms look like the receptive fields of cells in the visual cortex, and nothing in the formula mentions
# edges. *Hoyer's measure* puts a number on "short": 0 if all pixels of an atom weigh alike, 1 if one has everything.

# %%
local = nw.metrics.hoyer(atoms).mean()
spread = nw.metrics.hoyer(components[:64]).mean()
print(f"Hoyer's measure: atoms {local:.2f}, principal components {spread:.2f}")
assert local > spread

# %% [markdown]
# ## The price of an atom
#
# $\lambda$ is the price of a coefficient. With $\lambda \ge \max_j |d_j^T x|$ even the best atom is not worth
# its price and the code is zero; cheaper atoms mean more of them and a smaller error.

# %%
everything_off = nw.sparse.max_penalty(test, atoms)
active, error = [], []
for share in (0.05, 0.1, 0.2, 0.4, 0.8):
    code = nw.sparse.fista(test, atoms, penalty=nw.sparse.L1(share, relative=True)).codes
    active.append(float(nw.metrics.l0(code).float().mean()))
    error.append(float((test - code @ atoms).square().mean() / test.square().mean()))
assert active == sorted(active, reverse=True)
assert error == sorted(error)
zero = nw.sparse.fista(test, atoms, penalty=nw.sparse.L1(float(everything_off.max())))
assert not zero.values.any()
nw.report.curves(
    {"lasso": (active, error)},
    quantity="error / energy",
    step="active atoms per patch",
    smoothed=False,
    caption="Each point is a price: fewer atoms, more error.",
)

# %% [markdown]
# The lasso is convex, so every correct solver ends at the same minimum. Here are two that share no step.

# %%
one = nw.sparse.fista(test[:200], atoms, penalty=penalty, tolerance=1e-6)
two = lasso(test[:200], atoms)
torch.testing.assert_close(one.objective, two.objective, rtol=1e-3, atol=1e-3)

# %% [markdown]
# ## Exactly k atoms
#
# Often you would rather say *how many*. *Matching pursuit* (OMP) takes the best atom, fits, takes the best for
# what is left. *Top-k* takes the k largest correlations at once, which is cheap and greedy in the wrong way: two atoms
# alike both answer to the same edge.

# %%
ks = [1, 2, 4, 8, 16]


def left(approximation):
    """Share of the energy that an approximation leaves over."""
    return float((test - approximation).square().mean() / test.square().mean())


pursuit = [left(nw.sparse.omp(test, atoms, k=k).codes @ atoms) for k in ks]
largest = [left(nw.sparse.top_k(test, atoms, k=k, refit=True).codes @ atoms) for k in ks]
pca = [left(test @ components[:k].T @ components[:k]) for k in ks]
assert all(p <= t for p, t in zip(pursuit, largest, strict=True))
assert pursuit[2] < pca[2]
nw.report.curves(
    {"pursuit": (ks, pursuit), "top-k": (ks, largest), "first k components": (ks, pca)},
    quantity="error / energy",
    step="numbers per patch",
    smoothed=False,
    caption="A choice out of 128 beats a fixed basis, if it is chosen well.",
)

# %% [markdown]
# ## A network that guesses the code
#
# A *sparse autoencoder* does not solve: an encoder $\mathrm{TopK}(Wx + b)$ is trained together with the
# dictionary. This is what is used to take apart the activations of language models, where millions of vectors
# have to be coded.

# %%
coder = nw.AuxK(nw.Untied(nw.TopK(8, refit=False, nonnegative=True)))
bottleneck = nw.SparseDictionary(128, 64, coder=coder)
model = nw.Autoencoder.for_vectors(64, bottleneck, network=nw.Direct())
run = nw.fit(model, data, epochs=15, batch_size=128, show=False)
learned = model.bottleneck.atoms.detach()
guessed = left(model.reconstruct(test))
solved = left(nw.sparse.omp(test, learned, k=8).codes @ learned)
print(f"error at 8 atoms: guessed {guessed:.2f}, solved over the same atoms {solved:.2f}")
assert solved < guessed

# %% [markdown]
# Solving for the *same* atoms leaves less over: the difference is the price of guessing (the *amortisation
# gap*; solving may use negative coefficients, too).
#
# ## Exercises
#
# 1. How many bits do the *positions* of 8 atoms out of 128 need? And of 8 principal components?
# 2. Does learning matter? Compare 128 random training patches as atoms, at $k = 8$.
# 3. What does `positive` coding cost? (`nonnegative=True` in `L1`.)
#
# <details><summary>Solution 1</summary>
#
# `math.log2(math.comb(128, 8))` is about 40 bits. The first eight components are always the same eight, which costs
# nothing: sparse codes win per number, and not always per bit (see the tutorial on bits).
# </details>
# <details><summary>Solution 2</summary>
#
# ```python
# raw = torch.nn.functional.normalize(train[:128], dim=1)
# print(left(nw.sparse.omp(test, raw, k=8).codes @ raw), pursuit[3])
# ```
# Random patches leave clearly more over.
# </details>
# <details><summary>Solution 3</summary>
#
# ```python
# positive = nw.sparse.L1(0.5, nonnegative=True)
# for way in (penalty, positive):
#     found = nw.sparse.coordinate_descent(test, atoms, penalty=way)
#     print(left(found.codes @ atoms), float(nw.metrics.l0(found.codes).float().mean()))
# ```
# The error grows: an edge with dark and light exchanged now needs an atom of its own.
# </details>

# %%
assert 40 < math.log2(math.comb(128, 8)) < 41
