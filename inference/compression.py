"""Lossless compression by a model: its conditionals drive a range coder.

    packed = compress(model, x)        # bytes; about -log2 p(x) bits
    decompress(model, packed)          # x, to the bit

Any model that makes rows number by number (`Sequential`) will do. Rows lie side by side in blocks: number i of all
rows of a block is coded at once, given what the model makes of the numbers before it. Both ends walk the model's
`unroll` in the same blocks, on one thread, so that they see the same probabilities to the bit; these are rounded to
24 bits, each level at least one part of 2^24, so that whatever lies in the support can be coded. Another kind of
processor or version of torch may round otherwise: a checksum of the decoded numbers finds out, and nothing is returned.

References:
    Range encoding: an algorithm for removing redundancy from a digitised message (Martin, 1979)
    Understanding Entropy Coding With Asymmetric Numeral Systems (ANS): a Statistician's Perspective (Bamler, 2022),
        https://arxiv.org/abs/2201.01741, of `constriction`, the coder used here
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inference.asking import asking, placed
from inference.data import check_data
from inference.packed import BLOCK, DTYPES, Header, ended, pack, unpack, words_of
from inference.protocols import Density, Energy, Generator, Latent, Sequential, graph_of, measure_of, name_of, offers

Code = Callable[[slice, int, np.ndarray], np.ndarray]
"""(rows, i, probabilities of number i in each [n, levels]) -> its codes [n], int32."""


def compress(
    model: Any, x: Any, *, context: Any = None, absent: int = 0, note: bytes = b"", block: int = BLOCK
) -> bytes:
    """Rows x as bytes from which `decompress`, given the same model and context, makes them again to the bit.

    Parameters:
        absent: how many numbers the last row lacks at its end (in the model's order); what stands there is not coded.
        note: carried along as it is; `unpack` gives it back.
        block: how many rows are coded side by side; fewer take less memory, more less time.
    """
    check_codable(model)
    x, given = torch.as_tensor(x), None if context is None else placed(model, context)
    if x.dtype not in DTYPES:
        raise TypeError(f"x is {x.dtype}, which can't be packed: give whole numbers, floats or booleans")
    rows = placed(model, x.long() if x.dtype == torch.bool else x)
    check_data(model, rows, given)
    if not 0 <= absent < rows[0].numel() or block < 1:
        raise ValueError(
            f"absent must be 0 to {rows[0].numel() - 1} and block at least 1, but they are {absent} and {block}"
        )
    codes = _codes(model, rows)
    own = digest(model)
    content = _mark(own, codes, absent)
    header = Header(len(x), x.dtype, own[:2], content, absent=absent, block=block, note=note)
    known, encoder = codes.numpy().astype(np.int32), _coder().stream.queue.RangeEncoder()
    tables = _coder().stream.model.Categorical(perfect=False)

    def encode(rows: slice, i: int, probabilities: np.ndarray) -> np.ndarray:
        chosen = np.ascontiguousarray(known[rows, i])
        encoder.encode(chosen, tables, probabilities)
        return chosen

    for _ in _blocks(model, header, given, encode):
        pass
    return pack(header, ended(encoder))


def decompress(model: Any, data: bytes, *, context: Any = None) -> Tensor:
    """The rows that `compress` was given, in their dtype, [N, *event_shape]; numbers that were absent are 0."""
    check_codable(model)
    header, payload = unpack(data)
    own = check_own(model, header)
    given = None if context is None else placed(model, context)
    if given is not None and len(given) != header.rows:
        raise ValueError(f"{header.rows} rows were packed, but context has {len(given)}")
    if hasattr(model, "check"):
        model.check(context=given)
    decoder = _coder().stream.queue.RangeDecoder(words_of(payload))
    tables = _coder().stream.model.Categorical(perfect=False)
    found = [*_blocks(model, header, given, lambda rows, i, table: decoder.decode(tables, table))]
    x = torch.cat(found).cpu()
    codes = x.flatten(1)[:, _order(model, x[0].numel())]
    if _mark(own, codes, header.absent) != header.content:
        raise ValueError(
            "what was decoded is not what was packed: "
            + ("the context is another, or " if given is not None else "")
            + "this processor or version of torch rounds otherwise than where it was packed"
        )
    return x.to(header.dtype)


def check_codable(model: Any) -> None:
    """Refuse, with the reason, a model that rows can't be coded by."""
    if offers(model, Sequential):
        return
    if graph_of(model) is not None:
        why = "a graph alone makes no rows: make it a model of its tables, such as BayesianNetwork(graph=...)"
    elif offers(model, Energy):
        why = "its probabilities are known only up to a constant"
    elif offers(model, Generator):
        why = "it has no likelihood, only samples"
    elif offers(model, Latent) and not offers(model, Density):
        why = "its likelihood is only bounded, so there is no exact probability to code by"
    elif measure_of(model) == "density":
        why = "it has a density of real numbers, and what can be coded is counted: take a model of levels, and levels"
    else:
        why = "it gives whole rows a probability, but does not make them number by number"
    raise TypeError(f"{name_of(model)} can't compress: {why}")


def check_own(model: Any, header: Header) -> bytes:
    """The model's digest; refused are rows that another model packed."""
    own = digest(model)
    if header.model != own[:2]:
        raise ValueError(
            f"the rows were packed by another model than this {name_of(model)}: its parameters or settings differ"
        )
    return own


def digest(model: Any) -> bytes:
    """Sixteen bytes that tell models apart: by class, tensors, and settings that are plain values."""
    found = hashlib.blake2b(name_of(model).encode(), digest_size=16)
    parts = model.named_modules() if isinstance(model, nn.Module) else [("", model)]
    for name, part in parts:
        for key, value in sorted(vars(part).items()):
            if not key.startswith("_") and key != "training" and _is_plain(value):
                found.update(f"{name}.{key}={value!r}".encode())
    state = model.state_dict() if isinstance(model, nn.Module) else {}
    for name, tensor in state.items():
        found.update(f"{name}{tensor.dtype}{list(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.digest()


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str))


# ---- both ends


def _blocks(model: Any, header: Header, context: Tensor | None, code: Code) -> Iterator[Tensor]:
    """The codes of each block of rows, [n, *event_shape], as `code` finds them."""
    with asking(model, 0), _one_thread():
        for start in range(0, header.rows, header.block):
            end = min(start + header.block, header.rows)
            absent = header.absent if end == header.rows else 0
            given = None if context is None else context[start:end]
            yield model.unroll(_choose(model, code, start, end, absent), end - start, context=given)


def _choose(model: Any, code: Code, start: int, end: int, absent: int) -> Callable[[int, Tensor], Tensor]:
    features = torch.Size(model.event_shape).numel()

    def choose(i: int, logits: Tensor) -> Tensor:
        there = end - start - (i >= features - absent)
        table = logits[:there].double().softmax(-1)
        if not torch.isfinite(table).all():
            raise ValueError(f"{name_of(model)} gives no probabilities of number {i}: its logits are not numbers")
        found = torch.zeros(end - start, dtype=torch.long)
        if there:
            found[:there] = torch.from_numpy(code(slice(start, start + there), i, table.cpu().numpy()))
        return found.to(logits.device)

    return choose


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums that do not depend on how many threads there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _order(model: Any, features: int) -> Tensor:
    """Where in a flattened row the first, second, ... number of the model's order lies."""
    order = getattr(model, "order", None)
    return order.cpu() if isinstance(order, Tensor) else torch.arange(features)


def _codes(model: Any, x: Tensor) -> Tensor:
    """Rows as codes in the model's order, [N, features]."""
    flat = x.detach().cpu().flatten(1)
    codes = flat.long()
    bad = (codes != flat) | (codes < 0) | (codes >= model.levels)
    if bad.any():
        row, place = bad.nonzero()[0].tolist()
        raise ValueError(
            f"row {row} has {flat[row, place].item():g} at place {place}: what is coded are codes "
            f"0 to {model.levels - 1}, none of them missing"
        )
    return codes[:, _order(model, codes.shape[1])]


def _mark(own: bytes, codes: Tensor, absent: int) -> bytes:
    """Three bytes of the codes that are there, and of the model."""
    there = codes.flatten()[: codes.numel() - absent].numpy().astype("<i4")
    return hashlib.blake2b(own + there.tobytes(), digest_size=3).digest()


def _coder() -> Any:
    try:
        import constriction
    except ImportError:
        raise ImportError("compression needs the extra: pip install 'pyro-zoo[compression]'") from None
    return constriction
