"""The rooms keep their doors: inference never imports zoo, families never import inference."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_import_changes_no_default_of_torch_and_no_parameter_store() -> None:
    code = (
        "import torch, pyro; before = (torch.get_default_dtype(), torch.random.initial_seed());"
        "import zoo, zoo.vae, inference.fit;"
        "assert (torch.get_default_dtype(), torch.random.initial_seed()) == before;"
        "assert not pyro.get_param_store().keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_extra_brings_torchvision() -> None:
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('torchvision') is not None)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
