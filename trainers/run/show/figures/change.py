"""A sample before and after an attack, and the difference, without words: a page has those."""

from PIL import Image
from torch import Tensor

from trainers.evenly_spaced import evenly_spaced
from trainers.run.show.images import Pair, choose_factor, is_clip, to_image

SIDE = 128  # pixels of a tile's shorter side, about
LONGEST = 256  # and of its longer one at most
GAP = 6  # pixels between tiles
FRAMES = 3  # of a clip


def draw_change(x: Tensor, x_adv: Tensor) -> tuple[Image.Image, int]:
    """Draw original | perturbed | difference of an image; of a clip some frames, a row each.

    Args:
        x: (C, H, W), or of a clip (C, T, H, W), in [0, 1].
        x_adv: like x.

    Returns:
        The picture, clear between the tiles, and the factor of the difference around grey.
    """
    pair = Pair(x, x_adv, "", "")
    factor = choose_factor([pair])
    tiles = pair.tiles(factor)
    rows = [tiles]
    if is_clip(x):
        rows = [
            (tiles[0][:, t], tiles[1][:, t], tiles[2][:, t])
            for t in evenly_spaced(x.shape[1], FRAMES)
        ]
    drawn = [[fit_tile(tile) for tile in row] for row in rows]
    wide, high = drawn[0][0].size
    size = (3 * (wide + GAP) - GAP, len(rows) * (high + GAP) - GAP)
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    for down, row in enumerate(drawn):
        for across, tile in enumerate(row):
            picture.paste(tile, (across * (wide + GAP), down * (high + GAP)))
    return picture, factor


def fit_tile(x: Tensor) -> Image.Image:
    """Return x (C, H, W) as a picture: a small one of larger whole pixels, a large one smaller."""
    tile = to_image(x, max(1, round(SIDE / min(x.shape[-2:]))))
    tile.thumbnail((LONGEST, LONGEST))
    return tile
