"""Real questions: read as their sets write them, answered on a corpus, and told from the tree what was found."""

import json
from pathlib import Path

import gymnasium as gym
import pytest

import rao_envs
from rao_deepdive.real import RealWorld, gold_titles, load_questions, real_tasks
from rao_deepdive.search import FullTextSearch, Page, build_index, open_corpus
from rao_envs import RecursiveEnv
from rao_envs.errors import OptionError

REAL = Path(__file__).parents[3] / "shared" / "data" / "multihop"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="the real corpus is not beside the checkout")

PASSAGES = [
    {"title": "Eddie Eagle", "text": "Eddie Eagle was the first ski jumper of Britain. He was born in Cheltenham."},
    {"title": "Cheltenham", "text": "Cheltenham is a spa town. Its racecourse opened in 1902."},
    {"title": "The 'Jump' \"Show\"", "text": "The Jump is a show with celebrities on ski, among them Eddie Eagle."},
    {"title": "Cheltenham", "text": "Cheltenham is also a village in Ontario."},
    {"title": "Eddie Eagle Club", "text": "A club of mountaineers."},
    {"title": "Ödön \\ Écu", "text": "A painter of spas."},
]
QUESTIONS = [
    {
        "id": "q1",
        "question": "When did the racecourse open in the town where Britain's first ski jumper was born?",
        "answer": "1902",
        "aliases": ["in 1902"],
        "supporting_titles": ["Eddie Eagle", "Cheltenham"],
        "level": "hard",
        "type": "bridge",
    },
    {"question": "Which show?", "answer": "The Jump", "supporting_titles": ["The 'Jump' \"Show\"", "Ödön \\ Écu"]},
    {"question": "Who?", "answer": "nobody", "supporting_titles": ["A page that is not there"]},
    {"question": "Why?", "answer": "because"},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path):
    return open_corpus(write(tmp_path / "corpus.jsonl", PASSAGES), folder=tmp_path)


@pytest.fixture
def questions(tmp_path):
    return write(tmp_path / "questions.jsonl", QUESTIONS)


@pytest.fixture
def play(corpus, questions):
    """Run one question with the root's actions given; return the tree."""

    def play(task, *actions, action_format="calls", **options):
        env = RecursiveEnv(
            real_tasks(questions, corpus),
            lambda task: RealWorld(task, corpus),
            action_format=action_format,
            **options,
        )
        env.reset(options={"task": task})
        for action in actions:
            *_, info = env.step(action)
        return info.get("tree") or env.tree

    return play


def call(name, **arguments):
    return json.dumps([{"name": name, "arguments": arguments}])


# Reading questions


def test_questions_are_read_with_all_they_say(questions):
    first, second, *_ = load_questions(questions)
    assert (first.id, first.answer, first.aliases, first.level, first.kind) == (
        "q1",
        "1902",
        ("in 1902",),
        "hard",
        "bridge",
    )
    assert first.titles == ("Eddie Eagle", "Cheltenham")
    assert (second.id, second.aliases, second.level, second.kind) == ("2", (), "real", "")


@pytest.mark.parametrize(
    "facts",
    [
        [["A", 0], ["B", 1], ["A", 2]],
        {"title": ["A", "B", "A"], "sent_id": [0, 1, 2]},
    ],
)
@pytest.mark.parametrize("as_list", [False, True], ids=["lines", "list"])
def test_hotpotqas_own_layouts_are_read(tmp_path, facts, as_list):
    row = {"_id": "x", "question": "q?", "answer": "a", "supporting_facts": facts, "context": [["A", ["text"]]]}
    path = tmp_path / "hotpot.json"
    path.write_text(("\ufeff" if as_list else "") + json.dumps([row] if as_list else row), encoding="utf-8")
    (question,) = load_questions(path)
    assert (question.id, question.titles) == ("x", ("A", "B"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "has no questions"),
        ("\n \n", "has no questions"),
        ("[]", "has no questions"),
        ('{"question": "q"', "line 1 is not JSON"),
        ('{"question": "q", "answer": "a"}\n\n7', "line 3 is no object"),
        ("[7]", "entry 1 is no object"),
        ("[{]", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"answer": "a"}', 'line 1: "question" must be a text'),
        ('{"question": "q", "answer": " "}', 'line 1: "answer" must be a text'),
        ('{"question": "q", "answer": ["a"]}', 'line 1: "answer" must be a text'),
        ('{"question": "q", "answer": "a", "aliases": "b"}', '"aliases" must be a list of texts'),
        ('{"question": "q", "answer": "a", "supporting_facts": 3}', "supporting_facts"),
        ('{"id": 1, "question": "q", "answer": "a"}\n{"id": "1", "question": "r", "answer": "b"}', "same id"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_question_is_refused_with_its_place(tmp_path, text, match):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(OptionError, match=match) as error:
        load_questions(path)
    assert str(error.value).startswith("questions=")
    with pytest.raises(OptionError, match="cannot be read"):
        load_questions(tmp_path / "none.jsonl")


def test_tasks_hold_the_gold_and_its_pages(questions, corpus):
    tasks = real_tasks(questions, corpus, "val")
    first = tasks(0)
    assert (first.id, first.goal, first.difficulty, first.split) == (
        "deepdive-real-q1",
        QUESTIONS[0]["question"],
        "hard",
        "val",
    )
    assert first.payload["gold"] == {
        "Eddie Eagle": ["corpus://eddie-eagle"],
        "Cheltenham": ["corpus://cheltenham", "corpus://cheltenham-2"],
    }
    assert tasks(2).payload["gold"] == {"A page that is not there": []}
    assert tasks(4) == rao_envs.Task(**{**first.to_dict(), "index": 4})
    assert json.loads(json.dumps(first.to_dict())) == first.to_dict()


# The environment


def test_a_question_is_answered_by_hand(play):
    tree = play(
        0,
        call("search_web", query="first ski jumper of Britain born", max_results=1),
        call("view_webpage_content", url="corpus://eddie-eagle"),
        call("view_webpage_content", url="corpus://cheltenham"),
        call("finish", message="In 1902."),
    )
    assert tree.root.success == 1.0
    assert gold_titles(tree) == {"found": 1.0, "read": 1.0}
    assert "gold" not in tree.root.system + tree.root.opening


def test_a_wrong_answer_is_wrong(play):
    assert play(0, call("finish", message="1903")).root.success == 0.0


def test_gym_makes_it(tmp_path, questions, monkeypatch):
    monkeypatch.setenv("RAO_ENVS_CACHE", str(tmp_path / "cache"))
    corpus = write(tmp_path / "corpus.jsonl", PASSAGES)
    env = gym.make("DeepDive-v0", corpus=corpus, questions=questions, action_format="calls")
    env.reset(options={"task": 0})
    observation, *_ = env.step(call("search_web", query="Cheltenham racecourse", max_results=1))
    assert "corpus://cheltenham" in observation
    *_, info = env.step(call("finish", message="1902"))
    assert info["tree"].root.success == 1.0
    assert gold_titles(info["tree"]) == {"found": 0.5, "read": 0.0}


# What was found and read

SEARCH = call("search_web", query="Eddie Eagle ski", max_results=1)


@pytest.mark.parametrize(
    ("actions", "found", "read"),
    [
        ([], 0.0, 0.0),
        ([SEARCH], 0.5, 0.0),
        ([SEARCH, SEARCH], 0.5, 0.0),
        ([call("search_web", query="Ontario", max_results=1)], 0.5, 0.0),
        ([call("search_web", query="Cheltenham born", max_results=20)], 1.0, 0.0),
        ([call("view_webpage_content", url="corpus://cheltenham-2")], 0.5, 0.5),
        ([call("view_webpage_content", url="corpus://cheltenham-3")], 0.0, 0.0),
        ([SEARCH, call("view_webpage_content", url="corpus://cheltenham")], 1.0, 0.5),
        ([call("search_web", query="painter")], 0.0, 0.0),
        ([call("search_web", query="mountaineers", max_results=1)], 0.0, 0.0),  # a longer address is another
    ],
)
def test_shares_of_the_gold_titles(play, actions, found, read):
    tree = play(0, *actions, call("finish", message="?"))
    assert gold_titles(tree) == {"found": found, "read": read}
    again = rao_envs.ExecutionTree.from_json(tree.to_json())
    assert gold_titles(again) == {"found": found, "read": read}


@pytest.mark.parametrize(
    ("code", "found", "read"),
    [
        ("print(search_web('celebrities painter spas', 5))", 1.0, 0.0),
        (
            "for hit in search_web('celebrities painter spas', 5):\n    print(hit['title'])\n    print(hit['url'])",
            1.0,
            0.0,
        ),
        ("for hit in search_web('celebrities', 1):\n    print(view_webpage_content(hit['url']))", 0.5, 0.5),
        ("for hit in search_web('painter', 1):\n    print(view_webpage_content(hit['url'])[:60])", 0.5, 0.5),
        ("[view_webpage_content(hit['url']) for hit in search_web('celebrities painter')]", 1.0, 1.0),
        ("pages = [view_webpage_content(hit['url']) for hit in search_web('celebrities painter')]", 0.0, 0.0),
    ],
)
def test_in_python_what_was_printed_counts(play, code, found, read):
    tree = play(1, code, "finish('?')", action_format="code")
    assert gold_titles(tree) == {"found": found, "read": read}


def test_titles_are_known_however_they_are_written(play):
    tree = play(1, *(call("view_webpage_content", url=f"corpus://{name}") for name in ("the-jump-show", "ödön-écu")))
    assert gold_titles(tree) == {"found": 1.0, "read": 1.0}


def test_subagents_count_and_other_titles_do_not(play):
    tree = play(
        0,
        call("launch_subagent", goal="Who was the first?"),
        SEARCH,
        call("finish", message="Eddie"),
        call("finish", message="?"),
    )
    assert len(tree) == 2
    assert gold_titles(tree) == {"found": 0.5, "read": 0.0}


def test_titles_whose_pages_are_unknown_are_known_by_name(tmp_path, questions):
    build_index([Page("https://a.example/x", "A page that is not there", "It is there.")], tmp_path / "i")
    search = FullTextSearch(tmp_path / "i")
    for last, expected in [
        (call("search_web", query="there"), {"found": 1.0, "read": 0.0}),
        (call("view_webpage_content", url="https://a.example/x"), {"found": 1.0, "read": 1.0}),
        (call("search_web", query="elsewhere"), {"found": 0.0, "read": 0.0}),
    ]:
        env = RecursiveEnv(real_tasks(questions), lambda task: RealWorld(task, search), action_format="calls")
        env.reset(options={"task": 2})
        env.step(last)
        assert gold_titles(env.tree) == expected


def test_without_gold_titles_there_is_no_share(play):
    assert gold_titles(play(3, call("finish", message="?"))) == {"found": None, "read": None}
    assert gold_titles(rao_envs.ExecutionTree()) == {"found": None, "read": None}


# The real corpus


@needs_data
def test_the_real_corpus_is_searched(tmp_path):
    search = open_corpus(REAL / "corpus.jsonl", folder=tmp_path)
    tasks = real_tasks(REAL / "questions.jsonl", search)
    assert len(search) == 7112
    asked = [tasks(index) for index in range(50)]
    assert all(urls for task in asked for urls in task.payload["gold"].values())
    recall = {}
    for most in (5, 10, 20):
        hits = [{hit.title for hit in search.search(task.goal, most)} for task in asked]
        recall[most] = sum(
            len(found & set(task.payload["gold"])) / len(task.payload["gold"])
            for found, task in zip(hits, asked, strict=True)
        )
    assert recall[5] >= 36, recall
    assert recall[10] >= 42, recall
    assert recall[20] >= 44, recall
