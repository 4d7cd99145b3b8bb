"""A compact table of real Minecraft recipes and item tags, written by hand for this package.

The game's data pack may not be redistributed. These recipes are enough for tasks of depth 1 to 4 when neither a
recipe folder nor the `minecraft-data` package is available.
"""

from __future__ import annotations

__all__ = ["RECIPES", "TAGS"]

_WOODS = ("oak", "spruce", "birch", "jungle", "acacia", "dark oak", "mangrove")
_FUNGI = ("crimson", "warped")
_COLOURS = (
    *("white", "orange", "magenta", "light blue", "yellow", "lime", "pink", "gray"),
    *("light gray", "cyan", "purple", "blue", "brown", "green", "red", "black"),
)

_LOGS = {f"{w} logs": (f"{w} log", f"{w} wood", f"stripped {w} log", f"stripped {w} wood") for w in _WOODS}
_STEMS = {f"{f} stems": (f"{f} stem", f"{f} hyphae", f"stripped {f} stem", f"stripped {f} hyphae") for f in _FUNGI}

TAGS: dict[str, tuple[str, ...]] = {
    **_LOGS,
    **_STEMS,
    "logs that burn": tuple(item for items in _LOGS.values() for item in items),
    "logs": tuple(item for items in (*_LOGS.values(), *_STEMS.values()) for item in items),
    "planks": tuple(f"{w} planks" for w in (*_WOODS, *_FUNGI)),
    "wooden slabs": tuple(f"{w} slab" for w in (*_WOODS, *_FUNGI)),
    "wool": tuple(f"{c} wool" for c in _COLOURS),
    "beds": tuple(f"{c} bed" for c in _COLOURS),
    "coals": ("coal", "charcoal"),
    "stone tool materials": ("cobblestone", "blackstone", "cobbled deepslate"),
    "stone crafting materials": ("cobblestone", "blackstone", "cobbled deepslate"),
    "soul fire base blocks": ("soul sand", "soul soil"),
    "smelts to glass": ("sand", "red sand"),
}
"""Tag -> members, for recipes whose tags no folder defines; names as agents see them."""

_TABLE = """
4 stick = 2 any planks
crafting table = 4 any planks
chest = 8 any planks
wooden pickaxe = 3 any planks, 2 stick
wooden axe = 3 any planks, 2 stick
wooden shovel = any planks, 2 stick
wooden hoe = 2 any planks, 2 stick
wooden sword = 2 any planks, stick
4 bowl = 3 any planks
bookshelf = 6 any planks, 3 book
note block = 8 any planks, redstone
jukebox = 8 any planks, diamond
shield = 6 any planks, iron ingot
barrel = 6 any planks, 2 any wooden slabs
composter = 7 any wooden slabs
lectern = 4 any wooden slabs, bookshelf
daylight detector = 3 glass, 3 quartz, 3 any wooden slabs
3 ladder = 7 stick
4 torch = any coals, stick
4 soul torch = any coals, stick, any soul fire base blocks
campfire = 3 stick, any coals, 3 any logs
soul campfire = 3 stick, any soul fire base blocks, 3 any logs
jack o lantern = carved pumpkin, torch
lantern = 8 iron nugget, torch
soul lantern = 8 iron nugget, soul torch
redstone torch = redstone, stick
repeater = 2 redstone torch, redstone, 3 stone
comparator = 3 redstone torch, quartz, 3 stone
lever = cobblestone, stick
stone button = stone
stone pressure plate = 2 stone
heavy weighted pressure plate = 2 iron ingot
light weighted pressure plate = 2 gold ingot
2 tripwire hook = iron ingot, stick, any planks
trapped chest = chest, tripwire hook
crossbow = 3 stick, 2 string, iron ingot, tripwire hook
bow = 3 stick, 3 string
4 arrow = flint, stick, feather
2 spectral arrow = 4 glowstone dust, arrow
dispenser = 7 cobblestone, bow, redstone
dropper = 7 cobblestone, redstone
observer = 6 cobblestone, 2 redstone, quartz
piston = 3 any planks, 4 cobblestone, iron ingot, redstone
sticky piston = piston, slime ball
furnace = 8 any stone crafting materials
smoker = 4 any logs, furnace
blast furnace = 5 iron ingot, furnace, 3 smooth stone
stonecutter = iron ingot, 3 stone
grindstone = 2 stick, stone slab, 2 any planks
smithing table = 2 iron ingot, 4 any planks
cartography table = 2 paper, 4 any planks
fletching table = 2 flint, 4 any planks
loom = 2 string, 2 any planks
stone pickaxe = 3 any stone tool materials, 2 stick
stone axe = 3 any stone tool materials, 2 stick
stone sword = 2 any stone tool materials, stick
6 stone slab = 3 stone
6 cobblestone slab = 3 cobblestone
6 cobblestone wall = 6 cobblestone
4 stone bricks = 4 stone
6 stone brick slab = 3 stone bricks
chiseled stone bricks = 2 stone brick slab
6 smooth stone slab = 3 smooth stone
armor stand = 6 stick, smooth stone slab
2 andesite = diorite, cobblestone
2 diorite = 2 quartz, 2 cobblestone
granite = diorite, quartz
4 polished andesite = 4 andesite
6 polished andesite slab = 3 polished andesite
4 polished granite = 4 granite
4 polished granite stairs = 6 polished granite
iron block = 9 iron ingot
9 iron ingot = iron block
iron ingot = 9 iron nugget
9 iron nugget = iron ingot
gold block = 9 gold ingot
9 gold ingot = gold block
gold ingot = 9 gold nugget
9 gold nugget = gold ingot
iron pickaxe = 3 iron ingot, 2 stick
iron sword = 2 iron ingot, stick
iron chestplate = 8 iron ingot
iron door = 6 iron ingot
16 iron bars = 6 iron ingot
chain = iron ingot, 2 iron nugget
bucket = 3 iron ingot
cauldron = 7 iron ingot
anvil = 3 iron block, 4 iron ingot
shears = 2 iron ingot
flint and steel = iron ingot, flint
compass = 4 iron ingot, redstone
clock = 4 gold ingot, redstone
map = 8 paper, compass
minecart = 5 iron ingot
hopper = 5 iron ingot, chest
chest minecart = chest, minecart
hopper minecart = hopper, minecart
furnace minecart = furnace, minecart
16 rail = 6 iron ingot, stick
6 powered rail = 6 gold ingot, stick, redstone
6 detector rail = 6 iron ingot, stone pressure plate, redstone
6 activator rail = 6 iron ingot, 2 stick, redstone torch
golden carrot = 8 gold nugget, carrot
golden apple = 8 gold ingot, apple
diamond pickaxe = 3 diamond, 2 stick
diamond sword = 2 diamond, stick
3 paper = 3 sugar cane
book = 3 paper, leather
writable book = book, ink sac, feather
enchanting table = book, 2 diamond, 4 obsidian
item frame = 8 stick, leather
glow item frame = item frame, glow ink sac
painting = 8 stick, any wool
white bed = 3 white wool, 3 any planks
red bed = 3 red wool, 3 any planks
white banner = 6 white wool, stick
fishing rod = 3 stick, 2 string
carrot on a stick = fishing rod, carrot
sugar = sugar cane
bread = 3 wheat
8 cookie = 2 wheat, cocoa beans
cake = 3 milk bucket, 2 sugar, egg, 3 wheat
pumpkin pie = pumpkin, sugar, egg
2 blaze powder = blaze rod
ender eye = ender pearl, blaze powder
ender chest = 8 obsidian, ender eye
end crystal = 7 glass, ender eye, ghast tear
brewing stand = blaze rod, 3 cobblestone
magma cream = blaze powder, slime ball
tnt = 5 gunpowder, 4 any smelts to glass
tnt minecart = tnt, minecart
beacon = 5 glass, nether star, 3 obsidian
"""

RECIPES: tuple[str, ...] = (
    *(f"4 {w} planks = any {w} logs" for w in _WOODS),
    *(f"4 {f} planks = any {f} stems" for f in _FUNGI),
    *(f"6 {w} slab = 3 {w} planks" for w in (*_WOODS, *_FUNGI)),
    *_TABLE.strip().splitlines(),
)
"""One recipe per line: ``yield item = count ingredient, ...``; no number means 1, ``any x`` is the tag x."""
