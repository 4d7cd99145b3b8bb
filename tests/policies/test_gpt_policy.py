"""The small GPT: what it records is what it sampled, whoever else is in the batch, cached or not."""

import itertools

import gymnasium as gym
import pytest
import torch

import rao_envs
from rao_envs.errors import OptionError
from rao_envs.policies import ScriptedPolicy, views
from rao_envs.policies.gpt import GPT, GPTConfig, GPTPolicy, SlotTokenizer
from rao_envs.training import build_batch
from rao_textcraft import TextCraftSynthEnv

ORACLE = ScriptedPolicy(TextCraftSynthEnv.oracles["recursive"])
ENV = "TextCraftSynth-v0"


@pytest.fixture(scope="module")
def played():
    return rao_envs.collect(ENV, ORACLE, tasks=20, env_options={"difficulty": "easy", "action_format": "calls"})


@pytest.fixture(scope="module")
def tokenizer(played):
    nodes = [node for tree in played for node in tree.nodes]
    texts = [text for node in nodes for turn in node.turns for text in (node.opening, turn.action, turn.observation)]
    return SlotTokenizer.train(texts, slots=32, at_least=3)


def make(tokenizer, *, context=256, seed=0, **options):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(tokenizer.vocab_size, context, width=32, layers=2, heads=2))
    return GPTPolicy(model, tokenizer, **{"max_new_tokens": 24, **options})


@pytest.fixture(scope="module")
def fluent(tokenizer, played):
    """A policy that has seen a little play, so that some of its messages are calls."""
    policy = make(tokenizer)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    rows = [policy.transcript(node) for tree in played for node in tree.nodes]
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
    mask = torch.tensor([wrote + [False] * (longest - len(wrote)) for _, wrote in rows])
    for _ in range(40):
        logits = policy.model(ids[:, :-1])[mask[:, 1:]]
        loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][mask[:, 1:]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy


def collect(policy, **options):
    given = {"difficulty": "easy", "action_format": "calls", "token_counter": policy.count_tokens}
    given["limits"] = {"context_tokens": policy.model.config.context, "max_nodes": 12, "max_turns": 5}
    return rao_envs.collect(ENV, policy, tasks=3, group_size=2, env_options=given, **options)


def samples(trees):
    return [turn.sample for tree in trees for node in tree.nodes for turn in node.turns]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_recorded_log_probabilities_are_those_of_the_logits(fluent, temperature):
    policy = GPTPolicy(fluent.model, fluent.tokenizer, temperature=temperature, max_new_tokens=24)
    trees = collect(policy)
    assert any(len(node.turns) > 2 for tree in trees for node in tree.nodes)  # the cache was used
    batch = build_batch(trees, pad_id=policy.pad_id)
    with torch.no_grad():
        chances = policy.logits(batch.input_ids, batch.attention_mask).log_softmax(-1)[:, :-1]
    taken = chances.gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    mask = batch.loss_mask[:, 1:]
    assert torch.allclose(taken[mask], batch.old_logprobs[:, 1:][mask], atol=2e-5)


def test_a_node_is_one_training_sequence(fluent):
    trees = collect(fluent)
    nodes = sum(bool(node.turns) for tree in trees for node in tree.nodes)
    assert len(build_batch(trees)) == nodes
    turns = [node.turns for tree in trees for node in tree.nodes if len(node.turns) > 1]
    for before, after in [pair for each in turns for pair in itertools.pairwise(each)]:
        start = (*before.sample.prompt_ids, *before.sample.output_ids)
        assert after.sample.prompt_ids[: len(start)] == start


def test_the_message_is_what_the_sampled_tokens_say(fluent):
    for tree in collect(fluent):
        for node in tree.nodes:
            for turn in node.turns:
                names = fluent.tokenizer.names()
                for earlier in node.turns[: node.turns.index(turn)]:
                    names.read(node.opening)
                    names.read(earlier.action)
                    names.read(earlier.observation)
                names.read(node.opening)
                assert fluent.tokenizer.decode(turn.sample.output_ids, names) == turn.action


def test_company_and_cache_change_nothing(fluent):
    alone = collect(fluent, concurrency=1)
    together = collect(fluent, concurrency=6)
    forgetful = GPTPolicy(fluent.model, fluent.tokenizer, max_new_tokens=24, batch_rows=1)
    forgetful._remember = lambda *_: None
    for others in (samples(together), samples(collect(forgetful))):
        for one, other in zip(samples(alone), others, strict=True):
            assert (one.prompt_ids, one.output_ids) == (other.prompt_ids, other.output_ids)
            assert one.logprobs == pytest.approx(other.logprobs, abs=2e-5)


def test_new_weights_forget_what_the_old_ones_read(fluent, tokenizer):
    policy = make(tokenizer)
    policy.load_state_dict(fluent.state_dict())
    collect(policy)
    assert policy._memory
    policy.train(True)
    assert not policy._memory
    collect(policy)
    policy.load_state_dict(make(tokenizer, seed=1).state_dict())
    assert not policy._memory


def test_extending_token_by_token_equals_reading_at_once(tokenizer):
    model = make(tokenizer).model
    ids = torch.randint(0, tokenizer.vocab_size, (3, 20))
    cache = torch.zeros(model.cache_shape(3, 40))
    lengths = torch.tensor([4, 9, 1])
    padded = torch.nn.functional.pad(ids, (5, 0))
    known = torch.zeros(3, dtype=torch.long)
    tokens = torch.stack([padded[row, : 5 + 9] for row in range(3)])
    with torch.no_grad():
        every = model(ids)
        logits = [model.extend(tokens, lengths, known, cache)]
        for _ in range(10):
            rows = torch.stack([padded[row, length : length + 6] for row, length in enumerate(lengths.tolist())])
            logits.append(model.extend(rows, torch.ones_like(lengths), lengths, cache))
            lengths = lengths + 1
    for step, found in enumerate(logits):
        for row, start in enumerate((4, 9, 1)):
            assert torch.allclose(found[row], every[row, start + step - 1], atol=1e-5)


def test_padding_on_the_right_is_not_seen(tokenizer):
    model = make(tokenizer).model
    ids = torch.randint(0, tokenizer.vocab_size, (2, 12))
    with torch.no_grad():
        assert torch.allclose(model(torch.nn.functional.pad(ids, (0, 7)))[:, :12], model(ids), atol=1e-6)


def test_temperature_zero_takes_the_likeliest_and_ignores_the_seed(fluent):
    policy = GPTPolicy(fluent.model, fluent.tokenizer, temperature=0.0, max_new_tokens=24)
    one, two = (samples(collect(policy, seed=seed)) for seed in (0, 1))
    assert [s.output_ids for s in one] == [s.output_ids for s in two]


def test_temperature_zero_cannot_be_trained_and_its_samples_are_certain(fluent):
    policy = GPTPolicy(fluent.model, fluent.tokenizer, temperature=0.0, max_new_tokens=24)
    assert {value for sample in samples(collect(policy)) for value in sample.logprobs} == {0.0}
    with pytest.raises(OptionError, match="temperature=0: has no gradient"):
        policy.logits(torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool))


def test_a_system_message_counts_as_its_one_token_whatever_it_says(tokenizer):
    count = make(tokenizer).count_tokens
    assert count.system("These tools exist: none") == count.system("") == 1
    # a message that quotes the system message is read in full, and counted in full
    assert count("These tools exist: none") == len(tokenizer.encode("These tools exist: none", tokenizer.names())) + 2


def test_the_first_prompt_is_as_long_as_the_environment_counts(tokenizer):
    policy = make(tokenizer)
    env = gym.make(ENV, depth=2, action_format="calls", token_counter=policy.count_tokens)
    env.reset(seed=0)
    (view,) = views(env)
    prompt, _ = policy.prompt(view.node)
    # the environment counts the opening with a frame of two, of which the prompt has `act` only
    assert len(prompt) == policy.count_tokens.system(view.node.system) + policy.count_tokens(view.node.opening) - 1
    assert env.unwrapped._engine.agents[0].tokens == len(prompt) + 1


@pytest.mark.parametrize("recursive", [True, False])
def test_the_first_token_says_whether_the_node_may_delegate(tokenizer, recursive):
    policy = make(tokenizer)
    env = gym.make(ENV, depth=2, action_format="calls", recursive=recursive)
    env.reset(seed=0)
    (view,) = views(env)
    view.node.system = "says nothing of launch_subagent" if not recursive else ""
    assert policy.transcript(view.node)[0][0] == (tokenizer.delegate if recursive else tokenizer.alone)
    view.node.may_delegate = None  # as in a log of an earlier version
    with pytest.raises(OptionError, match=r"node.may_delegate=None: .*collect the rollout again"):
        policy.transcript(view.node)


def test_a_message_ends_with_the_context(tokenizer):
    policy = make(tokenizer, context=40, max_new_tokens=30)
    trees = collect(policy)
    assert all(len(s.prompt_ids) + len(s.output_ids) <= 40 for s in samples(trees))


def test_a_prompt_beyond_the_context_names_the_fix(tokenizer):
    policy = make(tokenizer, context=8)
    env = gym.make(ENV, depth=2, action_format="calls")
    env.reset(seed=0)
    with pytest.raises(OptionError, match=r"token_counter=policy\.count_tokens"):
        policy(views(env))


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"batch_rows": 0}, "batch_rows"),
    ],
)
def test_impossible_options_are_refused(tokenizer, options, argument):
    with pytest.raises(OptionError, match=f"^{argument}"):
        make(tokenizer, **options)


def test_a_foreign_tokenizer_is_refused(tokenizer):
    with pytest.raises(OptionError, match=r"^tokenizer"):
        GPTPolicy(make(tokenizer).model, SlotTokenizer((), slots=3))


@pytest.mark.parametrize("shape", [{"width": 30}, {"layers": 0}, {"context": 2.5}])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(OptionError, match=f"^{next(iter(shape))}"):
        GPTConfig(100, **shape)
