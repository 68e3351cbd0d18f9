"""Measures of reconstructions, rates, codes and samples, one a file.

Each docstring says what the measure cannot see; the tests hold each against a perfect, a
useless and a misleading code.
"""

from narrows.metrics.classifier import Classifier, accuracy, extract, retention, train_classifier
from narrows.metrics.code_information import CodeInformation, code_information
from narrows.metrics.dictionaries import (
    explained_by_atoms,
    explained_by_learned_atoms,
    linear_dictionary,
    self_expression,
    subspace_clusters,
)
from narrows.metrics.distortion import denoising, mse, nmse, psnr, ssim
from narrows.metrics.gabor import GaborFit, gabor_fit
from narrows.metrics.information import (
    active_units,
    class_information,
    divergence_per_unit,
    entropies,
    unit_variances,
)
from narrows.metrics.likelihood import Evidence, ImportanceEstimate, evidence, importance_estimate
from narrows.metrics.nearest import Nearest, nearest, novelty
from narrows.metrics.probe import baselines, decodable_information, knn_probe, linear_probe
from narrows.metrics.rate_curve import at_rate, bd_quality, bd_rate
from narrows.metrics.samples import (
    against_floor,
    frechet_distance,
    kid,
    one_nearest_neighbour_accuracy,
    precision_recall,
)
from narrows.metrics.sharpness import high_frequency_energy, laplacian_variance, sharpness
from narrows.metrics.sparsity import (
    components_for,
    effective_rank,
    excess_kurtosis,
    hoyer,
    l0,
    near_zero,
    pca_spectrum,
)

__all__ = [
    "Classifier",
    "CodeInformation",
    "Evidence",
    "GaborFit",
    "ImportanceEstimate",
    "Nearest",
    "accuracy",
    "active_units",
    "against_floor",
    "at_rate",
    "baselines",
    "bd_quality",
    "bd_rate",
    "class_information",
    "code_information",
    "components_for",
    "decodable_information",
    "denoising",
    "divergence_per_unit",
    "effective_rank",
    "entropies",
    "evidence",
    "excess_kurtosis",
    "explained_by_atoms",
    "explained_by_learned_atoms",
    "extract",
    "frechet_distance",
    "gabor_fit",
    "high_frequency_energy",
    "hoyer",
    "importance_estimate",
    "kid",
    "knn_probe",
    "l0",
    "laplacian_variance",
    "linear_dictionary",
    "linear_probe",
    "mse",
    "near_zero",
    "nearest",
    "nmse",
    "novelty",
    "one_nearest_neighbour_accuracy",
    "pca_spectrum",
    "precision_recall",
    "psnr",
    "retention",
    "self_expression",
    "sharpness",
    "ssim",
    "subspace_clusters",
    "train_classifier",
    "unit_variances",
]
