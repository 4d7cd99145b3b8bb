"""Input checks and index arithmetic for `credit`. Shapes are checked first."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rao_envs.errors import OptionError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Labels: TypeAlias = Sequence[Hashable] | NDArray[Any]
"""Ints or strings, one per tree or node; equal labels belong together."""


def _flat(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 1:
        raise OptionError(f"{name}.shape", array.shape, "must have one dimension")
    return array


def floats(name: str, values: ArrayLike) -> Floats:
    """Return `values` as float [N], with None as nan."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(name, values, f"must be numbers: {error}") from error
    return _flat(name, array)


def indices(name: str, values: ArrayLike) -> Ints:
    """Return `values` as int [N]; floats and bools are refused, because a cast would round them silently."""
    array = _flat(name, np.asarray(values))
    if array.size and array.dtype.kind not in "iu":
        raise OptionError(f"{name}.dtype", str(array.dtype), "must be integers")
    return array.astype(np.int64, copy=False)


def codes(name: str, labels: Labels) -> tuple[Ints, tuple[Hashable, ...]]:
    """Number labels in order of appearance; return each label's number, and the labels in that order."""
    names: Iterable[Hashable] = _flat(name, labels).tolist() if isinstance(labels, np.ndarray) else labels
    code: dict[Hashable, int] = {}
    return np.array([code.setdefault(label, len(code)) for label in names], dtype=np.int64), tuple(code)


def same_length(**arrays: NDArray[Any]) -> None:
    """Refuse arrays that cannot describe the same nodes."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise OptionError(f"len({', '.join(lengths)})", tuple(lengths.values()), "must be equal")


def check_success(success: Floats) -> None:
    """Refuse a success outside [0, 1]."""
    # Unlike min and max, fmin and fmax skip nan.
    if len(success) and (np.fmin.reduce(success) < 0.0 or np.fmax.reduce(success) > 1.0):
        node = np.flatnonzero((success < 0.0) | (success > 1.0))[0]
        fix = "must lie in [0, 1], or be nan if unjudged"
        raise OptionError(f"success[{node}]", float(success[node]), fix)


def check_parent(parent: Ints) -> None:
    """Refuse a parent outside the forest."""
    if len(parent) and (parent.min() < -1 or parent.max() >= len(parent)):
        node = np.flatnonzero((parent < -1) | (parent >= len(parent)))[0]
        fix = f"must be -1 (a root) or an index below {len(parent)}"
        raise OptionError(f"parent[{node}]", int(parent[node]), fix)


def check_trees(parent: Ints, tree: Ints, n_trees: int) -> None:
    """Refuse nodes that do not form trees with one root each; cycles are left to `credit.depths`."""
    if len(tree) and (tree.min() < 0 or tree.max() >= n_trees):
        node = np.flatnonzero((tree < 0) | (tree >= n_trees))[0]
        raise OptionError(f"tree[{node}]", int(tree[node]), f"must be an index into group, 0 to {n_trees - 1}")
    check_parent(parent)
    is_root = parent < 0
    crossing = tree[parent] != tree  # for a root, -1 reads the last node's tree; roots are masked out below
    crossing &= ~is_root
    if crossing.any():
        node = np.flatnonzero(crossing)[0]
        raise OptionError(f"parent[{node}]", int(parent[node]), f"is in another tree than its child, node {node}")
    roots = np.bincount(tree[is_root], minlength=n_trees)
    wrong = np.flatnonzero(roots != 1)
    wrong = wrong[(roots[wrong] > 1) | np.isin(wrong, tree)]  # a tree without any node is allowed
    if len(wrong):
        raise OptionError("tree", int(wrong[0]), f"has {roots[wrong[0]]} roots; a tree has exactly one")


def index_in_tree(tree: Ints, n_trees: int) -> Ints:
    """Number the nodes of each tree from 0, in the order given."""
    sizes = np.bincount(tree, minlength=n_trees)
    first = np.cumsum(sizes) - sizes
    if (tree[1:] >= tree[:-1]).all():
        return np.arange(len(tree)) - first[tree]
    order = np.argsort(tree, kind="stable")
    index = np.empty_like(tree)
    index[order] = np.arange(len(tree)) - first[tree[order]]
    return index


def of_roots(value: Floats, parent: Ints, tree: Ints, n_trees: int) -> Floats:
    """Return the root's value of each tree, float [T]; nan for a tree without nodes."""
    roots = np.flatnonzero(parent < 0)
    by_tree = np.full(n_trees, np.nan)
    by_tree[tree[roots]] = value[roots]
    return by_tree


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def pairs(first: Ints, second: Ints) -> Ints:
    """Number the distinct pairs (first, second)."""
    return np.unique(first * (second.max(initial=0) + 1) + second, return_inverse=True)[1]


def mean_of_others(value: Floats, cell: Ints, own: Ints) -> Floats:
    """For each entry, average the judged values in its cell, except those that share its `own` code.

    Entries with equal `own` must have equal `cell`. The mean of nothing is nan.
    """
    judged = ~np.isnan(value)
    if not judged.any():
        return np.full(len(value), np.nan)
    seen, cells, owners = value[judged], cell[judged], own[judged]
    n_cells, n_own = int(cell.max()) + 1, int(own.max()) + 1
    total = np.bincount(cells, seen, n_cells)[cell] - np.bincount(owners, seen, n_own)[own]
    count = np.bincount(cells, minlength=n_cells)[cell] - np.bincount(owners, minlength=n_own)[own]
    mean: Floats = np.divide(total, count, out=np.full(len(value), np.nan), where=count > 0)
    return mean
