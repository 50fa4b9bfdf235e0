"""One thread a test process, two of which share two cores; and the same random numbers whenever a test is run."""

import pytest
import torch

torch.set_num_threads(1)
torch.manual_seed(0)  # for what modules and their fixtures draw


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A test draws what it draws alone, whichever ran before it; torch itself begins anywhere."""
    torch.manual_seed(0)
