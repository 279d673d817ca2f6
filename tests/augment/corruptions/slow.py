"""The fifteen corruptions of one image in slow NumPy and SciPy, written from the papers' code.

Images are float64 (H, W, C) in [0, 1]. Random numbers come from `rng.draw(shape)`, uniform in
[0, 1), and `rng.normal(shape)`. The numbers of both benchmarks stand here once more.
"""

import colorsys
import io
import math

import numpy as np
from PIL import Image
from scipy import ndimage

LEVELS = {
    "cifar10-c": {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9), (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "elastic_transform": (
            (0.08, 0, 0), (0.07, 0.05, 0.2), (0.06, 0.08, 0.06), (0.05, 0.1, 0.04),
            (0.03, 0.1, 0.03),
        ),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": (80, 65, 58, 50, 40),
    },
    "imagenet-c": {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": (60, 25, 12, 5, 3),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        "snow": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7), (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "elastic_transform": tuple(
            (0, 250 * share * 0.005, 0.01) for share in (0.05, 0.065, 0.085, 0.1, 0.12)
        ),
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg_compression": (25, 18, 15, 10, 7),
    },
}  # fmt: skip


def gaussian_noise(x, deviation, rng):
    return x + deviation * rng.normal((1, *planes(x))).reshape(planes(x)).transpose(1, 2, 0)


def impulse_noise(x, share, rng):
    u = rng.draw((1, *planes(x))).reshape(planes(x)).transpose(1, 2, 0)
    return np.where(u < share / 2, 0, np.where(u >= 1 - share / 2, 1, x))


def planes(x):
    return x.shape[2], x.shape[0], x.shape[1]


def each_channel(x, change):
    return np.stack([change(x[..., c]) for c in range(x.shape[2])], 2)


def defocus_blur(x, level, rng):
    radius, deviation = level
    reach, blur = (8, 1) if radius <= 8 else (radius, 2)
    grid = np.arange(-reach, reach + 1)
    disk = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(float)
    edge = np.exp(-0.5 * (np.arange(-blur, blur + 1) / deviation) ** 2)
    edge = np.outer(edge, edge) / edge.sum() ** 2
    disk = ndimage.correlate(disk / disk.sum(), edge, mode="mirror")
    return each_channel(x, lambda plane: ndimage.correlate(plane, disk, mode="mirror"))


def glass_blur(x, level, rng):
    sigma, reach, times = level

    def blurred(x):
        return ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)

    x = blurred(x)
    height, width = x.shape[:2]
    for _ in range(times):
        u = rng.draw((2, height - 2 * reach, width - 2 * reach))
        across, down = np.floor(u * 2 * reach).astype(int) - reach
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                place = h - reach - 1, w - reach - 1
                x[h, w] = x[h + down[place], w + across[place]]
    return blurred(x)


def motion_blur(x, level, rng):
    return along(x, 90 * float(rng.draw((1,))[0]) - 45, *level)


def along(x, angle, radius, sigma):
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(2 * radius + 1)]
    rows, columns = np.indices(x.shape[:2])
    out = np.zeros_like(x)
    for i, weight in enumerate(weights):
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        across = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        seen = (
            np.clip(rows + down, 0, x.shape[0] - 1), np.clip(columns + across, 0, x.shape[1] - 1)
        )  # fmt: skip
        out += weight / sum(weights) * x[seen]
    return out


def enlarged(x, factor):
    sizes = [math.ceil(size / factor) for size in x.shape[:2]]
    top, left = ((whole - part) // 2 for whole, part in zip(x.shape, sizes, strict=False))
    middle = x[top : top + sizes[0], left : left + sizes[1]]
    return ndimage.zoom(middle, (factor, factor, 1), order=1)


def zoom_blur(x, level, rng):
    factors = np.arange(1, *level)
    total = sum(enlarged(x, factor)[: x.shape[0], : x.shape[1]] for factor in factors)
    return (x + total) / (len(factors) + 1)


def snow(x, level, rng):
    mean, deviation, zoom, threshold, radius, sigma, kept = level
    angle = 90 * float(rng.draw((1,))[0]) - 135
    flakes = mean + deviation * rng.normal((1, *x.shape[:2]))[0]
    flakes = enlarged(flakes[..., None], zoom)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = along(flakes, angle, radius, sigma)[: x.shape[0], : x.shape[1]]
    luma = x if x.shape[2] == 1 else (x @ [0.299, 0.587, 0.114])[..., None]
    white = kept * x + (1 - kept) * np.maximum(x, 1.5 * luma + 0.5)
    return white + flakes + flakes[::-1, ::-1]


def fog(x, level, rng):
    amount, decay = level
    height, width = x.shape[:2]
    side = 2 ** math.ceil(math.log2(max(height, width, 3)))
    haze = plasma(side, decay, rng)[:height, :width, None]
    return (x + amount * haze) * x.max() / (x.max() + amount)


def plasma(side, decay, rng):
    heights = np.zeros((side, side))
    step, jump = side, 100.0
    while step >= 2:
        half, cells = step // 2, side // step
        jumps = [jump * jump * (2 * rng.draw((cells, cells)) - 1) for _ in range(3)]
        at = lambda i, j: heights[i % side, j % side]  # noqa: E731
        for a in range(cells):
            for b in range(cells):
                i, j = a * step, b * step
                corners = at(i, j) + at(i + step, j) + at(i, j + step) + at(i + step, j + step)
                heights[i + half, j + half] = corners / 4 + jumps[0][a, b]
        for a in range(cells):
            for b in range(cells):
                i, j = a * step, b * step
                beside = (
                    at(i - half, j + half) + at(i + half, j + half) + at(i, j) + at(i, j + step)
                )
                above = at(i + half, j - half) + at(i + half, j + half) + at(i, j) + at(i + step, j)
                heights[i, j + half] = beside / 4 + jumps[1][a, b]
                heights[i + half, j] = above / 4 + jumps[2][a, b]
        step, jump = half, jump / decay
    heights -= heights.min()
    return heights / heights.max()


def brightness(x, amount, rng):
    if x.shape[2] == 1:
        return x + amount
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*x[place])
        out[place] = colorsys.hsv_to_rgb(hue, saturation, min(value + amount, 1))
    return out


def contrast(x, kept, rng):
    mean = x.mean((0, 1), keepdims=True)
    return (x - mean) * kept + mean


def elastic_transform(x, level, rng):
    corners, amplitude, sigma = level
    height, width = x.shape[:2]
    if corners:
        moves = (2 * rng.draw((3, 2)) - 1) * corners * min(height, width)
        side = min(height, width) // 3
        middle = np.array([height // 2, width // 2])
        before = middle + side * np.array([[1, 1], [1, -1], [-1, -1]])
        after = np.c_[before + moves, np.ones(3)]  # three points (across, down, 1)
        inverse = np.linalg.solve(after, before.astype(float)).T  # (2, 3)
        matrix, offset = inverse[::-1, 1::-1], inverse[::-1, 2]  # (down, across)
        x = each_channel(
            x, lambda plane: ndimage.affine_transform(plane, matrix, offset, order=1, mode="mirror")
        )
    if amplitude:
        noise = 2 * rng.draw((1, 2, height, width))[0] - 1
        across, down = (
            ndimage.gaussian_filter(n, (sigma * height, sigma * width), mode="reflect", truncate=3)
            for n in noise * amplitude * height
        )
        rows, columns = np.indices((height, width))
        places = [rows + down, columns + across]
        x = each_channel(
            x, lambda plane: ndimage.map_coordinates(plane, places, order=1, mode="reflect")
        )
    return x


def pixelate(x, scale, rng):
    height, width = x.shape[:2]
    few = int(width * scale), int(height * scale)
    image = Image.fromarray(np.round(x * 255).astype(np.uint8).squeeze())
    image = image.resize(few, Image.Resampling.BOX)
    image = image.resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(image).reshape(x.shape) / 255


def jpeg_compression(x, quality, rng):
    file = io.BytesIO()
    Image.fromarray(np.round(x * 255).astype(np.uint8).squeeze()).save(
        file, "JPEG", quality=quality
    )
    return np.asarray(Image.open(file)).reshape(x.shape) / 255
