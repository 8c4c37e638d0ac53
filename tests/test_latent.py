"""Places in the latent space: where they lie, in which order, on which device and of which type."""

import torch

from vaekit.latent import grid, traversal


def test_grid_reads_like_an_image_from_the_top_left():
    assert grid(1.0, 2, device="meta").device.type == "meta"
    codes = grid(3.0, 3)
    assert codes.tolist() == [[-2, 2], [0, 2], [2, 2], [-2, 0], [0, 0], [2, 0], [-2, -2], [0, -2], [2, -2]]


def test_traversal_changes_one_dimension_of_a_copy():
    z = torch.tensor([1.0, 2.0, 3.0])
    codes = traversal(z, 1, torch.tensor([-5.0, 0.0, 5.0]))
    assert codes.tolist() == [[1, -5, 3], [1, 0, 3], [1, 5, 3]]
    assert z.tolist() == [1, 2, 3]
    assert traversal(torch.tensor([0, 7]), 0, torch.tensor([0.5])).tolist() == [[0.5, 7]]


def test_a_dimension_that_is_not_there_is_refused(refuses):
    with refuses(ValueError, "dim must lie between 0 and 2 for a code of 3 dimensions, not 3"):
        traversal(torch.zeros(3), 3, torch.zeros(2))
