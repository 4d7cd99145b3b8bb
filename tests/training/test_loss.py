"""The loss against the formula of the objective, by hand on a table of logits; invariances; exact bounds."""

import importlib.util
import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from rao_envs import collect, credit  # noqa: E402
from rao_envs.errors import OptionError  # noqa: E402
from rao_envs.events import Sample  # noqa: E402
from rao_envs.seeding import rng  # noqa: E402
from rao_envs.testing.strategies import LogWriter, forests  # noqa: E402
from rao_envs.training import LossOutput, build_batch, rao_loss  # noqa: E402

SPEC = importlib.util.spec_from_file_location("tiny_torch", Path(__file__).parent / "tiny_torch.py")
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)

KINDS = ("reinforce", "ppo", "cispo")
COUNTS = ("tokens", "sequences", "nodes", "rollouts")
V = 6


def quietly(function, *args, **options):
    """Call without the warning about groups of one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", credit.LoneRolloutWarning)
        return function(*args, **options)


def tables(seed, distance=0.7):
    """The table of logits that sampled, and the one that is optimised now."""
    generator = torch.Generator().manual_seed(seed)
    old = torch.randn(V, V, generator=generator, dtype=torch.float64)
    return old, old + distance * torch.randn(V, V, generator=generator, dtype=torch.float64)


def write_trees(forest, old, seed):
    """Rollouts of the given shape whose tokens come from the table `old`: merged turns, broken ones, silent ones."""
    random = rng(seed, "tokens")
    logprobs = old.log_softmax(-1).tolist()
    trees = []
    for place, group in enumerate(forest.group.tolist()):
        rows = [row for row in range(len(forest.tree)) if forest.tree[row] == place]
        log = LogWriter(f"task {group}", {"rollout": place, "seed": place})
        for node, row in enumerate(rows):
            above = int(forest.parent[row]) - rows[0] if forest.parent[row] >= 0 else None
            log.spawn(above, f"task {group}" if above is None else f"goal {node}")
            ids = ()
            turns = random.randint(1, 3)
            for turn in range(turns):
                if turn and random.random() < 0.3:
                    ids = ()
                ids += tuple(random.randrange(V) for _ in range(random.randint(1, 2)))
                output, scores = [], []
                for _ in range(random.randint(0, 3)):
                    last = (*ids, *output)[-1]
                    output.append(random.randrange(V))
                    scores.append(logprobs[last][output[-1]])
                log.act(node, "x", sample=Sample(ids, tuple(output), tuple(scores)))
                ids += tuple(output)
                if turn < turns - 1:
                    log.observe(node)
        for node, row in reversed(list(enumerate(rows))):
            success = float(forest.success[row])
            log.finish(node, None if math.isnan(success) else success)
        trees.append(log.tree)
    return trees


def formula(trees, old, now, kind, count, low=None, high=None, **options):
    """∇J of objective.md read aloud: loops over nodes, turns and tokens; nothing shared with the code under test.

    ∇ log π(a | h) for a table of logits is 1 at [h, a] minus the probabilities in row h.
    """
    table = quietly(credit.assign, trees, **options)
    sequences, tokens = [], 0
    for row in range(len(table)):
        if table.weight[row] == 0:
            continue
        end = None
        for turn in trees[table.tree[row]].nodes[table.node[row]].turns:
            prompt, output = turn.sample.prompt_ids, turn.sample.output_ids
            if not output:
                continue
            if end is None or prompt[: len(end)] != end:
                sequences.append((row, []))
            whole = prompt + output
            sequences[-1][1].extend((whole[t - 1], whole[t]) for t in range(len(prompt), len(whole)))
            tokens += len(output)
            end = whole
    spread = sum(table.weight[row] for row, _ in sequences)
    valid = [tree for tree in trees if tree.invalid is None]
    counts = {"tokens": tokens, "sequences": len(sequences), "rollouts": len(valid)}
    counts["nodes"] = len({row for row, _ in sequences})
    gradient = torch.zeros(V, V, dtype=torch.float64)
    for row, pairs in sequences:
        weight, advantage = table.weight[row] * len(sequences) / spread, table.advantage[row]
        for before, token in pairs:
            chance = now[before].softmax(-1)
            ratio = float(chance[token] / old[before].softmax(-1)[token])
            if kind == "ppo":
                cut = ratio > 1 + high if advantage > 0 else ratio < 1 - low
                factor = 0.0 if cut else ratio
            else:
                factor = min(max(ratio, low), high) if kind == "cispo" else 1.0
            score = -chance
            score[token] += 1
            gradient[before] += weight * advantage * factor * score / counts[count]
    return gradient


def gradient(batch, now, kind="reinforce", form="logits", parts=None, **options):
    """What `rao_loss` gives: minus the gradient of the loss with respect to the table."""
    table = now.clone().requires_grad_()
    for part in [batch] if parts is None else parts:
        given = table[part.input_ids]
        if form == "logprobs":
            taken = given[:, :-1].log_softmax(-1).gather(-1, part.input_ids[:, 1:, None])[..., 0]
            given = torch.nn.functional.pad(taken, (1, 0))
        rao_loss(given, part, kind, **options).loss.backward()
    return -table.grad if table.grad is not None else torch.zeros_like(table)


def build(trees, **options):
    return quietly(build_batch, trees, dtype=torch.float64, **options)


def near(one, other, tolerance=1e-9):
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


def trains(trees):
    """Whether there is a token to train on."""
    table = quietly(credit.assign, trees)
    rows = [row for row in range(len(table)) if table.weight[row] > 0]
    return any(turn.sample.output_ids for row in rows for turn in trees[table.tree[row]].nodes[table.node[row]].turns)


batches = st.builds(
    lambda forest, seed: (write_trees(forest, tables(seed)[0], seed), *tables(seed)), forests(), st.integers(0, 999)
).filter(lambda drawn: trains(drawn[0]))

# The formula ------------------------------------------------------------------------------------------------


@given(
    batches,
    st.sampled_from(KINDS),
    st.sampled_from(COUNTS),
    st.sampled_from(["logits", "logprobs"]),
    st.sampled_from([True, False, 0.5]),
    st.sampled_from(["mask", "root", 0.25]),
)
def test_gradient_is_that_of_the_objective(drawn, kind, count, form, weighting, unjudged):
    trees, old, now = drawn
    options = {"depth_weighting": weighting, "unjudged": unjudged}
    bounds = {"reinforce": (None, None), "ppo": (0.2, 0.2), "cispo": (0.0, 5.0)}[kind]
    expected = formula(trees, old, now, kind, count, *bounds, **options)
    near(gradient(build(trees, **options), now, kind, form, normalise=count), expected)


@given(batches, st.floats(0.0, 1.0), st.floats(0.0, 2.0))
def test_clips_are_those_that_are_asked_for(drawn, low, width):
    trees, old, now = drawn
    batch = build(trees)
    expected = formula(trees, old, now, "ppo", "tokens", low, width)
    near(gradient(batch, now, "ppo", clip_low=low, clip_high=width), expected, 1e-7)
    expected = formula(trees, old, now, "cispo", "tokens", low, low + width)
    near(gradient(batch, now, "cispo", clip_low=low, clip_high=low + width), expected, 1e-7)


def test_by_hand():
    # two rollouts of one task, one token each out of two equally likely ones: a succeeds, b does not
    #   A = 1 and -1, weights 1; d log p(a) = (1/2, -1/2), d log p(b) = (-1/2, 1/2)
    #   the sum is (1/2, -1/2) + (1/2, -1/2) = (1, -1), over 2 tokens: (1/2, -1/2)
    trees = []
    for rollout, (token, success) in enumerate([(0, 1.0), (1, 0.0)]):
        log = LogWriter("task", {"rollout": rollout})
        log.spawn(None, "task")
        log.act(0, "x", sample=Sample((0,), (token,), (math.log(0.5),)))
        log.finish(0, success)
        trees.append(log.tree)
    for kind in KINDS:
        near(
            gradient(build(trees), torch.zeros(2, 2, dtype=torch.float64), kind)[0], torch.tensor([0.5, -0.5]).double()
        )


@given(batches)
def test_at_ratio_one_all_kinds_are_reinforce(drawn):
    trees, old, _ = drawn
    batch = build(trees)
    plain = gradient(batch, old)
    for kind in ("ppo", "cispo"):
        near(gradient(batch, old, kind), plain)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=5), st.integers(0, 999))
def test_without_delegation_and_weights_it_is_leave_one_out_reinforce(successes, seed):
    old, _ = tables(seed)
    random = rng(seed)
    trees, samples = [], []
    for rollout, success in enumerate(successes):
        token = random.randrange(V)
        samples.append(token)
        log = LogWriter("task", {"rollout": rollout})
        log.spawn(None, "task")
        log.act(0, "x", sample=Sample((0,), (token,), (float(old[0].log_softmax(-1)[token]),)))
        log.finish(0, success)
        trees.append(log.tree)
    expected = torch.zeros(V, dtype=torch.float64)
    for k, token in enumerate(samples):
        others = [success for j, success in enumerate(successes) if j != k]
        score = -old[0].softmax(-1)
        score[token] += 1
        expected += (successes[k] - sum(others) / len(others)) * score / len(successes)
    found = gradient(build(trees, depth_weighting=False, delegation_bonus=0.0), old, normalise="rollouts")
    near(found[0], expected)
    near(found[1:], torch.zeros(V - 1, V).double())


# Invariances ------------------------------------------------------------------------------------------------


@given(batches, st.randoms(use_true_random=False), st.sampled_from(KINDS), st.sampled_from(COUNTS))
def test_the_order_of_trees_is_of_no_account(drawn, random, kind, count):
    trees, _, now = drawn
    shuffled = random.sample(trees, len(trees))
    one, other = (gradient(build(order), now, kind, normalise=count) for order in (trees, shuffled))
    near(one, other)


@given(batches, st.integers(0, 7), st.integers(0, V - 1), st.sampled_from(KINDS))
def test_padding_is_of_no_account(drawn, more, pad_id, kind):
    trees, _, now = drawn
    batch = build(trees)
    wide = build(trees, pad_id=pad_id).pad_to(batch.input_ids.shape[1] + more, pad_id)
    for form in ("logits", "logprobs"):
        near(gradient(wide, now, kind, form), gradient(batch, now, kind, form))


@given(batches, st.integers(1, 80), st.sampled_from(KINDS), st.sampled_from(COUNTS), st.floats(0.0, 1.0))
def test_splitting_is_of_no_account(drawn, max_tokens, kind, count, entropy):
    trees, _, now = drawn
    batch = build(trees)
    options = {"normalise": count, "entropy": entropy}
    whole = gradient(batch, now, kind, **options)
    parts = batch.micro_batches(max_tokens)
    near(gradient(batch, now, kind, parts=parts, **options), whole)
    # and what is logged adds up
    with torch.no_grad():
        outputs = [rao_loss(now[part.input_ids], part, kind, **options) for part in parts]
        together = LossOutput.combine([rao_loss(now[batch.input_ids], batch, kind, **options)])
    assert LossOutput.combine(outputs) == pytest.approx(together, abs=1e-9)


@given(batches, st.sampled_from(KINDS), st.sampled_from(COUNTS))
def test_leaving_out_what_has_no_advantage_changes_nothing(drawn, kind, count):
    trees, _, now = drawn
    one, other = (gradient(build(trees, drop_zero=drop), now, kind, normalise=count) for drop in (False, True))
    near(one, other)


@settings(max_examples=10)
@given(batches)
def test_a_subsample_has_the_same_gradient_in_expectation(drawn):
    trees, _, now = drawn
    batch = build(trees)
    most = len(set(batch.depth.tolist()))
    # all sets of draws are equally likely: average over enough seeds, and compare within 5 standard errors
    options = {"kl": 0.1, "entropy": 0.1, "reference_logprobs": None}

    def one(part):
        return gradient(part, now, **{**options, "reference_logprobs": torch.zeros_like(part.old_logprobs)})

    draws = torch.stack([one(batch.subsample(most, seed)) for seed in range(200)])
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - one(batch)).abs() <= 5 * error + 1e-9).all()


# Exact bounds -----------------------------------------------------------------------------------------------

UP, DOWN = 1.5, 0.75  # ratios, but for what exp(log(x)) loses
BIT = 2.0**-40


def one_token(ratio, success):
    """A batch of one sampled token with advantage ±1, its log-probability now, and the exact ratio of the two."""
    old = -max(math.log(ratio), 0.0)
    trees = []
    for rollout, outcome in enumerate([success, 1 - success]):
        log = LogWriter("task", {"rollout": rollout})
        log.spawn(None, "task")
        log.act(0, "x", sample=Sample((0,), (1,), (old,)))
        log.finish(0, outcome)
        trees.append(log.tree)
    batch = build(trees).select([0])
    now = torch.zeros(1, 2, dtype=torch.float64)
    now[0, 1] = old + math.log(ratio)
    assert batch.advantage.item() == (1.0 if success else -1.0)
    return batch, now.requires_grad_(), rao_loss(now, batch).ratio.item()


def slope(kind, ratio, success, low, high):
    """Minus d loss / d log-probability · tokens, in units of the ratio, and whether the token counts as clipped.

    The bounds are functions of the exact ratio.
    """
    batch, now, exact = one_token(ratio, success)
    output = rao_loss(now, batch, kind, clip_low=low(exact), clip_high=high(exact))
    output.loss.backward()
    return -now.grad[0, 1].item() * batch.totals.tokens / exact, bool(output.clipped)


def wide(ratio):
    return 1.0


@pytest.mark.parametrize(
    ("ratio", "success", "low", "high", "expected"),
    [
        (UP, 1.0, wide, lambda r: r - 1, (1.0, False)),  # at the upper bound is not beyond it
        (UP, 1.0, wide, lambda r: r - 1 - BIT, (0.0, True)),
        (UP, 0.0, wide, lambda r: r - 1 - BIT, (-1.0, False)),  # a bad token that got likelier is never clipped
        (DOWN, 0.0, lambda r: 1 - r, wide, (-1.0, False)),  # at the lower bound
        (DOWN, 0.0, lambda r: 1 - r - BIT, wide, (0.0, True)),
        (DOWN, 1.0, lambda r: 1 - r - BIT, wide, (1.0, False)),  # a good token that got less likely is never clipped
        (1.0, 1.0, lambda r: 0.0, lambda r: 0.0, (1.0, False)),  # no room at all: ratio 1 is inside
        (1.0, 0.0, lambda r: 0.0, lambda r: 0.0, (-1.0, False)),
        (1.2 - BIT, 1.0, lambda r: None, lambda r: None, (1.0, False)),  # the default bounds
        (1.2 + BIT, 1.0, lambda r: None, lambda r: None, (0.0, True)),
        (0.8 + BIT, 0.0, lambda r: None, lambda r: None, (-1.0, False)),
        (0.8 - BIT, 0.0, lambda r: None, lambda r: None, (0.0, True)),
    ],
)
def test_ppo_at_its_bounds(ratio, success, low, high, expected):
    assert slope("ppo", ratio, success, low, high) == expected


@pytest.mark.parametrize(
    ("ratio", "success", "low", "high", "expected"),
    [
        (UP, 1.0, lambda r: 0.0, lambda r: r, (1.0, False)),
        (UP, 1.0, lambda r: 0.0, lambda r: r / 2, (0.5, True)),  # a bounded coefficient, but still a gradient
        (UP, 0.0, lambda r: 0.0, lambda r: r / 2, (-0.5, True)),
        (DOWN, 1.0, lambda r: r, lambda r: 5.0, (1.0, False)),
        (DOWN, 0.0, lambda r: 2 * r, lambda r: 5.0, (-2.0, True)),
        (5.0 - BIT, 1.0, lambda r: None, lambda r: None, (1.0, False)),  # the default bounds
        (10.0, 1.0, lambda r: None, lambda r: None, (0.5, True)),
        (1e-6, 1.0, lambda r: None, lambda r: None, (1.0, False)),
    ],
)
def test_cispo_at_its_bounds(ratio, success, low, high, expected):
    slope_, clipped = slope("cispo", ratio, success, low, high)
    assert (pytest.approx(slope_), clipped) == expected


# KL and entropy ---------------------------------------------------------------------------------------------


def test_gradient_of_the_kl_term_is_that_of_the_divergence():
    # over all tokens in their proportions, the gradient of d²/2 is that of KL(now || reference), row by row
    now, reference = tables(3)
    trees = []
    shares = [4, 2, 1, 1]  # of 8: probabilities with which `now` is made to sample
    now[0] = torch.tensor([math.log(share / 8) for share in shares] + [-math.inf] * 2, dtype=torch.float64)
    reference[0, 4:] = -math.inf
    tokens = [token for token, share in enumerate(shares) for _ in range(share)]
    for rollout, token in enumerate(tokens):
        log = LogWriter("task", {"rollout": rollout})
        log.spawn(None, "task")
        log.act(0, "x", sample=Sample((0,), (token,), (float(now[0, token]),)))
        log.finish(0, 1.0)
        trees.append(log.tree)
    batch = build(trees)
    taken = torch.nn.functional.pad(reference[0].log_softmax(-1)[batch.input_ids[:, 1:]], (1, 0))
    found = -gradient(batch, now, kl=1.0, reference_logprobs=taken)[0]
    row = now[0, :4].clone().requires_grad_()
    own, other = row.log_softmax(-1), reference[0, :4].log_softmax(-1)
    (own.exp() * (own - other)).sum().backward()
    near(found[:4], row.grad)
    # the figure that is logged is the divergence itself, here exactly
    output = rao_loss(now[batch.input_ids], batch, reference_logprobs=taken)
    near(output.kl, (own.exp() * (own - other)).sum().detach())
    near(output.loss, output.policy)


@given(batches, st.floats(0.01, 1.0), st.sampled_from(COUNTS))
def test_gradient_of_the_entropy_term(drawn, coefficient, count):
    trees, _, now = drawn
    batch = build(trees)
    found = gradient(batch, now, entropy=coefficient, normalise=count) - gradient(batch, now, normalise=count)
    table = now.clone().requires_grad_()
    total = 0.0
    for ids, mask in zip(batch.input_ids.tolist(), batch.loss_mask.tolist(), strict=True):
        for place in range(1, len(ids)):
            if mask[place]:
                total = total + torch.distributions.Categorical(logits=table[ids[place - 1]]).entropy()
    total.backward()
    near(found, coefficient * table.grad / getattr(batch.totals, count))
    with torch.no_grad():
        near(rao_loss(now[batch.input_ids], batch).entropy, total.detach() / batch.totals.tokens)


def test_tokens_that_are_ruled_out_do_not_make_the_entropy_nan():
    trees = collect(tiny.tiny_env, tiny.TinyPolicy(), tasks=2, group_size=4, progress=False)
    policy = tiny.TinyPolicy()
    batch = build(trees)
    output = rao_loss(policy.logits(batch.input_ids, batch.attention_mask), batch, entropy=0.1)
    output.loss.backward()
    assert torch.isfinite(output.entropy)
    assert torch.isfinite(policy.table.grad).all()
    assert policy.table.grad.any()


# What is logged, what is kept, what is refused ----------------------------------------------------------------


def test_figures_by_hand():
    batch, now, exact = one_token(UP, 1.0)
    output = rao_loss(now, batch, "ppo")
    assert [float(value) for value in (output.ratio, output.ratio_max, output.clipped)] == [exact, exact, 1.0]
    assert float(output.gap) == pytest.approx(math.log(UP))
    assert math.isnan(output.entropy)
    assert output.tokens == 1
    nothing = rao_loss(now[:0], batch.select([]), "ppo")
    assert nothing.loss == 0
    assert LossOutput.combine([nothing, output])["ratio"] == exact
    assert LossOutput.combine([])["loss"] == 0
    assert not any(value.requires_grad for value in (output.policy, output.ratio, output.clipped, output.kl))


def test_only_sampled_places_are_normalised():
    trees = collect(tiny.tiny_env, tiny.TinyPolicy(), tasks=2, group_size=4, progress=False)
    batch = build(trees)
    logits = torch.full((*batch.input_ids.shape, tiny.VOCABULARY), torch.nan, dtype=torch.float64)
    before = torch.nn.functional.pad(batch.loss_mask[:, 1:], (0, 1))
    logits[before] = 0.0
    assert torch.isfinite(rao_loss(logits, batch).loss)


def test_half_precision_logits_are_normalised_in_single():
    batch, _, _ = one_token(UP, 1.0)
    logits = tables(0)[1][batch.input_ids]
    for dtype in (torch.float16, torch.bfloat16):
        output = rao_loss(logits.to(dtype), batch)
        assert output.loss.dtype == torch.float32
        torch.testing.assert_close(output.loss.double(), rao_loss(logits.to(dtype).double(), batch).loss)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "grpo"}, "kind='grpo'.*reinforce, ppo, cispo"),
        ({"normalise": "length"}, "normalise='length'"),
        ({"kind": "ppo", "clip_low": 1.5}, "clip_low"),
        ({"kind": "ppo", "clip_high": -0.1}, "clip_high"),
        ({"kind": "cispo", "clip_low": 2.0, "clip_high": 1.0}, "clip_low"),
        ({"kl": 0.1}, "needs reference_logprobs"),
        ({"kl": -0.1}, "kl=-0.1"),
        ({"entropy": math.inf}, "entropy=inf"),
        ({"reference_logprobs": torch.zeros(1, 1)}, "reference_logprobs.shape"),
    ],
)
def test_impossible_options_are_named(options, match):
    batch, now, _ = one_token(1.0, 1.0)
    with pytest.raises(OptionError, match=match):
        rao_loss(now, batch, **options)


def test_impossible_combinations_are_named():
    batch, now, _ = one_token(1.0, 1.0)
    with pytest.raises(OptionError, match=r"entropy=0.1: needs logits"):
        rao_loss(now, batch, entropy=0.1)
    for shape in [(1, 3), (2, 2), (1, 1, 4), (2,)]:
        with pytest.raises(OptionError, match=r"logits_or_logprobs.shape"):
            rao_loss(torch.zeros(shape), batch)
    with pytest.raises(OptionError, match=r"batch.advantage"):
        rao_loss(now, replace(batch, advantage=batch.advantage * torch.nan))
    short = replace(batch, totals=replace(batch.totals, zero=3))
    with pytest.raises(OptionError, match=r"3 sequences were left out.*drop_zero=False"):
        rao_loss(now, short, kl=0.1, reference_logprobs=now.detach())
