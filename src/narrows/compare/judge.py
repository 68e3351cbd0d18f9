"""All measures of a trained model that need more than its own figures."""

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from narrows import metrics
from narrows.autoencoder import Autoencoder
from narrows.codec import CodecError
from narrows.codes import AtomValues
from narrows.data.dataset import Dataset, Split
from narrows.interop.splicing import LossRecovered
from narrows.metrics.classifier import in_batches
from narrows.modes import evaluating
from narrows.priors.base import NoRateError

NOISE = (0.25, 0.5, 0.75)
"""Noise weights of the denoising measure."""
ATOMS = 4
"""Learned atoms that are to explain a site's vector, where it is at least twice as wide."""
FIRED = 20_000
"""Test vectors on which atoms are counted as dead or dense."""
PAIRED = 1000
"""Examples whose codes are held against each other's: the work grows with the square."""


class Judge:
    """Measures models on one data set, all with the same examples, classifier and noise.

    Args:
        data: what the models were trained on, on their device; measures of samples and of what
            is retained need labels, those of pictures need images.
        examples: at most this many of each split are used.
        epochs: of the classifier's training.
        seed: of classifier, samples and noise.
        recover: measures the loss of a language model with reconstructions in a layer's place;
            None where there is none.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        examples: int = 2000,
        epochs: int = 15,
        seed: int = 0,
        recover: Callable[[Autoencoder], LossRecovered] | None = None,
    ) -> None:
        self.recover = recover
        self.data: Dataset = data
        self.epochs: int = epochs
        self.seed: int = seed
        self.train: Tensor
        self.test: Tensor
        self.train_labels: Tensor | None
        self.test_labels: Tensor | None
        self.train, self.train_labels = _head(data.train, examples)
        self.test, self.test_labels = _head(data.test, examples)

    @cached_property
    def classifier(self) -> metrics.Classifier:
        """The one that gives features and reads reconstructions, trained on first use."""
        labels = self._labels(self.train_labels)
        return metrics.train_classifier(self.train, labels, epochs=self.epochs, seed=self.seed)

    @cached_property
    def real(self) -> Tensor:
        """Features of the test examples, `[n, 64]`."""
        return metrics.extract(self.classifier, self.test)

    def judge(self, model: Autoencoder) -> dict[str, float]:
        """Every measure that this data set and this model allow, by name."""
        found = self.code(model) | self.information(model)
        if len(self.data.shape) == 3 and not self.data.own_units:
            found |= self.reconstruction(model) | self.denoising(model)
        if len(self.data.shape) == 1 and self.data.own_units:
            found |= self.features(model)
        if self.train_labels is not None:
            found |= self.samples(model) | self.retention(model)
        return found

    def width(self, model: Autoencoder) -> int:
        """Numbers in the whole z of an example."""
        return math.prod(model.sites) * model.bottleneck.out_features

    def reconstruction(self, model: Autoencoder) -> dict[str, float]:
        """`ssim`, and sharpness as ratios to the originals."""
        copies = in_batches(model.reconstruct, self.test)
        return {
            "ssim": metrics.ssim(self.test, copies).mean().item(),
            **metrics.sharpness(copies, self.test),
        }

    def features(self, model: Autoencoder) -> dict[str, float]:
        """What is asked of a dictionary of vectors, as far as model and data have it.

        `explained` is the share of variance that any latent explains, `file_bits` what a vector
        takes in a real file where the code can be written. Of codes of atoms `dead`, `dense`,
        `cosine` and `norm_ratio` say how they fire and what they give, and where the true features
        are known `mcc` and `found` how they match. `recovered` and `recovered_over_mean` are the
        loss recovered, where there is a language model to put the reconstructions into.
        """
        found = {"explained": metrics.explained(model, self.test)}
        if isinstance(model.bottleneck.codes, AtomValues):
            examples = self.data.test.head(FIRED).to(self.test.device)
            fires = metrics.firing(model, examples).figures()
            found |= {name: value for name, value in fires.items() if name != "l0"}
            if self.data.origin.known is not None:
                atoms = metrics.directions(model, atoms=range(model.bottleneck.codes.size))
                pairs = metrics.matching(atoms, self.data.origin.known)
                found |= {"mcc": pairs.mean, "found": pairs.found}
        with contextlib.suppress(CodecError, NoRateError):
            found["file_bits"] = metrics.file_bits(model, self.test)
        if self.recover is not None:
            loss = self.recover(model)
            found["recovered"] = loss.recovered
            found["recovered_over_mean"] = loss.recovered_over_mean
        return found

    def code(self, model: Autoencoder) -> dict[str, float]:
        """Spectrum, sparsity and self-expression of z, flattened or site by site.

        `effective_rank` and `components_95` count directions of the whole z, `kurtosis` and
        `near_zero` are medians over the sites' dimensions, `hoyer` is that of the sites' vectors,
        `self_expression` the ratio for them (1: no more than a normal distribution of their
        covariance; near 0: a union of subspaces or clusters), and `atoms_explain` what few atoms
        hold of them that were learned from training examples, beside `atoms_random` and
        `atoms_pca`.
        """
        z = _z(model, self.test)
        if bool((z == z[:1]).all()):
            return {"effective_rank": 0.0, "components_95": 0.0}  # collapsed: it uses none
        sites = z.flatten(0, -2).double()
        found = {
            "effective_rank": metrics.effective_rank(z.flatten(1)),
            "components_95": float(metrics.components_for(z.flatten(1))),
        }
        some = self._some(sites, 20_000)  # torch takes quantiles of no more than 16 million numbers
        medians = {"kurtosis": metrics.excess_kurtosis(sites), "near_zero": metrics.near_zero(some)}
        for name, values in medians.items():
            if bool(values.isfinite().any()):
                found[name] = values.nanmedian().item()
        if sites.shape[1] > 1:
            found["hoyer"] = metrics.hoyer(sites).nanmean().item()
        if sites.shape[1] > 3:
            about_zero = self._some(sites, 1000) - sites.mean(0)
            found["self_expression"] = metrics.self_expression(about_zero)["ratio"]
        if sites.shape[1] >= 2 * ATOMS:
            found |= self._atoms(_z(model, self.train).flatten(0, -2).double(), sites)
        return found

    def _atoms(self, known: Tensor, sites: Tensor) -> dict[str, float]:
        """What a few of twice as many atoms as dimensions explain of the sites' vectors."""
        explained = metrics.explained_by_learned_atoms(
            self._some(known, 2000),
            self._some(sites, 1000),
            size=2 * sites.shape[1],
            k=ATOMS,
            seed=self.seed,
        )
        return {
            "atoms_explain": explained["atoms"],
            "atoms_random": explained["random"],
            "atoms_pca": explained["pca"],
        }

    def _some(self, rows: Tensor, n: int) -> Tensor:
        """At most n of the rows, the same ones every time."""
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))
        return rows[order[:n].to(rows.device)]

    def information(self, model: Autoencoder) -> dict[str, float]:
        """What the code says about the example and its class, in bits per example.

        `unit_information` sums I(x; unit) over the code's numbers, `rate_less_units` is what the
        rate has over that, and `whole_information` is I(x; code), at most `log_examples`. With
        labels, `best_unit_class` is the largest I(class; unit) and `best_unit_chance` the same
        with shuffled classes, `class_information` what a linear reader of z gets of the
        `class_entropy`, and `class_chance` that with shuffled training classes. Nothing where
        the code has no rate.
        """
        x, labels = self.test[:PAIRED], self.test_labels
        own = None if labels is None else labels[:PAIRED]
        try:
            about = metrics.code_information(model, x, labels=own, seed=self.seed)
        except NoRateError:
            return {}
        found = {
            "unit_information": float(about.units.sum()),
            "rate_less_units": about.prior_gap,
            "whole_information": about.whole,
            "log_examples": math.log(len(x)),
        }
        if about.classes is not None and about.floor is not None:
            found["best_unit_class"] = about.classes.max().item()
            found["best_unit_chance"] = about.floor
            found |= self._class_information(model)
        return {name: nats / math.log(2) for name, nats in found.items()}

    def _class_information(self, model: Autoencoder) -> dict[str, float]:
        """Nats that a linear reader of z has about the class, beside all and beside chance."""
        labels, answers = self._labels(self.train_labels), self._labels(self.test_labels)
        codes = (_z(model, self.train), labels), (_z(model, self.test), answers)
        return {
            "class_information": metrics.decodable_information(*codes, seed=self.seed),
            "class_chance": metrics.decodable_information(*codes, shuffle=True, seed=self.seed),
            "class_entropy": metrics.entropies(answers[:, None]).item(),
        }

    def samples(self, model: Autoencoder) -> dict[str, float]:
        """Distances of samples to test examples, each beside its real-against-real floor."""
        drawn = model.sample(len(self.test) // 2, self._generator())
        features = metrics.extract(self.classifier, drawn)
        kid, kid_floor = metrics.against_floor(metrics.kid, features, real=self.real)
        found = {"kid": kid, "kid_floor": kid_floor}
        if len(features) > features.shape[1]:
            distance, floor = metrics.against_floor(
                metrics.frechet_distance, features, real=self.real
            )
            found |= {"frechet": distance, "frechet_floor": floor}
        half = self.real[: len(features)]
        found |= metrics.precision_recall(features, half)
        found["two_sample"] = metrics.one_nearest_neighbour_accuracy(features, half)
        found["novelty"] = metrics.novelty(drawn, self.train, heldout=self.test)
        return found

    def retention(self, model: Autoencoder) -> dict[str, float]:
        """Accuracies of readers of z and of reconstructions."""
        labels, answers = self._labels(self.train_labels), self._labels(self.test_labels)
        codes = (_z(model, self.train), labels), (_z(model, self.test), answers)
        return {
            "linear_probe": metrics.linear_probe(*codes),
            "knn_probe": metrics.knn_probe(*codes),
            **metrics.retention(
                model.reconstruct,
                (self.train, labels),
                test=(self.test, answers),
                epochs=self.epochs,
                seed=self.seed,
                real=self.classifier,
            ),
        }

    def denoising(self, model: Autoencoder) -> dict[str, float]:
        """PSNR in dB of denoised test images by noise weight: `denoised_0.25` and so on."""
        rows = metrics.denoising(model.reconstruct, self.test, weights=NOISE, seed=self.seed)
        return {f"denoised_{row['weight']:g}": row["denoised"] for row in rows}

    def references(self, widths: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """What needs no autoencoder: probes of raw data, PCA and random codes; noisy images.

        Args:
            widths: label -> width of the code that PCA and the random encoder have to match.
        """
        found: dict[str, dict[str, float]] = {}
        if self.train_labels is not None:
            labels, answers = self._labels(self.train_labels), self._labels(self.test_labels)
            for width in sorted(set(widths.values())):
                codes = metrics.baselines(self.train, self.test, d=width, seed=self.seed)
                for kind, (train, test) in codes.items():
                    label = "raw data" if kind == "raw" else f"{kind} of width {train.shape[1]}"
                    if label not in found:
                        read = (train, labels), (test, answers)
                        found[label] = {
                            "linear_probe": metrics.linear_probe(*read),
                            "knn_probe": metrics.knn_probe(*read),
                        }
        if len(self.data.shape) == 3 and not self.data.own_units:
            rows = metrics.denoising(lambda x: x, self.test, weights=NOISE, seed=self.seed)
            for kind in ("noisy", "mean_image"):
                label = "left as it came" if kind == "noisy" else "the mean image"
                found[label] = {f"denoised_{r['weight']:g}": r[kind] for r in rows}
        return found

    def _generator(self) -> torch.Generator:
        return torch.Generator(self.test.device).manual_seed(self.seed)

    def _labels(self, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise ValueError(f"{self.data.name} has no labels, which this measure needs")
        return labels


def _head(split: Split, n: int) -> tuple[Tensor, Tensor | None]:
    index = torch.arange(min(n, len(split)))
    return split.batch(index), split.batch_labels(index)


@torch.no_grad()
def _z(model: Autoencoder, x: Tensor) -> Tensor:
    """What the decoder would be given, `[n, *sites, width]`, from the code as it is stored."""
    with evaluating(model):
        return torch.cat([model.bottleneck.embed(model.encode(part)) for part in x.split(256)])
