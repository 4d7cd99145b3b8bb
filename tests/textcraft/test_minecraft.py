import json
import random
import sys
import types

import pytest

from rao_textcraft.builtin_recipes import TAGS
from rao_textcraft.generator import SPLITS
from rao_textcraft.minecraft import (
    MINECRAFT_DIFFICULTIES,
    builtin,
    from_folder,
    from_minecraft_data,
    sample_minecraft,
)
from rao_textcraft.plan import gold_plan, plan_size
from rao_textcraft.rules import CraftError, Workshop
from rao_textcraft.tasks import assign_splits
from rao_textcraft.verify import made_targets

GOLDEN_HARD = (
    {"jack o lantern": 2},
    {"carved pumpkin": 2, "coal": 1, "map": 1, "oak log": 1, "soul torch": 3},
)
# Base items of the built-in table outside its tags, each one found, grown, mined or smelted in the game.
BASES = (
    *("apple", "blaze rod", "carrot", "carved pumpkin", "cocoa beans", "diamond", "egg", "ender pearl"),
    *("feather", "flint", "ghast tear", "glass", "glow ink sac", "glowstone dust", "gold ingot", "gunpowder"),
    *("ink sac", "iron ingot", "leather", "milk bucket", "nether star", "obsidian", "pumpkin", "quartz"),
    *("redstone", "slime ball", "smooth stone", "stone", "string", "sugar cane", "wheat"),
)


def write(folder, files):
    for name, data in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(data if isinstance(data, str) else json.dumps(data))


def slots(book, item, way=0):
    return {slot.name: (slot.count, slot.options) for slot in book.recipes(item)[way].ingredients}


OLD = {
    "stick.json": {
        "type": "minecraft:crafting_shaped",
        "pattern": ["#", "#"],
        "key": {"#": {"tag": "minecraft:planks"}},
        "result": {"item": "minecraft:stick", "count": 4},
    },
    "torch.json": {
        "type": "minecraft:crafting_shaped",
        "pattern": ["X", "#"],
        "key": {
            "#": {"item": "minecraft:stick"},
            "X": [{"item": "minecraft:coal"}, {"item": "minecraft:charcoal"}],
        },
        "result": {"item": "minecraft:torch", "count": 4},
    },
    "oak_planks.json": {
        "type": "crafting_shapeless",
        "ingredients": [{"tag": "minecraft:oak_logs"}],
        "result": {"item": "minecraft:oak_planks", "count": 4},
    },
    "iron_ingot_from_smelting.json": {
        "type": "minecraft:smelting",
        "ingredient": {"item": "minecraft:iron_ore"},
        "result": "minecraft:iron_ingot",
    },
}
NEW = {
    "stick.json": {
        "type": "minecraft:crafting_shaped",
        "pattern": ["#", "#"],
        "key": {"#": "#minecraft:planks"},
        "result": {"id": "minecraft:stick", "count": 4},
    },
    "torch.json": {
        "type": "minecraft:crafting_shaped",
        "pattern": ["X", "#"],
        "key": {"#": "minecraft:stick", "X": ["minecraft:coal", "minecraft:charcoal"]},
        "result": {"id": "minecraft:torch", "count": 4},
    },
    "oak_planks.json": {
        "type": "minecraft:crafting_shapeless",
        "ingredients": ["#minecraft:oak_logs"],
        "result": {"id": "minecraft:oak_planks", "count": 4},
    },
    "iron_ingot_from_smelting.json": {
        "type": "minecraft:smelting",
        "ingredient": "minecraft:iron_ore",
        "result": {"id": "minecraft:iron_ingot"},
    },
}


class TestFolder:
    @pytest.mark.parametrize("files", [OLD, NEW], ids=["old", "new"])
    def test_both_formats_with_the_built_in_tags(self, tmp_path, files):
        write(tmp_path, files)
        book = from_folder(tmp_path)
        assert slots(book, "stick") == {"any planks": (2, TAGS["planks"])}
        assert slots(book, "torch") == {
            "coal or charcoal": (1, ("coal", "charcoal")),
            "stick": (1, ("stick",)),
        }
        assert slots(book, "oak planks") == {"any oak logs": (1, TAGS["oak logs"])}
        # Spruce planks have no recipe here, so they are base and a stick is one craft away.
        assert {item: book.depth(item) for item in ("oak planks", "stick", "torch")} == {
            "oak planks": 1,
            "stick": 1,
            "torch": 2,
        }
        assert "iron ingot" not in book

    @pytest.mark.parametrize("where", ["tags/items", "tags/item", "../tags/item", "../tags/items"])
    def test_tags_beside_or_inside(self, tmp_path, where):
        recipes = tmp_path / "recipe"
        write(recipes, NEW)
        write(
            recipes / where,
            {
                "planks.json": {"values": ["minecraft:oak_planks", "#minecraft:odd/planks"]},
                "odd/planks.json": {"values": [{"id": "mod:odd_planks", "required": False}, "minecraft:oak_planks"]},
                "oak_logs.json": {"values": ["minecraft:oak_log", {"id": "#mod:none", "required": False}]},
            },
        )
        book = from_folder(recipes)
        assert slots(book, "stick") == {"any planks": (2, ("oak planks", "odd planks"))}
        assert slots(book, "oak planks") == {"oak log": (1, ("oak log",))}

    def test_a_space_in_a_pattern_is_an_empty_cell(self, tmp_path):
        bow = {
            "type": "crafting_shaped",
            "pattern": [" #X", "# X", " #X"],
            "key": {"#": "stick", "X": "string"},
        }
        write(tmp_path, {"bow.json": {**bow, "result": "bow"}})
        assert slots(from_folder(tmp_path), "bow") == {"stick": (3, ("stick",)), "string": (3, ("string",))}

    def test_result_as_text_and_nested_folders(self, tmp_path):
        write(
            tmp_path,
            {"recipes/deep/a.json": {"type": "crafting_shapeless", "ingredients": ["b", "b"], "result": "a"}},
        )
        assert slots(from_folder(str(tmp_path)), "a") == {"b": (2, ("b",))}

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("{", "not readable as JSON"),
            ("[]", "must contain a JSON object, got list"),
            ({"ingredients": ["a"]}, "an item id must be a string such as 'minecraft:stick', got None"),
            ({"ingredients": [], "result": "x"}, r"ingredients must be a non-empty list, got \[\]"),
            ({"result": "x"}, "ingredients must be a non-empty list, got None"),
            ({"ingredients": [3], "result": "x"}, "an item id must be a string .*, got 3"),
            ({"ingredients": [{"it": "a"}], "result": "x"}, "an item id must be a string .*, got None"),
            ({"ingredients": [[]], "result": "x"}, "ingredient '' has no items"),
            ({"ingredients": ["#nope"], "result": "x"}, "tag 'nope' is not defined"),
            ({"ingredients": ["a"], "result": {"id": "x", "count": 0}}, "result count .*, got 0"),
            ({"pattern": "##", "key": {"#": "a"}, "result": "x"}, "pattern must be a list of strings"),
            ({"pattern": ["#"], "key": {}, "result": "x"}, "key must define every symbol"),
            ({"pattern": ["#"], "result": "x"}, "key must define every symbol"),
        ],
    )
    def test_a_malformed_file_is_named(self, tmp_path, content, fault):
        if isinstance(content, dict):
            content = {"type": "minecraft:crafting_shapeless", **content}
        write(tmp_path, {**NEW, "bad.json": content})
        with pytest.raises(ValueError, match=rf"bad\.json: .*{fault}"):
            from_folder(tmp_path)

    @pytest.mark.parametrize(
        ("tag", "fault"),
        [
            ({"value": []}, "has no list 'values'"),
            ({"values": ["#planks"]}, "tag 'planks' contains itself"),
            ({"values": ["#gone"]}, "tag 'gone' is not defined"),
            ({"values": [1]}, "an item id must be a string"),
        ],
    )
    def test_a_malformed_tag_is_named(self, tmp_path, tag, fault):
        write(tmp_path, {**NEW, "tags/items/planks.json": tag})
        with pytest.raises(ValueError, match=rf"planks\.json: .*{fault}"):
            from_folder(tmp_path)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no crafting recipe"):
            from_folder(tmp_path)
        with pytest.raises(ValueError, match=r".* is not a folder"):
            from_folder(tmp_path / "none")


class TestMinecraftData:
    NAMES = (
        "oak_planks",
        "birch_planks",
        "stick",
        "coal",
        "charcoal",
        "soul_sand",
        "soul_soil",
        "soul_torch",
        "bamboo",
    )

    def fake(self, recipes):
        ids = {name: number for number, name in enumerate(self.NAMES, start=1)}

        def load(version):
            if version != "1.19.2":
                raise KeyError(version)
            found = {}
            for name, count, cells in recipes:
                way = {"ingredients": [ids[c] for c in cells], "result": {"id": ids[name], "count": count}}
                found.setdefault(str(ids[name]), []).append(way)
            items = [{"id": number, "name": name} for name, number in ids.items()]
            return types.SimpleNamespace(items_list=items, recipes=found)

        return load

    def test_alternatives_are_folded_back(self, monkeypatch):
        torch = [(c, "stick", s) for c in ("coal", "charcoal") for s in ("soul_sand", "soul_soil")]
        recipes = [
            ("stick", 4, ("oak_planks", "oak_planks")),
            ("stick", 4, ("birch_planks", "birch_planks")),
            ("stick", 1, ("bamboo", "bamboo")),  # another yield: stays a recipe of its own
            *(("soul_torch", 4, cells) for cells in torch),
        ]
        monkeypatch.setitem(sys.modules, "minecraft_data", self.fake(recipes))
        book = from_minecraft_data()
        assert len(book.recipes("stick")) == 2
        planks = ("oak planks", "birch planks")
        assert slots(book, "stick") == {"oak planks or birch planks": (2, planks)}
        assert len(book.recipes("soul torch")) == 1
        assert slots(book, "soul torch") == {
            "any coals": (1, ("coal", "charcoal")),
            "stick": (1, ("stick",)),
            "any soul fire base blocks": (1, ("soul sand", "soul soil")),
        }

    def test_shapes(self, monkeypatch):
        shaped = {"inShape": [[1, None], [None, 1]], "result": {"id": 2, "count": 4}}
        items = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
        data = types.SimpleNamespace(items_list=items, recipes={"2": [shaped]})
        monkeypatch.setitem(sys.modules, "minecraft_data", lambda version: data)
        assert slots(from_minecraft_data(), "b") == {"a": (2, ("a",))}

    def test_versions(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "minecraft_data", self.fake([]))
        with pytest.raises(ValueError, match="version: '9' is not in the installed minecraft-data"):
            from_minecraft_data("9")
        old = types.SimpleNamespace(
            items_list=[{"id": 1, "name": "a"}],
            recipes={"1": [{"ingredients": [{"id": 1, "metadata": 2}], "result": {"id": 1, "count": 1}}]},
        )
        monkeypatch.setitem(sys.modules, "minecraft_data", lambda version: old)
        with pytest.raises(ValueError, match=r"version: '1\.12' has recipes by metadata"):
            from_minecraft_data("1.12")

    def test_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "minecraft_data", None)
        with pytest.raises(ImportError, match=r'pip install "rao-envs\[minecraft\]"'):
            from_minecraft_data()

    def test_the_real_package(self):
        pytest.importorskip("minecraft_data")
        book = from_minecraft_data()
        assert book.max_depth == 4
        assert [g.name for g in book.recipes("chest")[0].ingredients] == ["any planks"]
        bases = {item for item in book if book.recipes(item) and book.is_base(item)}
        assert {"iron ingot", "gold ingot", "diamond", "redstone", "coal", "wheat"} <= bases
        replay(book)


def replay(book):
    for difficulty in MINECRAFT_DIFFICULTIES:
        for split in SPLITS:
            for index in range(25):
                task = sample_minecraft(book, 0, split, index, difficulty=difficulty)
                ((item, _),) = task.targets.items()
                low, high = MINECRAFT_DIFFICULTIES[difficulty].depths
                assert low <= book.depth(item) == task.depth <= high
                shop = Workshop(book, task.inventory)
                shop.open(0, None)
                for craft in gold_plan(book, task.targets):
                    shop.craft(0, *craft)
                assert made_targets(shop.net(0), task.targets)[0] == 1.0
                need = {i for i in task.inventory if shop.used(0).get(i)}
                assert 1 <= len(task.inventory.keys() - need) <= 3


class TestBuiltin:
    def test_real_depths(self):
        # oak log -> planks 1 -> stick 2 -> torch 3 -> lantern 4 (its nuggets: ingot 0 -> nugget 1)
        book = builtin()
        chain = {
            "oak log": 0,
            "oak planks": 1,
            "stick": 2,
            "torch": 3,
            "lantern": 4,
            "iron nugget": 1,
            "iron block": 1,
        }
        assert {item: book.depth(item) for item in chain} == chain
        assert book.max_depth == 4
        assert {item for item in book if book.recipes(item) and book.is_base(item)} == {
            "iron ingot",
            "gold ingot",
        }

    def test_names_are_plain_and_no_base_item_is_a_slip_of_the_pen(self):
        book = builtin()
        assert all(item == item.lower() and "_" not in item and "  " not in item for item in book)
        tagged = {member for members in TAGS.values() for member in members}
        bases = {item for item in book if book.is_base(item)} - tagged
        assert bases == set(BASES)

    def test_any_planks(self):
        shop = Workshop(builtin(), {"oak planks": 1, "birch planks": 1, "iron ingot": 1})
        shop.open(0, None)
        with pytest.raises(CraftError, match=r"stick needs exactly \{'any planks': 2 \(such as oak planks\)\}"):
            shop.craft(0, {"oak planks": 1, "iron ingot": 1}, "stick", 4)
        shop.craft(0, {"oak planks": 1, "birch planks": 1}, "stick", 4)
        assert shop.held(0) == {"iron ingot": 1, "stick": 4}

    def test_gold_plans_replay(self):
        replay(builtin())

    def test_lantern_by_hand(self):
        # 1 lantern = 8 nuggets (1 ingot gives 9) + 1 torch (4 a craft: 1 coal, 1 stick);
        # 1 stick (4 a craft: 2 planks); 2 planks (4 a craft: 1 oak log).
        assert list(gold_plan(builtin(), {"lantern": 1})) == [
            ({"iron ingot": 1}, "iron nugget", 9),
            ({"oak log": 1}, "oak planks", 4),
            ({"oak planks": 2}, "stick", 4),
            ({"coal": 1, "stick": 1}, "torch", 4),
            ({"iron nugget": 8, "torch": 1}, "lantern", 1),
        ]
        assert plan_size(builtin(), {"lantern": 1}) == 5


class TestTasks:
    def test_splits_share_no_item(self):
        splits = assign_splits(builtin(), "minecraft")
        dealt = [item for items in splits.values() for item in items]
        assert len(dealt) == len(set(dealt))
        assert set(splits) == {(depth, split) for depth in range(1, 5) for split in SPLITS}
        targets = {
            split: {t for i in range(80) for t in sample_minecraft(builtin(), 0, split, i, difficulty="easy").targets}
            for split in SPLITS
        }
        assert not targets["train"] & targets["val"]
        assert not targets["train"] & targets["test"]
        assert not targets["val"] & targets["test"]

    def test_a_depth_with_few_items(self, tmp_path):
        # One item at depth 1 (a), two at depth 2 (b, c): a serves train, b and c train and test.
        shapeless = {"type": "crafting_shapeless"}
        write(
            tmp_path,
            {
                "a.json": {**shapeless, "ingredients": ["o"], "result": "a"},
                "b.json": {**shapeless, "ingredients": ["a"], "result": "b"},
                "c.json": {**shapeless, "ingredients": ["a", "a"], "result": "c"},
            },
        )
        book = from_folder(tmp_path)
        assert set(assign_splits(book)) == {(1, "train"), (2, "train"), (2, "test")}
        with pytest.raises(ValueError, match="split='val': has no target of easy"):
            sample_minecraft(book, 0, "val", 0, difficulty="easy")
        with pytest.raises(ValueError, match="split='train': has no target of medium"):
            sample_minecraft(book, 0, "train", 0)

    def test_exact_depth_and_ids(self):
        for depth in (1, 2, 3, 4):
            task = sample_minecraft(builtin(), 0, "test", 3, depth=depth)
            assert builtin().depth(next(iter(task.targets))) == task.depth == depth
            assert task.id == f"textcraft/0/test/depth-{depth}/3"
        assert sample_minecraft(builtin(), 0, "val", 1, family="modded").id == "modded/0/val/medium/1"
        with pytest.raises(ValueError, match="depth=5: must be a whole number, at least 1 and at most 4"):
            sample_minecraft(builtin(), 0, "test", 3, depth=5)

    def test_global_random_state_is_left_alone(self):
        before = random.getstate()
        sample_minecraft(builtin(), 0, "train", 0)
        assert random.getstate() == before

    def test_golden(self):
        task = sample_minecraft(builtin(), 0, "train", 0, difficulty="hard")
        assert (task.targets, task.inventory) == GOLDEN_HARD
