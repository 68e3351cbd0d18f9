import pytest
import torch

from narrows import kernels


@pytest.fixture(params=["compiled", "torch"])
def path(request, monkeypatch):
    """Runs a test with the compiled kernels and again with torch alone."""
    if request.param == "torch":
        monkeypatch.setenv("NARROWS_KERNELS", "off")
    elif any(kernels.load(name) is None for name in ("sparse", "sparse_products", "pursuit")):
        pytest.skip(f"no compiled kernel: {kernels.status('sparse')}")
    return request.param


@pytest.fixture
def problem():
    """Makes signals and unit-norm atoms."""

    def make(n=20, size=30, dim=12, seed=0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        signals = torch.randn(n, dim, generator=generator, dtype=torch.float64)
        atoms = torch.randn(size, dim, generator=generator, dtype=torch.float64)
        return signals.to(dtype), torch.nn.functional.normalize(atoms, dim=1).to(dtype)

    return make
