"""Transforms of samples in front of a classifier, by the names of the command line."""

from trainers.defences.bit_depth import BitDepth
from trainers.defences.crop_ensemble import CropEnsemble
from trainers.defences.defence import Defence
from trainers.defences.gaussian_blur import GaussianBlur
from trainers.defences.jpeg import JPEG
from trainers.defences.median_blur import MedianBlur
from trainers.defences.resize_pad import ResizePad
from trainers.defences.total_variation import TotalVariation
from trainers.defences.wavelet_denoising import WaveletDenoising

DEFENCES: dict[str, type[Defence]] = {
    "jpeg": JPEG,
    "bit-depth": BitDepth,
    "median-blur": MedianBlur,
    "gaussian-blur": GaussianBlur,
    "total-variation": TotalVariation,
    "wavelet": WaveletDenoising,
    "resize-pad": ResizePad,
    "crop-ensemble": CropEnsemble,
}
