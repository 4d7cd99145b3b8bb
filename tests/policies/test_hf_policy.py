"""Hugging Face models as policies: what is recorded is what was sampled, and nothing is tokenised twice."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="local models need torch")
transformers = pytest.importorskip("transformers", reason="local models need transformers")

from rao_envs import Limits, Sample, collect, credit  # noqa: E402
from rao_envs.errors import OptionError  # noqa: E402
from rao_envs.events import Acted, Observed, Spawned  # noqa: E402
from rao_envs.policies.base import View  # noqa: E402
from rao_envs.policies.chat_template import ChatTemplate  # noqa: E402
from rao_envs.policies.decoding import _draw  # noqa: E402
from rao_envs.policies.hf import HFPolicy  # noqa: E402
from rao_envs.policies.stopping import Stop  # noqa: E402
from rao_envs.testing.tiny_model import CHATML, message_tokenizer, tiny_model, tiny_tokenizer  # noqa: E402
from rao_envs.testing.toy import finish, launch, say, toy_env  # noqa: E402
from rao_envs.training import CollectConfig, OptimConfig, RAOTrainer, RunConfig, build_batch  # noqa: E402
from rao_envs.tree import ExecutionTree  # noqa: E402

TOKENIZER = tiny_tokenizer()
DROPS_THOUGHTS = CHATML.replace(
    "{{ message['content'] }}",
    "{% if message.role == 'assistant' %}{{ message.content.split('</think>')[-1] }}"
    "{% else %}{{ message.content }}{% endif %}",
)
TRIMS = CHATML.replace("{{ message['content'] }}", "{{ message['content'] | trim }}")
SPACED = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% else %} {{ message.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
FORMATS = ("code", "calls")


def policy(model=None, tokenizer=TOKENIZER, **options):
    return HFPolicy(model or tiny_model(), tokenizer, **{"max_new_tokens": 12, **options})


def play(policy, tasks=2, limits=None, action_format="calls", **options):
    def env():
        rules = {"max_turns": 3, "context_tokens": policy.context_tokens, **(limits or {})}
        return toy_env(action_format, token_counter=policy.token_counter, limits=rules)

    return collect(env, policy, tasks=tasks, progress=False, **options)


def samples(trees):
    return [turn.sample for tree in trees for node in tree.nodes for turn in node.turns]


def node_of(opening, turns, system="Take notes."):
    """Return a node that has had these (action, sample, observation) turns, and acts next."""
    tree = ExecutionTree()
    tree.apply(Spawned(0, 0, 0.0, None, "goal", opening, system, 9))
    for action, sample, observation in turns:
        tree.apply(Acted(len(tree.events), 0, 0.0, action, 0.0, 1, 1, sample))
        tree.apply(Observed(len(tree.events), 0, 0.0, observation, 1))
    return tree.nodes[0]


class Parrot(torch.nn.Module):
    """A model that says what it is told: `answer` makes its message from the text of the prompt."""

    def __init__(self, answer):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(320, 1))
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=4_096))
        self.answer = answer

    def get_output_embeddings(self):
        return self

    get_input_embeddings = get_output_embeddings

    def forward(self, input_ids, attention_mask, past_key_values, use_cache):
        said = past_key_values or [
            iter(TOKENIZER(self.answer(TOKENIZER.decode(row)))["input_ids"]) for row in input_ids
        ]
        logits = torch.full((len(said), 1, 320), -30.0)
        for row, rest in enumerate(said):
            logits[row, :, next(rest, 0)] = 30.0
        return SimpleNamespace(logits=logits, past_key_values=said)


# Log-probabilities ---------------------------------------------------------------------------------------------------


def gpt2():
    shape = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 1_100, "initializer_range": 0.2}
    config = transformers.GPT2Config(**shape, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
    return transformers.GPT2LMHeadModel(config)


def mistral():
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"vocab_size": 320, "num_key_value_heads": 2, "sliding_window": 16, "initializer_range": 0.2}
    return transformers.MistralForCausalLM(transformers.MistralConfig(**shape, **more, max_position_embeddings=4_096))


@pytest.mark.parametrize("make", [tiny_model, gpt2, mistral])
@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_recorded_is_what_the_model_gives_again(make, side):
    torch.manual_seed(1)
    player = policy(make(), temperature=0.7, stop=["e"])  # messages end at different lengths
    found = samples(play(player, tasks=4))
    assert len({len(sample.output_ids) for sample in found}) > 3
    rows = [sample.prompt_ids + sample.output_ids for sample in found]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), player.pad_id)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for place, row in enumerate(rows):
        where = slice(longest - len(row), None) if side == "left" else slice(len(row))
        ids[place, where], mask[place, where] = torch.tensor(row), True
    with torch.no_grad():
        logprobs = player.train().logits(ids, mask).log_softmax(-1)
    for place, (row, sample) in enumerate(zip(rows, found, strict=True)):
        start = (longest - len(row) if side == "left" else 0) + len(sample.prompt_ids)
        again = [float(logprobs[place, start + t - 1, token]) for t, token in enumerate(sample.output_ids)]
        assert again == pytest.approx(sample.logprobs, abs=1e-4)
        assert min(sample.logprobs) < -1  # of a distribution, not of the greedy choice


def test_dropout_would_make_two_policies_of_one():
    player = policy(gpt2())
    assert player.model.config.attn_pdrop > 0
    ids = torch.arange(3, 40)[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    assert torch.equal(player.train(True).logits(ids, mask), player.train(False).logits(ids, mask))


def test_a_batch_is_a_batch_of_strangers():
    alone = play(policy(stop=["e", "1"], max_batch_tokens=1), tasks=4, concurrency=1)
    together = play(policy(stop=["e", "1"]), tasks=4)
    assert [s.output_ids for s in samples(alone)] == [s.output_ids for s in samples(together)]
    assert len({s.output_ids for s in samples(alone)}) == len(samples(alone))  # and everyone draws for themselves
    for one, other in zip(samples(alone), samples(together), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert samples(play(policy(), seed=1))[0].output_ids != samples(play(policy(), seed=0))[0].output_ids


def test_batches_keep_to_their_size():
    sizes = []
    model = tiny_model()
    model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(kwargs["attention_mask"].numel()), with_kwargs=True
    )
    trees = play(policy(model, max_batch_tokens=1_000), tasks=4)
    assert 500 < max(sizes) <= 1_000
    assert [s.output_ids for s in samples(trees)] == [s.output_ids for s in samples(play(policy(), tasks=4))]


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=12), st.floats(0.3, 3), st.data())
def test_tokens_are_drawn_as_often_as_they_are_likely(logits, temperature, data):
    banned = data.draw(st.integers(0, len(logits) - 1))
    logits[banned] = -math.inf
    n = 2_000
    rows = torch.tensor([logits]).expand(n + 2, -1)
    token, logprob = _draw(rows, temperature, [0.0, 1 - 2**-53, *((i + 0.5) / n for i in range(n))])
    likely = (rows[0] / temperature).softmax(0)
    counts = torch.bincount(token[2:], minlength=len(logits))
    assert (counts - n * likely).abs().max() <= 1.01  # a regular grid misses by less than one draw at either end
    assert banned not in token
    assert torch.allclose(logprob.exp(), likely[token])


def test_temperature_zero_takes_the_likeliest_token_and_cannot_be_trained():
    greedy, soft = policy(temperature=0), policy()
    trees = play(greedy, tasks=1)
    for sample in samples(trees):
        ids = torch.tensor([sample.prompt_ids + sample.output_ids])
        best = soft.logits(ids, torch.ones_like(ids, dtype=torch.bool)).argmax(-1)[0, len(sample.prompt_ids) - 1 : -1]
        assert best.tolist() == list(sample.output_ids)
        assert set(sample.logprobs) == {0.0}
    assert samples(play(greedy, tasks=1, seed=5)) == samples(trees)
    with pytest.raises(OptionError, match=r"temperature=0: .*above 0"):
        greedy.logits(ids, torch.ones_like(ids, dtype=torch.bool))


# No retokenisation ---------------------------------------------------------------------------------------------------


def spell(text, cuts):
    """Return tokens of a text as no tokenizer would choose them: cut at odd places."""
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(places)]
    return tuple(token for piece in pieces for token in TOKENIZER(piece)["input_ids"])


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>"), max_size=30)


@given(
    st.sampled_from([CHATML, TRIMS]),
    st.lists(st.tuples(TEXT, TEXT, st.lists(st.integers(0, 30)), st.booleans()), max_size=4),
    TEXT,
)
def test_every_prompt_continues_the_last_one_and_reads_as_the_template_says(template, said, opening):
    chat = ChatTemplate(tiny_tokenizer_with(template))
    turns, before = [], ()
    for action, observation, cuts, ends in said:
        prompt = chat.prompt(node_of(opening, turns))
        output = spell(action, cuts) + ((TOKENIZER.eos_token_id,) if ends else ())
        assert prompt[: len(before)] == before
        assert len(prompt) - len(before) <= (
            chat.count(turns[-1][2]) if turns else chat.count("Take notes.") + chat.count(opening)
        )
        assert chat.decode(output) == action
        turns.append((action, Sample(prompt, output, (-1.0,) * len(output)), observation))
        before = prompt + output
    node = node_of(opening, turns)
    prompt = chat.prompt(node)
    assert prompt[: len(before)] == before
    if template == CHATML:
        assert TOKENIZER.decode(prompt) == chat.render(node.messages)


TOKENIZERS = {}


def tiny_tokenizer_with(template):
    if template not in TOKENIZERS:
        TOKENIZERS[template] = tiny_tokenizer(template)
    return TOKENIZERS[template]


def test_a_template_that_rewrites_history_begins_a_new_sequence():
    chat = ChatTemplate(tiny_tokenizer_with(DROPS_THOUGHTS))
    opening = chat.prompt(node_of("Do it.", []))
    plain, thought = "note(1)", "<think>hm</think>note(1)"
    said = {
        text: Sample(opening, tuple(chat.encode(text)), (-1.0,) * len(chat.encode(text))) for text in (plain, thought)
    }
    kept = chat.prompt(node_of("Do it.", [(plain, said[plain], "ok")]))
    fresh = chat.prompt(node_of("Do it.", [(thought, said[thought], "ok")]))
    assert kept[: len(opening)] == fresh[: len(opening)] == opening
    assert kept[len(opening) :][: len(said[plain].output_ids)] == said[plain].output_ids
    assert fresh == kept  # nothing is left of the thought
    # From there on it continues what was rendered afresh.
    again = Sample(fresh, said[plain].output_ids, said[plain].logprobs)
    third = chat.prompt(node_of("Do it.", [(thought, said[thought], "ok"), (plain, again, "ok")]))
    assert third[: len(fresh) + len(again.output_ids)] == fresh + again.output_ids


def test_a_template_that_takes_back_what_it_began_begins_a_new_sequence():
    chat = ChatTemplate(tiny_tokenizer(CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")))
    opening = chat.prompt(node_of("Do it.", []))
    for said in ("hm</think>note(1)", ""):
        sample = Sample(opening, (*chat.encode(said), 2), (-1.0,) * (len(chat.encode(said)) + 1))
        node = node_of("Do it.", [(said, sample, "ok")])
        assert chat.prompt(node) == tuple(chat.encode(chat.render(node.messages)))


def test_a_policy_without_samples_before_it_is_rendered_afresh():
    chat = ChatTemplate(TOKENIZER)
    node = node_of("Do it.", [("note(1)", None, "ok")])
    assert TOKENIZER.decode(chat.prompt(node)) == chat.render(node.messages)


def test_the_end_of_a_message_is_not_said_twice():
    tokenizer = tiny_tokenizer_with(SPACED)
    chat = ChatTemplate(tokenizer)
    end = tokenizer.eos_token_id
    opening = chat.prompt(node_of("Do it.", []))
    assert tokenizer.decode(opening) == "[INST] Take notes.\n\nDo it. [/INST]"  # the template knows no system role
    body = tuple(chat.encode("note(1)"))
    for output in (body, (*body, end), tuple(chat.encode(" note(1)\n"))):
        sample = Sample(opening, output, (-1.0,) * len(output))
        prompt = chat.prompt(node_of("Do it.", [(chat.decode(output), sample, "ok")]))
        assert prompt.count(end) == 1
        assert prompt[: len(opening) + len(output)] == opening + output
        after = tokenizer.decode(prompt[len(opening) :]).lstrip()
        assert after.replace(" <", "<") in (
            "note(1)<|im_end|>[INST] ok [/INST]",
            "note(1)\n<|im_end|>[INST] ok [/INST]",
        )


def test_what_is_optimised_is_what_was_sampled():
    player = policy(stop=["e"])
    trees = play(player, tasks=2, group_size=2)
    batch = build_batch(trees, table=credit.assign(trees), tokenizer=player)
    nodes = [node for tree in trees for node in tree.nodes]
    assert len(batch) == len(nodes)  # one sequence each: every turn continued the last
    for row, node in enumerate(nodes):
        sampled = [token for turn in node.turns for token in turn.sample.output_ids]
        assert batch.input_ids[row][batch.loss_mask[row]].tolist() == sampled
        last = node.turns[-1].sample
        assert batch.input_ids[row][batch.attention_mask[row]].tolist() == [*last.prompt_ids, *last.output_ids]


def test_it_learns():
    tokenizer = message_tokenizer([say(finish(0)), say(finish(1)), say(launch("a"), launch("b"))])
    player = HFPolicy(tiny_model(vocab_size=7, initializer_range=0.05), tokenizer, max_new_tokens=2)

    def env():
        return toy_env("calls", limits={"max_turns": 3, "max_depth": 1, "context_tokens": 2_000})

    trainer = RAOTrainer(
        player,
        env,
        steps=8,
        collect=CollectConfig(tasks_per_step=4, group_size=4),
        optim=OptimConfig(lr=3e-2, schedule=lambda step: 1.0),
        run=RunConfig(progress=False),
    )
    rows = trainer.run()
    assert rows[0]["gap"] < 1e-5  # what is optimised is the distribution that was sampled from
    assert rows[0]["success"] < 0.6
    assert rows[-1]["success"] > 0.9


# Where a message ends -------------------------------------------------------------------------------------------------


def parrot(answer, tokenizer=TOKENIZER, **options):
    return policy(
        Parrot(answer if callable(answer) else lambda prompt: answer), tokenizer, max_new_tokens=99, **options
    )


def test_a_message_ends_where_its_code_does():
    script = "I see.\n<python>finish(1)</python> and a lot more that nobody reads"
    (tree,) = play(parrot(script), tasks=1, action_format="code")
    assert tree.root.turns[0].action == "I see.\n<python>finish(1)</python>"
    assert tree.root.success == 1.0


def test_a_message_ends_with_its_end_token_which_is_no_part_of_it():
    (tree,) = play(parrot(f"{say(finish(1))}<|im_end|>.", stop=()), tasks=1)
    (turn,) = tree.root.turns
    assert turn.action == say(finish(1))
    assert turn.sample.output_ids[-1] == TOKENIZER.eos_token_id
    assert turn.sample.output_ids.count(TOKENIZER.eos_token_id) == 1


def test_a_list_of_calls_ends_with_its_last_bracket():
    both, done = say(launch("left"), launch("right")), say(finish(1))
    (tree,) = play(parrot(lambda prompt: f"{both if 'Do 0.' in prompt else done} and so on"), tasks=1)
    assert {turn.action for node in tree.nodes for turn in node.turns} == {both, done}
    assert [node.success for node in tree.nodes[1:]] == [1.0] * (len(tree) - 1)


@pytest.mark.parametrize(
    ("action_format", "message", "complete"),
    [
        ("code", "<python>1</python>", True),
        ("code", "<python>1</python", False),
        ("code", "<think>like <python>1</python>? ", False),
        ("code", "<think>like <python>1</python>?</think><python>2</python>", True),
        ("code", '[{"name": "finish"}]', False),
        ("calls", '[{"name": "finish"}]', True),
        ("calls", '[{"name": "finish"}', False),
        ("calls", '{"name": "]}"', False),
        ("calls", "<think>[]</think>", False),
        ("calls", '<think>[]</think>\n{"name": "finish"}', True),
        ("calls", "```json\n[]", False),
        ("calls", "```json\n[]\n```", True),
        ("calls", '<tool_call>{"name": "a"}</tool_call>', False),
        ("calls", '<tool_calls>[{"name": "a"}]</tool_calls>', True),
        ("calls", "finish(1)]", False),
        ("calls", "[" * 100_000 + "]", False),
    ],
)
def test_when_a_message_is_complete(action_format, message, complete):
    stop = Stop()
    assert stop(message, action_format) is complete
    assert not complete or message[-1] in stop.last(action_format)
    assert Stop(())(message, action_format) is False
    assert Stop(["?</th"])(message, action_format) is ("?</th" in message)


def test_a_thought_that_the_template_opens_counts_as_one():
    tokenizer = tiny_tokenizer(CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"))
    assert ChatTemplate(tokenizer).opened == "<think>"
    script = "Is <python>note('a')</python> right?</think><python>finish(1)</python>"
    (tree,) = play(parrot(f"{script} or not", tokenizer), tasks=1, action_format="code")
    assert [turn.action for turn in tree.root.turns] == [script]


def test_the_model_and_the_template_name_what_ends_a_message():
    model = tiny_model()
    model.generation_config.eos_token_id = [7, 8]
    assert policy(model)._chat.ends == {2, 7, 8}
    odd = tiny_tokenizer(eos_token="<|endoftext|>", additional_special_tokens=["<|im_end|>"])
    assert ChatTemplate(odd).ends == {0, 2}  # many tokenizers name a document's end, not a message's


# The window ----------------------------------------------------------------------------------------------------------


def test_no_prompt_outgrows_the_window_where_the_environment_knows_it():
    player = policy(max_new_tokens=400, context_tokens=700)
    trees = play(player, tasks=6, limits={"max_turns": 25})
    assert {tree.root.status for tree in trees} == {"context"}
    sizes = [len(sample.prompt_ids) + len(sample.output_ids) for sample in samples(trees)]
    assert 650 < max(sizes) <= 700
    assert all(sample.output_ids for sample in samples(trees))  # nobody was asked without room for an answer


def test_a_window_that_the_environment_overlooks_is_an_error_that_says_so():
    player = policy(context_tokens=300)
    with pytest.raises(OptionError, match=r"context_tokens=300: .* prompt of \d+ tokens.*limits="):
        play(player, limits={"context_tokens": 5_000})


def test_a_count_that_was_too_low_ends_the_node():
    player = policy(context_tokens=300, max_new_tokens=50)

    def env():
        return toy_env("calls", limits=Limits(context_tokens=300, max_turns=25), token_counter=lambda text: 1)

    trees = collect(env, player, tasks=2, progress=False)
    assert {tree.root.status for tree in trees} == {"context"}
    assert trees[0].root.turns[-1].action == ""


# Whose mistake it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature=-1"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_batch_tokens": 0}, "max_batch_tokens=0"),
        ({"context_tokens": 8_193}, "context_tokens=8193: must lie between 2 and the model's 8192"),
        ({"stop": "</python>"}, "stop='</python>': must be a list"),
        ({"stop": [""]}, r"stop=\[''\]"),
        ({"tokenizer": tiny_tokenizer(None)}, "tokenizer.chat_template=None: is missing"),
        ({"tokenizer": tiny_tokenizer("{{ nothing.at_all }}")}, "tokenizer.chat_template=.*cannot render"),
        ({"model": tiny_model(vocab_size=319)}, r"get_input_embeddings\(\)=319: .*resize_token_embeddings\(320\)"),
        ({"model": tiny_model().model}, "model='LlamaModel': is not a causal"),
        ({"model": "Qwen/Qwen3-0.6B"}, "model='str': must be a causal language model"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_wrong_input_is_named(options, message):
    with pytest.raises(OptionError, match=message):
        policy(**options)


def test_a_message_must_have_an_end():
    endless = tiny_tokenizer("{% for m in messages %}{{ m.content }}\n{% endfor %}", eos_token=None)
    with pytest.raises(OptionError, match=r"tokenizer\.eos_token=None: is missing, and neither"):
        ChatTemplate(endless)
    assert ChatTemplate(endless, ends=[5]).ends == {5}


def test_a_tokenizer_without_padding_needs_none():
    player = policy(tokenizer=tiny_tokenizer(pad_token=None), stop=["e"])
    assert player.pad_id == TOKENIZER.eos_token_id
    assert [s.output_ids for s in samples(play(player))] == [s.output_ids for s in samples(play(policy(stop=["e"])))]


def test_loading_and_saving(tmp_path):
    def said(player):
        return [sample.output_ids for sample in samples(play(player))]

    player = policy()
    player.model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    loaded = HFPolicy.from_pretrained(str(tmp_path), device="cpu", max_new_tokens=12)
    assert said(loaded) == said(player)
    other = policy(tiny_model(seed=1))
    assert said(other) != said(player)
    other.load_state_dict(player.state_dict())
    assert said(other) == said(player)
    assert len(list(other.parameters())) == len(list(player.model.parameters()))


def test_sampling_leaves_the_model_as_it_was_and_its_time_is_kept():
    player = policy()
    state = torch.random.get_rng_state()
    for mode in (True, False):
        player.train(mode)
        before = player.seconds
        play(player)
        assert player.model.training is mode
        assert player.seconds > before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(weight.grad is None for weight in player.parameters())


def test_the_view_decides_the_draw():
    player = policy()
    node = node_of("Do it.", [])
    first, second = player([View(node, "calls", 1), View(node, "calls", 2)])
    assert first.sample.prompt_ids == second.sample.prompt_ids
    assert first.sample.output_ids != second.sample.output_ids
    assert player([View(node, "calls", 2)])[0].sample.output_ids == second.sample.output_ids
