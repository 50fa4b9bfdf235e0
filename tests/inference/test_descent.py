"""The lean Adam is torch's, to the bit."""

import torch
from torch import nn

from inference.descent import FusedAdam


def test_the_lean_adam_is_torchs_fused_adam_to_the_bit() -> None:
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in ((5, 3), (7,), ())]
    lean, torchs = ([nn.Parameter(t.clone()) for t in start] for _ in range(2))
    optimizers = [FusedAdam(lean, 0.01), torch.optim.Adam(torchs, lr=0.01, fused=True)]
    for step in range(30):
        if step == 20:  # as a checkpoint would
            states = [optimizer.state_dict() for optimizer in optimizers]
            optimizers = [FusedAdam(lean, 1.0), torch.optim.Adam(torchs, lr=1.0, fused=True)]
            for optimizer, state in zip(optimizers, reversed(states), strict=True):
                optimizer.load_state_dict(state)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.01 / (1 + step)
        for index, (ours, theirs) in enumerate(zip(lean, torchs, strict=True)):
            moves = (step + index) % 4 > 0 and step >= 3 * index  # some begin late, some rest
            ours.grad = torch.randn_like(ours) if moves else None
            theirs.grad = None if ours.grad is None else ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        for ours, theirs in zip(lean, torchs, strict=True):
            assert torch.equal(ours, theirs)
    assert not torch.equal(lean[0], start[0])
