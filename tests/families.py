"""One bottleneck of every family and every way of learning, for tests of all families."""

from collections.abc import Callable

from narrows.bottlenecks import (
    NVIL,
    OMP,
    RLOO,
    AuxK,
    BatchTopK,
    Bottleneck,
    Categorical,
    Clamp,
    CodebookLearning,
    FiniteScalarQuantizer,
    Gated,
    GumbelSoftmax,
    Identity,
    JumpReLU,
    Lasso,
    LookupFreeQuantizer,
    Matryoshka,
    NormalCdf,
    Projected,
    ReLU,
    ResidualQuantizer,
    Rounded,
    SimVQ,
    SoftmaxDictionary,
    SparseDictionary,
    SpikeAndSlab,
    Split,
    StraightThrough,
    Tanh,
    TopK,
    Untied,
    Variational,
    VectorQuantizer,
    VQBridge,
)
from narrows.distributions import Cauchy, Laplace, Normal

PLAIN_TOP_K = TopK(2, refit=False, nonnegative=True)

FAMILIES: dict[str, Callable[[], Bottleneck]] = {
    "plain": lambda: Identity(3),
    "normal": lambda: Variational(3),
    "laplace": lambda: Variational(3, Laplace()),
    "cauchy": lambda: Variational(3, Cauchy()),
    # Between the mean KL of the two halves of the first batch.
    "free bits": lambda: Variational(3, Normal(), free_bits=0.3515),
    "spike and slab": lambda: SpikeAndSlab(3),
    "categorical rloo": lambda: Categorical(4, 2, estimator=RLOO(3)),
    "categorical nvil": lambda: Categorical(4, 2, estimator=NVIL(8)),
    "categorical gumbel": lambda: Categorical(4, 2, estimator=GumbelSoftmax()),
    "categorical straight-through": lambda: Categorical(4, 2, estimator=StraightThrough()),
    "split": lambda: Split([Categorical(4, 1, estimator=StraightThrough()), Variational(2)]),
    "split of quantisers": lambda: Split([VectorQuantizer(8, 2), FiniteScalarQuantizer([4, 3])]),
    "vq ema": lambda: VectorQuantizer(24, 4, learning=CodebookLearning(revive_after=2)),
    "vq ema k-means": lambda: VectorQuantizer(
        24, 4, learning=CodebookLearning(init="kmeans", revive_after=2, warmup=2)
    ),
    "vq gradient": lambda: VectorQuantizer(
        24, 4, learning=CodebookLearning(method="gradient", revive_after=2)
    ),
    "vq gradient warm-up": lambda: VectorQuantizer(
        24, 4, learning=CodebookLearning(method="gradient", revive_after=2, warmup=3)
    ),
    "vq cosine rotation": lambda: VectorQuantizer(
        24, 4, learning=CodebookLearning(revive_after=2), metric="cosine", estimator="rotation"
    ),
    "residual": lambda: ResidualQuantizer(
        VectorQuantizer(12, 4, learning=CodebookLearning(revive_after=2)), stages=3, dropout=0.5
    ),
    "residual gradient": lambda: ResidualQuantizer(
        VectorQuantizer(
            12, 4, learning=CodebookLearning(method="gradient", revive_after=2, warmup=2)
        ),
        stages=2,
    ),
    "residual of unlike": lambda: ResidualQuantizer(
        [
            Projected(VectorQuantizer(12, 2, metric="cosine"), 4),
            VectorQuantizer(6, 4, learning=CodebookLearning(init="kmeans", warmup=2)),
            FiniteScalarQuantizer([3, 3, 3, 2], Clamp(), scale=0.5),
            LookupFreeQuantizer(4),
        ]
    ),
    "projected": lambda: Projected(VectorQuantizer(12, 2), 4),
    "vq entropy": lambda: VectorQuantizer(
        24, 4, learning=CodebookLearning(revive_after=2, entropy_constraint=0.1)
    ),
    "rounded": lambda: Rounded(3),
    "fsq": lambda: FiniteScalarQuantizer([5, 4, 3]),
    "fsq normal": lambda: FiniteScalarQuantizer([5, 4, 3], NormalCdf(), scale=2.0),
    "fsq noise": lambda: FiniteScalarQuantizer([5, 4, 3], Tanh(0.8), noise=0.5),
    "lfq": lambda: LookupFreeQuantizer(4),
    "lfq spherical": lambda: LookupFreeQuantizer(4, spherical=True),
    "simvq": lambda: SimVQ(24, 4),
    "vqbridge": lambda: VQBridge(24, 4, patch=4, hidden=8),
    "sparse top-k": lambda: SparseDictionary(16, 4, coder=TopK(2)),
    "sparse batch top-k": lambda: SparseDictionary(16, 4, coder=BatchTopK(2)),
    "sparse omp": lambda: SparseDictionary(16, 4, coder=OMP(2)),
    "sparse lasso": lambda: SparseDictionary(16, 4, coder=Lasso(0.2), target_l0=2.0),
    "sparse lasso implicit": lambda: SparseDictionary(
        16, 4, coder=Lasso(0.2, refit=False), gradient="implicit"
    ),
    "sparse relu": lambda: SparseDictionary(16, 4, coder=ReLU(), target_l0=2.0),
    "sparse untied top-k": lambda: SparseDictionary(16, 4, coder=AuxK(Untied(PLAIN_TOP_K))),
    "sparse jump-relu": lambda: SparseDictionary(
        16, 4, coder=JumpReLU(), gradient="implicit", target_l0=2.0
    ),
    "sparse gated": lambda: SparseDictionary(16, 4, coder=Gated(), target_l0=2.0),
    "sparse matryoshka": lambda: SparseDictionary(
        16,
        4,
        coder=Matryoshka(Untied(BatchTopK(2, refit=False, nonnegative=True)), prefixes=(4, 8)),
    ),
    "sparse image": lambda: SparseDictionary(24, 2, coder=TopK(3), sites=(4, 4)),
    "softmax dictionary": lambda: SoftmaxDictionary(16, 4, k=3),
}
