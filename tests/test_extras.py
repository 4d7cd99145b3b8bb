"""Where an extra is missing, one line says which: in every module, and in every function that imports one late."""

import json
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

from rao_envs.extras import extra

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LINE = re.compile(r"[^\n]+ needs (?P<package>\w+): pip install \"rao-envs\[(?P<extra>\w+)\]\"(, or [^\n]+)?")
MODULES = sorted(
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for root in (ROOT, ROOT / "envs")
    for top in sorted(root.glob("rao_*"))
    for path in top.rglob("*.py")
    if path.stem != "__main__"
)
NEEDED = {
    "rao_envs.interop.sb3": "sb3",
    "rao_envs.interop.trl": "trl",
    "rao_envs.policies.decoding": "hf",
    "rao_envs.policies.gpt.model": "train",
    "rao_envs.policies.gpt.policy": "train",
    "rao_envs.policies.gpt.storage": "train",
    "rao_envs.policies.hf": "hf",
    "rao_envs.policies.sampling": "train",
    "rao_envs.testing.strategies": "test",
    "rao_envs.training.batch": "train",
    "rao_envs.training.checkpoint": "train",
    "rao_envs.training.imitation": "train",
    "rao_envs.training.loss": "train",
    "rao_envs.training.trainer": "train",
}
# Statements, and the extra that their error names.
LATE = {
    "import rao_envs.policies as p; p.HFPolicy": "hf",
    "import rao_envs.policies as p; p.GPTPolicy": "train",
    "import rao_envs.training as t; t.RAOTrainer": "train",
    "from rao_envs.policies.local import find_device; find_device('cpu')": "train",
    "from rao_envs.testing.tiny_model import tiny_model; tiny_model()": "hf",
    "from rao_envs.testing.tiny_model import tiny_tokenizer; tiny_tokenizer()": "hf",
    "from rao_envs.testing.tiny_model import message_tokenizer; message_tokenizer(['a'])": "hf",
    "from rao_textcraft.minecraft import from_minecraft_data; from_minecraft_data()": "minecraft",
    "from rao_oolong import load_published; load_published()": "oolong",
    "from rao_oolong import load_published; list(load_published('PARQUET'))": "oolong",
    "from rao_envs.training.journal import Journal; Journal(FOLDER, done=0, tensorboard=True)": "train",
    "import _study; _study.draw(FOLDER / 'a.json').__enter__()": "plot",
    "import ppo_sb3": "sb3",
    "import rao_gpt": "train",
}
PROBE = """
import json, sys
from pathlib import Path

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

missing, statements, FOLDER, baselines = json.loads(sys.argv[1])
FOLDER = Path(FOLDER)
sys.path.append(baselines)
sys.meta_path.insert(0, Missing())
answers = {}
for statement in statements:
    try:
        exec(statement, {"FOLDER": FOLDER})
        answers[statement] = None
    except ImportError as error:
        answers[statement] = str(error)
print(json.dumps(answers))
"""


def packages(name: str) -> set[str]:
    """Return the distributions that an extra asks for."""
    found = set()
    for requirement in EXTRAS[name]:
        distribution, inner = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", requirement).groups()
        found |= {p for e in inner.split(",") for p in packages(e)} if distribution == "rao-envs" else {distribution}
    return found


def without_extras(statements: list[str], folder: Path) -> dict[str, str | None]:
    """Run statements where no extra is installed; return the message of each one's ImportError, if it raises any."""
    core = {re.match(r"[\w-]+", requirement)[0] for requirement in PROJECT["dependencies"]}
    optional = {name for every in EXTRAS for name in packages(every)} - core
    missing = sorted({name.replace("-", "_") for name in optional} | {"tokenizers"})
    question = json.dumps([missing, statements, str(folder), str(ROOT / "baselines")])
    done = subprocess.run(
        [sys.executable, "-c", PROBE, question], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_module_loads_or_names_its_extra(tmp_path):
    answers = without_extras([f"import {module}" for module in MODULES], tmp_path)
    for statement, answer in answers.items():
        if answer is not None:
            match = LINE.fullmatch(answer)
            assert match, f"{statement}: {answer}"
            assert match["package"].replace("_", "-") in packages(match["extra"]), f"{statement}: {answer}"
    named = {statement.split()[1]: answer and LINE.fullmatch(answer)["extra"] for statement, answer in answers.items()}
    assert {module: named[module] for module in NEEDED} == NEEDED
    for module in NEEDED:
        assert answers[f"import {module}"].startswith(f"{module} needs ")
    assert named["rao_envs"] is named["rao_envs.training"] is named["rao_envs.policies"] is None


def test_whatever_is_imported_late_names_its_extra(tmp_path):
    (tmp_path / "a.parquet").touch()
    statements = {code.replace("PARQUET", str(tmp_path / "a.parquet")): name for code, name in LATE.items()}
    answers = without_extras(list(statements), tmp_path)
    assert {code: answer and LINE.fullmatch(answer)["extra"] for code, answer in answers.items()} == statements


def test_the_command_line_names_the_extra_in_one_line(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; from rao_envs.cli import main; "
        f"sys.argv[1:] = ['train', 'TextCraftSynth-v0', '--out', {str(tmp_path)!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    line = done.stderr.rstrip()
    assert re.fullmatch(r"error: \S+ needs torch: pip install \"rao-envs\[train\]\"", line)


def test_a_package_of_another_version_is_named_with_what_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", types.ModuleType("trl"))
    with pytest.raises(ImportError) as caught, extra("trl", "a_module"):
        from trl import GRPOTrainer  # noqa: F401
    assert str(caught.value).startswith("a_module needs trl in another version (cannot import name 'GRPOTrainer'")
    assert str(caught.value).endswith('): pip install "rao-envs[trl]"')
    assert caught.value.name == "trl"


def test_every_extra_that_is_named_exists():
    paths = [path for top in ("rao_envs", "envs", "baselines") for path in (ROOT / top).rglob("*.py")]
    named = {name for path in paths for name in re.findall(r"\bextra\(\"(\w+)\"", path.read_text())}
    assert {"train", "hf", "sb3", "trl", "oolong", "minecraft", "plot", "test"} <= named <= EXTRAS.keys()
