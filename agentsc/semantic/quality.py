"""How good received images are: PSNR, SSIM, intersection over union, and the Fréchet distance of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from agentsc.experiment.metrics import Metric, ratio

Floats = NDArray[np.floating]
FEWEST = 64
"""Images below which a Fréchet distance says too little to be given."""


def psnr_db(made: Floats, sent: Floats) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio per image [B], of images [B, 3, H, W] with peak 1; at most 100 dB."""
    error = np.mean((np.asarray(made, np.float64) - sent) ** 2, axis=(1, 2, 3))
    return np.asarray(-10.0 * np.log10(np.maximum(error, 1e-10)))


def ssim(made: Floats, sent: Floats) -> NDArray[np.float64]:
    """Structural similarity per image [B]: mean over places and colours, windows that lie inside.

    Reference: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, eq. 13
    with an 11 × 11 Gaussian window of σ = 1.5, K = (.01, .03) and peak 1.
    """
    first, second = np.asarray(made, np.float64), np.asarray(sent, np.float64)

    def local(values: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred = gaussian_filter(values, (0.0, 0.0, 1.5, 1.5), truncate=3.5)
        return np.asarray(blurred[:, :, 5:-5, 5:-5])

    a, b = local(first), local(second)
    var_a, var_b, both = local(first * first) - a * a, local(second * second) - b * b, local(first * second) - a * b
    c1, c2 = 0.01**2, 0.03**2
    index = (2.0 * a * b + c1) * (2.0 * both + c2) / ((a * a + b * b + c1) * (var_a + var_b + c2))
    return np.asarray(index.mean(axis=(1, 2, 3)))


def miou(made: NDArray[np.integer], truth: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Intersection over union of maps [B, H, W], mean over the classes that are in either map of an image, [B]."""
    number = np.arange(classes)[:, None, None, None]
    first, second = made[None] == number, truth[None] == number
    both, either = (first & second).sum(axis=(2, 3)), (first | second).sum(axis=(2, 3))
    seen = either > 0
    return np.asarray((both / np.maximum(either, 1)).sum(axis=0) / seen.sum(axis=0))


def spread_skill(expected: Floats, psnr: Floats) -> Metric:
    """Error that the spread of draws makes one expect over the error that their mean has, root mean squares of images.

    Args:
        expected: squared errors [B], see `receiver.expected_squared_error`. psnr: of the means of the draws [B], in dB.
    """
    found = ratio(expected, 10.0 ** (-0.1 * np.asarray(psnr)), "no images")
    return {**found, "mean": float(np.sqrt(found["mean"])), "ci95": np.sqrt(found["ci95"]).tolist()}


def frechet(first: Floats, second: Floats) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of two sets of features [n, d].

    Reference: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982, eq. 4. On our
    own features it is called FD-task, and is no FID.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    gap = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr (Σ₁ Σ₂)^½ through a symmetric matrix of the same eigenvalues; features that are 0 throughout make Σ₁ singular.
    values, axes = np.linalg.eigh(cov_a)
    root = (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0.0)).sum()
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2.0 * shared)


def frechet_metric(first: Floats, second: Floats) -> Metric:
    """`frechet` as a metric with a jackknife 95 % interval over the images of the first set."""
    count = len(first)
    if count < FEWEST:
        return {"mean": None, "ci95": None, "n": count, "reason": f"needs {FEWEST} images or more"}
    whole = frechet(first, second)
    left_out = np.asarray([frechet(np.delete(first, k, axis=0), second) for k in range(count)])
    error = np.sqrt((count - 1) / count * np.sum((left_out - left_out.mean()) ** 2))
    half = 1.959963984540054 * float(error)
    return {"mean": whole, "ci95": [max(whole - half, 0.0), whole + half], "n": count}
