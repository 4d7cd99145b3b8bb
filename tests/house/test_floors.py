"""The house stands: a room imports only from its own floor and those below, and the core stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {
    "_fields": 0,
    "errors": 0,
    "events": 0,
    "extras": 0,
    "identity": 0,
    "locks": 0,
    "seeding": 0,
    "spaces": 0,
    "action": 1,
    "credit": 1,
    "log": 1,
    "http": 1,
    "metrics": 1,
    "options": 1,
    "steps": 1,
    "storage": 1,
    "tree": 1,
    "values": 1,
    "world": 1,
    "actions": 2,
    "sandbox": 2,
    "engine": 3,
    "env": 4,
    "registration": 4,
    "wrappers": 4,
    "judges": 5,
    "policies": 5,
    "rollout": 5,
    "interop": 6,
    "training": 6,
    "speed": 7,
    "testing": 7,
    "viewer": 7,
    "cli": 8,
    "__main__": 9,
}
HEAVY = ("torch", "networkx", "pydantic", "pydantic_monty", "rich", "typer", "rao_textcraft", "hypothesis")


def imports(path: Path, *, typing: bool = False) -> set[str]:
    """Return the modules that a file imports at run time, also inside functions; for type checkers too if asked."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only and not typing:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "rao_envs" and len(parts) > 1 and parts[1] in FLOORS else None


LIBRARY = sorted(
    path for path in (ROOT / "rao_envs").rglob("*.py") if path.parent != ROOT / "rao_envs" or path.stem != "__init__"
)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_floors_at_or_below_its_own(path):
    here = path.relative_to(ROOT / "rao_envs").with_suffix("").parts[0]
    assert here in FLOORS, f"give {here} a floor"
    above = {other for other in map(room, imports(path)) if other and FLOORS[other] > FLOORS[here]}
    assert not above, f"{here} (floor {FLOORS[here]}) imports {sorted(above)} from above"


@pytest.mark.parametrize("path", sorted((ROOT / "envs").rglob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_uses_only_the_public_face(path):
    private = {module for module in imports(path) if module.startswith("rao_envs") and "._" in module}
    engine_room = {
        module for module in imports(path) if room(module) in ("engine", "actions", "sandbox", "viewer", "cli")
    }
    assert not private | engine_room


def test_credit_and_metrics_know_arrays_and_trees_and_nothing_else_of_ours():
    paths = [ROOT / "rao_envs" / "metrics.py", *(ROOT / "rao_envs" / "credit").glob("*.py")]
    for path in paths:
        rooms = {room(module) for module in imports(path)} - {None}
        assert rooms <= {"tree", "events", "errors", "credit"}, path


def test_the_library_knows_no_environment():
    packages = {path.name for path in (ROOT / "envs").iterdir()}
    for path in LIBRARY:
        upward = {module for module in imports(path) if module.split(".")[0] in packages}
        assert not upward, f"{path.relative_to(ROOT)} imports {sorted(upward)}"


def name_of(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("root", [ROOT, ROOT / "envs"], ids=["library", "environments"])
def test_no_import_circle(root):
    paths = LIBRARY if root == ROOT else sorted(root.rglob("*.py"))
    modules = {name_of(path, root): path for path in paths}
    # A package's own front door gathers names from its rooms: it is above them all, and none of them asks it.
    inside = {name for name, path in modules.items() if path.stem != "__init__"}
    arrows = {name: (imports(path, typing=True) & inside) - {name} for name, path in modules.items()}
    while leaves := [name for name, below in arrows.items() if not below]:
        for leaf in leaves:
            del arrows[leaf]
        arrows = {name: below - set(leaves) for name, below in arrows.items()}
    assert not arrows, f"in a circle, or above one: {sorted(arrows)}"


def test_the_http_client_knows_errors_and_seeds_and_nothing_else_of_ours():
    assert {room(module) for module in imports(ROOT / "rao_envs" / "http.py")} - {None} == {"errors", "seeding"}


def test_there_is_one_http_client():
    for path in [*LIBRARY, *(ROOT / "envs").rglob("*.py")]:
        if path != ROOT / "rao_envs" / "http.py":
            assert not {"urllib.request", "http.client", "requests", "httpx", "aiohttp"} & imports(path), path


def test_importing_the_library_loads_nothing_heavy():
    code = f"import sys, rao_envs; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_making_an_environment_loads_neither_pydantic_nor_the_sandbox():
    # They take longer to import than a world to generate; the first call and the first code need them.
    heavy = ("pydantic", "pydantic_monty", "networkx", "difflib", "zipfile", "rao_envs.sandbox.monty")
    code = f"""
import sys, gymnasium, rao_envs
before = set(sys.modules)
env = gymnasium.make("TextCraftSynth-v0")
env.reset(seed=0)
print(*[name for name in {heavy!r} if name in sys.modules and name not in before])
env.step("x = 1")
assert "pydantic_monty" in sys.modules
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_every_public_name_loads():
    import rao_envs

    assert all(getattr(rao_envs, name) is not None for name in rao_envs.__all__)
    assert set(rao_envs.__all__) <= set(dir(rao_envs))
    with pytest.raises(AttributeError, match="nonsense"):
        rao_envs.nonsense  # noqa: B018


def test_no_module_draws_from_a_global_generator_or_reads_a_clock():
    banned = {
        "random.seed",
        "random.random",
        "random.randint",
        "random.choice",
        "np.random.seed",
        "time.time",
        "datetime.now",
    }
    for path in [*LIBRARY, *(ROOT / "envs").rglob("*.py")]:
        calls = {
            ast.unparse(node.func).removeprefix("numpy.")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in ("random", "np", "time", "datetime")
        }
        names_random = "import random" in path.read_text()
        assert not {call for call in calls & banned if names_random or not call.startswith("random.")}, path
