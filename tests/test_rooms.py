"""The rooms of the benchmark packages: arrows between them point down, and no imports form a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the ground up. A room imports from rooms on lower floors only; files at the top of a package, from every room.
ROOMS = {
    "rao_deepdive": {"search": 0, "web": 1, "questions": 2, "judging": 3},
    "rao_oolong": {"session": 0, "questions": 1, "table": 1, "judging": 2, "reading": 2, "real": 2},
    "rao_textcraft": {},
}
TOP = 9
OLD_PATHS = {
    "rao_deepdive.answers": "matches normalise",
    "rao_deepdive.goals": "accepted mentioned",
    "rao_deepdive.graph": "LEAST_SIZE MOST_SIZE RELATIONS Graph Relation generate",
    "rao_deepdive.pages": "hook_phrase page pages",
    "rao_deepdive.phrasing": "noun parse phrase",
    "rao_deepdive.proof": "prove",
    "rao_deepdive.query": "Blur Edge Query answers fits",
    "rao_deepdive.questions": "HOPS QUESTION_KINDS SPLITS Question ask split_of",
    "rao_deepdive.reader": "Facts read_page read_web",
    "rao_deepdive.verify": "GoalVerifier answer_of judge_root",
    "rao_oolong.families": "FAMILIES KILL_FAMILIES ROLL_FAMILIES SPELL_FAMILIES Family Question ask parse_goal",
    "rao_oolong.generator": "Knobs Session generate",
    "rao_oolong.grammar": "read regex_shortcut split",
    "rao_oolong.log": "Cast CastTable Kill Roll SessionLog",
    "rao_oolong.passages": "HEADING Book Heading Place read_heading",
    "rao_oolong.patterns": "PROGRAM finish_tally",
    "rao_oolong.published": "PUBLISHED_SET PublishedQuestion load_published",
    "rao_oolong.real": "Episodes PublishedQuestion load_episodes load_published roll_type",
    "rao_oolong.scenes": "Knobs Table",
    "rao_oolong.scoring": "Answer Kind Score extract kind_of parse render score",
    "rao_oolong.session": "END START Session cast_lines line_starts",
    "rao_oolong.shortcut": "regex_shortcut",
    "rao_oolong.verify": "Verifier answer_of gold_of judge_root known_gold",
}
"""Paths that the documentation named before the packages had rooms, and the public names that they had."""


def modules(package: str) -> dict[str, Path]:
    """Return the files of a package by module name; a room's `__init__` bears the name of the room."""
    base = ROOT / "envs"
    paths = (path for path in (base / package).rglob("*.py") if path != base / package / "__init__.py")
    return {".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules of its own package that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in inner}
    return {name for name in found if name in known or name in ROOMS}


def floor(module: str) -> tuple[str, int]:
    package, room = module.split(".")[:2]
    return room, ROOMS[package].get(room, TOP)


@pytest.mark.parametrize("package", ROOMS)
def test_every_folder_is_a_room_with_a_line_on_what_it_holds(package):
    folders = [folder for folder in (ROOT / "envs" / package).iterdir() if any(folder.glob("*.py"))]
    assert {folder.name for folder in folders} == set(ROOMS[package])
    assert all(ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) for folder in folders)


@pytest.mark.parametrize("package", ROOMS)
def test_arrows_between_rooms_point_down(package):
    known = modules(package)
    for module, path in known.items():
        room, here = floor(module)
        uses = imported(path, known)
        assert not uses & set(ROOMS), f"{module} imports from the top of its package: name the module"
        above = {other for other in uses if floor(other)[1] >= here and floor(other)[0] != room and here < TOP}
        assert not above, f"{module} (room {room}, floor {here}) imports {sorted(above)}"


@pytest.mark.parametrize("package", ROOMS)
def test_no_imports_form_a_circle(package):
    known = modules(package)
    arrows = {module: imported(path, known) - {module} for module, path in known.items()}
    # A room's face is loaded before any module of the room.
    for module, uses in arrows.items():
        room = module.rpartition(".")[0]
        uses |= {other.rpartition(".")[0] for other in uses if other.count(".") == 2} - {package, room, module}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize(("benchmark", "tests"), [("rao_deepdive", "deepdive"), ("rao_oolong", "oolong")])
def test_the_tests_have_the_same_rooms(benchmark, tests):
    folders = {path.parent.name for path in (ROOT / "tests" / tests).glob("*/test_*.py")}
    assert folders == set(ROOMS[benchmark])


@pytest.mark.parametrize("path", OLD_PATHS)
def test_a_documented_path_still_leads_to_its_names(path):
    module = import_module(path)
    assert not [name for name in OLD_PATHS[path].split() if not hasattr(module, name)]


def test_an_old_path_and_the_new_one_are_the_same_module():
    import rao_oolong.scoring as old  # isort: skip
    from rao_oolong.judging import scoring

    assert old is scoring
