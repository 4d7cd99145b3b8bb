"""TextCraft: crafting worlds of controllable recursive depth, on one shared inventory.

`TextCraftSynthEnv` (``TextCraftSynth-v0``) is the synthetic world of "Recursive Agent Optimization",
`TextCraftEnv` (``TextCraft-v0``) the original one with Minecraft's recipes.
"""

from rao_textcraft.envs import TextCraftEnv, TextCraftSynthEnv
from rao_textcraft.oracle import program_oracle, recursive_oracle, single_oracle
from rao_textcraft.world import TextCraftWorld

__all__ = [
    "TextCraftEnv",
    "TextCraftSynthEnv",
    "TextCraftWorld",
    "program_oracle",
    "recursive_oracle",
    "single_oracle",
]
