import torch

from narrows.training.seeding import mix, seed_step


def _draw(seed, step, rank):
    seed_step(seed, step, rank=rank)
    return torch.randn(1000)


def test_a_steps_numbers_depend_on_seed_step_and_rank_alone():
    first = _draw(3, 7, 1)
    torch.randn(13)
    assert torch.equal(first, _draw(3, 7, 1))
    others = [(4, 7, 1), (3, 8, 1), (3, 7, 0), (7, 3, 1), (1, 7, 3), (3, -1, 1)]
    for other in others:
        # 1,000 independent pairs: a correlation above 0.16 has probability below 1e-6.
        pair = torch.stack([first, _draw(*other)])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.16


def test_the_streams_of_many_steps_are_distinct():
    assert (
        len({mix(mix(mix(s) + t) + r) for s in range(20) for t in range(50) for r in range(4)})
        == 4000
    )


def test_splitmix_gives_its_published_sequence():
    # The first outputs of the reference generator from state 1234567.
    gamma = 0x9E3779B97F4A7C15
    found = [mix((1234567 + k * gamma) & (2**64 - 1)) for k in range(3)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]
