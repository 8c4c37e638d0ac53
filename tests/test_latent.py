"""Places in the latent space: where they lie, in which order, on which device and of which type."""

import torch

from vaekit.latent import grid, traversal, walk


def test_grid_reads_like_an_image_from_the_top_left():
    assert grid(1.0, 2, device="meta").device.type == "meta"
    codes = grid(3.0, 3)
    assert codes.tolist() == [[-2, 2], [0, 2], [2, 2], [-2, 0], [0, 0], [2, 0], [-2, -2], [0, -2], [2, -2]]


def test_walk_goes_straight_from_start_to_end():
    start, end = torch.tensor([0.0, 4.0, -1.0]), torch.tensor([2.0, 0.0, -1.0])
    codes = walk(start, end, 5)
    assert torch.equal(codes[0], start) and torch.equal(codes[-1], end)
    torch.testing.assert_close(codes[1:] - codes[:-1], ((end - start) / 4).expand(4, 3))


def test_traversal_changes_one_dimension_of_a_copy():
    z = torch.tensor([1.0, 2.0, 3.0])
    codes = traversal(z, 1, torch.tensor([-5.0, 0.0, 5.0]))
    assert codes.tolist() == [[1, -5, 3], [1, 0, 3], [1, 5, 3]]
    assert z.tolist() == [1, 2, 3]
    assert traversal(torch.tensor([0, 7]), 0, torch.tensor([0.5])).tolist() == [[0.5, 7]]


def test_what_is_not_there_is_refused(refuses):
    with refuses(ValueError, "dim must lie between 0 and 2 for a code of 3 dimensions, not 3"):
        traversal(torch.zeros(3), 3, torch.zeros(2))
    with refuses(ValueError, r"two codes \(D,\); they have \(2,\) and \(3,\)"):
        walk(torch.zeros(2), torch.zeros(3))
