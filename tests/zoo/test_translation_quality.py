"""Digits of 8 x 8 made of other images of them: held-out figures beside plain ways of doing the same.

Settings were chosen on 270 of the training rows. Each fit takes less than a minute of CPU.
"""

from __future__ import annotations

import pytest
import torch
from sklearn.svm import SVC
from torch import Tensor
from torch.nn import functional as F

from benchmarks.foundation_tasks.data import digit_classes, digits
from inference import fit
from inference.schedules import cosine
from zoo.base import Model
from zoo.cycle_gan import CycleGAN
from zoo.pix2pix import Pix2Pix, with_gaps
from zoo.style_transfer import StyleTransfer

pytestmark = pytest.mark.slow


def images() -> tuple[Tensor, Tensor]:
    """1,347 digits to train on and 450 held out, 0 to 1."""
    train, test = ((rows / 16).view(-1, 1, 8, 8) for rows in digits())
    return train, test


def outlines(x: Tensor) -> Tensor:
    """Black or white, and black again where all around is white."""
    ink = (x > 0.47).float()
    return ink + F.max_pool2d(-F.pad(ink, (1, 1, 1, 1)), 3, stride=1)


def squares(x: Tensor, seed: int) -> Tensor:
    """Digits with a gap of 4 x 4 somewhere, and the mask."""
    generator, known = torch.Generator().manual_seed(seed), torch.ones(len(x), 1, 8, 8)
    for i, (row, column) in enumerate(torch.randint(0, 5, (len(x), 2), generator=generator).tolist()):
        known[i, :, row : row + 4, column : column + 4] = 0
    return with_gaps(x, known)


def fitted(model: Model, x: Tensor, context: Tensor, steps: int, batch_size: int) -> Model:
    adam = lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.9))  # noqa: E731
    told = {"steps": steps, "batch_size": batch_size, "lr": 2e-3, "schedule": cosine(steps, warmup=30)}
    fit(model, {"x": x, "context": context}, **told, optimizer=adam, average=0.99, progress=False)
    torch.manual_seed(0)
    return model


def pix2pix(x: Tensor, context: Tensor, **told) -> Model:
    torch.manual_seed(0)
    model = Pix2Pix((1, 8, 8), context_shape=context.shape[1:], bounds=(0.0, 1.0), **told)
    return fitted(model, x, context, 300, 64)


def right(x: Tensor, labels: Tensor, made: Tensor, of: Tensor) -> float:
    """The share of made images whose class a classifier taught x tells."""
    told = SVC(C=10).fit(x.flatten(1), labels).predict(made.flatten(1))
    return float((torch.from_numpy(told) == of).double().mean())


def taken(x: Tensor, other: Tensor, made: Tensor) -> float:
    """The share of made images that a classifier takes for x's domain, not the other."""
    which = torch.cat([torch.ones(len(x)), torch.zeros(len(other))])
    return float(SVC(C=10).fit(torch.cat([x, other]).flatten(1), which).predict(made.flatten(1)).mean())


def test_digits_from_their_outlines():
    x, test = images()
    context, seen = outlines(x), outlines(test)
    made = pix2pix(x, context).sample(len(test), context=seen)
    nearest = x[torch.cdist(seen.flatten(1), context.flatten(1)).argmin(1)]
    found = {"made": made, "of the nearest outline": nearest, "mean": x.mean(0, keepdim=True)}
    errors = {name: float((rows - test).abs().mean()) for name, rows in found.items()}
    print(errors)
    assert errors["made"] < 0.8 * errors["of the nearest outline"] < errors["mean"]


def test_super_resolution():
    x, test = images()
    small = F.avg_pool2d(test, 2)
    made = pix2pix(x, F.avg_pool2d(x, 2)).sample(len(test), context=small)
    found = {"made": made, **{mode: F.interpolate(small, 8, mode=mode).clamp(0, 1) for mode in ("bicubic", "bilinear")}}
    errors = {name: float((rows - test).square().mean().sqrt()) for name, rows in found.items()}
    print(errors)
    assert errors["made"] < 0.6 * min(errors["bicubic"], errors["bilinear"])


def test_inpainting():
    x, test = images()
    context, seen = squares(x, 0), squares(test, 1)
    gap, known = seen[:, 1:] < 0.5, seen[:, 1:] > 0.5
    made = pix2pix(x, context, keeps="known").sample(len(test), context=seen)
    assert torch.equal(made[known], test[known])
    mean = x.mean(0, keepdim=True).expand_as(test)
    around = (seen[:, :1].sum((2, 3)) / known.sum((2, 3)))[..., None, None].expand_as(test)
    found = {"made": made, "mean image": mean, "mean of the known": around}
    errors = {name: float((rows - test)[gap].abs().mean()) for name, rows in found.items()}
    print(errors)
    assert errors["made"] < 0.7 * min(errors["mean image"], errors["mean of the known"])


def test_inversion_without_pairs():
    x, test = images()
    labels, of = digit_classes()
    torch.manual_seed(0)
    model = CycleGAN((1, 8, 8), context_shape=(1, 8, 8), bounds=(0.0, 1.0))
    fitted(model, 1 - x[:673], x[673:1346], 250, 32)  # no digit is in both domains
    made, back = model.sample(len(test), context=test), model.translate_back(1 - test)
    errors = {"made": float((made - (1 - test)).abs().mean()), "back": float((back - test).abs().mean())}
    errors["mean of the domain"] = float((1 - x.mean(0, keepdim=True) - (1 - test)).abs().mean())
    classes = right(1 - x, labels, made, of), right(1 - x, labels, 1 - test, of)
    print(errors, classes)
    assert max(errors["made"], errors["back"]) < 0.5 * errors["mean of the domain"]
    assert classes[0] > 0.95


def test_style_of_outlines():
    x, test = images()
    labels, of = digit_classes()
    look = outlines(x)
    torch.manual_seed(0)
    model = StyleTransfer((1, 8, 8), context_shape=(1, 8, 8), bounds=(0.0, 1.0))
    fitted(model, look[:673], x[673:1346], 300, 32)
    styles = look[torch.arange(len(test))]
    found = {"drawn": model.sample(len(test), context=test), "of an image": model.stylise(test, styles)}
    for name, made in {**found, "true outlines": outlines(test), "content": test}.items():
        found[name] = (taken(look, x, made), right(look, labels, made, of))
        print(name, "domain, class", found[name])
    assert found["content"][0] < 0.1
    for name in ("drawn", "of an image"):
        assert found[name][0] > 0.8 and found[name][1] > 0.8
