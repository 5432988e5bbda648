"""Figure 5's grid: what the colours say, and the order of the pictures."""

import numpy as np

from undim.redundancy.kernel_grid import brighten, draw_cells, order_by_likeness


def test_cells_are_differences_and_the_diagonal_is_the_kernel_itself():
    cells = draw_cells([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])
    assert cells[0][1].shape == (2, 2, 3)
    red, blue = cells[0][1][0, 0].astype(int), cells[1][0][0, 0].astype(int)
    assert red[0] > red[2] + 50  # 1 - (-1) is above zero
    assert blue[2] > blue[0] + 50
    grey = cells[0][1][1, 1]
    assert grey.min() > 240  # nothing differs
    own = cells[0][0][0, 0].astype(int)
    assert red[2] < own[2] < grey[2]  # 1 - mean is half of 1 - (-1), and paler


def test_equal_kernels_give_a_blank_grid():
    cells = draw_cells([[0.5, -0.5]] * 3)
    assert all(cell.min() > 240 for line in cells for cell in line)


def test_pictures_are_ordered_along_what_they_differ_most_in():
    places = np.array([3.0, 0.0, 2.0, 1.0])
    kernels = places[:, None] * np.array([1.0, -2.0, 0.5]) + np.array([5.0, 5.0, 5.0])
    order = order_by_likeness(kernels)
    assert order in ([1, 3, 2, 0], [0, 2, 3, 1])


def test_thumbnails_are_bright_squares():
    dark = np.linspace(0, 12, 200 * 300 * 3).reshape(200, 300, 3).astype(np.uint8)
    shown = brighten(dark)
    assert shown.shape[0] == shown.shape[1] == 100
    assert shown.max() == 255
