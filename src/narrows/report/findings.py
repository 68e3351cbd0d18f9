"""What the figures of several models say, in plain words."""

from collections.abc import Mapping

Figures = Mapping[str, float]


def answer(models: Mapping[str, Figures]) -> list[str]:
    """Sentences on which model gives what, and which are beaten outright.

    Rates differ between models, so a lower distortion alone says nothing: only a model that has
    both fewer bits and less distortion than another beats it.

    Args:
        models: label -> test figures with `nmse` and, where there is one, a rate in
            `bits_per_dimension`.
    """
    priced = {name: f for name, f in models.items() if "bits_per_dimension" in f}
    listed = sorted(priced, key=lambda name: priced[name]["bits_per_dimension"])
    sentences = []
    if listed:
        described = "; ".join(
            f"{name} {priced[name]['nmse']:.3g} at {priced[name]['bits_per_dimension']:.2f}"
            for name in listed
        )
        sentences.append(
            f"NMSE of held-out images at the rate each model needs, in bits per dimension: "
            f"{described}."
        )
    sentences += [_beaten(name, priced) for name in listed if _betters(name, priced)]
    if len(listed) > 1 and len(sentences) == 1:
        sentences.append(
            "No model beats another outright: each one with less distortion needs more bits. "
            "To choose at equal rate, sweep each model's size and compare the curves."
        )
    unpriced = [name for name in models if name not in priced]
    if unpriced:
        sentences.append(f"Without a rate, and so not compared: {', '.join(unpriced)}.")
    return sentences


def _betters(name: str, models: Mapping[str, Figures]) -> list[str]:
    """The models with no more bits and no more distortion than this one."""
    own = models[name]
    return [
        other
        for other, figures in models.items()
        if other != name
        and figures["nmse"] < own["nmse"]
        and figures["bits_per_dimension"] < own["bits_per_dimension"]
    ]


def _beaten(name: str, models: Mapping[str, Figures]) -> str:
    better = min(_betters(name, models), key=lambda other: models[other]["nmse"])
    one, two = models[better], models[name]
    bits = two["bits_per_dimension"] / one["bits_per_dimension"]
    error = two["nmse"] / one["nmse"]
    return (
        f"Here {better} beats {name} outright: {bits:.2g} times fewer bits and {error:.2g} times "
        "less distortion (one seed, these settings)."
    )
