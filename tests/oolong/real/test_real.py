import csv
import json
import sys
import types
from collections import Counter

import pytest

from rao_envs.errors import OptionError
from rao_oolong.judging.scoring import score
from rao_oolong.questions.families import FAMILIES, ROLL_FAMILIES, ask
from rao_oolong.real import load_episodes, load_published, roll_type

HEADER = "Episode\tTime\tCharacter\tType of Roll\tTotal Value\tNatural Value\tCrit?\tDamage Dealt\t# Kills\tNotes"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / "E1.txt").write_text("Ann: Hello.\nBo: 17.\n", encoding="utf-8")
    (tmp_path / "episodes" / "E2.txt").write_text("Ann: Hello again.\n", encoding="utf-8")
    (tmp_path / "characters.tsv").write_text(
        "Player\tCharacter\tNotes\nAnn\tDM\t\nBo\tWisp\t\nNA\tFrumpkin\tcat\nBo\tRook", encoding="utf-8"
    )
    return tmp_path


def log_of(folder, *rows):
    (folder / "rolls.tsv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    episodes = load_episodes(folder)
    return episodes, episodes.session("E1").log.rolls


@pytest.mark.parametrize(
    ("total", "natural", "read"),
    [
        ("17", "14", (14, 17)),
        ("Nat20", "20", (20, None)),
        ("Nat20", "", (20, None)),
        ("nat 1", "N/A", (1, None)),
        ("", "Natural 6", (6, None)),
        ("Nat5", "6", (6, None)),  # its own column wins
        ("Unknown", "Unknown", (None, None)),
        ("N/A", "", (None, None)),
        ("--", "?", (None, None)),
        ("15.0", "9.0", (9, 15)),
        ("15 (with Bless)", "9", (9, 15)),
        (" 15 ", "", (None, 15)),
        ("-1", "1", (1, -1)),
        ("37", "", (None, 37)),
    ],
)
def test_values_are_read_by_the_rules(folder, total, natural, read):
    episodes, rolls = log_of(folder, f"E1\t00:01:00\tWisp\tStealth\t{total}\t{natural}\t\t\t\t")
    assert [(roll.natural, roll.total) for roll in rolls] == [read]
    assert episodes.odd == ()


@pytest.mark.parametrize(
    ("total", "natural", "read", "odd"),
    [
        ("17", "25", (None, 17), "rolls.tsv:2: natural value 25 is not on a d20"),
        ("lots", "14", (14, None), "rolls.tsv:2: total 'lots'"),
        ("17", "maybe 14", (None, 17), "rolls.tsv:2: natural value 'maybe 14'"),
    ],
)
def test_what_no_rule_reads_is_reported(folder, total, natural, read, odd):
    episodes, rolls = log_of(folder, f"E1\t00:01:00\tWisp\tStealth\t{total}\t{natural}")
    assert [(roll.natural, roll.total) for roll in rolls] == [read]
    assert episodes.odd == (odd,)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Stealth", "Stealth"),
        (" stealth  Check ", "Stealth"),
        ("SLEIGHT OF HAND", "Sleight of Hand"),
        ("Sleight Of Hand", "Sleight of Hand"),
        ("Con Save", "Constitution Save"),
        ("wis. saving throw", "Wisdom Save"),
        ("Death Saving Throws", "Death Save"),
        ("Dexterity Save", "Dexterity Save"),
        ("Dexterity", "Dexterity"),
        ("dex check", "Dexterity"),
        ("Thieves\u2019 Tools", "Thieves' Tools"),
        ("thieves' tools", "Thieves' Tools"),
        ("spell attack", "Spell Attack"),
        ("Deflect Missiles", "Deflect Missiles"),
        ("", "Unknown"),
        ("N/A", "Unknown"),
        ("unknown", "Unknown"),
    ],
)
def test_roll_types_have_one_name(typed, name):
    assert roll_type(typed) == name
    assert roll_type(name) == name


def test_rows_and_players(folder):
    episodes, rolls = log_of(
        folder,
        "E1\t\tWisp\tAttack\t12",  # columns missing at the end
        "",
        "\t\t\t\t\t",
        "E1\t\tFrumpkin\tPerception\t9\t9",
        "E1\t\tStranger\tAttack\t9\t9",
        "E1\t\t\tAttack\t9\t9",
        "E9\t\tWisp\tAttack\t9\t9",
        'E1\t\tRook\tStealth\t8\t7\t\t\t\tsays "hi',
        "E2\t\tWisp\tAttack\t9\t9",
    )
    assert [(r.player, r.character) for r in rolls] == [
        ("Bo", "Wisp"),
        ("", "Frumpkin"),
        ("", "Stranger"),
        ("Bo", "Rook"),
    ]
    assert episodes.odd == ("rolls.tsv:7: no character",)
    assert {ask(episodes.session("E1").log, 0, i, ["rolls_by_player"]).params["player"] for i in range(9)} == {"Bo"}
    both = episodes.session("E1", "E2")
    assert both.text == (
        "[START OF EPISODE]\nAnn: Hello.\nBo: 17.\n[END OF EPISODE]\n"
        "[START OF EPISODE]\nAnn: Hello again.\n[END OF EPISODE]"
    )
    assert [(r.episode, r.line) for r in both.log.rolls] == [(1, 0)] * 4 + [(2, 4)]
    assert not both.placed
    assert both.locate("Ann: Hello.\nBo: 17.") == (1, 2)
    assert "Bo plays the character Wisp.\nBo plays the character Rook." in both.preamble
    assert "Frumpkin" not in both.preamble
    assert [session.log.episodes for session in episodes.windows(1)] == [1, 1]


def test_missing_files_are_named(folder):
    with pytest.raises(OptionError, match=r"lacks rolls\.tsv"):
        load_episodes(folder)
    (folder / "rolls.tsv").write_text("Episode\tCharacter\n", encoding="utf-8")
    with pytest.raises(OptionError, match="Type of Roll"):
        load_episodes(folder)
    with pytest.raises(OptionError, match="no episodes"):
        load_episodes(folder / "episodes")
    episodes, _ = log_of(folder)
    for ids in ((), ("E1", "E7")):
        with pytest.raises(OptionError, match="E1"):
            episodes.session(*ids)


# The real log, counted in one plain pass.


def plain_pass(folder, ids):
    rows = []
    with open(folder / "rolls.tsv", encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            row = [*row, *[""] * (10 - len(row))]
            if row[0] not in ids:
                continue
            total, natural = row[4].strip(), row[5].strip()
            if natural.isdigit():
                value = int(natural)
            elif total.startswith("Nat"):
                value = int(total[3:])
            else:
                value = None
            rows.append((row[0], row[2].strip(), row[3].strip(), value))
    return rows


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_every_count_of_the_real_log(real, real_folder, count):
    with open(real_folder / "characters.tsv", encoding="utf-8") as file:
        player = {row[1]: row[0] for row in (line.rstrip("\n").split("\t") for line in file) if row[0] != "NA"}
    for start in range(0, len(real.ids) - count + 1, max(1, count - 1)):
        ids = real.ids[start : start + count]
        log = real.session(*ids).log
        rows = plain_pass(real_folder, ids)

        def answer(name, log=log, **params):
            return FAMILIES[name].answer(log, **params)

        assert answer("rolls_total") == len(rows) > 0
        characters, kinds = Counter(row[1] for row in rows), Counter(row[2] for row in rows)
        values = Counter(row[3] for row in rows)
        players = Counter(player.get(row[1], "") for row in rows)
        for character, times in characters.items():
            assert answer("rolls_by_character", character=character) == times
            for number in range(1, count + 1):
                so_far = sum(row[1] == character and row[0] in ids[:number] for row in rows)
                assert answer("rolls_cumulative_by_character", character=character, episode=number) == so_far
        for name in set(players) - {""}:
            assert answer("rolls_by_player", player=name) == players[name]
        for kind, times in kinds.items():
            assert answer("rolls_of_type", kind=kind) == times
        for value in range(1, 21):
            assert answer("rolls_of_value", value=value) == values[value]
            assert abs(answer("rolls_percentage", value=value) - 100 * values[value] / len(rows)) <= 0.5
        assert answer("nat20s") == values[20]
        assert answer("nat1s") == values[1]
        assert answer("crits") == values[1] + values[20]
        for number in range(1, count + 1):
            assert answer("rolls_cumulative", episode=number) == sum(row[0] in ids[:number] for row in rows)
        del values[None]
        most, twice = max(values.values()), [times for times in values.values() if times > 1]
        assert answer("roll_value_most") == [str(v) for v in sorted(values) if values[v] == most]
        assert answer("roll_value_least") == [str(v) for v in sorted(values) if values[v] == min(twice)]
        most, twice = max(kinds.values()), [times for times in kinds.values() if times > 1]
        assert answer("roll_type_most") == sorted(k for k in kinds if kinds[k] == most)
        assert answer("roll_type_least") == sorted(k for k in kinds if kinds[k] == min(twice))


def test_the_rules_read_all_of_the_real_log(real):
    assert real.odd == ()
    assert len(real.ids) == 10
    log = real.session(*real.ids).log
    assert (len(log.rolls), log.episodes) == (1049, 10)
    assert FAMILIES["nat20s"].answer(log) == 46


def test_real_episodes_can_be_asked(real):
    for session in (real.session("C2E003"), *real.windows(3)):
        assert session.text.count("[START OF EPISODE]") == session.log.episodes
        seen = set()
        for index in range(60):
            question = ask(session.log, 0, index, ROLL_FAMILIES)
            seen.add(question.family)
            assert score(question.gold, question.gold).value == 1
        assert len(seen) >= 12
    assert session.lines(1, 1).startswith(("Matt: ", "All: ", "Laura: ", "Sam: "))
    assert session.locate(session.lines(200, 400)) == (200, 400)


# The published set


ROW = {
    "id": "x1",
    "context_window_text": "Ann plays the character DM.",
    "question": "Total number of rolls in this episode?",
    "answer": "84",
    "question_type": "singledoc_rolls",
    "episodes": "['C1E001']",
    "campaign": "campaign1",
    "more": 1,
}


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


def test_the_published_set_from_json_lines(tmp_path):
    path = write(tmp_path / "set.jsonl", ROW, {**ROW, "answer": "Hex, Fly", "episodes": ["a", "b"], "id": None})
    first, second = load_published(path)
    assert (first.gold, first.episodes, first.question_type, first.campaign, first.id) == (
        84,
        ("C1E001",),
        "singledoc_rolls",
        "campaign1",
        "x1",
    )
    assert (second.gold, second.episodes) == (["Hex", "Fly"], ("a", "b"))
    assert score(second.gold, r"\boxed{Fly, Hex}").value == 1


def test_optional_fields_may_be_missing(tmp_path):
    row = {key: ROW[key] for key in ("context_window_text", "question")} | {"answer": 7}
    (question,) = load_published(write(tmp_path / "set.jsonl", row))
    assert (question.gold, question.episodes, question.id) == (7, (), "0")


@pytest.mark.parametrize("field", ["context_window_text", "question", "answer"])
def test_a_row_without_what_it_needs_is_named(tmp_path, field):
    for row in ({**ROW, field: None}, {**ROW, field: ""}, {key: ROW[key] for key in ROW if key != field}):
        path = write(tmp_path / "set.jsonl", ROW, row)
        with pytest.raises(OptionError, match=f"row 1 .* has no {field}"):
            list(load_published(path))


def test_broken_files_are_named(tmp_path):
    with pytest.raises(OptionError, match="is not a file"):
        load_published(tmp_path / "none.jsonl")
    (tmp_path / "set.csv").touch()
    with pytest.raises(OptionError, match=r"\.jsonl or \.parquet"):
        load_published(tmp_path / "set.csv")
    (tmp_path / "set.jsonl").write_text("{}\nnope")
    with pytest.raises(OptionError, match="row 0"):
        list(load_published(tmp_path / "set.jsonl"))
    (tmp_path / "set.jsonl").write_text(json.dumps(ROW) + "\nnope")
    with pytest.raises(OptionError, match="line 2 is not JSON"):
        list(load_published(tmp_path / "set.jsonl"))
    (tmp_path / "set.jsonl").write_text("[1]")
    with pytest.raises(OptionError, match="not a JSON object"):
        list(load_published(tmp_path / "set.jsonl"))


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    path = tmp_path / "set.parquet"
    path.touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r'needs pyarrow: pip install "rao-envs\[oolong\]", or convert it to .jsonl'):
        list(load_published(path))


def test_the_published_set_from_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is optional")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "set.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([ROW] * 40), path)
    questions = list(load_published(path))
    assert len(questions) == 40
    assert questions[0].gold == 84


def test_the_published_set_from_datasets(monkeypatch):
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return [ROW]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert [question.gold for question in load_published(split="validation")] == [84]
    assert asked == [(("oolongbench/oolong-real", "dnd"), {"split": "validation"})]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'needs datasets: pip install "rao-envs\[oolong\]", or give the path'):
        load_published()
