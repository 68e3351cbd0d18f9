# %% [markdown]
# # Vector quantisation: from k-means to tokens
#
# A *vector quantiser* replaces a vector by the nearest of $K$ codewords and stores its index, a *token* of at most $\log_2 K$
# bits. You start with k-means, put it inside an autoencoder, stack it, and learn which tokens follow which.

# %%
import torch

import narrows as nw
from narrows.functional.kmeans import kmeans, kmeans_plus_plus

data = nw.data.load("digits")  # 8 x 8 pixels
train, test = (split.batch(torch.arange(len(split))) for split in (data.train, data.test))

# %% [markdown]
# ## k-means
#
# The best $K$ codewords for whole images minimise $\sum_i \min_k |x_i - c_k|^2$. Two steps in turn never increase it: each
# image picks its nearest codeword; each codeword moves to the mean of its images.

# %%
images, held_out = train.flatten(1), test.flatten(1)
sizes, errors = [4, 16, 64, 256], []
for size in sizes:
    start = kmeans_plus_plus(images, size, torch.Generator().manual_seed(0))
    centres, _ = kmeans(images, start, iterations=30)
    nearest = torch.cdist(held_out, centres).argmin(1)
    errors.append(float((held_out - centres[nearest]).square().mean() / data.variance))
    if size == 16:
        sixteen = centres
print("NMSE of", dict(zip(sizes, (round(e, 2) for e in errors), strict=True)))
assert errors == sorted(errors, reverse=True)
nw.report.grid(sixteen.reshape(-1, 1, 8, 8), what="codewords of whole digits", columns=16)

# %% [markdown]
# Each further bit doubles the codebook, and the error falls slowly: with 256 codewords there are five training images
# for each. The way out is a *product*: several tokens an image, each for a part of it.
#
# ## Inside an autoencoder
#
# The encoder makes 4 x 4 features of width 8, each becomes a token, the decoder sees codewords only. The choice of the
# nearest has no gradient, so the decoder's gradient is copied past it (*straight through*), and a *commitment* keeps features near
# their codewords (van den Oord et al., 2017):
#
# $$-\log p(x \mid z) + 0.25\, |f(x) - \mathrm{sg}[z]|^2.$$
#
# Codewords follow the features by moving averages: k-means, one batch at a time.

# %%


def trained(bottleneck, epochs=30):
    """A trained model with 4 x 4 sites, and its run."""
    torch.manual_seed(0)
    network = nw.Mlp(hidden=(256,), sites=(4, 4))
    model = nw.Autoencoder.for_images(data.shape, bottleneck, network=network)
    how = nw.Optimization(learning_rate=2e-3)
    return model, nw.fit(model, data, epochs=epochs, optimization=how, show=False).test


model, figures = trained(nw.VectorQuantizer(16, 8))
tokens = model.encode(test)
assert tokens.shape == (len(test), 4, 4)
assert figures["nmse"] < errors[-1]
rows = {"held-out digits": test[:12], "from 16 tokens": model.reconstruct(test[:12])}
nw.report.labelled(nw.report.strips(rows, caption="16 tokens of 4 bits, from 16 codewords."))

# %% [markdown]
# ## When codewords die
#
# A codeword that starts far from all features is never nearest, so it never learns. *Perplexity* says how many codewords are in use,
# $2^H$ for the entropy $H$ of the index. Compare a codebook of 256 that starts near 0 and learns by gradient with one that starts on
# data and puts idle codewords on new features.

# %%
careless = nw.CodebookLearning("gradient", "uniform", revive_after=None)
_, idle = trained(nw.VectorQuantizer(256, 8, learning=careless), epochs=15)
_, alive = trained(nw.VectorQuantizer(256, 8), epochs=15)
print(f"perplexity of 256: {idle['perplexity']:.0f} careless, {alive['perplexity']:.0f} cared for")
assert idle["perplexity"] < alive["perplexity"]

# %% [markdown]
# ## Residual codes
#
# A *residual quantiser* (RVQ) codes what the first stage left over with a second codebook, and so on. Four stages of 16 name
# $16^4$ vectors with 64 codewords. Each prefix of the code is a coarser code, so one model has four rates.

# %%
stage = nw.VectorQuantizer(16, 8, learning=nw.CodebookLearning(init="kmeans"))
residual, _ = trained(nw.ResidualQuantizer(stage, stages=4, dropout=0.5))
code = residual.encode(test)  # [n, 4, 4, stages]
left = []
for stages in (1, 2, 3, 4):
    prefix = code.clone()
    prefix[..., stages:] = -1  # not sent
    left.append(float((test - residual.decode(prefix)).square().mean() / data.variance))
assert left == sorted(left, reverse=True)
nw.report.curves(
    {"RVQ": ([4, 8, 12, 16], left)},
    quantity="NMSE",
    step="bits per site",
    smoothed=False,
    caption="One model, four rates.",
)

# %% [markdown]
# ## A prior over tokens
#
# Tokens are not equally likely, and neighbours go together. A *PixelCNN* predicts each token from those above and to the left,
# $p(k) = \prod_i p(k_i \mid k_{<i})$. What it predicts well costs few bits, $-\log_2 p(k)$, and drawing token by token gives new images.

# %%
uniform = 16 * 4.0  # bits: 16 sites of log2(16)
counted = float(model.bits(test).mean())
fitted = nw.fit_prior(
    model, data, prior=nw.priors.PixelCNN((4, 4), 16, hidden=32, layers=2, kernel=3), epochs=15
)
print(
    f"bits an image: {uniform:.0f} uniform, {counted:.1f} counted, {fitted.report.test:.1f} PixelCNN"
)
assert fitted.report.test < counted < uniform
generator = torch.Generator().manual_seed(0)
independent = model.sample(12, generator)
model.prior = fitted.prior
rows = {"tokens independent": independent, "tokens by PixelCNN": model.sample(12, generator)}
nw.report.labelled(nw.report.strips(rows, caption="Drawn, not reconstructed."))

# %% [markdown]
# ## Exercises
#
# 1. The k-means code of $K = 256$ costs 8 bits an image, the autoencoder's 64. Was the comparison above fair?
# 2. Draw at `temperature=0.5`. What changes?
# 3. Replace the quantiser by `nw.FiniteScalarQuantizer`, which has no codebook to die. How does it do at 16 values a token?
#
# <details><summary>Solution 1</summary>
#
# No: it shows that many tokens of a small codebook are *practical*, where one of 64 bits is not ($2^{64}$ codewords). Comparisons of codes belong at
# equal bits; see the tutorial on bits.
# </details>
# <details><summary>Solution 2</summary>
#
# ```python
# nw.report.grid(model.sample(12, temperature=0.5), what="cool draws", columns=12)
# ```
# Likely tokens become likelier: cleaner digits, usually at the cost of variety.
# </details>
# <details><summary>Solution 3</summary>
#
# ```python
# _, scalar = trained(nw.FiniteScalarQuantizer([4, 4]))
# print(scalar["nmse"], figures["nmse"], scalar["usage"])
# ```
# All values are used, and here the error is even smaller: with nothing to learn but the networks, there is nothing to chase.
# </details>
