"""Packed rows: back to the bit for every family, as short as the model says, and refused when they are not whole."""

from __future__ import annotations

import binascii
import builtins
import math
import struct

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import zoo
from inference.compression import check_codable, compress, decompress
from inference.fit import fit
from inference.packed import ended, unpack, words_of
from tests.test_contract import MEMBERS, build, rows
from zoo.hidden_markov import HiddenMarkov
from zoo.made import MADE
from zoo.markov_chain import MarkovChain


class Tables:
    """A model of one's own, nothing inherited: the same logits for every row, in an order of its own."""

    def __init__(self, logits: Tensor, order: list[int] | None = None) -> None:
        self.logits = logits
        self.levels, self.event_shape = logits.shape[1], logits.shape[:1]
        self.order = torch.arange(len(logits)) if order is None else torch.tensor(order)

    def unroll(self, choose, rows, *, context=None):
        codes = torch.zeros(rows, len(self.logits), dtype=torch.long)
        for i, place in enumerate(self.order.tolist()):
            codes[:, place] = choose(i, self.logits[i].expand(rows, -1))
        return codes


def own_bits(model, x: Tensor, context: Tensor | None = None) -> float:
    with torch.no_grad():
        return -float(model.log_prob(x, context=context).double().sum()) / math.log(2)


def same(x: Tensor, y: Tensor) -> bool:
    return x.dtype == y.dtype and torch.equal(x, y)


# ---- there and back


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_every_family_gives_its_rows_back_or_says_why_not(member):
    model = build(member)
    x, context = rows(member, model, 21)
    if "unroll" not in model.capabilities:
        with pytest.raises(TypeError, match=rf"{type(model).__name__} can't compress: .+"):
            compress(model, x, context=context)
        return
    packed = compress(model, x, context=context, block=8)  # the last block is not full
    assert same(decompress(model, packed, context=context), x)
    assert len(packed) <= own_bits(model, x, context) / 8 + 16
    if context is not None:
        with pytest.raises(ValueError, match="give context"):
            decompress(model, packed)
        with pytest.raises(ValueError, match="the context is another, or"):
            decompress(model, packed, context=context + 1)
        with pytest.raises(ValueError, match="21 rows were packed, but context has 20"):
            decompress(model, packed, context=context[:20])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_random_tables_give_rows_back_in_any_order_and_block(data):
    levels, features = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 6))
    n = data.draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    scale = data.draw(st.sampled_from([0.0, 1.0, 30.0, 1000.0]))
    logits = scale * torch.randn(features, levels, generator=generator)
    impossible = torch.rand(features, levels, generator=generator) < data.draw(st.sampled_from([0.0, 0.5]))
    impossible[:, 0] = False
    model = Tables(logits.masked_fill(impossible, -torch.inf), data.draw(st.permutations(range(features))))
    x = torch.randint(levels, (n, features), generator=generator)
    absent = data.draw(st.integers(0, features - 1))
    packed = compress(model, x, absent=absent, block=data.draw(st.integers(1, 10)), note=b"a note")
    x[-1, model.order[features - absent :]] = 0
    assert torch.equal(decompress(model, packed), x)
    assert unpack(packed)[0].note == b"a note"
    chosen = model.logits.double().softmax(-1).log2()[torch.arange(features), x[:, model.order]].clamp(min=-24)
    bits = -float(chosen.sum()) + float(chosen[-1, features - absent :].sum())
    assert len(packed) - 20 - bits / 8 < 4 + 0.001 * bits / 8  # fewer where the code ends in zeros, which are not kept


def test_the_coder_ends_within_a_byte_of_what_it_has_to_say():
    draws, wrapped = np.random.default_rng(0), 0
    tables = constriction.stream.model.Categorical(perfect=False)
    for _ in range(500):
        n, levels = draws.integers(1, 40), draws.integers(2, 20)
        p = draws.dirichlet(np.full(levels, draws.choice([0.01, 0.1, 1.0])), n)
        codes = np.array([draws.choice(levels, p=each) for each in p], dtype=np.int32)
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(codes, tables, p)
        payload = ended(encoder)
        assert constriction.stream.queue.RangeDecoder(words_of(payload)).decode(tables, p).tolist() == codes.tolist()
        bits = -np.log2(np.maximum(p[np.arange(n), codes], 2.0**-24)).sum()
        assert len(payload) * 8 <= bits + 8 + 0.01
        low, width = encoder.pos()[1]
        wrapped += low + width > 2**64
    assert wrapped > 5


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_has_no_probability_costs_24_bits_and_what_is_certain_nothing(level):
    logits = torch.tensor([[0.0, -torch.inf, math.log(1e-30)]])
    packed = compress(Tables(logits), torch.full((1000, 1), level))
    assert torch.equal(decompress(Tables(logits), packed), torch.full((1000, 1), level))
    bits = 8 * (len(packed) - 12) / 1000
    assert bits < 0.1 if level == 0 else abs(bits - 24) < 0.5


def test_rows_that_the_model_cannot_make_come_back_too():
    network = zoo.BayesianNetwork(network="asia")
    either = network.variables.index("either")
    x = network.sample(50)
    x[:, either] = 1 - x[:, either]
    assert torch.isinf(network.log_prob(x)).all()
    assert same(decompress(network, compress(network, x)), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.float64, torch.bool, torch.bfloat16])
def test_rows_keep_their_dtype(dtype):
    model = zoo.Bernoulli((2, 3))
    x = torch.randint(0, 2, (5, 2, 3), generator=torch.Generator().manual_seed(0)).to(dtype)
    assert same(decompress(model, compress(model, x)), x)
    assert same(decompress(model, compress(model, x[:1])), x[:1])


def test_an_array_is_taken_as_rows():
    model = zoo.Bernoulli(3)
    x = np.array([[0.0, 1.0, 1.0]], dtype=np.float32)
    assert decompress(model, compress(model, x)).numpy().tolist() == x.tolist()


def test_hidden_chains_over_codes_and_given_numbers_of_threads():
    model = HiddenMarkov((9, 2), states=3, levels=4)
    x = model.sample(30)
    threads = torch.get_num_threads()
    try:
        packed = compress(model, x)
        torch.set_num_threads(threads + 1)
        assert same(decompress(model, packed), x)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_neither_way_moves_the_random_numbers_or_the_mode_of_the_model():
    model = MADE((4,), hidden=8).train()
    state = torch.get_rng_state()
    decompress(model, compress(model, torch.ones(3, 4)))
    assert model.training and torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_model_on_a_gpu_packs_too(member):
    model = build(member)
    if "unroll" not in model.capabilities:
        return
    x, context = rows(member, model, 21)
    model.cuda()
    context = None if context is None else context.cuda()
    packed = compress(model, x.cuda(), context=context, block=8)
    assert same(decompress(model, packed, context=context), x)


# ---- how short


def test_text_by_a_chain_is_as_short_as_the_chain_says():
    data = zoo.datasets.load("pydoc_topics").windows(128)
    model = MarkovChain(128, levels=data.levels, order=4, smoothing="absolute")
    model.count(data.train.x)
    x = data.test.x[:200]
    packed = compress(model, x)
    assert len(packed) * 8 <= 1.01 * own_bits(model, x)
    assert torch.equal(decompress(model, packed), x)


def test_digits_by_made_are_as_short_as_made_says():
    data = zoo.datasets.load("digits").binarised()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MADE(data.event_shape, hidden=128)
    fit(model, data.train.x, steps=150, progress=False)
    packed = compress(model, data.test.x)
    assert len(packed) * 8 <= 1.01 * own_bits(model, data.test.x)
    assert same(decompress(model, packed), data.test.x)


@pytest.mark.parametrize(("name", "rows"), [("asia", 10_000), ("alarm", 3_000)])
def test_draws_of_a_network_are_as_short_as_its_tables_say(name, rows):
    network = zoo.BayesianNetwork(network=name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = network.sample(rows)
    packed = compress(network, x, block=4096)
    assert len(packed) * 8 <= 1.01 * own_bits(network, x)
    assert same(decompress(network, packed), x)


# ---- what is refused


@pytest.fixture(scope="module")
def coded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MADE((5,), levels=3, hidden=8)
    x = torch.randint(0, 3, (40, 5), generator=torch.Generator().manual_seed(0))
    return model, compress(model, x)


def test_a_flipped_bit_anywhere_is_refused(coded):
    model, packed = coded
    for place in range(len(packed)):
        broken = bytearray(packed)
        broken[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"damaged or cut short|no packed rows|version \d+ can't be read"):
            decompress(model, bytes(broken))


def test_a_cut_or_lengthened_stream_is_refused(coded):
    model, packed = coded
    for length in range(len(packed)):
        with pytest.raises(ValueError, match=r"damaged or cut short|no packed rows"):
            decompress(model, packed[:length])
    with pytest.raises(ValueError, match="damaged or cut short"):
        decompress(model, packed + b"\0")


def test_a_forged_header_is_refused_in_a_sentence(coded):
    model, packed = coded
    flags = packed[4]
    bodies = (
        packed[4:10] + b"\xff" * 9,
        b"\x0f" + packed[5:],
        packed[4:10] + b"\0",
        bytes([flags | 64]) + packed[5:11],
    )
    for body in bodies:
        forged = packed[:2] + struct.pack("<H", binascii.crc_hqx(body, 0)) + body
        with pytest.raises(ValueError, match="no header that could have been written"):
            decompress(model, forged)


def test_another_model_is_refused(coded):
    model, packed = coded
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = MADE((5,), levels=3, hidden=8)
    other.load_state_dict(model.state_dict())
    assert torch.equal(decompress(other, packed), decompress(model, packed))
    with torch.no_grad():
        other.network.last.bias[0] += 1e-6
    for wrong in (other, MADE((5,), levels=3, hidden=9), MADE((5,), levels=4, hidden=8), zoo.Bernoulli(5)):
        with pytest.raises(ValueError, match=rf"another model than this {type(wrong).__name__}"):
            decompress(wrong, packed)


def test_settings_that_are_no_tensors_tell_models_apart():
    one, other = (MarkovChain(4, levels=2, order=1, discount=discount) for discount in (0.5, 0.6))
    with pytest.raises(ValueError, match="another model"):
        decompress(other, compress(one, torch.ones(2, 4).long()))


def test_probabilities_that_differ_between_the_two_ends_are_found_out():
    packed = compress(Tables(torch.zeros(4, 3)), torch.randint(0, 3, (50, 4)))
    with pytest.raises(ValueError, match="not what was packed: this processor or version of torch rounds otherwise"):
        decompress(Tables(torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3).clone()), packed)


def test_rows_that_are_no_codes_are_refused():
    model = zoo.Categorical(2, levels=3)
    with pytest.raises(ValueError, match="no rows"):
        compress(model, torch.zeros(0, 2).long())
    with pytest.raises(ValueError, match="outside the support"):
        compress(model, torch.tensor([[0, 3]]))
    with pytest.raises(ValueError, match=r"row 0 has -1 at place 1: .*, none of them missing"):
        compress(Tables(torch.zeros(2, 3)), torch.tensor([[0, -1]]))
    with pytest.raises(ValueError, match=r"row 0 has 0\.5 at place 1: what is coded are codes 0 to 2"):
        compress(Tables(torch.zeros(2, 3)), torch.tensor([[0, 0.5]]))
    with pytest.raises(ValueError, match="value -1 at row 0, column 1, outside the support"):
        compress(HiddenMarkov(2, states=2, levels=3), torch.tensor([[0, -1]]))
    with pytest.raises(ValueError, match="missing cell"):
        compress(zoo.BayesianNetwork(network="cancer"), torch.full((1, 5), -1))
    with pytest.raises(ValueError, match="not finite at row 0"):
        compress(zoo.Bernoulli(2), torch.tensor([[0, float("nan")]]))
    with pytest.raises(ValueError, match="models x of shape"):
        compress(model, torch.zeros(2, 3).long())
    with pytest.raises(TypeError, match="can't be packed"):
        compress(model, torch.zeros(2, 2, dtype=torch.complex64))
    with pytest.raises(ValueError, match="absent must be 0 to 1 and block at least 1"):
        compress(model, torch.zeros(2, 2).long(), absent=2)


def test_logits_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="Tables gives no probabilities of number 0"):
        compress(Tables(torch.full((2, 3), torch.nan)), torch.zeros(1, 2).long())


def test_the_reason_fits_the_kind_of_model():
    for model, reason in (
        (zoo.RealNVP(2), "density of real numbers"),
        (zoo.HiddenMarkov(2), "density of real numbers"),
        (zoo.VAE(4, latent=2), "only bounded"),
        (zoo.RBM(4, hidden=2), "up to a constant"),
        (zoo.GAN(4, latent=2), "no likelihood, only samples"),
        (zoo.load_network("asia"), "make it a model of its tables"),
    ):
        with pytest.raises(TypeError, match=reason):
            check_codable(model)


def test_without_the_coder_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "constriction":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pyro-zoo\[compression\]"):
        compress(zoo.Bernoulli(2), torch.zeros(1, 2))
