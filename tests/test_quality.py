"""What the models reach on real data: the benchmarks' own quality figures, held to their goals."""

import statistics

import pytest
import torch
from threadpoolctl import threadpool_limits

from benchmarks.common import Row
from benchmarks.explicit_tasks import chains, images, pixels, small_tables
from benchmarks.foundation_tasks import mixture, rbm, vae
from benchmarks.foundation_tasks.data import binarised_digits, digits
from benchmarks.implicit_tasks import digits as adversarial
from benchmarks.implicit_tasks import moments, ring
from benchmarks.latent_tasks import classes, diffusion, slots

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread_and_the_caller_s_generator():
    with threadpool_limits(1), torch.random.fork_rng(devices=[]):
        yield


def reached(rows: list[Row]) -> None:
    for row in rows:
        print(f"{row.figure}: {row.value:.4f} (goal {row.goal})")
    missed = [f"{row.figure} is {row.value:.4f}, goal {row.goal}" for row in rows if not row.reached]
    assert not missed, "; ".join(missed)


def test_the_vae_s_bounds_on_binarised_digits():
    reached(vae.quality(*binarised_digits()))


def test_the_rbm_s_exact_likelihood_and_ais_beside_it():
    reached(rbm.quality(*binarised_digits(), goal=-18.2))


def test_realnvp_on_digits_and_moons():
    # zuko is the peer of the timings in this module, and not among the tests' packages.
    pytest.importorskip("zuko")
    from benchmarks.foundation_tasks import flows

    reached(flows.quality())


def test_the_mixture_s_default_start_is_no_worse_than_scikit_learn_s():
    reached([mixture.quality()])


def test_splines_and_masked_flows_on_digits_and_moons():
    pytest.importorskip("zuko")
    from benchmarks.explicit_tasks import flows

    reached(flows.quality())


def test_glow_and_realnvp_on_images():
    reached(images.rows(1))


def test_made_and_pixelcnn_on_binarised_digits():
    reached(pixels.quality())


def test_a_flow_by_its_defaults_on_a_small_table():
    reached([row for row in small_tables.rows(1) if "nats" in row.figure])


def test_a_chain_of_characters_held_out():
    reached(chains.quality())


def test_flexible_priors_and_encoders_are_worth_their_margin_on_digits():
    reached(slots.rows(1))


def test_rows_without_labels_help_those_with_them():
    (named,) = classes.labels_few()  # its goal is what the labels alone teach
    assert named.value > named.goal + 0.02


def test_diffusion_draws_digits_in_the_compute_of_its_peer():
    train, test = (images.view(-1, 1, 8, 8).long() for images in digits())
    model, features = diffusion.fitted(train, diffusion.STEPS), diffusion.digit_features()
    several = [diffusion.judged(features, test, diffusion.drawn(model, seed)) for seed in range(diffusion.DRAWS)]
    found = {name: statistics.mean(each[name] for each in several) for name in several[0]}
    reached(diffusion.compared(found, found))


def test_a_wasserstein_gan_draws_digits():
    reached(adversarial.rows(1))


def test_moments_instead_of_a_critic_draw_digits():
    train, test = digits()
    reached(moments.quality(train / 16, test))


def test_three_cures_reach_the_whole_ring():
    reached(ring.rows(1))
