# %% [markdown]
# # Autoencoders: a guide
#
# An *autoencoder* sends $x$ through a narrow code and back: $z = f(x)$, $\hat x = g(z)$. You see what a linear one
# learns, what layers add, how noise and a prior change the code, and why good reconstructions are not yet
# good samples.

# %%
import torch

import narrows as nw

data = nw.data.load("digits")  # 8 x 8 pixels
train, test = (split.batch(torch.arange(len(split))) for split in (data.train, data.test))


def trained(bottleneck, hidden=(128,), epochs=30, rate=2e-3, **options):
    """A trained autoencoder around a bottleneck, and its NMSE: MSE over the variance of the data."""
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(
        data.shape, bottleneck, network=nw.Mlp(hidden=hidden), **options
    )
    how = nw.Optimization(learning_rate=rate)
    nw.fit(model, data, epochs=epochs, optimization=how, show=False)
    with torch.no_grad():  # without the rounding of codes that `reconstruct` does
        error = (model(test)[1] - test).square().mean() / data.variance
    return model, float(error)


# %% [markdown]
# ## Linear: principal components
#
# Let $f$ and $g$ be affine maps with a code of 8 numbers. Of all such pairs the one with the smallest squared error
# projects onto the first 8 principal components (Baldi and Hornik, 1989). Training by gradient finds
# the same *plane*, if not the same axes in it.

# %%
linear, linear_error = trained(nw.Identity(8), hidden=(), epochs=60, rate=1e-2)
mean = train.flatten(1).mean(0)
components = torch.linalg.svd(train.flatten(1) - mean, full_matrices=False).Vh


def pca_error(k):
    """NMSE of the projection onto the first k components."""
    centred = test.flatten(1) - mean
    left = centred - centred @ components[:k].T @ components[:k]
    return float(left.square().mean() / data.variance)


print(f"NMSE with 8 numbers: trained {linear_error:.3f}, principal components {pca_error(8):.3f}")
assert abs(linear_error / pca_error(8) - 1) < 0.08

# %% [markdown]
# ## Layers bend the plane
#
# A plane of two dimensions holds little of ten kinds of digits. With a hidden layer on either side it becomes a
# curved surface, and most digits of a class lie together on it, although training saw no label.

# %%
plain, plain_error = trained(nw.Identity(2))
print(f"NMSE with 2 numbers: hidden layer {plain_error:.3f}, components {pca_error(2):.3f}")
assert plain_error < pca_error(2)
nw.report.scatter(
    plain.encode(test), data.test.labels, title="code of two numbers", caption="Colour: the digit."
)

# %% [markdown]
# ## Samples need a distribution
#
# To draw a new image you draw a code. But *which* codes are there? The plain model never said. A *variational*
# autoencoder (VAE) is trained so that codes look like draws from $N(0, 1)$, at the price of a worse reconstruction. Both
# models here have 8 numbers; both decode the same draws from $N(0, 1)$.

# %%
eight, eight_error = trained(nw.Identity(8))
vae, vae_error = trained(nw.Variational(8))
assert eight_error < vae_error
noise = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
rows = {
    "held-out digits": test[:12],
    "plain: reconstructed": eight.reconstruct(test[:12]),
    "VAE: reconstructed": vae.reconstruct(test[:12]),
    "plain: N(0, 1) decoded": eight.decode(noise[:12]),
    "VAE: N(0, 1) decoded": vae.decode(noise[:12]),
}
nw.report.labelled(nw.report.strips(rows, caption="Rows 2 and 3 come back, rows 4 and 5 are new."))

# %% [markdown]
# *Precision* is the share of samples that lie among real digits. Real digits that training has not seen set the scale:
# they do not score 1, because some people write like nobody else.

# %%


def precision(images):
    """Share of images inside the neighbourhoods of training digits."""
    real = train[: len(images)].flatten(1)
    return nw.metrics.precision_recall(images.flatten(1), real)["precision"]


scores = {
    "plain, N(0, 1)": precision(eight.decode(noise)),
    "plain, codes counted": precision(eight.sample(200, torch.Generator().manual_seed(1))),
    "VAE, N(0, 1)": precision(vae.decode(noise)),
    "real digits": precision(test),
}
print({name: round(value, 2) for name, value in scores.items()})
assert scores["plain, N(0, 1)"] < scores["VAE, N(0, 1)"]

# %% [markdown]
# "Codes counted" is what `fit` gives every plain model: a histogram of each number of the code. It puts codes into the
# right range but treats the numbers as independent. A density that sees them together is the subject of exercise 2.
#
# ## Denoising
#
# Add noise to the input and ask for the clean image. The code can no longer copy; it has to know what digits look like.

# %%
denoiser, _ = trained(nw.Identity(8), objective=nw.Denoising(0.3))
clean = test[:12]
noisy = (clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))).clamp(
    0, 1
)


def decibel(model):
    """PSNR of cleaned images, of the noisy ones, and of always answering the mean."""
    return nw.metrics.denoising(model.reconstruct, test, weights=(0.3,))[0]


gain = decibel(denoiser)
assert gain["denoised"] > decibel(eight)["denoised"]
assert gain["denoised"] > gain["noisy"] > gain["mean_image"]
rows = {
    "noisy": noisy,
    "trained on clean": eight.reconstruct(noisy),
    "trained on noisy": denoiser.reconstruct(noisy),
    "clean": clean,
}
nw.report.labelled(nw.report.strips(rows, caption="The same network, trained in two ways."))

# %% [markdown]
# ## Exercises
#
# 1. Any invertible matrix between $f$ and $g$ leaves the linear model's output unchanged. What does that say about
#    reading meaning into single numbers of its code?
# 2. Fit a mixture of normals to the plain model's codes and draw from it. Does precision improve?
# 3. Does the VAE's error fall if its rate counts less (`beta=0.1`)? What happens to precision?
#
# <details><summary>Solution 1</summary>
#
# $g(M^{-1} M f(x)) = g(f(x))$: training cannot tell $f$ from $Mf$. Only the plane is learned; axes need something more, such as
# sparsity, or the order that PCA adds.
# </details>
# <details><summary>Solution 2</summary>
#
# ```python
# mixture = nw.fit_prior(eight, data, prior=nw.priors.GaussianMixture((), 8, components=16))
# drawn = mixture.prior.sample(200, torch.Generator().manual_seed(1))
# print(precision(eight.decode(drawn)))
# ```
# It does: correlations between numbers matter, and the plain autoencoder with a fitted density is a fair rival of the VAE. It even
# beats real digits, which shows what precision cannot see: typical, smooth samples score high, and unusual ones are missing.
# </details>
# <details><summary>Solution 3</summary>
#
# ```python
# sharp, sharp_error = trained(nw.Variational(8), beta=0.1)
# print(sharp_error, vae_error, precision(sharp.decode(noise)))
# ```
# The error falls a little and precision a lot: codes no longer look like $N(0, 1)$, so that draws from it fall where no digit is.
# </details>
