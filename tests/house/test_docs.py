"""The documentation is run: what a page says the code prints, it prints.

| in a page | here |
|---|---|
| ```` ```python ```` | run in order, one process a page, but for files shown by ``--8<--`` |
| ```` ```python ```` below ``<!-- not run: why -->`` | left out |
| ```` ```python ```` below ``<!-- run alone -->`` | run as a script of its own |
| ```` ```text title="Output" ```` right after one | what that block prints; ``...`` stands for anything |
| ```` ```console ```` | its ``$ rao-envs`` line is run, and prints the rest |
| ```` ```bash ```` | every option after ``rao-envs`` exists |

``python tests/test_docs.py`` writes what is printed now into the pages, where it differs.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

import rao_envs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SEPARATOR = "\x1e"
WIDTH = 110  # of the terminal that the pages show

_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>.*?) -->\n+)?```(?P<language>\w+)(?P<rest>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    language: str
    rest: str
    note: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["language"], m["rest"].strip(), m["note"] or "", m["text"], text.count("\n", 0, m.start("text")) + 1)
        for m in _BLOCK.finditer(text)
    ]


def with_output(page: Path) -> list[tuple[Block, Block | None]]:
    """The Python blocks of a page that are run, each with what the page says it prints."""
    found = blocks(page)
    return [
        (block, after if after and "Output" in after.rest else None)
        for block, after in zip_longest(found, found[1:])
        if block.language == "python" and not block.note.startswith("not run") and "--8<--" not in block.text
    ]


def run(command: list[str], folder: Path) -> str:
    paths = [ROOT, ROOT / "envs", ROOT / "docs" / "examples"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "COLUMNS": str(WIDTH),
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    return done.stdout


def agree(want: str, printed: str) -> bool:
    want, printed = ("\n".join(line for line in text.splitlines() if line.strip()) for text in (want, printed))
    return doctest.OutputChecker().check_output(want, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)


def complaint(page: Path, block: Block, want: str, printed: str) -> str:
    return f"{name(page)}, line {block.line}, prints\n{printed}\nnot\n{want}"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def scripts(page: Path) -> Iterator[list[tuple[Block, Block | None]]]:
    """The blocks of a page that share a process, and after them each that has one of its own."""
    run_here = with_output(page)
    yield [pair for pair in run_here if pair[0].note != "run alone"]
    yield from ([pair] for pair in run_here if pair[0].note == "run alone")


def printed_by_python(page: Path, folder: Path) -> Iterator[tuple[Block, Block, str]]:
    """Run a page; yield every block that has an output, that output, and what was printed."""
    for script in scripts(page):
        # Blank lines put every block at its own line of the page, so that tracebacks lead there.
        source = ""
        for block, _ in script:
            mark = f"print({SEPARATOR!r}, end='', flush=True)\n" if block.note != "run alone" else "\n"
            source += "\n" * (block.line - source.count("\n") - 2) + mark + block.text
        file = folder / f"{page.stem}.py"
        file.write_text(source, encoding="utf-8")
        printed = run([str(file)], folder)
        parts = printed.split(SEPARATOR)[1:] if SEPARATOR in printed else [printed]
        for (block, output), text in zip(script, parts, strict=bool(script)):
            if output is not None:
                yield block, output, text


def printed_by_command(block: Block, folder: Path) -> str:
    command, *arguments = shlex.split(block.text.partition("\n")[0].removeprefix("$ "))
    assert command in ("rao-envs", "python"), command
    if command == "python":
        return run([str(ROOT / arguments[0]), *arguments[1:]], folder)
    return run(["-c", "from rao_envs.cli import main; main()", *arguments], folder)


@pytest.mark.parametrize("page", [page for page in PAGES if with_output(page)], ids=name)
def test_python_on_the_pages_runs_and_prints_what_they_say(page: Path, tmp_path: Path) -> None:
    for block, output, printed in printed_by_python(page, tmp_path):
        assert agree(output.text, printed), complaint(page, block, output.text, printed)


CONSOLE = [(page, block) for page in PAGES for block in blocks(page) if block.language == "console"]


@pytest.mark.parametrize(("page", "block"), CONSOLE, ids=lambda x: name(x) if isinstance(x, Path) else str(x.line))
def test_commands_print_what_the_pages_say(page: Path, block: Block, tmp_path: Path) -> None:
    want, printed = block.text.partition("\n")[2], printed_by_command(block, tmp_path)
    assert agree(want, printed), complaint(page, block, want, printed)


@cache
def options_of(command: str) -> set[str]:
    from typer.main import get_command

    from rao_envs.cli import app

    known = get_command(app).commands
    assert command in known, f"there is no `rao-envs {command}`"
    parameters = known[command].params
    return {"--help", "-h"} | {word for p in parameters for word in (*p.opts, *p.secondary_opts)}


_CALL = re.compile(r"rao-envs ([a-z]+)\b((?:[^`\n#|]|\\\n)*)")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_on_the_pages_exist_with_their_options(page: Path) -> None:
    for command, rest in _CALL.findall(page.read_text(encoding="utf-8")):
        if command in ("list", "rollout", "eval", "train", "bench") or rest.lstrip().startswith("-"):
            wrong = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", rest)) - options_of(command)
            assert not wrong, f"rao-envs {command} has no {', '.join(sorted(wrong))}"


def test_every_command_is_on_the_page_about_them() -> None:
    from typer.main import get_command

    from rao_envs.cli import app

    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in get_command(app).commands:
        assert f"rao-envs {command}" in page
        missing = {o for o in options_of(command) if o.startswith("--") and f"`{o}`" not in page} - {"--help"}
        missing -= {o for o in missing if o.startswith("--no-")}
        assert not missing, f"docs/cli.md does not mention {', '.join(sorted(missing))} of rao-envs {command}"


def test_every_public_name_is_listed() -> None:
    page = (ROOT / "docs" / "api" / "rao_envs.md").read_text(encoding="utf-8")
    missing = [name for name in rao_envs.__all__ if f"[`{name}`]" not in page and name != "__version__"]
    assert not missing, f"docs/api/rao_envs.md lacks {', '.join(missing)}"


def test_every_public_part_of_the_library_has_a_page() -> None:
    described = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    # The command line has a page of its own; the others are of use to it and to registration only.
    elsewhere = {"cli", "registration", "spaces", "speed", "viewer"}
    library = ROOT / "rao_envs"
    files = [*library.glob("[a-z]*.py"), *library.glob("*/__init__.py")]
    parts = {file.parent.name if file.stem == "__init__" else file.stem for file in files}
    for part in sorted(parts - elsewhere):
        assert re.search(rf"^::: rao_envs\.{part}\b", described, re.M), f"docs/api has no `::: rao_envs.{part}`"


def test_readme_uses_no_address_within_the_documentation() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", readme):
        assert target.startswith("http") or (ROOT / target).exists(), f"README.md links to {target}"


def rewrite(page: Path) -> None:
    """Put what is printed now into a page, where it differs."""
    with tempfile.TemporaryDirectory() as folder:
        new = [(out, out.text, text) for _, out, text in printed_by_python(page, Path(folder))]
        for block in blocks(page):
            if block.language == "console":
                want = block.text.partition("\n")[2]
                new.append((block._replace(line=block.line + 1), want, printed_by_command(block, Path(folder))))
    lines = page.read_text(encoding="utf-8").split("\n")
    for block, old, text in sorted(new, key=lambda item: -item[0].line):
        if not agree(old, text):
            kept = [line.rstrip() for line in text.strip("\n").split("\n")]
            lines[block.line - 1 : block.line - 1 + old.count("\n")] = kept
    page.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    for changed in [Path(argument).resolve() for argument in sys.argv[1:]] or PAGES:
        rewrite(changed)
