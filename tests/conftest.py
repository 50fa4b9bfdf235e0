"""One thread a test process: two of them share two cores."""

import torch

torch.set_num_threads(1)
