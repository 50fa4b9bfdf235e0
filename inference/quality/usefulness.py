"""Whether synthetic rows can stand in for real ones, or add to them: train on synthetic, test on real.

References:
    Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs (Esteban et al., 2017), 1706.02633
    Classification Accuracy Score for Conditional Generative Models (Ravuri and Vinyals, 2019), 1905.10887
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from inference.quality.estimates import Estimate, bootstrap, rows_of, share
from inference.quality.two_sample import Classifier, support_vectors

Labelled = tuple[Tensor, Tensor]


class Usefulness(NamedTuple):
    """Accuracies on real test rows of a classifier taught on real rows, on synthetic ones, and on both.

    The intervals are over draws of test rows: of one classifier each, taught once. `lost` is real less synthetic and
    `gained` both less real, row by row: an interval that leaves out 0 is a difference.
    """

    real: Estimate
    synthetic: Estimate
    both: Estimate
    lost: Estimate
    gained: Estimate

    def __str__(self) -> str:
        return f"taught on real rows {self.real}; on synthetic {self.synthetic}; on both {self.both}"


def usefulness(
    real: Labelled,
    synthetic: Labelled,
    test: Labelled,
    *,
    classifier: Callable[[], Classifier] = support_vectors,
    seed: int = 0,
) -> Usefulness:
    """How well labels of real test rows are told by what synthetic rows teach.

    Parameters:
        real, synthetic, test: features [N, D], the same in each, and labels [N], codes.
        classifier: makes an untaught classifier; with another family of them the accuracies are others.
    """
    features = rows_of(real=real[0], synthetic=synthetic[0], test=test[0])
    labels = [_labels(name, *set_) for name, set_ in (("real", real), ("synthetic", synthetic), ("test", test))]
    unknown = set(labels[2].tolist()) - set(labels[0].tolist())
    if unknown:
        raise ValueError(f"test has labels that no real row to be taught by has: {sorted(unknown)}")
    taught = {
        "real": (features[0], labels[0]),
        "synthetic": (features[1], labels[1]),
        "both": (torch.cat(features[:2]), torch.cat(labels[:2])),
    }
    right = {name: _right(classifier(), x, y, features[2], labels[2]) for name, (x, y) in taught.items()}
    shares = {name: share(int(hits.sum()), len(hits)) for name, hits in right.items()}
    lost, gained = (
        bootstrap(torch.mean, right[more] - right[less], seed=seed)
        for more, less in (("real", "synthetic"), ("both", "real"))
    )
    return Usefulness(**shares, lost=lost, gained=gained)


def _right(told: Classifier, x: Tensor, y: Tensor, asked: Tensor, truth: Tensor) -> Tensor:
    """1 where the label of a test row is told, else 0, [N]; where there is one label to learn, it is what is told."""
    if len(y.unique()) < 2:
        return (truth == y[0]).double()
    told.fit(x.cpu().numpy(), y.numpy())
    return (torch.as_tensor(told.predict(asked.cpu().numpy())) == truth).double()


def _labels(name: str, x: Tensor, y: Tensor) -> Tensor:
    if y.shape != x.shape[:1] or y.is_floating_point():
        raise ValueError(
            f"the labels of {name} must be codes, one for each of {len(x)} rows, not {y.dtype} {list(y.shape)}"
        )
    return y.cpu().long()
