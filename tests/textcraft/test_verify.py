import pytest

from rao_textcraft.rules import Cookbook, Ingredient, Recipe, Workshop
from rao_textcraft.verify import made_targets


@pytest.mark.parametrize(
    ("net", "targets", "success", "reason"),
    [
        ({"bar": 2}, {"bar": 2}, 1.0, "made 2 bar"),
        ({"bar": 5, "ore": -10}, {"bar": 2}, 1.0, "made 2 bar"),
        ({"bar": 2, "nail": 4}, {"bar": 2, "nail": 1}, 1.0, "made 2 bar, 1 nail"),
        ({"bar": 1}, {"bar": 2}, 0.0, "made 1 of 2 bar"),
        ({}, {"bar": 2}, 0.0, "made 0 of 2 bar"),
        ({"bar": -3}, {"bar": 1}, 0.0, "made 0 of 1 bar"),
        ({"bar": 2}, {"bar": 2, "nail": 1, "crate": 2}, 0.0, "made 0 of 1 nail; made 0 of 2 crate"),
    ],
)
def test_all_targets_or_nothing(net, targets, success, reason):
    assert made_targets(net, targets) == (success, reason)


@pytest.mark.parametrize("nothing", [{}, {"bar": 0}, {"bar": 1, "nail": 0}, {"bar": -1}])
def test_asking_for_nothing_is_never_a_success(nothing):
    with pytest.raises(ValueError, match=r"targets: .*at least 1"):
        made_targets({"bar": 1}, nothing)


def test_neither_stock_nor_sibling_nor_use_counts():
    # bar = 2 ore, pin = 1 bar. One bar is held at the start.
    def recipe(item, need, count):
        return Recipe(item, 1, (Ingredient(need, count, (need,)),))

    shop = Workshop(Cookbook([recipe("bar", "ore", 2), recipe("pin", "bar", 1)]), {"ore": 2, "bar": 1})
    shop.open(0, None)
    shop.open(1, 0)
    shop.open(2, 0)
    assert made_targets(shop.net(1), {"bar": 1})[0] == 0.0  # the bar in stock is not its work
    shop.craft(1, {"ore": 2}, "bar", 1)
    assert made_targets(shop.net(1), {"bar": 1})[0] == 1.0
    assert made_targets(shop.net(2), {"bar": 1})[0] == 0.0  # nor is its sibling's
    shop.craft(2, {"bar": 1}, "pin", 1)
    assert made_targets(shop.net(1), {"bar": 1})[0] == 1.0  # what another eats is not charged to it
    assert made_targets(shop.net(0), {"bar": 1})[0] == 0.0  # the parent's subtree used as many as it made
