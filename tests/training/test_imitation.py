"""Imitation: what is imitated, that it is learned, and that a start is made once."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from rao_envs import collect  # noqa: E402
from rao_envs.cli import app  # noqa: E402
from rao_envs.errors import OptionError  # noqa: E402
from rao_envs.policies import ScriptedPolicy  # noqa: E402
from rao_envs.policies.gpt import load_gpt, new_gpt, save_gpt  # noqa: E402
from rao_envs.policies.local import find_device  # noqa: E402
from rao_envs.testing.toy import toy_env, toy_oracle  # noqa: E402
from rao_envs.training import TrainingSequence  # noqa: E402
from rao_envs.training.imitation import imitate, start_gpt, transcript  # noqa: E402

SPEC = importlib.util.spec_from_file_location("tiny_torch", Path(__file__).parent / "tiny_torch.py")
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)

PLAY = collect(toy_env, ScriptedPolicy(toy_oracle), tasks=6, progress=False)


def sequence(*ids):
    """Everything but the first token was written by the one to be imitated."""
    return TrainingSequence(ids, bytes([0, *[1] * (len(ids) - 1)]), (0.0,) * (len(ids) - 1))


def test_the_loss_is_the_mean_surprise_a_token():
    policy = tiny.TinyPolicy()
    chosen = [sequence(tiny.ROOT, 6, tiny.END), sequence(tiny.CHILD, 5)]
    logprobs = (policy.table.detach() + tiny.ALLOWED).log_softmax(-1)
    expected = -(logprobs[tiny.ROOT, 6] + logprobs[6, tiny.END] + logprobs[tiny.CHILD, 5]) / 3
    assert imitate(policy, lambda epoch: chosen, epochs=1, lr=0.0) == [pytest.approx(float(expected))]
    # and so for any split into steps
    assert imitate(policy, lambda epoch: chosen, epochs=1, lr=0.0, tokens_per_step=1) == [
        pytest.approx(float(expected))
    ]


def test_what_is_imitated_is_learned_in_its_proportions():
    policy = tiny.TinyPolicy()
    chosen = [sequence(tiny.ROOT, 6), sequence(tiny.ROOT, 6), sequence(tiny.ROOT, 6), sequence(tiny.ROOT, 9)]
    told = []
    losses = imitate(policy, lambda epoch: chosen, epochs=300, lr=0.1, note=lambda *news: told.append(news))
    chances = (policy.table.detach() + tiny.ALLOWED)[tiny.ROOT].softmax(-1)
    assert chances[6] == pytest.approx(0.75, abs=0.02)
    assert chances[9] == pytest.approx(0.25, abs=0.02)
    # no policy can do better than the entropy of what it is shown
    assert losses[-1] == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), abs=0.01)
    assert told == list(enumerate(losses))
    assert not policy.training


def test_every_epoch_may_show_something_else_and_none_may_show_nothing():
    asked = []

    def chosen(epoch):
        asked.append(epoch)
        return [sequence(tiny.ROOT, 6)] if epoch < 2 else []

    with pytest.raises(OptionError, match="nothing to imitate in epoch 2"):
        imitate(tiny.TinyPolicy(), chosen, epochs=3)
    assert asked == [0, 1, 2]


def test_steps_are_as_large_as_they_may_be():
    class Watching(tiny.TinyPolicy):
        def logits(self, input_ids, attention_mask):
            shapes.append(tuple(input_ids.shape))
            return super().logits(input_ids, attention_mask)

    shapes = []
    chosen = [sequence(tiny.ROOT, *[tiny.END] * size) for size in (1, 1, 1, 1, 40, 90)]
    imitate(Watching(), lambda epoch: chosen, epochs=1, tokens_per_step=60)
    assert sorted(shapes) == [(1, 41), (1, 91), (4, 2)]  # one that is too long by itself is not left out


def test_a_transcript_is_what_the_policy_would_have_read():
    policy = new_gpt(PLAY, width=16, layers=1)
    tokenizer = policy.tokenizer
    for node in PLAY[0].nodes:
        written = transcript(policy, node)
        prompt, names = policy.prompt(node)
        assert [*written.ids, tokenizer.act] == list(prompt)
        sampled = [token for token, on in zip(written.ids, written.mask, strict=True) if on]
        assert tokenizer.decode(sampled, names) == "".join(turn.action for turn in node.turns)
        assert sampled.count(tokenizer.end) == len(node.turns)
        assert tokenizer.act not in sampled
        assert len(written.logprobs) == len(sampled)


def test_a_start_is_made_once_and_kept_whole(tmp_path):
    path = tmp_path / "run" / "start.pt"
    shape = {"width": 16, "layers": 1, "context": 128}
    first = start_gpt(path, lambda: PLAY, max_new_tokens=7, **shape)
    again = start_gpt(path, lambda: pytest.fail("it was there"), max_new_tokens=7, **shape)
    assert first.max_new_tokens == again.max_new_tokens == 7
    for name, value in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert again.tokenizer.to_dict() == first.tokenizer.to_dict()
    # what it has imitated it can do better than a stranger
    stranger = new_gpt(PLAY, **shape)
    shown = [transcript(first, node) for tree in PLAY for node in tree.nodes]
    after, before = (imitate(one, lambda epoch: shown, epochs=1, lr=0.0)[0] for one in (first, stranger))
    assert after < before
    save_gpt(stranger, path)
    assert torch.equal(load_gpt(path).model.embedding.weight, stranger.model.embedding.weight)
    assert [file.name for file in path.parent.iterdir()] == ["start.pt"]


def test_the_command_line_trains_and_goes_on(tmp_path):
    words = ["train", "TextCraftSynth-v0", "--difficulty", "easy", "--out", str(tmp_path / "run"), "--no-tensorboard"]
    words += ["--tasks", "1", "--group", "2", "--play", "4", "--width", "16", "--layers", "1", "--new-tokens", "8"]
    first = CliRunner().invoke(app, [*words, "--steps", "1", "--json"])
    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)
    assert [row["step"] for row in rows] == [1]
    again = CliRunner().invoke(app, [*words, "--steps", "2"])
    assert again.exit_code == 0, again.output
    assert "tokens sampled" in again.stdout
    kept = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert kept[0] == rows[0]
    assert [row["step"] for row in kept] == [1, 2]
    other = CliRunner().invoke(app, [*words, "--steps", "2", "--lr", "0.5"])
    assert isinstance(other.exception, OptionError)
    assert "another folder" in str(other.exception)


@pytest.mark.parametrize("name", ["warp", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_done(name, tmp_path):
    with pytest.raises(OptionError, match=f"device='{name}': cannot be used here"):
        find_device(name)
    words = ["train", "TextCraftSynth-v0", "--out", str(tmp_path / "run"), "--device", name]
    assert isinstance(CliRunner().invoke(app, words).exception, OptionError)
    assert not (tmp_path / "run").exists()


def test_without_a_name_a_gpu_is_taken_if_there_is_one(monkeypatch):
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")
    asked = []
    monkeypatch.setattr(torch, "empty", lambda *size, device: asked.append(device.type))
    for present in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda present=present: present)
        find_device()
    assert asked == ["cpu", "cuda"]
