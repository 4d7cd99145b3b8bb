import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_textcraft.rules import Cookbook, CraftError, Ingredient, Recipe, Workshop


def plain(item, yields, **needs):
    return Recipe(item, yields, tuple(Ingredient(name, count, (name,)) for name, count in needs.items()))


# A world that fits in the head. Two base materials, ore and wood; red and blue are two kinds of dye.
#
#   bar   = 2 ore          -> 1     depth 1
#   nail  = 1 bar          -> 4     depth 2
#   crate = 2 nail, 3 wood -> 1     depth 3
#   flag  = 1 wood, 2 any dye -> 1  depth 1 (dyes are base)
TINY = Cookbook(
    [
        plain("bar", 1, ore=2),
        plain("nail", 4, bar=1),
        plain("crate", 1, nail=2, wood=3),
        Recipe("flag", 1, (Ingredient("wood", 1, ("wood",)), Ingredient("any dye", 2, ("red", "blue")))),
    ]
)
STOCK = {"ore": 4, "wood": 7, "red": 2, "blue": 2}


@pytest.fixture
def shop():
    shop = Workshop(TINY, STOCK)
    shop.open(0, None)
    return shop


def pools(shop):
    state = shop.state()
    total = Counter(state["stock"])
    for _, _, _, private, _, _ in state["nodes"]:
        total.update(private or {})
    return +total


class TestCookbook:
    def test_depths_of_the_tiny_world(self):
        expected = {"ore": 0, "wood": 0, "red": 0, "blue": 0, "bar": 1, "flag": 1, "nail": 2, "crate": 3}
        assert {item: TINY.depth(item) for item in TINY} == expected
        assert TINY.items == tuple(sorted(expected))
        assert TINY.max_depth == 3
        assert TINY.is_base("ore")
        assert not TINY.is_base("bar")
        assert "crate" in TINY
        assert "any dye" not in TINY

    def test_depth_takes_the_shallowest_recipe_and_option(self):
        # deep = bar2 is depth 2 by its first recipe; its second takes bar2 or ore, and ore is base: depth 1.
        book = Cookbook(
            [
                plain("bar2", 1, ore=1),
                plain("deep", 1, bar2=1),
                Recipe("deep", 1, (Ingredient("any", 1, ("bar2", "ore")),)),
            ]
        )
        assert book.depth("deep") == 1

    def test_circle_grounds_in_its_most_used_item(self):
        # ingot -> block -> ingot and ingot -> nugget -> ingot never ground out. Outside the circle, sword
        # and rail use the ingot and lamp the nugget: 2 against 1, so the ingot is base.
        book = Cookbook(
            [
                plain("block", 1, ingot=9),
                plain("ingot", 9, block=1),
                plain("ingot", 1, nugget=9),
                plain("nugget", 9, ingot=1),
                plain("sword", 1, ingot=2),
                plain("rail", 1, ingot=6),
                plain("lamp", 1, nugget=8),
            ]
        )
        expected = {"ingot": 0, "block": 1, "nugget": 1, "sword": 1, "rail": 1, "lamp": 2}
        assert {item: book.depth(item) for item in book} == expected
        assert len(book.recipes("ingot")) == 2

    def test_an_item_that_waits_for_a_circle_is_not_made_base(self):
        # chest is used three times and the circle's a and b never outside it, yet chest only waits for a.
        book = Cookbook(
            [
                plain("a", 1, b=1),
                plain("b", 1, a=1),
                plain("chest", 1, a=1),
                *(plain(f"user{n}", 1, chest=1) for n in range(3)),
            ]
        )
        assert (book.depth("a"), book.depth("b"), book.depth("chest"), book.depth("user0")) == (0, 1, 1, 2)

    def test_a_recipe_that_copies_its_own_result_does_not_count(self):
        book = Cookbook([plain("template", 2, template=1, gem=7)])
        assert book.is_base("template")

    def test_unknown_items(self):
        assert TINY.unknown("nails") == "unknown item 'nails'; did you mean nail?"
        assert TINY.unknown("zzzzzz") == "unknown item 'zzzzzz'"
        with pytest.raises(KeyError):
            TINY.depth("zzz")
        with pytest.raises(KeyError):
            TINY.recipes("zzz")

    @pytest.mark.parametrize(
        "bad",
        [
            plain("a", 0, b=1),
            plain("a", 1, b=0),
            Recipe("a", 1, ()),
            Recipe("a", 1, (Ingredient("b", 1, ()),)),
        ],
    )
    def test_a_recipe_of_nothing_is_refused(self, bad):
        with pytest.raises(ValueError, match=r"recipes: .*at least 1"):
            Cookbook([bad])


class TestCraft:
    def test_by_hand(self, shop):
        # 4 ore -> 2 bars; 1 bar -> 4 nails; 2 nails + 3 wood -> 1 crate.
        shop.craft(0, {"ore": 4}, "bar", 2)
        shop.craft(0, {"bar": 1}, "nail", 4)
        shop.craft(0, {"wood": 3, "nail": 2}, "crate", 1)
        assert shop.held(0) == {"bar": 1, "blue": 2, "crate": 1, "nail": 2, "red": 2, "wood": 4}
        assert list(shop.held(0)) == sorted(shop.held(0))
        assert shop.made(0) == {"bar": 2, "nail": 4, "crate": 1}
        assert shop.used(0) == {"ore": 4, "bar": 1, "nail": 2, "wood": 3}
        assert shop.net(0) == {"ore": -4, "bar": 1, "nail": 2, "wood": -3, "crate": 1}

    @pytest.mark.parametrize("split", [{"red": 2}, {"blue": 2}, {"red": 1, "blue": 1}])
    def test_any_split_of_a_tag_is_right(self, shop, split):
        shop.craft(0, {"wood": 1, **split}, "flag", 1)
        assert shop.held(0)["flag"] == 1

    @pytest.mark.parametrize(
        ("ingredients", "item", "total", "message"),
        [
            ({"bar": 1}, "nail", 3, "nail is made 4 at a time: total must be a multiple of 4, got 3"),
            ({"bar": 1}, "nail", 5, "nail is made 4 at a time: total must be a multiple of 4, got 5"),
            ({"bar": 1}, "nail", 0, "total must be a positive whole number of nail, got 0"),
            ({"bar": 1}, "nail", -4, "total must be a positive whole number of nail, got -4"),
            ({"bar": 1}, "nail", "4", "total must be a positive whole number of nail, got '4'"),
            ({"bar": 1}, "nail", True, "total must be a positive whole number of nail, got True"),
            ({"bar": 1}, "nail", 4, "missing 1 more bar: you hold 0"),
            ({"ore": 6}, "bar", 3, "missing 2 more ore: you hold 4"),
            ({"ore": 3}, "bar", 2, "bar needs exactly {'ore': 4} for total 2, got {'ore': 3}"),
            ({}, "bar", 1, "bar needs exactly {'ore': 2} for total 1, got {}"),
            ({"ore": 2, "wood": 1}, "bar", 1, "bar needs exactly {'ore': 2} for total 1"),
            (
                {"wood": 1, "red": 1},
                "flag",
                1,
                "flag needs exactly {'wood': 1, 'any dye': 2 (such as red)} for total 1, got",
            ),
            ({"ore": 1}, "wood", 1, "wood is a base material and cannot be crafted"),
            ({"ore": 2}, "barr", 1, "unknown item 'barr'; did you mean bar?"),
            ({"orr": 2}, "bar", 1, "unknown item 'orr'; did you mean ore?"),
            ({"ore": 2}, ["bar"], 1, "unknown item ['bar']"),
            (["ore", "ore"], "bar", 1, "ingredients must be a dict of item to count, got list"),
            ({"ore": "2"}, "bar", 1, "ingredient counts must be positive whole numbers, got 'ore': '2'"),
            (
                {"ore": 2, "wood": 0},
                "bar",
                1,
                "ingredient counts must be positive whole numbers, got 'wood': 0",
            ),
        ],
    )
    def test_an_error_names_fault_and_mend_and_changes_nothing(self, shop, ingredients, item, total, message):
        before = shop.state()
        with pytest.raises(CraftError) as error:
            shop.craft(0, ingredients, item, total)
        assert message in str(error.value)
        assert shop.state() == before
        assert shop.net(0) == {}

    def test_several_recipes(self):
        # dye = 1 rose -> 1, or 1 tulip + 1 water -> 2. A total of 2 fits both; 1 fits the first alone.
        book = Cookbook([plain("dye", 1, rose=1), plain("dye", 2, tulip=1, water=1)])
        shop = Workshop(book, {"rose": 2, "tulip": 1, "water": 1})
        shop.open(0, None)
        shop.craft(0, {"rose": 2}, "dye", 2)
        shop.craft(0, {"tulip": 1, "water": 1}, "dye", 2)
        assert shop.held(0) == {"dye": 4}
        with pytest.raises(CraftError, match=r"needs exactly \{'rose': 2\} or \{'tulip': 1, 'water': 1\} for total 2"):
            shop.craft(0, {"tulip": 2}, "dye", 2)
        with pytest.raises(CraftError, match=r"needs exactly \{'rose': 1\} for total 1"):
            shop.craft(0, {"tulip": 1, "water": 1}, "dye", 1)

    def test_several_yields_none_of_which_divides(self):
        book = Cookbook([plain("x", 2, a=1), plain("x", 9, b=1)])
        with pytest.raises(CraftError, match="x is made 2 or 9 at a time: total must be a multiple of 2 or 9, got 5"):
            book.match({"a": 1}, "x", 5)

    @pytest.mark.parametrize(
        ("supply", "fits"),
        [
            # Slots: 2 of (a, b) and 2 of (b, c).
            ({"a": 2, "c": 2}, True),
            ({"a": 1, "b": 2, "c": 1}, True),
            ({"b": 4}, True),
            ({"a": 3, "c": 1}, False),  # (b, c) needs 2, but only 1 c fits it
            ({"a": 2, "b": 1}, False),  # 3 for 4
            ({"a": 2, "c": 2, "b": 1}, False),  # 5 for 4
            ({"a": 2, "c": 1, "d": 1}, False),  # d fits nothing
        ],
    )
    def test_overlapping_tags(self, supply, fits):
        book = Cookbook([Recipe("x", 1, (Ingredient("ab", 2, ("a", "b")), Ingredient("bc", 2, ("b", "c"))))])
        if fits:
            assert book.match(supply, "x", 1) == supply
        else:
            with pytest.raises(CraftError):
                book.match(supply, "x", 1)

    def test_slots_that_are_short_only_taken_together(self):
        # (a, b) and (a, b, c) need 2 each; each alone finds 3 a, but together they need 4. One d is too many.
        slots = (
            Ingredient("ab", 2, ("a", "b")),
            Ingredient("abc", 2, ("a", "b", "c")),
            Ingredient("d", 1, ("d",)),
        )
        book = Cookbook([Recipe("x", 1, slots)])
        assert book.match({"a": 4, "d": 1}, "x", 1) == {"a": 4, "d": 1}
        with pytest.raises(CraftError, match="x needs exactly"):
            book.match({"a": 3, "d": 2}, "x", 1)

    @given(
        slots=st.lists(
            st.tuples(st.sets(st.sampled_from("abcd"), min_size=1), st.integers(1, 3)), min_size=1, max_size=4
        ),
        supply=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 4)),
        crafts=st.integers(1, 2),
    )
    def test_tags_agree_with_exhaustive_search(self, slots, supply, crafts):
        def fill(places, left):
            if not places:
                return not +left
            return any(fill(places[1:], left - Counter({o: 1})) for o in places[0] if left[o])

        cells = [options for options, count in slots for _ in range(count * crafts)]
        possible = sum(supply.values()) == len(cells) and fill(cells, Counter(supply))
        named = (Ingredient(f"slot {n}", count, tuple(sorted(o))) for n, (o, count) in enumerate(slots))
        book = Cookbook([Recipe("x", 1, tuple(named)), plain("y", 1, a=1, b=1, c=1, d=1)])
        try:
            book.match(supply, "x", crafts)
        except CraftError:
            assert not possible
        else:
            assert possible


class TestNodes:
    def test_siblings_share_a_pool_but_not_a_ledger(self, shop):
        shop.open(1, 0)
        shop.open(2, 0)
        shop.craft(1, {"ore": 2}, "bar", 1)
        shop.craft(2, {"bar": 1}, "nail", 4)  # eats its sibling's bar
        assert shop.net(1) == {"ore": -2, "bar": 1}
        assert shop.net(2) == {"bar": -1, "nail": 4}
        assert shop.net(0) == {"ore": -2, "bar": 0, "nail": 4}
        assert shop.made(0) == {}

    def test_allotment_moves_in_and_back(self, shop):
        shop.open(1, 0, {"ore": 2})
        shop.open(2, 1)
        assert shop.held(0) == {"blue": 2, "ore": 2, "red": 2, "wood": 7}
        assert shop.held(1) == shop.held(2) == {"ore": 2}
        shop.craft(2, {"ore": 2}, "bar", 1)
        assert shop.held(1) == {"bar": 1}
        with pytest.raises(CraftError, match="missing 1 more wood: you hold 0"):
            shop.craft(1, {"wood": 1, "red": 2}, "flag", 1)
        shop.close(2)
        shop.close(1)
        assert shop.held(0) == {"bar": 1, "blue": 2, "ore": 2, "red": 2, "wood": 7}
        assert shop.net(1) == {"ore": -2, "bar": 1}

    def test_closing_a_node_closes_all_below_it(self, shop):
        shop.open(1, 0, {"ore": 2})
        shop.open(2, 1, {"ore": 1})
        shop.open(3, 2)
        shop.close(1)
        assert shop.held(0) == dict(sorted(STOCK.items()))
        for node in (1, 2, 3):
            with pytest.raises(ValueError, match=f"node: {node} is closed"):
                shop.craft(node, {"ore": 2}, "bar", 1)

    def test_empty_allotment_is_an_empty_pool(self, shop):
        shop.open(1, 0, {})
        assert shop.held(1) == {}

    @pytest.mark.parametrize(
        ("allotment", "message"),
        [
            ({"ore": 5}, "missing 1 more ore: you hold 4"),
            ({"ore": 0}, "counts must be positive whole numbers, got 'ore': 0"),
            ({"ore": "1"}, "counts must be positive whole numbers, got 'ore': '1'"),
            ({"orr": 1}, "unknown item 'orr'; did you mean ore?"),
        ],
    )
    def test_a_bad_allotment_changes_nothing(self, shop, allotment, message):
        before = shop.state()
        for ask in (lambda: shop.open(1, 0, allotment), lambda: shop.require(0, allotment)):
            with pytest.raises(CraftError) as error:
                ask()
            assert message in str(error.value)
        assert shop.state() == before
        shop.open(1, 0)

    def test_misuse_by_the_caller(self, shop):
        with pytest.raises(ValueError, match="node: 0 is already registered"):
            shop.open(0, None)
        with pytest.raises(ValueError, match="node: 7 was never opened"):
            shop.open(1, 7)
        with pytest.raises(ValueError, match="node: 7 was never opened"):
            shop.craft(7, {"ore": 2}, "bar", 1)
        shop.close(0)
        with pytest.raises(ValueError, match="node: 0 is closed"):
            shop.open(1, 0)
        with pytest.raises(ValueError, match="node: 0 is closed"):
            shop.close(0)

    @pytest.mark.parametrize("bad", [{"orr": 1}, {"ore": -1}, {"ore": 1.5}])
    def test_a_bad_inventory(self, bad):
        with pytest.raises(ValueError, match="inventory: "):
            Workshop(TINY, bad)

    def test_a_count_of_0_is_not_held(self):
        shop = Workshop(TINY, {"ore": 0, "wood": 1})
        shop.open(0, None)
        assert shop.held(0) == {"wood": 1}

    def test_require_takes_nothing(self, shop):
        shop.require(0, {"ore": 4, "red": 1})
        assert shop.held(0) == dict(sorted(STOCK.items()))

    def test_views_are_live_and_read_only_and_held_is_a_copy(self, shop):
        pool, net = shop.pool(0), shop.net(0)
        shop.craft(0, {"ore": 2}, "bar", 1)
        assert (pool["ore"], pool["bar"], net["bar"]) == (2, 1, 1)
        with pytest.raises(TypeError):
            pool["ore"] = 1
        with pytest.raises(TypeError):
            shop.net(0)["ore"] = 1
        shop.held(0)["ore"] = 99
        assert shop.held(0)["ore"] == 2


NAMES = st.sampled_from([*TINY.items, "nonsense"])
COUNTS = st.dictionaries(NAMES, st.integers(-1, 4), max_size=3)
GOOD_CRAFTS = st.sampled_from(
    [
        ({"ore": 2}, "bar", 1),
        ({"bar": 1}, "nail", 4),
        ({"nail": 2, "wood": 3}, "crate", 1),
        ({"wood": 1, "red": 1, "blue": 1}, "flag", 1),
    ]
)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 30), st.none() | COUNTS),
        st.tuples(st.just("close"), st.integers(1, 30), st.none()),
        st.tuples(st.just("craft"), st.integers(0, 30), GOOD_CRAFTS),
        st.tuples(st.just("craft"), st.integers(0, 30), st.tuples(COUNTS, NAMES, st.integers(-1, 8))),
    ),
    max_size=40,
)


def play(shop, moves):
    """Apply the moves, node numbers wrapped to those opened; return the parent of each node."""
    parents = {0: None}
    for kind, which, what in moves:
        node = which % len(parents)
        try:
            if kind == "open":
                shop.open(len(parents), node, what)
                parents[len(parents)] = node
            elif kind == "close":
                shop.close(node)
            else:
                shop.craft(node, *what)
        except (CraftError, ValueError):
            continue
    return parents


class TestLedger:
    @given(MOVES)
    def test_balances_over_any_interleaving(self, moves):
        shop = Workshop(TINY, {"ore": 12, "wood": 12, "red": 4, "blue": 4})
        shop.open(0, None)
        start = pools(shop)
        parents = play(shop, moves)

        own = {n: Counter(shop.made(n)) for n in parents}
        for n in parents:
            own[n].subtract(shop.used(n))
        change = pools(shop)
        change.subtract(start)
        total = Counter()
        for entry in own.values():
            total.update(entry)
        assert nonzero(total) == nonzero(change)

        subtree = {n: Counter(own[n]) for n in parents}
        for n in sorted(parents, reverse=True):  # a child's id is greater than its parent's
            if parents[n] is not None:
                subtree[parents[n]].update(subtree[n])
        assert {n: nonzero(shop.net(n)) for n in parents} == {n: nonzero(subtree[n]) for n in parents}
        assert min(pools(shop).values(), default=1) > 0

    @given(MOVES, MOVES)
    def test_restored_workshop_goes_on_as_the_original(self, first, second):
        shop = Workshop(TINY, {"ore": 12, "wood": 12, "red": 4, "blue": 4})
        shop.open(0, None)
        play(shop, first)
        saved = json.dumps(shop.state())
        twin = Workshop.restore(TINY, json.loads(saved))
        assert json.dumps(twin.state()) == saved
        count = len(shop.state()["nodes"])
        for kind, which, what in second:
            outcomes = []
            for each in (shop, twin):
                try:
                    if kind == "open":
                        each.open(count, which % count, what)
                    elif kind == "close":
                        each.close(which % count)
                    else:
                        each.craft(which % count, *what)
                    outcomes.append(None)
                except (CraftError, ValueError) as error:
                    outcomes.append(str(error))
            assert outcomes[0] == outcomes[1]
            count = len(shop.state()["nodes"])
        assert twin.state() == shop.state()
        assert all(nonzero(twin.net(n)) == nonzero(shop.net(n)) for n in range(count))

    def test_state_shares_nothing_with_the_workshop(self, shop):
        shop.open(1, 0, {"ore": 2})
        saved = shop.state()
        shop.craft(1, {"ore": 2}, "bar", 1)
        assert saved["nodes"][1] == [1, 0, True, {"ore": 2}, {}, {}]
        twin = Workshop.restore(TINY, saved)
        twin.craft(1, {"ore": 2}, "bar", 1)
        assert saved["nodes"][1] == [1, 0, True, {"ore": 2}, {}, {}]


def nonzero(counts):
    return {item: count for item, count in counts.items() if count}
