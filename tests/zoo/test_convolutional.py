"""Convolutional networks in the place of a perceptron: shapes, what goes where, and what they can't join."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.fit import fit
from tests.zoo.shaking import normal, shaken
from zoo.conditionals import Bernoulli, Categorical, Gaussian, HomoscedasticGaussian
from zoo.convolutional import Convolutional, sides
from zoo.discretised_logistic import DiscretisedLogistic
from zoo.full_gaussian import FullGaussian
from zoo.vae import VAE

IMAGES = [(1, 8, 8), (2, 5, 4), (1, 28, 28), (3, 1, 7)]


@pytest.mark.parametrize("image", IMAGES)
def test_images_of_any_size_are_read_and_written(image):
    torch.manual_seed(0)
    small = Convolutional([8, 16])
    read = small(torch.Size(image), torch.Size([5]), 2)(torch.randn(3, *image))
    assert read.shape == (3, 2, 5)
    written = small(torch.Size([5]), torch.Size(image), 2)(torch.randn(30, 5))
    assert written.shape == (30, 2, *image)
    assert written.std(0).min() > 0  # every pixel depends on the code


def test_sides_are_halved_upwards():
    assert sides(torch.Size([1, 28, 5]), 3) == [(28, 5), (14, 3), (7, 2), (4, 1)]


class Plain(nn.Module):
    """A network of one's own: parameter p of every number is 10 p + the number's place, plus the context's sum."""

    def __init__(self, event_shape: torch.Size, count: int) -> None:
        super().__init__()
        places = torch.arange(event_shape.numel()).reshape(event_shape)
        self.values = nn.Parameter((10.0 * torch.arange(count).view(-1, *[1] * len(event_shape)) + places) / 10)

    def forward(self, context: Tensor) -> Tensor:
        assert context.shape[1:] == (2, 3)
        return self.values + context.sum((1, 2)).view(-1, *[1] * self.values.dim())


def plain(context_shape: torch.Size, event_shape: torch.Size, count: int) -> Plain:
    return Plain(event_shape, count)


def test_a_network_of_ones_own_gives_each_number_its_parameters():
    context, shape = torch.zeros(4, 2, 3), (1, 2, 2)
    places = torch.arange(4.0).reshape(shape) / 10
    given = {"context_shape": (2, 3), "network": plain}
    normal_ = Gaussian(shape, **given).distribution(context)
    assert torch.equal(normal_.loc[0], places) and torch.equal(normal_.log_scale[0], places + 1)
    assert torch.equal(HomoscedasticGaussian(shape, **given).distribution(context).loc[0], places)
    assert torch.equal(Bernoulli(shape, **given).distribution(context).logits[0], places)
    logs = Categorical(shape, levels=3, **given).distribution(context).log_probs[0]
    expected = torch.stack([places, places + 1, places + 2], -1).log_softmax(-1)
    torch.testing.assert_close(logs, expected)
    values = DiscretisedLogistic(shape, levels=3, **given).distribution(context).values[0]
    assert torch.equal(values, torch.stack([places, places + 1], -1))
    assert torch.equal(FullGaussian(4, **given).distribution(context).loc[0], torch.arange(4.0) / 10)
    moved = Gaussian(shape, **given).distribution(torch.ones(4, 2, 3))
    assert torch.equal(moved.loc[0], places + 6)


def test_a_network_of_another_shape_is_refused():
    model = Bernoulli(4, context_shape=(2, 3), network=lambda *_: Plain(torch.Size([5]), 1))
    with pytest.raises(ValueError, match=r"network puts out \[1, 5\] a row, but \[1, 4\] fits here"):
        model.log_prob(torch.zeros(2, 4), context=torch.zeros(2, 2, 3))


@pytest.mark.parametrize(("context", "event"), [((4,), (4,)), ((1, 4, 4), (1, 4, 4))])
def test_it_takes_one_image(context, event):
    with pytest.raises(ValueError, match="goes from an image"):
        Gaussian(event, context_shape=context, network={"kind": "convolutional"})


def test_a_draw_for_each_of_several_codes_is_that_of_each():
    model = shaken(Bernoulli((1, 5, 4), context_shape=3, network=Convolutional([2])))
    z = normal(2, 6, 3)
    logits = model.distribution(z).logits
    assert logits.shape == (2, 6, 1, 5, 4)
    torch.testing.assert_close(logits[1], model.distribution(z[1]).logits)


def test_a_convolutional_vae_learns_where_a_bar_is():
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(6, (256,), generator=generator)
    x = (torch.arange(6) == places[:, None]).float()[:, None, None, :].expand(256, 1, 5, 6).contiguous()
    torch.manual_seed(0)
    network = {"kind": "convolutional", "channels": [8]}
    vae = VAE(
        (1, 5, 6),
        latent=2,
        encoder=lambda *shape, **given: Gaussian(*shape, **given, network=network),
        decoder=lambda *shape, **given: Bernoulli(*shape, **given, network=network),
    )
    result = fit(vae, x, steps=200, batch_size=64, lr=0.01, progress=False)
    assert result.history["loss"].iloc[-1] < 5  # five bars of log 6 = 1.8 nats; independent pixels are 13.5
