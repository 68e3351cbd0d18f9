import pytest
import torch

import narrows as nw


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_networks_compute_in_the_engines_precision_and_bottlenecks_in_float32(precision, dtype):
    data = nw.data.load("digits")
    bottleneck = nw.bottlenecks.VectorQuantizer(8, 4)
    model = nw.Autoencoder.for_images(data.shape, bottleneck, network=nw.networks.Conv(8))
    seen = set()
    model.encoder.register_forward_hook(
        lambda module, args, output: seen.add((module.training, output.dtype))
    )

    class Watch(nw.training.Callback):
        def after_step(self, model, loss):
            assert loss.latent.z.dtype == loss.nll.dtype == torch.float32

    nw.fit(
        model, data, epochs=1, callbacks=[Watch()], show=False,
        engine=nw.training.Engine(precision=precision, accelerator="cpu"),
    )  # fmt: skip
    assert (True, dtype) in seen
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
