"""The common corruptions of CIFAR-10-C and ImageNet-C, each in five severities.

Source: Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common
corruptions and perturbations", and its code.
"""

from augment.corruptions.corruption import SEVERITIES, Benchmark, Corruption, benchmark_for
from augment.corruptions.defocus_blur import defocus_blur
from augment.corruptions.digital import jpeg_compression, pixelate
from augment.corruptions.elastic_transform import elastic_transform
from augment.corruptions.fog import fog
from augment.corruptions.frost import frost
from augment.corruptions.glass_blur import glass_blur
from augment.corruptions.light import brightness, contrast
from augment.corruptions.motion_blur import motion_blur
from augment.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from augment.corruptions.snow import snow
from augment.corruptions.zoom_blur import zoom_blur

# In the order of the paper: noise, blur, weather, digital.
CORRUPTIONS: dict[str, Corruption] = {
    each.name: each
    for each in (
        *(gaussian_noise, shot_noise, impulse_noise),
        *(defocus_blur, glass_blur, motion_blur, zoom_blur),
        *(snow, frost, fog, brightness),
        *(contrast, elastic_transform, pixelate, jpeg_compression),
    )
}
__all__ = ["CORRUPTIONS", "SEVERITIES", "Benchmark", "Corruption", "benchmark_for"]
