"""One function draws tokens for all policies: what it draws, and that it draws what its two predecessors drew."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from rao_envs.policies.sampling import draw  # noqa: E402

TYPES = (torch.float32, torch.float64)
LAST = {torch.float32: 1 - 2.0**-24, torch.float64: 1 - 2.0**-53}  # the largest numbers below 1


@pytest.mark.parametrize("dtype", TYPES)
def test_it_follows_the_distribution(dtype):
    logits = torch.log(torch.tensor([0.5, 0.2, 0.0, 0.3])).expand(1000, 4)
    tokens, logprobs = draw(logits, 1.0, (torch.arange(1000, dtype=dtype) + 0.5) / 1000)
    assert torch.bincount(tokens, minlength=4).tolist() == [500, 200, 0, 300]
    assert logprobs[0].exp().item() == pytest.approx(0.5)
    assert logprobs.dtype == torch.float32


def test_temperature_by_hand():
    # logits log 1, log 3 at temperature 1/2: squares, so 1/10 and 9/10
    tokens, logprobs = draw(torch.log(torch.tensor([[1.0, 3.0]] * 2)), 0.5, torch.tensor([0.0999, 0.1001]))
    assert tokens.tolist() == [0, 1]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.1, 0.9]))


def test_temperature_zero_is_certain():
    tokens, logprobs = draw(torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]]), 0.0, torch.tensor([0.0, 0.99]))
    assert tokens.tolist() == [1, 0]
    assert logprobs.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", TYPES)
@given(st.integers(0, 2**31), st.integers(1, 300), st.floats(0.01, 5))
def test_the_extreme_draws_are_tokens_of_positive_probability(dtype, seed, size, spread):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(8, size, generator=generator) * spread * 10
    if size >= 3:  # tokens at either end must not be taken at the extremes
        logits[:, -(size // 3) :] = logits[:, : size // 3] = -torch.inf
    for extreme in (0.0, LAST[dtype]):
        tokens, logprobs = draw(logits, 1.0, torch.full((8,), extreme, dtype=dtype))
        assert int(tokens.max()) < size
        assert torch.isfinite(logprobs).all()


def test_the_sum_is_as_exact_as_the_uniform_numbers():
    # token 0 has weight 1, the other 200,000 have 1e-9 each: in float32, dozens of them fall between two numbers
    logits = torch.full((50, 200_001), math.log(1e-9))
    logits[:, 0] = 0.0
    missed = {}
    for dtype in TYPES:
        uniform = torch.linspace(0.9999, 0.99999, 50, dtype=dtype)
        exact = 1 + ((uniform.double() * (1 + 2e-4) - 1) / 1e-9).floor().long()
        missed[dtype] = (draw(logits, 1.0, uniform)[0] - exact).abs().max().item()
    assert missed[torch.float64] <= 2  # the logits themselves are float32
    assert missed[torch.float32] > 10


def drawn_by_the_gpt_before(logits, temperature, uniform):
    """As `GPTPolicy._sample` drew when the committed results of `baselines/rao_gpt.py` were made."""
    chances = torch.log_softmax(logits / temperature, dim=-1)
    upto = chances.exp().cumsum(dim=-1)
    token = torch.searchsorted(upto, (uniform * upto[:, -1])[:, None], right=True)[:, 0]
    token = token.clamp_(max=logits.shape[1] - 1)
    return token, chances.gather(1, token[:, None])[:, 0]


def drawn_by_hf_before(logits, temperature, uniform):
    """As `decoding._draw` drew."""
    logprobs = (logits.float() / temperature).log_softmax(-1)
    below = logprobs.double().exp().cumsum(-1)
    total = below[:, -1:]
    token = torch.searchsorted(below, uniform.double()[:, None] * total, right=True)
    return token[:, 0], logprobs.gather(1, token)[:, 0]


@pytest.mark.parametrize(("before", "dtype"), [(drawn_by_the_gpt_before, np.float32), (drawn_by_hf_before, np.float64)])
@given(st.integers(0, 2**31), st.sampled_from([2, 7, 300, 5_000]), st.sampled_from([0.3, 1.0, 1.7]))
def test_the_draws_are_those_of_before(before, dtype, seed, size, temperature):
    logits = torch.randn(64, size, generator=torch.Generator().manual_seed(seed)) * 4
    uniform = torch.from_numpy(np.random.Generator(np.random.Philox(seed)).random(64, dtype=dtype))
    tokens, logprobs = draw(logits, temperature, uniform)
    expected, expected_logprobs = before(logits, temperature, uniform)
    assert torch.equal(tokens, expected)
    assert torch.equal(logprobs, expected_logprobs)
