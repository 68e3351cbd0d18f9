"""Measures of reconstructions, rates, codes and samples, one a file.

Each docstring says what the measure cannot see; the tests hold each against a perfect, a
useless and a misleading code.
"""

from narrows.metrics.atoms import explained_by_atoms, explained_by_learned_atoms
from narrows.metrics.classifier import Classifier, accuracy, extract, train_classifier
from narrows.metrics.code_information import CodeInformation, code_information
from narrows.metrics.codebook_fit import codebook_fit
from narrows.metrics.counting import class_information, entropies
from narrows.metrics.decodable import decodable_information
from narrows.metrics.denoising import denoising
from narrows.metrics.distortion import mse, nmse, psnr, ssim
from narrows.metrics.evidence import Evidence, evidence
from narrows.metrics.floor import against_floor
from narrows.metrics.frechet import frechet_distance
from narrows.metrics.gabor import GaborFit, gabor_fit
from narrows.metrics.growth import growth, size_for
from narrows.metrics.importance import ImportanceEstimate, importance_estimate
from narrows.metrics.information import (
    active_units,
    divergence_per_unit,
    unit_variances,
)
from narrows.metrics.kid import kid
from narrows.metrics.linear_dictionary import linear_dictionary
from narrows.metrics.nearest import Nearest, nearest, novelty
from narrows.metrics.precision_recall import precision_recall
from narrows.metrics.probe import baselines, knn_probe, linear_probe
from narrows.metrics.rate_curve import at_rate, bd_quality, bd_rate
from narrows.metrics.retention import retention
from narrows.metrics.sharpness import high_frequency_energy, laplacian_variance, sharpness
from narrows.metrics.sparsity import excess_kurtosis, hoyer, l0, near_zero
from narrows.metrics.spectrum import components_for, effective_rank, pca_spectrum
from narrows.metrics.subspaces import self_expression, subspace_clusters
from narrows.metrics.two_sample import one_nearest_neighbour_accuracy

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
    "codebook_fit",
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
    "growth",
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
    "size_for",
    "ssim",
    "subspace_clusters",
    "train_classifier",
    "unit_variances",
]
