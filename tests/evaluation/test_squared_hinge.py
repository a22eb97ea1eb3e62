"""The support vector machine is at the optimum that scikit-learn's LinearSVC approaches."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.learners import Linear, fitted, with_ones
from p3dfeat.evaluation.learning.squared_hinge import GAP, solve
from tests.evaluation.made import planted


def objective(weights: np.ndarray, rows: np.ndarray, signs: np.ndarray, c: float) -> float:
    slack = np.maximum(1 - signs * (rows.astype(np.float64) @ weights), 0)
    return float(0.5 * weights @ weights + c * slack @ slack)


def problem(noise: float, seed: int = 0, classes: int = 5, count: int = 200):
    labels = np.arange(count) % classes
    rows = planted(labels, noise=noise, seed=seed)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)


@pytest.mark.parametrize("noise", [0.3, 3.0])
@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_the_objective_is_that_of_linear_svc(noise, c):
    rows, signs = problem(noise)
    found = solve(with_ones(rows), signs, c)
    assert found.gaps.max() <= GAP
    for place in range(signs.shape[1]):
        model = LinearSVC(C=c, dual=True, tol=1e-8, max_iter=1_000_000).fit(rows.astype(np.float64), signs[:, place])
        theirs = objective(np.append(model.coef_[0], model.intercept_), with_ones(rows), signs[:, place], c)
        ours = objective(found.weights[:, place].astype(np.float64), with_ones(rows), signs[:, place], c)
        assert ours == pytest.approx(theirs, rel=2 * GAP)
        assert ours - theirs <= found.gaps[place] * ours + 1e-6 * ours


def test_the_gap_bounds_the_distance_to_the_optimum():
    rows, signs = problem(3.0, seed=1)
    rows = with_ones(rows.astype(np.float64))
    best = solve(rows, signs, 10.0, gap=1e-10)
    rough = solve(rows, signs, 10.0, gap=0.05)
    for place in range(signs.shape[1]):
        least, found = (objective(each.weights[:, place], rows, signs[:, place], 10.0) for each in (best, rough))
        assert 0 <= (found - least) / found <= rough.gaps[place] + 1e-9


def test_a_start_elsewhere_ends_at_the_same_optimum():
    rows, signs = problem(1.0)
    rows = with_ones(rows)
    cold = solve(rows, signs, 10.0)
    warm = solve(rows, signs, 10.0, start=solve(rows, signs, 1.0).weights)
    for place in range(signs.shape[1]):
        pair = [objective(each.weights[:, place].astype(float), rows, signs[:, place], 10.0) for each in (cold, warm)]
        assert pair[0] == pytest.approx(pair[1], rel=2 * GAP)


def test_rows_that_single_precision_cannot_solve_are_solved_in_double():
    rng = np.random.default_rng(0)
    rows = (1e4 + rng.standard_normal((60, 3))).astype(np.float32)
    signs = np.where(rows[:, :1] > 1e4, 1.0, -1.0)
    assert solve(with_ones(rows), signs, 1.0).gaps.max() <= GAP


def test_what_cannot_be_solved_is_said():
    rows = np.array([[1e12, 1.0], [1e12 + 1, 1.0], [-1e-9, 1.0], [3.0, 1.0]])
    signs = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    with pytest.raises(UsageError, match="not solved"):
        solve(rows, signs, 1e12, gap=1e-15)


@pytest.mark.parametrize("learner", ["svm", "logistic", "ridge"])
def test_each_learner_finds_planted_classes(learner):
    labels = np.arange(200) % 5
    rows = with_ones(planted(labels))
    targets = labels[:, None] == np.arange(5)
    linear = fitted(learner, rows[:100], targets[:100], 1.0)
    assert isinstance(linear, Linear)
    assert (linear.scores(rows[100:, :-1]).argmax(axis=1) == labels[100:]).mean() > 0.98


@pytest.mark.parametrize("learner", ["svm", "logistic", "ridge"])
def test_each_learner_knows_two_classes(learner):
    labels = np.arange(60) % 2
    rows = with_ones(planted(labels))
    linear = fitted(learner, rows, labels[:, None] == np.arange(2), 1.0)
    assert linear.weights.shape == (32, 2)
    assert (linear.scores(rows[:, :-1]).argmax(axis=1) == labels).all()


def test_ridge_is_the_solution_of_the_normal_equations():
    labels = np.arange(90) % 3
    rows = planted(labels).astype(np.float64)
    signs = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    linear = fitted("ridge", with_ones(rows), labels[:, None] == np.arange(3), 0.5)
    centred = rows - rows.mean(axis=0)
    wanted = np.linalg.solve(centred.T @ centred + np.eye(32), centred.T @ (signs - signs.mean(axis=0)))
    np.testing.assert_allclose(linear.weights, wanted, rtol=1e-8, atol=1e-10)
