"""The judge's measures as tables of a page."""

from collections.abc import Mapping, Sequence

from narrows.compare.judge import ATOMS, FIRED, NOISE
from narrows.report import Block, Column, Table
from narrows.report.table import Cell

Figures = Mapping[str, Mapping[str, Cell]]

RECONSTRUCTIONS = {
    "ssim": Column("SSIM", "1: equal", best="highest"),
    "laplacian_ratio": Column("variance of Laplacian", "over that of the originals"),
    "high_frequency_ratio": Column("energy above 1/4 cycle per pixel", "over the originals'"),
}
FEATURES = {
    "explained": Column("explained", "share of variance", best="highest"),
    "recovered": Column("loss recovered", "share; 0: zeros do as well", best="highest"),
    "recovered_over_mean": Column("loss recovered", "0: the mean does as well", best="highest"),
    "file_bits": Column("file", "bits a vector", best="lowest"),
    "dead": Column("dead", "share of features", best="lowest"),
    "dense": Column("dense", "over a tenth"),
    "cosine": Column("cosine", "with the copy", best="highest"),
    "norm_ratio": Column("norm", "over the vector's"),
    "mcc": Column("MCC", "with the true features", best="highest"),
    "found": Column("found", "pairs with a cosine over 0.7", best="highest"),
}
CODES = {
    "effective_rank": Column("effective rank", "directions of z"),
    "components_95": Column("components for 95 %", "of the variance of z"),
    "hoyer": Column("Hoyer sparsity", "of a site's z; 1: one entry"),
    "kurtosis": Column("excess kurtosis", "median dimension; 0: normal"),
    "near_zero": Column("near zero", "share within 0.1; normal: 0.080"),
    "self_expression": Column("self-expression", "over a normal code's; 1: no subspaces"),
}
ATOMS_EXPLAIN = {
    "atoms_explain": Column(f"{ATOMS} learned atoms", "share of a site's z", best="highest"),
    "atoms_random": Column(f"{ATOMS} random atoms", "of as many"),
    "atoms_pca": Column(f"{ATOMS} directions", "of PCA"),
}
INFORMATION = {
    "unit_information": Column("its numbers", "bits, added up"),
    "rate_less_units": Column("rate less that", "bits per example", best="lowest"),
    "whole_information": Column("whole code", "bits; at most the next"),
    "log_examples": Column("ceiling", "log2 of the examples"),
}
ABOUT_CLASS = {
    "class_information": Column("whole code", "bits, linear reader of z", best="highest"),
    "class_chance": Column("by chance", "classes shuffled"),
    "class_entropy": Column("ceiling", "entropy of the classes"),
    "best_unit_class": Column("its best number", "bits", best="highest"),
    "best_unit_chance": Column("by chance", "classes shuffled"),
}
SAMPLES = {
    "kid": Column("KID", "own features", best="lowest"),
    "kid_floor": Column("its floor", "real against real"),
    "frechet": Column("Frechet", "own features", best="lowest"),
    "frechet_floor": Column("its floor", "real against real"),
    "precision": Column("precision", "share of samples", best="highest"),
    "recall": Column("recall", "share of real", best="highest"),
    "density": Column("density", ""),
    "coverage": Column("coverage", "share of real", best="highest"),
    "two_sample": Column("told apart", "by nearest neighbour; 1/2: not"),
    "novelty": Column("distance to training", "over that of test examples"),
}
RETAINED = {
    "linear_probe": Column("linear probe of z", "accuracy", best="highest"),
    "knn_probe": Column("5 neighbours in z", "accuracy", best="highest"),
    "real_on_real": Column("classifier", "trained and tested on originals"),
    "real_on_reconstructed": Column("tested on copies", "accuracy", best="highest"),
    "reconstructed_on_real": Column("trained on copies", "accuracy", best="highest"),
}
DENOISING = {
    f"denoised_{weight:g}": Column(f"noise {weight:g}", "dB", best="highest") for weight in NOISE
}

TABLES: Sequence[tuple[str, str, Mapping[str, Column]]] = (
    ("Sharpness", "Reconstructions; ratios below 1 are blurred, above 1 noisy", RECONSTRUCTIONS),
    ("Features", "Vectors and their dictionaries", FEATURES),
    ("Structure of the codes", "What z uses of its space", CODES),
    ("Structure of the codes", "What few directions hold of a site's z", ATOMS_EXPLAIN),
    ("Information in the codes", "What the stored code says about the example", INFORMATION),
    ("Information in the codes", "What it says about the example's class", ABOUT_CLASS),
    ("Samples", "Samples against test examples, in features of our own classifier", SAMPLES),
    ("What is retained", "Accuracy on test examples", RETAINED),
    ("Denoising", "PSNR of reconstructions of noisy images against the clean ones", DENOISING),
)
ABOUT = {
    "Features": (
        "Variance explained (about each mean) and cosine are of values as coded, the file's bits "
        "(bits a token, where vectors are tokens') of values rounded as on the disk. A feature is "
        f"dead if it fires at none of the first {FIRED:,} test vectors. Features may explain much "
        "and mean nothing: compare with sae-random."
    ),
    "Information in the codes": (
        "Mutual information in bits per example, the test examples used being the whole "
        "population. A code's numbers are its indices, its rounded values, or the dimensions of"
        " its posterior (one draw), each at its site. 'Its numbers' adds what each of them says"
        " by itself: what several say counts several times. The rate is larger by what a prior "
        "fitted to every number at every site would save, and by what so few examples do not "
        "show; it is smaller where a learned prior knows how the numbers hang together. The "
        "whole code shows at most the logarithm of the number of examples; near that, it says "
        "no more than that different examples have different codes. About the class, a linear "
        "reader on new examples gives a lower bound for the whole code; a single number is read"
        " off the very examples that it is counted on, and is worth what it has over its "
        "chance."
    ),
}


def tables(figures: Figures, examples: int, *, seeds: int = 1) -> dict[str, list[Block | str]]:
    """Tables by heading, one heading per question; those without figures are left out.

    Args:
        figures: label -> the judge's measures, with intervals where there are several seeds;
            references among them.
        examples: how many of the test split were used.
        seeds: over which the figures of models are means.
    """
    over = "one seed" if seeds == 1 else f"means over {seeds} seeds"
    found: dict[str, list[Block | str]] = {}
    for heading, caption, known in TABLES:
        rows = {name: f for name, f in figures.items() if f.keys() & known.keys()}
        if rows:
            note = f"{caption}; {examples:,} test examples, {over}."
            found.setdefault(heading, []).append(Table.of(note, known, rows=rows))
    for heading in found.keys() & ABOUT.keys():
        found[heading].append(ABOUT[heading])
    return found
