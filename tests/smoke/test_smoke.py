"""What must hold of an installed rao-envs; `make wheel-test` runs this on the built wheel."""

import subprocess
import sys
from importlib import metadata, resources

import gymnasium as gym
import pytest

import rao_envs


def test_version_is_the_distribution_s():
    assert rao_envs.__version__ == metadata.version("rao-envs")


@pytest.mark.parametrize("package", ["rao_deepdive", "rao_envs", "rao_oolong", "rao_textcraft"])
def test_package_is_shipped_with_its_types(package):
    assert resources.files(package).joinpath("py.typed").is_file()


def test_import_takes_neither_torch_nor_networkx_nor_an_environment():
    # A fresh interpreter: in this one, other tests may have imported any of them.
    unwanted = {"torch", "networkx", "rao_deepdive", "rao_oolong", "rao_textcraft"}
    code = f"import sys, rao_envs; print({unwanted} & sys.modules.keys() or '')"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_console_script_shows_its_commands(monkeypatch, capsys):
    (script,) = metadata.entry_points(group="console_scripts", name="rao-envs")
    monkeypatch.setattr(sys, "argv", ["rao-envs", "--help"])
    with pytest.raises(SystemExit) as stopped:
        script.load()()
    assert not stopped.value.code
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("list", "rollout", "eval", "bench"))


@pytest.mark.parametrize("env_id", ["TextCraftSynth-v0", "rao_envs:TextCraftSynth-v0"])
def test_environment_is_made_reset_and_stepped(env_id):
    env = gym.make(env_id, depth=6)
    obs, info = env.reset(seed=0)
    assert isinstance(obs, str)
    assert obs
    assert info["depth"] == 0

    obs, reward, terminated, truncated, info = env.step("print(1 + 1)")
    assert isinstance(obs, str)
    assert reward == 0
    assert (terminated, truncated) == (False, False)
    env.close()
