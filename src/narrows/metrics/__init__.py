"""Measures of reconstructions, rates, codes and samples, one a file.

Each docstring says what the measure cannot see; the tests hold each against a perfect, a
useless and a misleading code.
"""

from narrows.metrics.classifier import Classifier as Classifier
from narrows.metrics.classifier import accuracy as accuracy
from narrows.metrics.classifier import extract as extract
from narrows.metrics.classifier import retention as retention
from narrows.metrics.classifier import train_classifier as train_classifier
from narrows.metrics.codes.identifiers import Identifiers as Identifiers
from narrows.metrics.codes.identifiers import identifiers as identifiers
from narrows.metrics.codes.identifiers import tie_breakers as tie_breakers
from narrows.metrics.codes.information import CodeInformation as CodeInformation
from narrows.metrics.codes.information import code_information as code_information
from narrows.metrics.dictionaries import explained_by_atoms as explained_by_atoms
from narrows.metrics.dictionaries import explained_by_learned_atoms as explained_by_learned_atoms
from narrows.metrics.dictionaries import linear_dictionary as linear_dictionary
from narrows.metrics.dictionaries import self_expression as self_expression
from narrows.metrics.dictionaries import subspace_clusters as subspace_clusters
from narrows.metrics.distortion import denoising as denoising
from narrows.metrics.distortion import log_spectral_distance as log_spectral_distance
from narrows.metrics.distortion import mse as mse
from narrows.metrics.distortion import nmse as nmse
from narrows.metrics.distortion import psnr as psnr
from narrows.metrics.distortion import ssim as ssim
from narrows.metrics.gabor import GaborFit as GaborFit
from narrows.metrics.gabor import gabor_fit as gabor_fit
from narrows.metrics.information import active_units as active_units
from narrows.metrics.information import class_information as class_information
from narrows.metrics.information import divergence_per_unit as divergence_per_unit
from narrows.metrics.information import entropies as entropies
from narrows.metrics.information import unit_variances as unit_variances
from narrows.metrics.likelihood import Evidence as Evidence
from narrows.metrics.likelihood import ImportanceEstimate as ImportanceEstimate
from narrows.metrics.likelihood import evidence as evidence
from narrows.metrics.likelihood import importance_estimate as importance_estimate
from narrows.metrics.nearest import Nearest as Nearest
from narrows.metrics.nearest import nearest as nearest
from narrows.metrics.nearest import novelty as novelty
from narrows.metrics.probe import baselines as baselines
from narrows.metrics.probe import decodable_information as decodable_information
from narrows.metrics.probe import knn_probe as knn_probe
from narrows.metrics.probe import linear_probe as linear_probe
from narrows.metrics.rate_curve import at_rate as at_rate
from narrows.metrics.rate_curve import bd_quality as bd_quality
from narrows.metrics.rate_curve import bd_rate as bd_rate
from narrows.metrics.samples import against_floor as against_floor
from narrows.metrics.samples import frechet_distance as frechet_distance
from narrows.metrics.samples import kid as kid
from narrows.metrics.samples import one_nearest_neighbour_accuracy as one_nearest_neighbour_accuracy
from narrows.metrics.samples import precision_recall as precision_recall
from narrows.metrics.sharpness import high_frequency_energy as high_frequency_energy
from narrows.metrics.sharpness import laplacian_variance as laplacian_variance
from narrows.metrics.sharpness import sharpness as sharpness
from narrows.metrics.sparsity import components_for as components_for
from narrows.metrics.sparsity import effective_rank as effective_rank
from narrows.metrics.sparsity import excess_kurtosis as excess_kurtosis
from narrows.metrics.sparsity import hoyer as hoyer
from narrows.metrics.sparsity import l0 as l0
from narrows.metrics.sparsity import near_zero as near_zero
from narrows.metrics.sparsity import pca_spectrum as pca_spectrum
