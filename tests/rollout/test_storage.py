"""Trees on disk: readable while written, whole after a crash, loud when corrupt."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs.errors import CorruptTree, SinkInUse
from rao_envs.storage import TreeWriter, read_trees
from rao_envs.testing.strategies import execution_trees, grow_tree

TREES = [grow_tree([-1, 0], [1.0, None], name) for name in ("a", "b\u2028", "ü🙂")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "deep" / "trees.jsonl"


def write(path, trees, **options):
    with TreeWriter(path, **options) as writer:
        for tree in trees:
            writer.write(tree)


@given(st.lists(execution_trees(valid=False, finished=False), max_size=4))
def test_round_trip(trees):
    folder = tempfile.mkdtemp()
    try:
        path = Path(folder) / "trees.jsonl"
        write(path, trees)
        assert list(read_trees(path, strict=True)) == trees
        assert path.read_bytes().count(b"\n") == len(trees)
    finally:
        shutil.rmtree(folder)


def test_directories_are_made_and_files_appended_to(path):
    write(path, TREES[:1])
    write(str(path), TREES[1:])
    assert list(read_trees(str(path))) == TREES
    write(path, TREES[1:], append=False)
    assert list(read_trees(path)) == TREES[1:]


def test_readable_while_written(path):
    with TreeWriter(path) as writer:
        assert list(read_trees(path)) == []
        for count, tree in enumerate(TREES, start=1):
            writer.write(tree)
            assert list(read_trees(path)) == TREES[:count]


def test_lazy(path):
    write(path, TREES)
    with open(path, "ab") as file:
        file.write(b"garbage\n")
    trees = read_trees(path)
    assert [next(trees), next(trees), next(trees)] == TREES
    with pytest.raises(CorruptTree):
        next(trees)


@pytest.mark.parametrize("left", [1, 17, -5, -2])
def test_torn_last_line(path, left):
    write(path, TREES)
    data = path.read_bytes()
    last = data.splitlines(keepends=True)[-1]
    path.write_bytes(data[: -len(last)] + last[:left])
    assert list(read_trees(path)) == TREES[:2]
    with pytest.raises(CorruptTree, match="line 3"):
        list(read_trees(path, strict=True))
    write(path, TREES[2:])
    assert list(read_trees(path, strict=True)) == TREES


def test_torn_only_line(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"meta')
    write(path, TREES)
    assert list(read_trees(path, strict=True)) == TREES


def test_torn_line_longer_than_a_block(path):
    write(path, TREES[:1])
    with open(path, "ab") as file:
        file.write(b'{"meta":{"x":"' + b"x" * 150_000)
    write(path, TREES[1:])
    assert list(read_trees(path, strict=True)) == TREES


def test_torn_in_the_middle_of_a_character(path):
    write(path, TREES[2:])
    data = path.read_bytes()
    path.write_bytes(data[: data.index("ü".encode()) + 1])
    assert list(read_trees(path)) == []


def test_a_whole_tree_that_only_lacks_its_newline_is_kept(path):
    write(path, TREES)
    path.write_bytes(path.read_bytes()[:-1])
    assert list(read_trees(path)) == list(read_trees(path, strict=True)) == TREES
    write(path, TREES)
    assert list(read_trees(path, strict=True)) == TREES + TREES


@pytest.mark.parametrize("garbage", [b"garbage", b'{"meta":{}}', b'{"meta":{},"events":[', b"\xff\xfe", b"[]"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_corrupt_line_is_named(path, garbage, strict):
    write(path, TREES)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], garbage, *lines[1:]]) + b"\n")
    with pytest.raises(CorruptTree, match=r"trees\.jsonl, line 2: "):
        list(read_trees(path, strict=strict))


def test_blank_lines_are_passed_over(path):
    write(path, TREES)
    path.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\r\n\n"))
    assert list(read_trees(path, strict=True)) == TREES


def test_lone_surrogates_survive_in_valid_utf8(path):
    tree = grow_tree([-1], [1.0], "half a smile: \ud83d \\ud83d")
    write(path, [tree])
    path.read_bytes().decode("utf-8")
    assert list(read_trees(path)) == [tree]


def test_a_failed_write_leaves_the_file_whole(path, monkeypatch):
    class FullDisk:
        def __init__(self, file):
            self.file, self.room = file, 40

        def write(self, data):
            if self.room == 0:
                raise OSError(28, "No space left on device")
            written = self.file.write(data[: self.room])
            self.room -= written
            return written

        def __getattr__(self, name):
            return getattr(self.file, name)

    with TreeWriter(path) as writer:
        writer.write(TREES[0])
        real = writer._file
        monkeypatch.setattr(writer, "_file", FullDisk(real))
        with pytest.raises(OSError, match="No space"):
            writer.write(TREES[1])
        assert list(read_trees(path, strict=True)) == TREES[:1]
        writer._file = real
        writer.write(TREES[1])
    assert list(read_trees(path, strict=True)) == TREES[:2]


def test_short_writes_are_carried_on(path, monkeypatch):
    with TreeWriter(path) as writer:
        real = writer._file

        class Trickle:
            seek, close = real.seek, real.close

            @staticmethod
            def write(data):
                return real.write(data[:7])

        monkeypatch.setattr(writer, "_file", Trickle)
        writer.write(TREES[0])
    assert list(read_trees(path, strict=True)) == TREES[:1]


def test_closed_writer(path):
    writer = TreeWriter(path)
    assert writer.path == path
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed file"):
        writer.write(TREES[0])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        next(read_trees(tmp_path / "none.jsonl"))


def test_lines_are_plain_json(path):
    write(path, TREES)
    with open(path, encoding="utf-8", newline="\n") as file:
        assert [json.loads(line)["events"][0]["type"] for line in file] == ["Spawned"] * 3
    assert os.path.getsize(path) > 0


# One writer at a time -------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from rao_envs.storage import TreeWriter
writer = TreeWriter(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another_process(path, code=HOLD):
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_refused_and_changes_nothing(path):
    with TreeWriter(path) as writer:
        writer.write(TREES[0])
        for append in (True, False):
            with pytest.raises(SinkInUse, match=rf"^path='{path}': is already being written") as caught:
                TreeWriter(path, append)
        assert caught.value.holder in (os.getpid(), None)
        assert list(read_trees(path, strict=True)) == TREES[:1]  # and reading does not unlock it
        with pytest.raises(SinkInUse, match="use another file"):
            TreeWriter(path.parent / ".." / "deep" / path.name)
        writer.write(TREES[1])
    write(path, TREES[2:])
    assert list(read_trees(path, strict=True)) == TREES


def test_a_half_written_line_of_the_holder_is_not_cut_off(path):
    with TreeWriter(path) as writer:
        writer._file.write(b'{"meta":')
        with pytest.raises(SinkInUse):
            TreeWriter(path)
        assert path.read_bytes() == b'{"meta":'


def test_a_link_to_the_file_is_the_same_file(path, tmp_path):
    with TreeWriter(path):
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(SinkInUse):
            TreeWriter(tmp_path / "link")


def test_a_writer_in_another_process_is_named_and_outlived(path):
    with held_by_another_process(path) as process:
        with pytest.raises(SinkInUse) as caught:
            TreeWriter(path)
        if Path("/proc/locks").exists():
            assert caught.value.holder == process.pid
            assert f"process {process.pid}" in str(caught.value)
        assert list(read_trees(path)) == []
        process.kill()
        process.wait()
        write(path, TREES)
    assert list(read_trees(path, strict=True)) == TREES
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_does_not_keep_the_lock_and_cannot_write(path):
    code = """
import os, sys, time
from rao_envs.storage import TreeWriter
from rao_envs.testing.strategies import grow_tree
writer = TreeWriter(sys.argv[1])
if os.fork() == 0:
    try:
        writer.write(grow_tree([-1], [1.0]))
    except ValueError:
        writer.close()
        print("held", flush=True)
        time.sleep(60)
    os._exit(1)
time.sleep(60)
"""
    with held_by_another_process(path, code) as parent:
        with pytest.raises(SinkInUse):
            TreeWriter(path)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        orphans = children.read_text().split() if children.exists() else []
        parent.kill()
        parent.wait()
        write(path, TREES)
        for orphan in orphans:
            os.kill(int(orphan), 9)


def test_a_file_system_without_locks_is_said_to_have_none(path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.warns(RuntimeWarning, match=r"trees\.jsonl: its file system has no locks .*No locks available"):
        writer = TreeWriter(path)
    with writer:
        writer.write(TREES[0])
    assert list(read_trees(path, strict=True)) == TREES[:1]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no such device")
@pytest.mark.parametrize("append", [True, False])
def test_what_is_no_file_has_no_lock(append):
    with TreeWriter("/dev/null", append) as one, TreeWriter("/dev/null", append) as other:
        one.write(TREES[0])
        other.write(TREES[0])
