"""Two processes fit as one does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.fit import fit
from zoo.realnvp import RealNVP

ROOT = Path(__file__).parent.parent.parent
WORKER = """
import sys, torch
sys.path.insert(0, {root!r})
from tests.inference.test_distributed import run
run({folder!r}, {steps}, {save!r}, {resume!r}, {seed}, {average!r})
"""


def flow() -> RealNVP:
    torch.manual_seed(0)
    return RealNVP(4, layers=3, hidden=16).double()


def run(folder: str, steps: int, save: str, resume: str | None, seed: int = 0, average: float | None = None) -> None:
    """What each process runs: the very call that one process makes."""
    torch.set_num_threads(1)
    x = torch.randn(101, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fit(
        flow(),
        x,
        steps=steps,
        batch_size=20,
        seed=seed,
        validation=0.1,
        patience=90,
        every=10,
        clip=5.0,
        average=average,
        checkpoint=os.path.join(folder, save),
        resume=resume and os.path.join(folder, resume),
    )


def launch(folder: Path, steps: int, save: str, resume: str | None = None, average: float | None = None) -> None:
    code = folder / "worker.py"
    told = {"folder": str(folder), "steps": steps, "save": save, "resume": resume, "average": average}
    code.write_text(WORKER.format(root=str(ROOT), seed=0, **told))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(code)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def weights(path: Path, of: str = "model") -> Any:
    return torch.load(path, weights_only=True)[of]


@pytest.mark.timeout(400)
def test_two_processes_end_where_one_does_and_resume_to_the_bit(tmp_path) -> None:
    run(str(tmp_path), 40, "one.pt", None)
    launch(tmp_path, 40, "two.pt")
    launch(tmp_path, 17, "part.pt")
    launch(tmp_path, 40, "resumed.pt", "part.pt")
    one, two, resumed = (weights(tmp_path / f"{name}.pt") for name in ("one", "two", "resumed"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-12, atol=1e-12)
        assert torch.equal(resumed[name], two[name])
