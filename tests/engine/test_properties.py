"""Random trees of random behaviour, driven in random order: nothing is lost, and everything adds up."""

import json
from collections import Counter
from functools import cache
from random import Random

import gymnasium as gym
from hypothesis import given, settings
from hypothesis import strategies as st

from rao_envs import Action, ExecutionTree, seeding
from rao_envs.events import Acted, Observed, Returned, Spawned
from rao_envs.testing.toy import toy_env
from rao_textcraft.verify import made_targets

randoms = st.integers(0, 2**32 - 1).map(Random)  # one number: shrinking a rollout draw by draw takes minutes


# An agent that does anything -------------------------------------------------------------------------------------


@cache
def simple(book):
    """List (item, names of the ingredients of its first recipe)."""
    return [(item, {s.name for s in book.recipes(item)[0].ingredients}) for item in book if book.recipes(item)]


def pick(random, shop, node):
    """Choose an item: mostly one asked for or one whose ingredients are held."""
    held, book = shop.held(node.id), shop.cookbook
    targets = list(node.payload["targets"])
    makeable = [item for item, needs in simple(book) if needs <= held.keys()]
    return random.choice(random.choice([targets, makeable or targets, makeable or targets]))


def craft_call(random, shop, node):
    """Craft something that the recipes allow (the inventory need not), or nearly so."""
    book, item = shop.cookbook, pick(random, shop, node)
    recipe = book.recipes(item)[0]
    times = random.choice([1, 1, 1, 2, 3])
    needs = {slot.name: slot.count * times for slot in recipe.ingredients}
    total = recipe.yields * times + random.choice([0, 0, 0, 0, 1])
    return {"name": "craft", "arguments": {"ingredients": needs, "target": [item, total]}}


def launch_call(random, shop, node):
    book = shop.cookbook
    held = list(shop.held(node.id).items())
    if random.random() < 0.2:
        targets = {random.choice(book.items): random.randint(-1, 3) for _ in range(random.randint(0, 2))}
    else:
        targets = {pick(random, shop, node): random.randint(1, 2) for _ in range(random.randint(1, 2))}
    arguments = {"targets": targets, "num_steps": random.choice([0, 1, 3, 25, 25])}
    if random.random() < 0.6 and held:
        chosen = random.sample(held, random.randint(1, min(3, len(held))))
        arguments["allotment"] = {item: random.randint(1, units + random.choice([0, 0, 1])) for item, units in chosen}
    return {"name": "launch_subagent", "arguments": arguments}


def some_calls(random, env, node):
    makers = [craft_call] * 5 + [launch_call] * 4
    calls = [random.choice(makers)(random, env.world.shop, node) for _ in range(random.randint(1, 4))]
    if random.random() < 0.15:
        calls.insert(random.randint(0, len(calls)), {"name": "finish", "arguments": {"message": "done"}})
    return calls


def behave(random, env, node):
    """Write a message: calls of all kinds, sometimes nonsense, sometimes far too long."""
    fate = random.random()
    if fate < 0.05:
        return random.choice(["", "craft!", "[]", "[{}]", '{"name": "steal"}', '[{"name": "craft", "arguments": 3}]'])
    return "x" * 20_000 if fate < 0.08 else json.dumps(some_calls(random, env, node))


def snippet(random, env, node):
    """Write the same in Python, with launches that are forgotten, awaited late, or raced by a finish."""
    lines = ["import asyncio"]
    for place, call in enumerate(some_calls(random, env, node)):
        line = f"{call['name']}(**{call['arguments']!r})"
        if call["name"] == "launch_subagent":
            line = random.choice([f"await {line}", f"x{place} = {line}", f"await asyncio.gather({line}, {line})"])
        lines.append(f"try:\n    {line}\nexcept ValueError as error:\n    print(error)")
    return "\n".join(lines)


FINISH = {"calls": '[{"name": "finish"}]', "code": "finish(0)"}


def play(random, env, write, turns):
    """Drive random subsets of the ready nodes until the rollout is over; return all events as reported."""
    events = list(env.tree.events)
    while env.ready:
        ready = list(env.ready)
        asked = random.sample(ready, random.randint(1, len(ready)))
        turns -= len(asked)
        actions = {}
        for place in asked:
            text = write(random, env, env.tree.nodes[place]) if turns > 0 else FINISH[env.action_format]
            actions[place] = Action(text, random.choice([None, 0.0, 1.0, random.uniform(0, 9)]))
        events += env.advance(actions)
    return events


# What must hold ----------------------------------------------------------------------------------------------------


def check_log(random, tree, reported):
    """Nothing is lost: the log is what was reported, can be rebuilt from any order, and survives JSON."""
    assert list(reported) == tree.events
    assert [event.seq for event in tree.events] == list(range(len(tree.events)))
    shuffled = random.sample(tree.events, len(tree.events))
    rebuilt = ExecutionTree.from_events(shuffled, tree.meta)
    assert rebuilt == tree
    for ours, theirs in zip(tree.nodes, rebuilt.nodes, strict=True):
        assert all(getattr(ours, name) == getattr(theirs, name) for name in type(ours).__slots__)
    assert ExecutionTree.from_json(tree.to_json()).to_json() == tree.to_json()
    kinds = Counter((type(event), event.node) for event in tree.events)
    for node in tree.nodes:
        assert kinds[Spawned, node.id] == kinds[Returned, node.id] == 1
        assert kinds[Acted, node.id] == len(node.turns)
        assert kinds[Acted, node.id] - kinds[Observed, node.id] == (bool(node.turns) and node.turns[-1].end is None)


def check_times(tree):
    """Time runs forward, children live inside the turn that launched them, no rollout outlasts the sum of its parts."""
    clock = {}
    for event in tree.events:
        assert event.time >= clock.get(event.node, 0.0)
        clock[event.node] = event.time
    for node in tree.nodes:
        assert node.spawned_at <= node.returned_at
        assert sum(turn.latency for turn in node.turns) <= node.returned_at - node.spawned_at + 1e-9
        for turn in node.turns:
            for child in (tree.nodes[place] for place in turn.children):
                assert turn.start + turn.latency <= child.spawned_at
                # A turn that its parent's end cut short has no end of its own: the node's is its end.
                assert child.returned_at <= (node.returned_at if turn.end is None else turn.end)
    serial = sum(turn.latency for node in tree.nodes for turn in node.turns)
    assert tree.makespan <= serial + 1e-9


def check_ledger(env, before):
    """What all nodes made and used is the change of what all hold; once all are over, nobody holds anything apart."""
    shop = env.world.shop
    change = Counter()
    for node in env.tree.nodes:
        change.update(shop.made(node.id))
        change.subtract(shop.used(node.id))
    held = Counter(shop.state()["stock"])
    for _, _, is_open, private, _, _ in shop.state()["nodes"]:
        if is_open and private:
            held.update(private)
    assert all(units >= 0 for units in held.values())
    assert {k: v for k, v in change.items() if v} == {
        k: held[k] - before.get(k, 0) for k in {*held, *before} if held[k] != before.get(k, 0)
    }


def recount(tree):
    """Sum up what each subtree made, net, from the chats alone: a second ledger."""
    net = [Counter() for _ in tree.nodes]
    for node in reversed(tree.nodes):
        for turn in node.turns:
            try:
                calls, seen = json.loads(turn.action), json.loads(turn.observation or "[]")
                crafts = [call["arguments"] for call in calls if call["name"] == "craft"]
            except (ValueError, LookupError, TypeError):
                continue
            # A turn that finishes shows its crafts, but not the launches that it gave up.
            for craft, entry in zip(crafts, (entry for entry in seen if entry.get("name") == "craft"), strict=False):
                if "result" in entry:
                    item, total = craft["target"]
                    net[node.id].subtract(craft["ingredients"])
                    net[node.id][item] += total
        if node.parent is not None:
            net[node.parent].update(net[node.id])
    return net


def check_all(random, env, write, turns):
    before = dict(env.world.shop.state()["stock"])
    reported = play(random, env, write, turns)
    check_ledger(env, before)
    assert all(not is_open for _, _, is_open, *_ in env.world.shop.state()["nodes"])
    check_log(random, env.tree, reported)
    check_times(env.tree)


SMALL = {"max_turns": 6, "max_depth": 3, "max_nodes": 20, "max_children": 4, "context_tokens": 3_000}


@settings(max_examples=100)
@given(randoms, st.integers(0, 10**6), st.sampled_from([None, 30]))
def test_ledger_log_and_clock_agree_under_any_interleaving_of_tool_calls(random, task, budget):
    limits = SMALL | {"tree_turns": budget}
    env = gym.make("TextCraftSynth-v0", difficulty="easy", action_format="calls", limits=limits).unwrapped
    env.reset(seed=0, options={"task": task})
    check_all(random, env, behave, 80)
    for node, net in zip(env.tree.nodes, recount(env.tree), strict=True):
        if node.status == "finished":
            assert node.success == made_targets(net, node.payload["targets"])[0]
        else:
            assert (node.success, node.verdict.source) == (0.0, "engine")
    if budget:
        assert sum(len(node.turns) for node in env.tree.nodes) <= budget


@settings(max_examples=20)
@given(randoms, st.integers(0, 10**6))
def test_ledger_log_and_clock_agree_when_code_forgets_races_and_abandons(random, task):
    env = gym.make("TextCraftSynth-v0", difficulty="easy", limits=SMALL).unwrapped
    env.reset(seed=0, options={"task": task})
    check_all(random, env, snippet, 30)


# The clock does not depend on the driver -----------------------------------------------------------------------------


def scripted(node):
    """Work, then run chains of subagents side by side, then finish: all of it hashed from the goal alone."""
    random = seeding.rng("script", node.goal)
    latencies = [random.choice([0.5, 1.0, 3.0, 7.0]) for _ in range(4)]
    chains = [random.randint(1, 2) for _ in range(random.randint(0, 2))] if node.depth < 2 else []
    messages = ["1"] * random.randint(0, 2)
    if chains:
        messages.append(
            "import asyncio\nasync def chain(i, n):\n"
            "    for j in range(n):\n"
            f"        await launch_subagent({node.goal!r} + f'/{{i}}.{{j}}')\n"
            f"await asyncio.gather(*[chain(i, n) for i, n in enumerate({chains})])\n"
            f"await launch_subagent({node.goal!r} + '/last')"
        )
    messages.append("finish(1)")
    return Action(messages[len(node.turns)], latencies[len(node.turns)])


def lives(random):
    env = toy_env("code")
    env.reset(seed=0, options={"task": random.task})
    while env.ready:
        asked = random.sample(env.ready, random.randint(1, len(env.ready)))
        env.advance({place: scripted(env.tree.nodes[place]) for place in asked})
    check_times(env.tree)
    return {node.goal: (node.spawned_at, node.returned_at, len(node.turns)) for node in env.tree.nodes}


@settings(max_examples=15)
@given(randoms, st.integers(0, 10**6))
def test_virtual_time_does_not_depend_on_the_order_in_which_the_driver_asks(random, task):
    random.task = task
    first, second = lives(random), lives(random)
    assert first == second
