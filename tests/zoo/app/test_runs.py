"""A model saved to a folder and given back: the same density, and nothing half done."""

import os

import pytest
import torch

import zoo
from zoo.app.runs import WEIGHTS, free_name, new_folder, read_toml, toml
from zoo.spec import SpecError

FLOW_PRIOR = {"family": "vae", "latent": 3, "hidden": [8], "prior": {"family": "realnvp", "layers": 2, "hidden": 4}}


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return zoo.build(FLOW_PRIOR, event_shape=[1, 2, 3])


def elbo(model, x):
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        q = model.encoder(x)
        z = q.rsample()
        return model.decoder(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)


def test_a_loaded_model_has_the_same_density_and_is_in_evaluation_mode(model, tmp_path):
    x = torch.randint(0, 2, (5, 1, 2, 3)).float()
    zoo.save(model, tmp_path / "run")
    again = zoo.load(tmp_path / "run")
    assert torch.equal(elbo(model, x), elbo(again, x))
    assert not again.training
    assert again.spec == model.spec


def test_double_precision_survives(tmp_path):
    model = zoo.build({"family": "gaussian", "hidden": [4]}, event_shape=2, context_shape=3).double()
    zoo.save(model, tmp_path / "run")
    again = zoo.load(tmp_path / "run")
    x, context = torch.randn(4, 2).double(), torch.randn(4, 3).double()
    assert again.dtype == torch.float64
    assert torch.equal(model.log_prob(x, context=context), again.log_prob(x, context=context))


def test_a_model_without_tensors_is_saved_too(tmp_path):
    zoo.save(zoo.build("standard_gaussian", event_shape=[2, 2]), tmp_path / "run")
    assert zoo.load(tmp_path / "run").event_shape == torch.Size([2, 2])


def test_an_existing_run_is_never_written_over(model, tmp_path):
    zoo.save(model, tmp_path / "run")
    before = (tmp_path / "run" / WEIGHTS).read_bytes()
    with pytest.raises(FileExistsError, match="exists already, and a run is never written over"):
        zoo.save(model, tmp_path / "run")
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == before
    assert free_name(tmp_path / "run") == tmp_path / "run-2"


@pytest.mark.parametrize("left", [0, 3, 100, -40])
def test_truncated_weights_are_refused_in_one_sentence(model, tmp_path, left):
    zoo.save(model, tmp_path / "run")
    weights = tmp_path / "run" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:left])
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged or cut short") as error:
        zoo.load(tmp_path / "run")
    assert "\n" not in str(error.value)


def test_weights_of_another_model_are_refused(model, tmp_path):
    zoo.save(model, tmp_path / "run")
    zoo.save(zoo.build({**FLOW_PRIOR, "latent": 4}, event_shape=[1, 2, 3]), tmp_path / "other")
    os.replace(tmp_path / "other" / WEIGHTS, tmp_path / "run" / WEIGHTS)
    with pytest.raises(ValueError, match="does not fit the model in"):
        zoo.load(tmp_path / "run")


def test_a_pickle_is_not_a_weights_file(model, tmp_path):
    zoo.save(model, tmp_path / "run")
    torch.save(model.state_dict(), tmp_path / "run" / WEIGHTS)
    with pytest.raises(ValueError, match="damaged or cut short"):
        zoo.load(tmp_path / "run")


def test_what_is_not_a_run_says_so_with_near_names(model, tmp_path):
    zoo.save(model, tmp_path / "digits-vae")
    with pytest.raises(FileNotFoundError, match=r"there is no run .*digits-va'; did you mean .*digits-vae"):
        zoo.load(tmp_path / "digits-va")
    with pytest.raises(FileNotFoundError, match=r"is not a run: it holds no spec\.toml"):
        zoo.load(tmp_path)


def test_a_model_built_by_hand_is_not_saved_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="does not know its spec"):
        zoo.save(zoo.VAE(4), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_fails_half_way_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "run") as draft:
        (draft / "file").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_toml_is_read_back_as_it_was_written(tmp_path):
    table = {
        "data": {"name": "digits", "view": ["logit", "flat"]},
        "name": 'a "quoted" \\ näme\n',
        "model": {"family": "vae", "prior": {"family": "realnvp", "odd key": {"x": 1e-5}}, "hidden": [1, 2]},
        "ask": {"diagnose": False, "big": 1e300, "none": []},
    }
    (tmp_path / "spec.toml").write_text(toml(table), encoding="utf-8")
    assert read_toml(tmp_path / "spec.toml") == table


def test_what_is_not_toml_is_named_with_its_line(tmp_path):
    (tmp_path / "bad.toml").write_text("data = 'digits'\nmodel = [")
    with pytest.raises(SpecError, match=r"bad\.toml is not TOML: .*(line 2|end of document)"):
        read_toml(tmp_path / "bad.toml")


def test_loading_leaves_the_caller_s_generator_where_it_was(model, tmp_path):
    zoo.save(model, tmp_path / "run")
    before = torch.get_rng_state()
    zoo.load(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
