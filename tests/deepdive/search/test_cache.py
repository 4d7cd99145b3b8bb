"""Cached files: built once whoever asks at the same time, never seen half written, mended when damaged."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_deepdive.search import FullTextSearch, Page, build_index, cached
from rao_deepdive.search.cache import _file_name, cache_folder
from rao_envs.errors import OptionError

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
CONTENT = b"content " * 4096


class Builder:
    """Writes CONTENT, and counts how often."""

    def __init__(self, content=CONTENT):
        self.content, self.builds = content, 0

    def __call__(self, path):
        assert not path.exists()
        self.builds += 1
        path.write_bytes(self.content)


@pytest.fixture
def build():
    return Builder()


def kept(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith((".lock", ".stamp")))


def start(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


# Once


def test_built_once_then_read(tmp_path, build):
    path = cached("key", build, folder=tmp_path / "deep" / "er")
    assert path.read_bytes() == CONTENT
    before = path.stat()
    assert cached("key", build, folder=tmp_path / "deep" / "er") == path
    assert build.builds == 1
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_keys_have_files_of_their_own(tmp_path):
    keys = ["a", "A", "a b", "a-b", "a/b", "../a", "", ".", "\0", "\ud800", "x" * 999, "x" * 998, "con", "\u00e9"]
    paths = {cached(key, Builder(repr(key).encode()), folder=tmp_path / "c") for key in keys}
    assert len({path.name.lower() for path in paths}) == len(keys)
    assert {path.parent for path in paths} == {tmp_path / "c"}
    assert {path.read_bytes() for path in paths} == {repr(key).encode() for key in keys}


@given(st.text())
def test_every_key_makes_a_sound_name(key):
    name = _file_name(key)
    assert name.isascii()
    assert len(name) < 100
    assert not set(name) & set('/\\:*?"<>|. ')


PROCESS = """if True:
    import sys, time
    from pathlib import Path
    from rao_deepdive.search import cached
    folder, me = Path(sys.argv[1]), sys.argv[2]
    def build(path):
        with (folder / "builds").open("a") as file:
            file.write(f"{me}\\n")
        with path.open("wb") as file:
            for _ in range(20):
                file.write(b"content " * 1000)
                file.flush()
                time.sleep(0.01)
    print("ready", flush=True)
    while not (folder / "go").exists():
        time.sleep(0.001)
    path = cached("web", build, folder=folder / "cache")
    assert path.read_bytes() == b"content " * 20_000
    print(path)
"""


def test_processes_that_start_together_build_once(tmp_path):
    processes = [start(PROCESS, tmp_path, n) for n in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    assert len({finished(process) for process in processes}) == 1
    assert len((tmp_path / "builds").read_text().split()) == 1


def test_threads_that_start_together_build_once(tmp_path, build):
    def slow(path):
        time.sleep(0.05)
        build(path)

    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: cached("key", slow, folder=tmp_path), range(8)))
    assert len(paths) == build.builds == 1


def test_other_keys_do_not_wait(tmp_path, build):
    inside, done = threading.Event(), threading.Event()

    def slow(path):
        inside.set()
        assert done.wait(120)
        path.write_bytes(b"slow")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cached, "slow", slow, folder=tmp_path)
        assert inside.wait(120)
        cached("quick", build, folder=tmp_path)
        done.set()
        assert waiting.result(120).read_bytes() == b"slow"


# Whole


def test_a_builder_that_raises_leaves_nothing_and_is_asked_again(tmp_path, build):
    def torn(path):
        path.write_bytes(b"half")
        raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        cached("key", torn, folder=tmp_path)
    assert kept(tmp_path) == []
    assert cached("key", build, folder=tmp_path).read_bytes() == CONTENT


def test_a_builder_that_writes_nothing_is_an_error(tmp_path, build):
    with pytest.raises(FileNotFoundError):
        cached("key", lambda path: None, folder=tmp_path)
    assert cached("key", build, folder=tmp_path).read_bytes() == CONTENT


KILLED = """if True:
    import sys, time
    from pathlib import Path
    from rao_deepdive.search import Page, build_index, cached
    def pages():
        for n in range(10**9):
            if n == 3000:
                print("half", flush=True)
            if n >= 3000:
                time.sleep(0.01)
            yield Page(f"u{n}", "title", "text " * 200)
    cached("web", lambda path: build_index(pages(), path), folder=Path(sys.argv[1]))
"""


@pytest.mark.skipif(os.name == "nt", reason="this system has no SIGKILL")
def test_a_killed_builder_leaves_no_half_written_file(tmp_path):
    process = start(KILLED, tmp_path)
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert any(".part" in name for name in kept(tmp_path)), "it was killed too late to prove anything"
    path = cached("web", lambda path: build_index([Page("u", "t", "x")], path), folder=tmp_path)
    assert len(FullTextSearch(path)) == 1
    assert kept(tmp_path) == [path.name], "what the dead left was not cleared away"


@pytest.mark.skipif(os.name == "nt", reason="this system has no SIGKILL")
def test_who_waits_for_a_builder_that_dies_builds(tmp_path, build):
    process = start(KILLED, tmp_path)
    assert process.stdout.readline() == "half\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cached, "web", build, folder=tmp_path)
        time.sleep(0.1)
        assert not waiting.done()
        process.kill()
        process.communicate()
        assert waiting.result(120).read_bytes() == CONTENT
    assert build.builds == 1


def cut(path):
    with path.open("r+b") as file:
        file.truncate(5000)


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lengthened(path):
    with path.open("ab") as file:
        file.write(b"more")


def removed(path):
    path.unlink()


def no_stamp(path):
    path.with_name(f"{path.name}.stamp").unlink()


def torn_stamp(path):
    path.with_name(f"{path.name}.stamp").write_text('{"size": ')


def strange_stamp(path):
    path.with_name(f"{path.name}.stamp").write_text("[1, 2]")


def foreign_stamp(path):
    path.with_name(f"{path.name}.stamp").write_text('{"size": 1, "written": 2, "digest": "3"}')


@pytest.mark.parametrize(
    "damage",
    [cut, emptied, flipped, lengthened, removed, no_stamp, torn_stamp, strange_stamp, foreign_stamp],
)
def test_what_is_damaged_is_built_anew(tmp_path, build, damage):
    path = cached("key", build, folder=tmp_path)
    damage(path)
    assert cached("key", build, folder=tmp_path).read_bytes() == CONTENT
    assert build.builds == 2
    cached("key", build, folder=tmp_path)
    assert build.builds == 2


def test_a_copied_cache_is_taken_as_it_is(tmp_path, build):
    cached("key", build, folder=tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copyfile)
    path = cached("key", build, folder=tmp_path / "two")
    assert path.parent == tmp_path / "two"
    assert build.builds == 1
    stamp = path.with_name(f"{path.name}.stamp")
    assert str(path.stat().st_mtime_ns) in stamp.read_text(), "it would be read whole each time"


def test_a_truncated_index_is_rebuilt_and_a_reader_keeps_what_it_has(tmp_path):
    def build(path):
        build_index([Page(f"u{n}", f"title {n}", "words " * 500) for n in range(50)], path)

    path = cached("web", build, folder=tmp_path)
    search = FullTextSearch(path)
    want = search.search("title", 5)
    no_stamp(path)
    assert cached("web", build, folder=tmp_path) == path
    assert search.search("title", 5) == want
    cut(path)
    with pytest.raises(OptionError, match="is no index"):
        FullTextSearch(path)
    again = FullTextSearch(cached("web", build, folder=tmp_path))
    assert again.search("title", 5) == want
    assert len(again) == 50


# Where


def test_the_folder_is_the_platforms_own(monkeypatch, tmp_path):
    monkeypatch.setenv("RAO_ENVS_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert cached("key", Builder()).parent == tmp_path / "mine"
    for name in ("RAO_ENVS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    for platform, folder in {
        "linux": "home/.cache",
        "darwin": "home/Library/Caches",
        "win32": "home/AppData/Local",
    }.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == Path(folder) / "rao-envs"
    monkeypatch.setenv("LOCALAPPDATA", "local")
    assert cache_folder() == Path("local/rao-envs")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    assert cache_folder() == Path("xdg/rao-envs")
    monkeypatch.setenv("RAO_ENVS_CACHE", "")
    assert cache_folder() == Path("xdg/rao-envs")


def test_a_folder_that_cannot_be_is_named(monkeypatch, tmp_path, build):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"^folder=.*file"):
        cached("key", build, folder=tmp_path / "file")
    monkeypatch.setenv("RAO_ENVS_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(OptionError, match=r"^RAO_ENVS_CACHE=.*below"):
        cached("key", build)
