"""An honest quantiser passes the contract; each way of breaking it is caught by its rule."""

import pytest
import torch
from torch import Tensor

from narrows.bottlenecks.base import Bottleneck
from narrows.codes import Indices, Values
from narrows.latent import Latent
from narrows.priors.base import Prior
from narrows.testing import ContractError, check_bottleneck


class Uniform(Prior):
    def __init__(self, size: int, sites: tuple[int, ...]) -> None:
        super().__init__(sites)
        self.size = size

    def rate(self, latent: Latent) -> Tensor:
        per_site = torch.log(torch.tensor(float(self.size)))
        return latent.code[0].numel() * per_site.expand(latent.batch)

    def sample(self, n, generator=None):
        return torch.randint(self.size, (n, *self.sites), generator=generator)


class PassThrough(torch.autograd.Function):
    """Forward: the code; backward: `scale` times the identity."""

    @staticmethod
    def forward(ctx, features, quantized, scale):
        ctx.scale = scale
        return quantized.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.scale, None, None


class Honest(Bottleneck):
    """Nearest code, written for clarity, with every rule obeyed."""

    gradient = "straight_through"
    gradient_scale = 1.0

    def __init__(self, size: int = 16, dim: int = 4) -> None:
        super().__init__(dim, dim)
        self.size = size
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("codebook", torch.randn(size, dim, generator=generator))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def codes(self) -> Indices:
        return Indices(self.size)

    def choose(self, rows: Tensor) -> Tensor:
        distances = (rows[:, None, :] - self.codebook.to(rows.dtype)).square().sum(-1)
        return distances.argmin(-1)

    def index(self, features: Tensor) -> Tensor:
        return self.choose(features.reshape(-1, features.shape[-1])).view(features.shape[:-1])

    def forward(self, features: Tensor) -> Latent:
        features = self._check(features)
        with torch.autocast(features.device.type, enabled=False):
            code = self.index(features)
            quantized = self.embed(code).to(features.dtype)
            z = PassThrough.apply(features, quantized, self.gradient_scale)
        counts = torch.zeros(self.size).index_add_(0, code.flatten(), torch.ones(code.numel()))
        return Latent(z, code, features.detach(), stats={"counts": counts})

    def embed(self, code):
        return self.codebook[code]

    def default_prior(self, sites):
        return Uniform(self.size, sites)

    def update(self, latents):
        self.steps += 1


def test_an_honest_bottleneck_passes():
    check_bottleneck(Honest())
    check_bottleneck(Honest(), sites=(), export=False)


class Leaking(Honest):
    """The notebook's dictionary: the decoder is fed 2 * reconstruction - x."""

    def forward(self, features):
        latent = super().forward(features)
        z = 2 * latent.z - latent.features
        return Latent(z, latent.code, latent.features, stats=latent.stats)


class Farthest(Honest):
    """The notebook's quantiser: argmax of the distances."""

    def choose(self, rows):
        distances = (rows[:, None, :] - self.codebook.to(rows.dtype)).square().sum(-1)
        return distances.argmax(-1)


class LearnsInForward(Honest):
    def forward(self, features):
        if self.training:
            self.codebook.mul_(0.99)
        return super().forward(features)


class LearnsInEval(Honest):
    def forward(self, features):
        if not self.training:
            self.steps += 1
        return super().forward(features)


class NoPermute(Honest):
    """Rows cut across sites, as when a channels-first tensor is viewed as channels-last."""

    def index(self, features):
        mixed = features.movedim(-1, 1).reshape(-1, features.shape[-1])
        return self.choose(mixed).view(features.shape[:-1])


class GradientScaled(Honest):
    gradient_scale = 0.5


class BatchDependent(Honest):
    def index(self, features):
        return super().index(features - features.mean(0, keepdim=True))


class DeclaresTooFewCodes(Honest):
    @property
    def codes(self):
        return Indices(self.size - 1)


class SwallowsNaN(Honest):
    def _check(self, features):
        return super()._check(features.nan_to_num())


class HalfPrecisionSearch(Honest):
    def choose(self, rows):
        return super().choose(
            rows.bfloat16().to(rows.dtype) if rows.dtype is torch.float32 else rows
        )

    def _check(self, features):
        if features.dtype is torch.bfloat16:
            return features.float() + 0.3
        return super()._check(features)


class StatsAreMeans(Honest):
    def forward(self, features):
        latent = super().forward(features)
        stats = {name: value / max(1, latent.batch) for name, value in latent.stats.items()}
        return Latent(latent.z, latent.code, latent.features, stats=stats)


class UpdateUsesGlobalRandomness(Honest):
    def update(self, latents):
        torch.rand(1)


class ForgetsState(Honest):
    """The codebook is drawn anew in each object and is not part of the state."""

    def __init__(self, size: int = 16, dim: int = 4) -> None:
        super().__init__(size, dim)
        del self.codebook
        self.codebook = torch.randn(size, dim)


class FreeContinuousCode(Bottleneck):
    """A continuous code whose prior says it costs nothing."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__(dim, dim)

    @property
    def codes(self):
        return Values(self.in_features)

    def forward(self, features):
        features = self._check(features)
        return Latent(features, features, features.detach())

    def embed(self, code):
        return code

    def default_prior(self, sites):
        return Free(sites)


class Free(Prior):
    def rate(self, latent):
        return torch.zeros(latent.batch)

    def sample(self, n, generator=None):
        return torch.zeros(n, *self.sites, 4)


@pytest.mark.parametrize(
    ("mutant", "rule"),
    [
        (Leaking, "decoder_sees_only_the_code"),
        (Farthest, "codes_follow_the_features"),
        (LearnsInForward, "forward_changes_no_state"),
        (LearnsInEval, "forward_changes_no_state"),
        (NoPermute, "codes_follow_the_features|sites_are_coded_alone"),
        (GradientScaled, "gradient_is_as_declared"),
        (BatchDependent, "codes_do_not_depend_on_the_batch"),
        (DeclaresTooFewCodes, "codes_are_as_declared"),
        (SwallowsNaN, "refuses_what_cannot_be_coded"),
        (HalfPrecisionSearch, "precision_does_not_change_codes"),
        (StatsAreMeans, "stats_are_additive"),
        (UpdateUsesGlobalRandomness, "update_is_self_contained"),
        (ForgetsState, "state_can_be_saved"),
        (FreeContinuousCode, "prior_fits_the_code"),
    ],
)
def test_each_broken_bottleneck_is_caught_by_its_rule(mutant, rule):
    with pytest.raises(ContractError, match=f"^({rule}):"):
        check_bottleneck(mutant(), export=False)


def test_the_check_leaves_the_bottleneck_and_the_random_numbers_alone():
    bottleneck = Honest()
    before = {name: value.clone() for name, value in bottleneck.state_dict().items()}
    generator = torch.random.get_rng_state()
    check_bottleneck(bottleneck, export=False)
    assert torch.equal(generator, torch.random.get_rng_state())
    for name, value in bottleneck.state_dict().items():
        assert torch.equal(value, before[name])
