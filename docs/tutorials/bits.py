# %% [markdown]
# # Bits: from a latent to a file
#
# "Which code is better?" has no answer until both cost the same. You turn codes into files, see what sets their size, train
# a code *for* its bits, and compare families at equal bits.

# %%
import math

import torch

import narrows as nw

data = nw.data.load("digits")  # 8 x 8 pixels: 64 dimensions
test = data.test.batch(torch.arange(len(data.test)))


def trained(bottleneck, epochs=20, **options):
    """A trained model with 4 x 4 sites, and its run."""
    torch.manual_seed(0)
    network = nw.Mlp(hidden=(256,), sites=(4, 4))
    model = nw.Autoencoder.for_images(data.shape, bottleneck, network=network)
    how = nw.Optimization(learning_rate=2e-3)
    return model, nw.fit(model, data, epochs=epochs, optimization=how, show=False, **options)


# %% [markdown]
# ## A probability is a length
#
# A symbol of probability $p$ can be stored in $-\log_2 p$ bits, and on average nothing shorter than the *entropy*
# $H = -\sum_k p_k \log_2 p_k$ will do (Shannon, 1948). *Arithmetic coding* comes within a few bits of it for a whole file. So
# a model of codes, the **prior**, *is* a compressor, and `model.bits` predicts the size of the file.

# %%
vq, run = trained(nw.VectorQuantizer(64, 8))
blob = nw.Codec(vq).compress(test)
predicted = float(vq.bits(test).sum()) / 8
print(f"{len(test)} images: {predicted:.0f} bytes predicted, file of {len(blob)} bytes")
assert abs(len(blob) - nw.Codec.header_bits(blob) / 8 - predicted) < 0.02 * predicted
back = nw.Codec(vq).decompress(blob)
assert torch.allclose(back, vq.reconstruct(test), atol=1e-5)

# %% [markdown]
# ## A better prior makes a smaller file
#
# The same tokens, so the same images: only the model of the tokens changes. It was fitted to training images, the file holds test images.

# %%
priors = {
    "uniform": nw.priors.UniformCategorical((4, 4), 64),
    "histogram": nw.priors.CategoricalPrior((4, 4), 64),
    "PixelCNN": nw.priors.PixelCNN((4, 4), 64, hidden=32, layers=2, kernel=3),
}
files = {}
for name, prior in priors.items():
    fitted = nw.fit_prior(vq, data, prior=prior, epochs=10).prior
    files[name] = len(nw.Codec(vq, fitted).compress(test))
print(files)
assert files["PixelCNN"] < files["histogram"]

# %% [markdown]
# ## Numbers need a step
#
# A real number has no finite length. Rounded to multiples of a *step* it has one: halve the step, and each number costs
# one bit more. A plain autoencoder was never told; `fit` chose a step for it afterwards. Draw error against bits for many steps.

# %%
plain, _ = trained(nw.Identity(2))
points = []
for step in (2.0, 1.0, 0.5, 0.25, 0.125, 0.0625):
    grid = nw.priors.QuantizedHistogram((4, 4), 2, step=step)
    plain.prior = nw.fit_prior(plain, data, prior=grid).prior
    measured = nw.evaluate(plain, data.test, variance=data.variance)
    points.append((measured["bits_per_dimension"], measured["nmse"]))
fine, finer = points[-2][0], points[-1][0]
print(f"half the step: {32 / 64:.2f} bits per dimension more expected, {finer - fine:.2f} found")
assert abs(finer - fine - 32 / 64) < 0.15  # 32 numbers, 64 dimensions
gains = [first[1] - second[1] for first, second in zip(points[-4:], points[-3:], strict=False)]
assert gains == sorted(gains, reverse=True)
nw.report.rate_distortion({"plain, by its step": points})

# %% [markdown]
# The curve flattens on the right: finer digits of the numbers cost as much as coarse ones and change the image less and less.
#
# ## Train for bits
#
# If a file is the aim, say so in the loss: *distortion + $\beta \times$ rate*. Rounding has no gradient, so training adds uniform noise
# of the same width (Ballé, Laparra and Simoncelli, 2017). `nw.Rate` steers $\beta$ until the bits are those you ask for.
#
# Now the comparison at equal bits: same network, same data, same bits, two rates.

# %%
asked = (0.4, 0.8)  # bits per dimension
learning = nw.CodebookLearning(init="kmeans")
families = {
    "plain, rounded afterwards": lambda: nw.Identity(2),
    "rounded": lambda: nw.Rounded(2),
    "VQ": lambda: nw.VectorQuantizer(64, 8, learning=learning),
}
curves = {}
for name, make in families.items():
    curves[name] = []
    for bits in asked:
        _, run = trained(make(), rate=nw.Rate(bits))
        reached = run.test["bits_per_dimension"]
        assert abs(reached / bits - 1) < 0.1
        curves[name].append((reached, run.test["nmse"]))
plain_low, rounded_low = curves["plain, rounded afterwards"][0][1], curves["rounded"][0][1]
print(
    f"NMSE at {asked[0]} bits: rounded afterwards {plain_low:.3f}, trained for it {rounded_low:.3f}"
)
assert rounded_low < plain_low
nw.report.rate_distortion(curves, caption="Same network, same data.")

# %% [markdown]
# Read the picture vertically. "Model A has the smaller error" means nothing while it stands further right. This is one seed on a small
# data set: for a decision, take several seeds and your own data, which is what `narrows choose` does.
#
# ## Exercises
#
# 1. A quantiser uses its four codewords with probabilities 1/2, 1/4, 1/8, 1/8. How many bits a token?
# 2. How many bits would 4 atoms out of 256, with values of 4 bits each, cost at a site? And one of 256 codewords?
# 3. A file has a header. From how many images on does it weigh less than 1 % here?
#
# <details><summary>Solution 1</summary>
#
# $\tfrac12 \cdot 1 + \tfrac14 \cdot 2 + 2 \cdot \tfrac18 \cdot 3 = 1.75$ bits, where a fixed length takes 2.
# </details>
# <details><summary>Solution 2</summary>
#
# $\log_2 \binom{256}{4} + 4 \cdot 4 \approx 27.4 + 16 = 43.4$ bits against 8. "Sparse beats VQ" at the same dictionary size compares different bits.
# </details>
# <details><summary>Solution 3</summary>
#
# ```python
# header, image = nw.Codec.header_bits(blob), float(vq.bits(test).mean())
# print(header / 0.01 / image)
# ```
# The header is a fixed number of bits; divide it by 1 % of an image's bits.
# </details>

# %%
assert abs(math.log2(math.comb(256, 4)) + 16 - 43.4) < 0.1
