# %% [markdown]
# # Variational codes: why, and what can go wrong
#
# A *variational* code is a distribution $q(z \mid x)$ instead of a point. You see what it is paid with (the KL divergence), that
# the training loss bounds a likelihood, what Laplace and Cauchy priors do, and how codes collapse and are cured.

# %%
import torch

import narrows as nw
from narrows.distributions import Cauchy, Laplace, Normal

data = nw.data.load("digits")  # 8 x 8 pixels
test = data.test.batch(torch.arange(len(data.test)))


def trained(bottleneck, epochs=30, callbacks=(), **options):
    """A trained variational autoencoder and its figures on test images."""
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(
        data.shape, bottleneck, network=nw.Mlp(hidden=(128,)), **options
    )
    how = nw.Optimization(learning_rate=2e-3)
    run = nw.fit(model, data, epochs=epochs, optimization=how, callbacks=callbacks, show=False)
    return model, run.test


# %% [markdown]
# ## The price of a code
#
# Noise makes a code cheap: a number known only up to a standard deviation $s$ says little. How little is measured
# against what was expected before seeing $x$, the prior $p(z)$:
#
# $$\mathrm{KL}(q \,\|\, p) = \mathbb{E}_{q}\left[\log \frac{q(z \mid x)}{p(z)}\right]
#   = \tfrac12\left(m^2 + s^2 - 1 - \ln s^2\right)$$
#
# where the second form is that of $q = N(m, s^2)$ and $p = N(0, 1)$. Check it by drawing.

# %%
torch.manual_seed(0)
m, s = torch.tensor(1.5), torch.tensor(0.4)
q, p = torch.distributions.Normal(m, s), torch.distributions.Normal(0.0, 1.0)
z = q.sample((100_000,))
drawn = (q.log_prob(z) - p.log_prob(z)).mean()
closed = (m**2 + s**2 - 1 - (s**2).log()) / 2
torch.testing.assert_close(drawn, closed, atol=0.02, rtol=0)

# %% [markdown]
# ## One loss, one bound
#
# $$-\log p(x) \le \underbrace{\mathbb{E}_q[-\log p(x \mid z)]}_{\text{distortion}} +
#   \underbrace{\mathrm{KL}(q \,\|\, p)}_{\text{rate}}$$
#
# The right side is what `fit` minimises (Kingma and Welling, 2014). With many draws per image the left side can be estimated
# closely; it has to be smaller. (Both may be negative: a density can exceed 1.)

# %%
model, figures = trained(nw.Variational(16))
estimate = nw.metrics.importance_estimate(model, test[:100], draws=200)
bound = nw.metrics.importance_estimate(model, test[:100], draws=1)
print(f"nats an image: bound {bound.mean:.1f}, estimate of -log p(x) {estimate.mean:.1f}")
assert estimate.mean < bound.mean

# %% [markdown]
# Each dimension pays for itself. Order them by price and move the dearest one of a digit from -2 to 2.

# %%


def price(of):
    """KL of each dimension, nats an image."""
    return nw.metrics.divergence_per_unit(of, [of.eval().latent(test)])


dearest = price(model).argsort(descending=True)[:3]
moved = nw.generation.traverse(
    model, test[:1], values=[-2.0, -1.2, -0.4, 0.4, 1.2, 2.0], dimensions=dearest.tolist()
)
rows = {f"dimension {d}": images for d, images in zip(dearest.tolist(), moved, strict=True)}
nw.report.labelled(nw.report.strips(rows, caption="One number of the code at a time."))

# %% [markdown]
# ## Other priors
#
# A *Laplace* prior has a peak at 0 and heavier tails, a *Cauchy* prior far heavier ones. Are such codes sparse? Scale the three so
# that half of each lies in the same interval. Then the share of values near 0 is

# %%
half = torch.tensor(0.6745)  # the quartile of N(0, 1)
near = torch.tensor(0.1)
shares = {
    "normal": 2 * torch.distributions.Normal(0.0, 1.0).cdf(near) - 1,
    "Cauchy": 2 * torch.distributions.Cauchy(0.0, half).cdf(near) - 1,
    "Laplace": 2 * torch.distributions.Laplace(0.0, half / torch.tensor(2.0).log()).cdf(near) - 1,
}
print({name: round(float(share), 3) for name, share in shares.items()})
assert shares["normal"] < shares["Cauchy"] < shares["Laplace"] < 0.1

# %% [markdown]
# less than a tenth in every case: heavy tails allow rare large values, they do not make zeros. (For exact zeros see the tutorial on
# sparse codes.) In training, Laplace ends near the normal prior. Cauchy pays for its tails: its noise has them, too, so each draw
# may land far off.

# %%
priors = {
    "normal": nw.Variational(16),
    "Laplace": nw.Variational(16, Normal(), prior=Laplace()),
    "Cauchy": nw.Variational(16, Cauchy()),  # posterior and prior; z = asinh(code)
}
losses = {}
for name, bottleneck in priors.items():
    ended = figures if name == "normal" else trained(bottleneck)[1]
    losses[name] = ended["loss"]
    print(f"{name}: loss {ended['loss']:.1f} nats, {ended['bits_per_example']:.0f} bits an image")
assert losses["Laplace"] < losses["Cauchy"]

# %% [markdown]
# ## Collapse
#
# A dimension whose information is worth less than its price goes silent: $q = p$, KL = 0. Too much assumed noise does that. Squared
# error with weight 1/2 means $N(x; \hat x, \sigma^2)$ with $\sigma = 1$, while pixels lie in [0, 1]:

# %%
collapsed, silent = trained(nw.Variational(16), likelihood=nw.Normal(sigma=1.0))
print(f"sigma = 1: {silent['active_units']:.0f} of 16 units active, NMSE {silent['nmse']:.2f}")
assert silent["active_units"] < figures["active_units"]
assert silent["nmse"] > 2 * figures["nmse"]

# %% [markdown]
# Cures, in the order in which to try them:
#
# 1. **The right noise.** narrows' default finds the best $\sigma$ along the way; that is the model at the top.
# 2. **Warm-up.** Begin with a rate that costs nothing, so that the code is useful before it has to pay.
# 3. **Free bits.** Each dimension may spend some nats for nothing.
# 4. **A target.** `Geco` finds the weight of the rate that gives the distortion you name.

# %%
noisy = nw.Normal(sigma=1.0)
free, _ = trained(nw.Variational(16, free_bits=0.5), likelihood=noisy)
warm, _ = trained(nw.Variational(16), callbacks=[nw.training.LinearBeta(until=0.5)])
prices = {
    "sigma = 1": price(collapsed),
    "sigma = 1, free bits": price(free),
    "best sigma": price(model),
    "best sigma, warm-up": price(warm),
}
assert prices["sigma = 1, free bits"].min() > prices["sigma = 1"].min()
nw.report.curves(
    {
        name: (range(1, 17), kl.sort(descending=True).values.clamp(min=1e-5))
        for name, kl in prices.items()
    },
    quantity="KL",
    unit="nats",
    step="dimension, dearest first",
    smoothed=False,
    caption="Collapsed dimensions lie at the bottom.",
)

# %% [markdown]
# Free bits keep dimensions alive without giving them a reason: with the wrong noise, the code stays poor. Mend the noise first.
#
# ## Exercises
#
# 1. For which $m$ and $s$ is the KL zero? What does the decoder then know about $x$?
# 2. Find a `beta` at which the top model has fewer than half of its units active.
# 3. Does a tighter bound, `objective=nw.ImportanceWeighted(5)`, train a better model of the images?
#
# <details><summary>Solution 1</summary>
#
# Only for $m = 0$, $s = 1$: then $z$ is a draw from the prior whatever $x$ is, and the decoder knows nothing.
# </details>
# <details><summary>Solution 2</summary>
#
# ```python
# for beta in (1.0, 4.0, 8.0):
#     print(beta, trained(nw.Variational(16), beta=beta)[1]["active_units"])
# ```
# Between 4 and 8 they go silent all at once: codes that say less make the error and with it $\sigma$ grow, which makes codes worth
# less still.
# </details>
# <details><summary>Solution 3</summary>
#
# ```python
# weighted, _ = trained(nw.Variational(16), objective=nw.ImportanceWeighted(5))
# print(nw.metrics.importance_estimate(weighted, test[:100], draws=200).mean, estimate.mean)
# ```
# Yes, some nats better. Compare $-\log p(x)$ and not the losses, which bound it from different distances.
# </details>
