"""Camera raw files for tests: DNG, by tifffile."""

import tifffile

WHITE = 16383


def ratios(values):
    return tuple(part for value in values for part in (round(value * 10000), 10000))


def write_dng(path, cells, orientation=1, more=()):
    """A DNG of red, green, green and blue cells whose colours are sRGB's; `more` are further tags for tifffile."""
    from_xyz = [3.2405, -1.5371, -0.4985, -0.9693, 1.8760, 0.0416, 0.0556, -0.2040, 1.0572]
    tags = [
        (50706, 1, 4, (1, 4, 0, 0), True),  # DNG version
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, (0, 1, 1, 2), True),  # cells: red, green, green, blue
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "Model", True),
        (50708, 2, 0, "Maker Model", True),
        (50721, 10, 9, ratios(from_xyz), True),
        (50728, 5, 3, ratios([1, 1, 1]), True),
        (50717, 4, 1, WHITE, True),
        (50714, 4, 1, 0, True),
        (50778, 3, 1, 21, True),  # daylight
        (274, 3, 1, orientation, True),
        *more,
    ]
    tifffile.imwrite(path, cells, photometric=32803, extratags=tags)
