"""TextCraft through the engine: its tools, allotments, races between siblings, and credit by the ledger."""

import json

import gymnasium as gym
import pytest

from rao_envs import RecursiveEnv, Task
from rao_textcraft.rules import Cookbook, Ingredient, Recipe
from rao_textcraft.world import TextCraftWorld, describe


def recipe(item, yields, **needs):
    return Recipe(item, yields, tuple(Ingredient(name, count, (name,)) for name, count in needs.items()))


# Two sticks from a log, a tool from a stick and a stone, a house from two tools; a torch from a stick or a log.
BOOK = Cookbook(
    [
        recipe("stick", 2, log=1),
        recipe("tool", 1, stick=1, stone=1),
        recipe("house", 1, tool=2),
        Recipe("torch", 1, (Ingredient("any wood", 1, ("stick", "log")),)),
    ]
)
STOCK = {"log": 3, "stone": 4, "stick": 1}


def begin(targets=None, stock=STOCK, action_format="calls", **limits):
    task = Task("t", "Build.", {"targets": targets or {"house": 1}, "inventory": stock})
    env = RecursiveEnv(lambda i: task, lambda t: TextCraftWorld(t, BOOK), action_format=action_format, limits=limits)
    env.reset(seed=0)
    return env


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def craft(item, total, **ingredients):
    return call("craft", ingredients=ingredients, target=[item, total])


def launch(targets, num_steps=9, **more):
    return call("launch_subagent", targets=targets, num_steps=num_steps, **more)


FINISH = call("finish", message="done")


def act(env, node, *calls):
    """Let a node act; return the entries of its observation, or None while it waits."""
    env.advance({node: json.dumps(calls)})
    seen = env.tree.nodes[node].turns[-1].observation
    return json.loads(seen) if seen else None


def error(env, *calls):
    (entry,) = act(env, 0, *calls)
    return entry["error"]


# Tools ----------------------------------------------------------------------------------------------------------------


def test_craft_makes_exactly_what_the_recipe_says():
    env = begin()
    assert act(env, 0, craft("stick", 4, log=2)) == [{"name": "craft", "result": "made 4 stick"}]
    assert env.world.shop.held(0) == {"log": 1, "stick": 5, "stone": 4}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (craft("stick", 3, log=2), "multiple of 2"),
        (craft("stick", 2, log=2), "exactly"),
        (craft("stick", 8, log=4), "missing 1 more log: you hold 3"),
        (craft("stick", 0, log=1), "positive whole number"),
        (craft("log", 1, stick=1), "log is a base material"),
        (craft("castle", 1, stick=1), "castle"),
        (craft("stick", 2), "exactly"),
        (craft("stick", 2, log=-1), "positive whole numbers"),
        (call("craft", ingredients="log", target=["stick", 2]), "ingredients"),
        (call("craft", ingredients={"log": 1}, target=["stick"]), "target"),
        (call("craft", ingredients={"log": 1}, target=["stick", 2], node=1), "node"),
    ],
)
def test_a_wrong_craft_is_explained_and_changes_nothing(wrong, why):
    env = begin()
    assert why in error(env, wrong)
    assert env.world.shop.held(0) == dict(sorted(STOCK.items()))
    assert env.tree.root.turns[0].fault == "agent"


def test_get_info_tells_depth_what_is_held_and_every_recipe():
    env = begin()
    (entry,) = act(env, 0, call("get_info", items=["stick", "torch", "log"]))
    assert entry["result"] == [
        {"item": "stick", "depth": 1, "held": 1, "recipes": [{"makes": 2, "needs": {"log": 1}}]},
        {
            "item": "torch",
            "depth": 1,
            "held": 0,
            "recipes": [{"makes": 1, "needs": {"any wood": 1}, "any_of": {"any wood": ["stick", "log"]}}],
        },
        {"item": "log", "depth": 0, "held": 3, "recipes": []},
    ]
    (one,) = act(env, 0, call("get_info", items="log"))
    assert one["result"] == entry["result"][2:]
    assert "stik" in error(env, call("get_info", items=["stik"]))


def test_view_inventory_lists_what_is_held():
    env = begin()
    assert act(env, 0, call("view_inventory")) == [{"name": "view_inventory", "result": dict(sorted(STOCK.items()))}]


def test_code_calls_the_same_tools():
    env = begin({"tool": 1}, action_format="code")
    env.step(
        "print(view_inventory()['log'])\ncraft({'log': 1}, ('stick', 2))\ncraft({'stick': 1, 'stone': 1}, ('tool', 1))"
    )
    assert env.tree.root.turns[0].observation == "3\n'made 1 tool'"
    assert env.step("finish('ok')")[1:3] == (1.0, True)


# Success --------------------------------------------------------------------------------------------------------------


def test_what_was_held_before_does_not_count():
    env = begin({"stick": 1})
    act(env, 0, FINISH)
    assert (env.tree.root.success, env.tree.root.verdict.why) == (0.0, "made 0 of 1 stick")
    env = begin({"stick": 1})
    act(env, 0, craft("stick", 2, log=1), FINISH)
    assert env.tree.root.success == 1.0


def test_what_was_made_and_used_up_again_does_not_count():
    env = begin({"stick": 2})
    act(env, 0, craft("stick", 2, log=1), craft("tool", 1, stick=1, stone=1), FINISH)
    assert env.tree.root.success == 0.0


def test_a_child_s_work_counts_for_its_parent():
    env = begin({"stick": 2})
    act(env, 0, launch({"stick": 2}))
    act(env, 1, craft("stick", 2, log=1), FINISH)
    act(env, 0, FINISH)
    assert [node.success for node in env.tree.nodes] == [1.0, 1.0]


def test_success_needs_finish():
    env = begin({"stick": 2}, max_turns=1)
    act(env, 0, craft("stick", 2, log=1))
    assert (env.tree.root.success, env.tree.root.status) == (0.0, "turns")


# Siblings -------------------------------------------------------------------------------------------------------------


def test_two_siblings_that_make_the_same_item_are_each_judged_on_their_own_work():
    env = begin()
    act(env, 0, launch({"tool": 1}), launch({"tool": 1}))
    act(env, 1, craft("stick", 2, log=1), craft("tool", 2, stick=2, stone=2), FINISH)
    act(env, 2, FINISH)  # two tools lie there: its sibling's
    assert [node.success for node in env.tree.nodes[1:]] == [1.0, 0.0]
    assert env.world.shop.held(0)["tool"] == 2


def test_a_sibling_that_eats_what_another_made_does_not_charge_it():
    env = begin()
    act(env, 0, launch({"stick": 2}), launch({"tool": 1}))
    act(env, 1, craft("stick", 2, log=1))
    act(env, 2, craft("tool", 1, stick=1, stone=1), craft("tool", 2, stick=2, stone=2), FINISH)
    assert env.world.shop.held(0).get("stick", 0) == 0
    act(env, 1, FINISH)
    assert [node.success for node in env.tree.nodes[1:]] == [1.0, 1.0]


def test_a_race_for_the_same_material_is_told_to_the_one_that_comes_late():
    env = begin(stock={"log": 1, "stone": 1})
    act(env, 0, launch({"stick": 2}), launch({"torch": 1}))
    env.advance({2: json.dumps([craft("torch", 1, log=1), FINISH]), 1: json.dumps([craft("stick", 2, log=1)])})
    # The order of `ready` decides, not the mapping's: 1 takes the log.
    assert env.tree.nodes[1].turns[0].fault is None
    assert "missing 1 more log" in env.tree.nodes[2].turns[0].observation


# Allotments -----------------------------------------------------------------------------------------------------------


def test_an_allotment_is_out_of_everybody_else_s_reach_and_comes_back_with_what_was_made():
    env = begin()
    act(env, 0, launch({"stick": 2}, allotment={"log": 2}), launch({"torch": 1}))
    shop = env.world.shop
    assert (shop.held(1), shop.held(2)) == ({"log": 2}, {"log": 1, "stick": 1, "stone": 4})
    act(env, 2, craft("torch", 1, log=1), FINISH)
    assert "missing" in act(env, 1, craft("tool", 1, stick=1, stone=1))[0]["error"]
    act(env, 1, craft("stick", 2, log=1), FINISH)
    assert shop.held(0) == {"log": 1, "stick": 3, "stone": 4, "torch": 1}
    assert [node.success for node in env.tree.nodes[1:]] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("allotment", "why"),
    [
        ({"log": 4}, "allotment: missing 1 more log"),
        ({"log": 0}, "positive"),
        ({"log": -1}, "positive"),
        ({"castle": 1}, "castle"),
    ],
)
def test_an_allotment_that_cannot_be_given_is_refused(allotment, why):
    env = begin()
    assert why in error(env, launch({"stick": 2}, allotment=allotment))
    assert len(env.tree) == 1
    assert env.world.shop.held(0) == dict(sorted(STOCK.items()))


def test_two_allotments_cannot_give_away_the_same_log():
    env = begin()
    act(env, 0, launch({"stick": 2}, allotment={"log": 2}), launch({"stick": 2}, allotment={"log": 2}))
    assert len(env.tree) == 2


def test_an_empty_allotment_sets_nothing_apart():
    env = begin()
    act(env, 0, launch({"stick": 2}, allotment={}))
    assert env.world.shop.held(1) == env.world.shop.held(0)
    assert env.tree.nodes[1].payload["allotment"] is None


def test_the_allotment_of_a_cancelled_child_comes_back():
    env = begin(action_format="code", max_children=1)
    launch = "launch_subagent({'tool': 1}, 9, allotment={'log': 2, 'stone': 1})"
    env.step(f"import asyncio\nawait asyncio.gather({launch}, launch_subagent({{'stick': 2}}, 9))")
    assert [node.status for node in env.tree.nodes] == [None, "cancelled"]
    assert env.world.shop.state()["stock"] == STOCK


def test_the_allotment_of_a_child_whose_result_is_lost_comes_back():
    env = begin(action_format="code")
    env.step(
        "launch_subagent({'tool': 1}, 9, allotment={'log': 2, 'stone': 1})\nawait launch_subagent({'stick': 2}, 9)"
    )
    env.advance({2: "finish('')"})
    env.advance({1: "await launch_subagent({'stick': 2}, 9, allotment={'log': 1})"})
    while 1 in env.ready or 3 in env.ready:
        env.advance({env.ready[0]: "finish('')"})
    assert [node.status for node in env.tree.nodes] == [None, "finished", "finished", "finished"]
    assert env.world.shop.state()["stock"] == STOCK


# Launches that are refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (launch({}), "targets is empty"),
        (launch({"stick": 0}), "ask for 1 to 1,000,000 units"),
        (launch({"stick": -2}), "ask for 1 to 1,000,000 units"),
        (launch({"stick": 10**7}), "ask for 1 to 1,000,000 units"),
        (launch({"log": 1}), "log is a base material"),
        (launch({"stikc": 1}), "stikc"),
        (launch({"stick": 1, "castle": 1}), "castle"),
        (launch({"stick": 1}, 0), "num_steps=0: grant at least 1"),
        (launch({"stick": 1}, -5), "num_steps=-5: grant at least 1"),
        (launch({"stick": 1}, "many"), "num_steps"),
        (call("launch_subagent", targets={"stick": 1}), "num_steps"),
        (launch("stick"), "targets"),
    ],
)
def test_a_launch_that_asks_for_nothing_or_for_the_impossible_is_refused(wrong, why):
    env = begin()
    assert why in error(env, wrong)
    assert len(env.tree) == 1


def test_a_child_is_told_its_targets_its_turns_and_the_context_given():
    env = begin()
    act(env, 0, launch({"stick": 2, "tool": 1}, 3, context="Use the logs."))
    child = env.tree.nodes[1]
    assert child.goal == "Craft 2 stick, 1 tool." == describe({"stick": 2, "tool": 1})
    assert child.opening == "Craft 2 stick, 1 tool.\n\nUse the logs.\n\nYou have 3 messages for this."
    assert child.payload == {"targets": {"stick": 2, "tool": 1}, "allotment": None}


def test_agents_are_shown_the_tools_but_nothing_of_the_engine():
    system = begin().tree.root.system
    for name in ("craft(", "get_info(", "view_inventory(", "launch_subagent(", "finish("):
        assert name in system
    assert "node" not in system.replace("num_steps", "")
    assert "Raises" not in system


@pytest.mark.parametrize("env_id", ["TextCraftSynth-v0", "TextCraft-v0"])
def test_the_prompt_does_not_give_the_recipes_away(env_id):
    env = gym.make(env_id).unwrapped
    env.reset(seed=0)
    chat = " ".join(message["content"] for message in env.tree.root.messages)
    (target,) = env.tree.root.payload["targets"]
    slots = env.world.shop.cookbook.recipes(target)[0].ingredients
    assert target in chat
    assert not [slot.name for slot in slots if slot.name in chat]
