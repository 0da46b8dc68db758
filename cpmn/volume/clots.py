"""Clots of a mask: what its values mean."""

import cc3d
import numpy as np


def clot_ids(labels: np.ndarray) -> np.ndarray:
    """Clot ids (z, y, x) of a mask, 0 background; the rule for every mask that a person or another program gives.

    Several values are the ids of the clots and kept. One value marks them all alike: each connected component (by
    face, edge or corner) gets an id from 1. One component keeps its value.
    """
    if not has_one_value(labels):
        return labels
    components = components_of(labels)
    return components if components.max() > 1 else labels


def has_one_value(labels: np.ndarray) -> bool:
    """Whether all marked voxels of a mask have the same value."""
    marked = labels[labels > 0]
    return marked.size > 0 and bool((marked == marked[0]).all())


def components_of(labels: np.ndarray) -> np.ndarray:
    """Connected components (by face, edge or corner) of the marked voxels, numbered from 1."""
    return np.asarray(cc3d.connected_components(labels > 0, connectivity=26))
