"""Models from tables: the same as by hand, and every mistake named by its key."""

import pytest
import torch

import zoo
from zoo.conditionals import Categorical, Gaussian
from zoo.registry import families, family
from zoo.spec import SpecError, build, in_words, spec_of
from zoo.vae import VAE

NESTED = {
    "family": "vae",
    "latent": 3,
    "hidden": [8, 4],
    "prior": {"family": "gaussian"},
    "decoder": {"family": "categorical", "levels": 4, "hidden": [5]},
}


def by_hand() -> VAE:
    return VAE(
        6,
        latent=3,
        hidden=(8, 4),
        prior=Gaussian,
        decoder=lambda event_shape, *, context_shape=None: Categorical(
            event_shape, context_shape=context_shape, levels=4, hidden=(5,)
        ),
    )


def seeded(build_model):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model()


def test_a_nested_table_builds_what_is_built_by_hand():
    built, hand = seeded(lambda: build(NESTED, event_shape=6)), seeded(by_hand)
    mine, theirs = built.state_dict(), hand.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert isinstance(built.decoder_model, Categorical)
    assert built.decoder_model.context_shape == torch.Size([3])


def test_a_built_model_remembers_a_spec_that_builds_it_again():
    first = seeded(lambda: build(NESTED, event_shape=6, context_shape=2))
    spec = spec_of(first)
    assert spec["event_shape"] == [6] and spec["context_shape"] == [2]
    second = seeded(lambda: build(spec))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert spec_of(second) == spec


def test_a_name_alone_is_a_table_in_a_slot_and_outside():
    model = build({"family": "vae", "latent": 2, "prior": "gaussian"}, event_shape=3)
    assert isinstance(model.prior_model, Gaussian)
    assert isinstance(build("gaussian", event_shape=3), Gaussian)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"family": "vaee"}, r"model\.family: there is no family 'vaee'; did you mean vae\?"),
        ({"family": 3}, r"model\.family: there is no family 3"),
        ({"latent": 3}, r"model has no family"),
        (3, r"model is 3, but a table with a family was expected"),
        ({"family": "vae", "latnt": 3}, r"model\.latnt is not a parameter of vae; did you mean latent\?"),
        (
            {"family": "vae", "prior": {"family": "gaussian", "hiden": [3]}},
            r"model\.prior\.hiden is not a parameter of gaussian; did you mean hidden\?",
        ),
        ({"family": "vae", "latent": "6"}, r"model\.latent is '6', but a whole number was expected"),
        ({"family": "vae", "latent": True}, r"model\.latent is True, but a whole number was expected"),
        ({"family": "vae", "hidden": ["a"]}, r"model\.hidden is \['a'\], but a list of whole numbers was expected"),
        ({"family": "vae", "prior": 3}, r"model\.prior is 3, but a model was expected"),
        ({"family": "vae", "prior": "gan"}, r"model: prior must be a model with a density"),
        ({"family": "vae", "prior": "bernoulli"}, r"model: prior: Bernoulli is discrete"),
        (
            {"family": "vae", "decoder": {"family": "categorical", "levels": 1}},
            r"model\.decoder: levels must be at least 2, not 1",
        ),
        (
            {"family": "vae", "decoder": {"family": "categorical"}},
            r"model\.decoder\.levels is missing: a whole number is needed",
        ),
        ({"family": "vae", "event_shape": [3.2]}, r"model\.event_shape is \[3\.2\], but positive whole"),
        ({"family": "vae", "event_shape": [4]}, r"model\.event_shape is \[4\] in the spec, but \[5\] fits here"),
    ],
)
def test_a_wrong_table_names_its_key(table, message):
    with pytest.raises(SpecError, match=message):
        build(table, event_shape=5)


def test_a_shape_is_needed_where_the_family_does_not_know_it():
    with pytest.raises(SpecError, match=r"model\.event_shape is missing"):
        build("vae")


def test_a_model_built_by_hand_says_why_it_has_no_spec():
    with pytest.raises(ValueError, match=r"VAE does not know its spec: only a model that zoo\.build made"):
        spec_of(by_hand())


def test_every_family_has_one_name_and_its_parameters_can_be_written_down():
    names = [member.name for member in families()]
    assert len(set(names)) == len(names)
    for member in families():
        assert family(member.name) is member
        assert member.summary and member.path.startswith("zoo.")


def test_annotations_in_words():
    assert in_words(int | None) == "a whole number"
    assert in_words(float | str) == "a number or a text"
    assert in_words(Gaussian | None) == "a model"


def test_the_package_exports_lazily():
    assert zoo.VAE is VAE and zoo.build is build
    assert "VAE" in dir(zoo)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zoo.nothing
