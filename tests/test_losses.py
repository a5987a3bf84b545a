from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mer_lib.losses import (
    central_moment_discrepancy,
    difference,
    subspace_mapping_loss,
    unimodal_auxiliary_loss,
)

CLOUDS = arrays(np.float64, (6, 3), elements=st.floats(0, 1, width=32))


def cmd_by_loops(x: np.ndarray, y: np.ndarray, moments: int = 5, width: float = 1.0) -> float:
    """Equation 5 of Zellinger et al. (2017), one coordinate and one point at a time."""
    total = 0.0
    for k in range(1, moments + 1):
        squares = 0.0
        for d in range(x.shape[1]):
            centres = [sum(cloud[:, d]) / len(cloud) for cloud in (x, y)]
            if k == 1:
                gap = centres[0] - centres[1]
            else:
                sums = [
                    sum((p - c) ** k for p in cloud[:, d]) / len(cloud)
                    for cloud, c in zip((x, y), centres, strict=True)
                ]
                gap = sums[0] - sums[1]
            squares += gap**2
        total += math.sqrt(squares) / width**k
    return total


def difference_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """Every pair of coordinates: the square of their mean product, after centring columns and scaling rows."""
    clouds = []
    for cloud in (x, y):
        centred = cloud - cloud.mean(axis=0)
        clouds.append(np.array([row / math.sqrt(sum(row**2)) for row in centred]))
    x, y = clouds
    return sum(
        (sum(x[n, i] * y[n, j] for n in range(len(x))) / len(x)) ** 2
        for i in range(x.shape[1])
        for j in range(y.shape[1])
    )


def test_cmd_of_two_clouds_of_two_points_is_what_the_hand_computes() -> None:
    # Means .5 and .5; second moments .25 and .01; third 0 and 0; fourth .0625 and .0001; fifth 0 and 0.
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.4], [0.6]])
    assert central_moment_discrepancy(x, y).item() == pytest.approx(0.24 + 0.0624, abs=1e-5)


def test_cmd_of_two_shifted_clouds_is_the_distance_of_their_means() -> None:
    x = torch.tensor([[0.0, 0.0], [0.2, 0.4]])
    assert central_moment_discrepancy(x, x + torch.tensor([0.3, 0.4])).item() == pytest.approx(0.5, abs=1e-5)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(CLOUDS, CLOUDS, st.integers(1, 6), st.sampled_from([0.5, 1.0, 2.0]))
def test_cmd_equals_a_loop_over_points_and_coordinates(
    x: np.ndarray, y: np.ndarray, moments: int, width: float
) -> None:
    found = central_moment_discrepancy(torch.from_numpy(x), torch.from_numpy(y), moments, width).item()
    # The library adds 1e-12 under each root: at most 1e-6 per moment, divided by width^k.
    slack = sum(1e-6 / width**k for k in range(1, moments + 1))
    assert found == pytest.approx(cmd_by_loops(x, y, moments, width), abs=slack + 1e-9)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(CLOUDS, CLOUDS)
def test_cmd_is_symmetric_and_blind_to_the_order_of_the_points(x: np.ndarray, y: np.ndarray) -> None:
    here, there = torch.from_numpy(x), torch.from_numpy(y)
    found = central_moment_discrepancy(here, there).item()
    assert central_moment_discrepancy(there, here).item() == pytest.approx(found, abs=1e-9)
    assert central_moment_discrepancy(here.flip(0), there).item() == pytest.approx(found, abs=1e-9)


def test_cmd_of_equal_clouds_is_zero_and_its_gradient_is_finite() -> None:
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = central_moment_discrepancy(x, x.detach())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(x.grad).all()


def test_cmd_compares_batches_of_different_sizes() -> None:
    x, y = np.random.default_rng(0).random((4, 2)), np.random.default_rng(1).random((7, 2))
    found = central_moment_discrepancy(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert found == pytest.approx(cmd_by_loops(x, y), abs=1e-5)


def test_difference_equals_an_explicit_double_sum() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
    found = difference(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert found == pytest.approx(difference_by_loops(x, y), abs=1e-12)


def test_difference_of_orthogonal_subspaces_is_zero() -> None:
    # Over the batch, the signs of x and of y are uncorrelated.
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    y = torch.tensor([[0.0, 1.0], [0.0, -1.0], [0.0, 1.0], [0.0, -1.0]])
    assert difference(x, y).item() == pytest.approx(0, abs=1e-12)


def test_difference_of_a_line_with_itself_is_one_and_of_a_square_with_itself_a_half() -> None:
    line = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [3.0, 6.0], [-3.0, -6.0]])
    square = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # correlation: I / 2
    assert difference(line, line).item() == pytest.approx(1, abs=1e-6)
    assert difference(square, square).item() == pytest.approx(0.5, abs=1e-6)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(CLOUDS, CLOUDS)
def test_difference_lies_between_zero_and_one(x: np.ndarray, y: np.ndarray) -> None:
    found = difference(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert -1e-9 <= found <= 1 + 1e-9


def test_difference_of_a_single_utterance_is_zero_with_a_finite_gradient() -> None:
    x = torch.tensor([[0.3, 0.7]], requires_grad=True)
    loss = difference(x, torch.tensor([[0.1, 0.2]]))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(x.grad).all()


def test_the_subspace_loss_compares_publics_and_separates_three_pairs() -> None:
    rng = np.random.default_rng(0)
    public = {m: rng.random((6, 3)) for m in ("audio", "text")}
    unique = {m: rng.normal(size=(6, 3)) for m in ("audio", "text")}
    found = subspace_mapping_loss(
        {m: torch.from_numpy(v) for m, v in public.items()}, {m: torch.from_numpy(v) for m, v in unique.items()}
    )
    assert found["similarity"].item() == pytest.approx(cmd_by_loops(public["audio"], public["text"]), abs=1e-5)
    pairs = [
        (public["audio"], unique["audio"]),
        (public["text"], unique["text"]),
        (unique["audio"], unique["text"]),
    ]
    assert found["difference"].item() == pytest.approx(sum(difference_by_loops(*pair) for pair in pairs), abs=1e-9)
    assert set(found) == {"similarity", "difference"}


def test_the_unimodal_loss_is_the_mean_over_modalities_of_minus_log_softmax() -> None:
    rng = np.random.default_rng(0)
    scores = {m: rng.normal(size=(5, 4)) for m in ("audio", "text")}
    label = np.array([0, 3, 1, 1, 2])
    terms = [
        -(row[k] - math.log(sum(math.exp(v) for v in row)))
        for table in scores.values()
        for row, k in zip(table, label, strict=True)
    ]
    found = unimodal_auxiliary_loss({m: torch.from_numpy(v) for m, v in scores.items()}, torch.from_numpy(label))
    assert found.item() == pytest.approx(sum(terms) / len(terms), abs=1e-12)


def test_the_unimodal_loss_of_undecided_heads_is_the_log_of_the_number_of_classes() -> None:
    label = torch.tensor([0, 1, 2])
    found = unimodal_auxiliary_loss({"audio": torch.zeros(3, 4), "text": torch.zeros(3, 4)}, label)
    assert found.item() == pytest.approx(math.log(4), abs=1e-6)
