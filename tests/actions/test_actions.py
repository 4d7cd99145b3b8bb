import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs import Subtask, Task, ToolError, Verdict, World, tool
from rao_envs.actions import CallsFormat, CodeFormat, Toolset
from rao_envs.actions.calls import CallsSession, parse_calls
from rao_envs.actions.code import extract_code
from rao_envs.actions.tools import finish_message
from rao_envs.errors import CorruptCheckpoint, OptionError
from rao_envs.sandbox import LATER, Call, Done, Failure, Value, Wait
from rao_envs.sandbox.monty import MontySandbox
from rao_envs.values import json_size, to_json


class Shop(World):
    finish_doc = "Say what you bought."

    @tool
    def buy(self, node: Any, what: str, units: int = 1, *, notes: dict[str, list[int]] | None = None) -> str:
        """Buy something.

        Args:
            node: who asks.
            what: the thing.
            units: how many.
            notes: anything.

        Raises:
            ToolError: it is sold out.
        """
        if what == "nothing":
            raise ToolError("it is sold out")
        return f"{units} {what} {notes}"

    @tool
    def anything(self, node: Any, thing) -> Any:  # type: ignore[no-untyped-def]
        return thing

    def delegate(self, node: Any, goal: str) -> Subtask:
        """Send somebody else."""
        return Subtask(goal)

    def verify(self, node: Any, result: Any) -> Verdict:
        return Verdict(1.0)


SHOP = Shop(Task("shop", "buy"))
TOOLS = Toolset(Shop, delegate=True)
BUY = TOOLS.tools["buy"]


# Code in messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x = 1", "x = 1"),
        ("  \n x = 1 \n", "x = 1"),
        ("", ""),
        ("<python>x = 1</python>", "x = 1"),
        ("I will.\n<python>\nx = 1\n</python>\nDone.", "x = 1"),
        ("<python>x = 1", "x = 1"),
        ("<python>x = 1</python> and <python>y = 2</python>", "x = 1\ny = 2"),
        ("<python>\n    x = 1\n    if x:\n        y = 2\n</python>", "x = 1\nif x:\n    y = 2"),
        ("<python></python>", ""),
        ("```python\nx = 1\n```", "x = 1"),
        ("```\nx = 1\n```", "x = 1"),
        ("``` py\nx = 1\n```", "x = 1"),
        ("Look:\n```python\nx = 1\n```\nthen\n```Python\ny = 2\n```", "x = 1\ny = 2"),
        ("```json\n{}\n```\n```python\nx = 1\n```", "x = 1"),
        ("```python\nx = 1", "x = 1"),
        ("  ```python\n  x = 1\n  ```", "x = 1"),
        ("```python\ns = '```'\n```", "s = '```'"),
        ("<think>x = 0</think>x = 1", "x = 1"),
        ("<think>use <python> now</think><python>x = 1</python>", "x = 1"),
        ("<thought>a</thought><thinking>b</thinking>\n```\nx = 1\n```", "x = 1"),
        ("<think>never closed <python>x = 1</python>", "x = 1"),
        ("began in the prompt </think>\n<python>x = 1</python>", "x = 1"),
        ("began in the prompt\n```\nx = 0\n```\n</think>\n```python\nx = 1\n```", "x = 1"),
        ("<python>print('<think>')</python>", "print('<think>')"),
        ("<python>print('<think> a </think>')</python>", "print('<think> a </think>')"),
        ("<python>print('''</think>''')</python><think>", "print('''</think>''')"),
        ("<think>only thoughts", ""),
    ],
)
def test_code_is_found_in_a_message(message, code):
    assert extract_code(message) == code


def test_a_message_without_code_is_answered_in_words():
    with MontySandbox(max_workers=1) as sandbox:
        code = CodeFormat(sandbox)
        session = code.open(TOOLS, {}, 0)
        for message in ("", "  ", "<think>hm</think>", "<python></python>"):
            assert code.start(session, message) == Done(
                "Your message holds no code. Write Python between <python> and </python>.", "agent"
            )


def test_code_of_the_same_indentation_twice_still_runs():
    with MontySandbox(max_workers=1) as sandbox:
        code = CodeFormat(sandbox)
        session = code.open(TOOLS, {}, 0)
        message = "<python>\n  x = 1\n</python><python>\n\tprint(x)\n</python>"
        assert code.start(session, message) == Done("1\n")


# JSON calls in messages ---------------------------------------------------------------------------------

ONE = '{"name": "buy", "arguments": {"what": "a"}}'
PARSED = ("buy", {"what": "a"})


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        (f"[{ONE}]", [PARSED]),
        (ONE, [PARSED]),
        (f" \n[{ONE}, {ONE}]\n", [PARSED, PARSED]),
        (f"```json\n[{ONE}]\n```", [PARSED]),
        (f"Let me:\n```\n{ONE}\n```\nThanks.", [PARSED]),
        (f"```json\n{ONE}", [PARSED]),
        (f"<tool_call>{ONE}</tool_call>", [PARSED]),
        (f"I do\n<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{ONE}\n</tool_call>", [PARSED, PARSED]),
        (f"<tool_calls>[{ONE}]</tool_calls>", [PARSED]),
        (f"<tool_call>[{ONE}]</tool_call><tool_call>{ONE}</tool_call>", [PARSED, PARSED]),
        (f"<tool_call>{ONE}", [PARSED]),
        (f"<think>[]</think>[{ONE}]", [PARSED]),
        (f"began in the prompt</think>[{ONE}]", [PARSED]),
        ('[{"name": "buy"}]', [("buy", {})]),
        ('[{"name": "buy", "arguments": "{\\"what\\": \\"a\\"}"}]', [PARSED]),
        ('[{"name": "buy", "arguments": {}, "id": 7}]', [("buy", {})]),
        ('[{"name": "x\\ud800", "arguments": {"\\ud800": "\\udfff"}}]', [("x?", {"?": "?"})]),
    ],
)
def test_calls_are_found_in_a_message(message, calls):
    assert parse_calls(message) == calls


@pytest.mark.parametrize(
    ("message", "mend"),
    [
        ("craft it", "Send a list of calls"),
        ("", "Send a list of calls"),
        ("[", "Send a list of calls"),
        ("[" * 99_000, "Send a list of calls"),
        ("[]", "call at least one tool"),
        ("<tool_call></tool_call>", "Send a list of calls"),
        ("5", "an object"),
        ('["buy"]', "an object"),
        ('[{"tool": "buy"}]', "an object"),
        ('[{"name": 5}]', "an object"),
        ('[{"name": "buy", "arguments": [1]}]', "arguments of buy must be an object"),
        ('[{"name": "buy", "arguments": null}]', "arguments of buy must be an object"),
        ('[{"name": "buy", "arguments": "{"}]', "arguments of buy are not JSON"),
        ('[{"name": "buy", "arguments": {"what": ' + "[" * 200 + "]" * 200 + "}}]", "pass flatter data"),
        ("[" + " " * 100_000 + "]", "longer than 100,000"),
    ],
)
def test_what_is_not_a_list_of_calls_is_refused_with_the_mend(message, mend):
    with pytest.raises(ToolError, match=mend):
        parse_calls(message)


@pytest.mark.parametrize("read", [extract_code, parse_calls])
@pytest.mark.parametrize(
    "hard",
    ["```" + "a" * 99_000, "```" + " " * 99_000, "``` \t" * 24_000, "```\n" * 24_000, " " * 99_000 + "```",
     "<think>" * 14_000, "<python>" * 12_000, "<tool_call>" * 9_000, "</think>" * 12_000, "<think></thinking>" * 5_000,
     "[" * 99_000, "{" * 99_000, '"' * 99_000, "\n" * 99_000, "```python\n" + " ```x\n" * 16_000],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_no_message_takes_long_to_read(read, hard):
    begin = time.perf_counter()
    try:
        read(hard)
    except ToolError:
        assert read is parse_calls
    assert time.perf_counter() - begin < 2.0


@given(st.text())
def test_reading_a_message_raises_nothing_but_tool_errors(message):
    assert isinstance(extract_code(message), str)
    try:
        calls = parse_calls(message)
    except ToolError:
        return
    assert calls
    assert all(isinstance(name, str) and isinstance(arguments, dict) for name, arguments in calls)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(_JSON, max_size=4) | _JSON)
def test_reading_any_json_raises_nothing_but_tool_errors(data):
    try:
        assert parse_calls(json.dumps(data))
    except ToolError:
        return


@given(_JSON)
def test_arguments_reach_the_tool_as_they_were_sent(value):
    sent = json.dumps([{"name": "anything", "arguments": {"thing": value}}])
    ((name, arguments),) = parse_calls(sent)
    assert name == "anything"
    if "\\u" not in sent:
        assert json.dumps(arguments) == json.dumps({"thing": value})


# A session of calls -------------------------------------------------------------------------------------


def test_calls_run_in_order_and_launches_wait_together():
    session = CallsSession(("look", "launch_subagent"))
    calls = [{"name": "launch_subagent"}, {"name": "look"}, {"name": "nope"}, {"name": "launch_subagent"}]
    assert session.start(json.dumps(calls)) == Call(0, "launch_subagent", (), {})
    assert session.answer(0, LATER) == Call(1, "look", (), {})
    assert session.answer(1, Value({"a": 1})) == Call(3, "launch_subagent", (), {})
    assert session.answer(3, LATER) == Wait((0, 3))
    copy = CallsSession.from_dump(("look", "launch_subagent"), session.dump())
    for each in (session, copy):
        assert each.settle(3, Value("second")) == Wait((0,))
        done = each.settle(0, Failure("first failed"))
        assert done.fault == "agent"
        assert json.loads(done.text) == [
            {"name": "launch_subagent", "error": "first failed"},
            {"name": "look", "result": {"a": 1}},
            {"name": "nope", "error": "no such tool; there are look, launch_subagent"},
            {"name": "launch_subagent", "result": "second"},
        ]


def test_calls_given_up_show_what_they_had():
    session = CallsSession(("look",))
    session.start('[{"name": "look"}, {"name": "look"}]')
    session.answer(0, Value(1))
    assert session.abandon() == '[{"name":"look","result":1}]'
    assert session.start('[{"name": "look"}]') == Call(0, "look", (), {})
    assert session.answer(0, Value("é\u2028")) == Done('[{"name":"look","result":"é\u2028"}]')


@pytest.mark.parametrize("state", [b"", b"[]", b"{}", b'{"calls": 1, "results": []}', b"\xff", b'{"calls": [[1]]}'])
def test_a_damaged_dump_of_calls_is_refused(state):
    with pytest.raises(CorruptCheckpoint):
        CallsFormat().restore(TOOLS, {}, state)


# Tools --------------------------------------------------------------------------------------------------


def test_tools_are_described_to_agents_and_not_to_programmers():
    text = TOOLS.describe()
    assert "buy(what: str, units: int = 1, *, notes: dict[str, list[int]] | None = None) -> str" in text
    assert "    Buy something." in text
    assert "the thing." in text
    assert "launch_subagent(goal: str)\n    Send somebody else." in text
    assert text.endswith("finish(message)\n    Say what you bought.")
    for private in ("node", "Raises", "sold out", "self"):
        assert private not in text


def test_both_formats_explain_launching_only_to_those_who_may():
    for action_format in (CodeFormat(MontySandbox()), CallsFormat()):
        assert "launch_subagent" in action_format.explain(TOOLS)
        alone = action_format.explain(Toolset(Shop, delegate=False))
        assert "launch_subagent" not in alone
        assert "buy(" in alone


def test_who_may_not_delegate_is_told_so_and_not_that_the_name_is_unknown():
    alone = Toolset(Shop, delegate=False)
    assert alone.launch is None
    assert alone.names == TOOLS.names == ("buy", "anything", "launch_subagent", "finish")


def test_schemas_are_those_of_chat_servers():
    schemas = TOOLS.schemas()
    assert json.loads(json.dumps(schemas)) == schemas
    assert [entry["function"]["name"] for entry in schemas] == ["buy", "anything", "launch_subagent", "finish"]
    parameters = schemas[0]["function"]["parameters"]
    assert parameters["required"] == ["what"]
    assert parameters["properties"]["what"] == {"type": "string"}
    assert set(parameters["properties"]) == {"what", "units", "notes"}
    assert schemas[1]["function"]["parameters"]["properties"] == {"thing": {}}
    assert {entry["type"] for entry in schemas} == {"function"}


def test_a_tool_takes_what_fits():
    assert BUY(SHOP, None, ("a",), {}) == "1 a None"
    assert BUY(SHOP, None, (), {"what": "a", "units": "3", "notes": {"x": (1, 2)}}) == "3 a {'x': [1, 2]}"


@pytest.mark.parametrize(
    ("args", "kwargs", "named", "why"),
    [
        ((), {}, "what", "issing"),
        ((5,), {}, "what", "valid string"),
        (("a", "many"), {}, "units", "valid integer"),
        (("a", 1.5), {}, "units", "valid integer"),
        (("a", float("nan")), {}, "units", "integer"),
        (("a",), {"notes": {"x": [1, "y"]}}, "notes.x.1", "valid integer"),
        (("a",), {"notes": [1]}, "notes", "valid dict"),
        (("a",), {"price": 1}, "price", "nexpected"),
        (("a", 1, 2), {}, "2", "nexpected"),
        (("a",), {"what": "b"}, "what", "ultiple"),
    ],
)
def test_wrong_arguments_name_tool_argument_and_mend(args, kwargs, named, why):
    with pytest.raises(ToolError) as caught:
        BUY(SHOP, None, args, kwargs)
    text = str(caught.value)
    assert text.startswith("buy: ")
    assert f"'{named}'" in text or named == "2"
    assert why in text
    assert "Call it as buy(what: str" in text


@pytest.mark.parametrize("name", ["node", "self"])
def test_an_agent_cannot_act_in_anothers_name(name):
    with pytest.raises(ToolError, match="unexpected argument"):
        BUY(SHOP, None, ("a",), {name: 0})


def test_a_tools_own_refusal_is_passed_on():
    with pytest.raises(ToolError, match=r"^it is sold out$"):
        BUY(SHOP, None, ("nothing",), {})


@pytest.mark.parametrize("value", [print, object(), 10**2000, [[[0] * 150_000] * 2], {(1, 2): 3}])
def test_what_is_not_data_does_not_reach_a_tool(value):
    with pytest.raises(ToolError):
        TOOLS.tools["anything"](SHOP, None, (value,), {})


def test_a_tools_own_odd_result_is_its_authors_mistake():
    session = CallsSession(("look",))
    session.start('[{"name": "look"}]')
    with pytest.raises(OptionError, match=r"results=\['look'\]: tools must return plain data"):
        session.answer(0, Value(object()))


def test_a_broken_text_in_a_result_can_be_saved():
    session = CallsSession(("look", "launch_subagent"))
    session.start('[{"name": "look"}, {"name": "launch_subagent"}]')
    session.answer(0, Value("\ud800"))
    session.answer(1, LATER)
    copy = CallsSession.from_dump(session._names, session.dump())
    assert copy.settle(1, Value(1)) == session.settle(1, Value(1))


def test_odd_data_reaches_a_tool_made_plain():
    tool = TOOLS.tools["anything"]
    assert tool(SHOP, None, ({1, 2},), {}) == [1, 2]
    assert tool(SHOP, None, ({1: (2, 3)},), {}) == {"1": [2, 3]}
    assert tool(SHOP, None, ("\ud800",), {}) == "?"
    assert tool(SHOP, None, (float("inf"),), {}) == "inf"


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, None),
        (("x",), {}, "x"),
        ((), {"message": "x"}, "x"),
        ((), {"answer": {1: (2,)}}, {"1": [2]}),
        (("x", 2), {}, ["x", 2]),
        (("x",), {"why": 1}, {"message": "x", "why": 1}),
        ((1, 2), {"why": 3}, {"message": [1, 2], "why": 3}),
    ],
)
def test_finish_takes_one_thing_under_any_name_or_several(args, kwargs, message):
    assert finish_message(args, kwargs) == message


@pytest.mark.parametrize(
    "number", ["NaN", "-Infinity", "1e999", "-1E+400", "9" * 400 + ".0", "1" * 2000, '"\\ud800"', "[" * 70 + "]" * 70]
)
def test_calls_bring_their_arguments_down_to_plain_json(number):
    """The engine relies on it, and does not look at them again."""
    try:
        ((_, arguments),) = parse_calls(f'[{{"name": "look", "arguments": {{"x": {number}}}}}]')
    except ToolError:
        return
    assert to_json(arguments) == arguments
    json.dumps(arguments, allow_nan=False).encode()


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_arguments_never_take_more_bytes_than_the_calls_format_says(value):
    message = json.dumps([{"name": "look", "arguments": {"x": value}}], ensure_ascii=False)
    message = message.encode("utf-8", "replace").decode()
    ((_, arguments),) = parse_calls(message)
    assert to_json(arguments) == arguments
    assert json_size(arguments) <= CallsFormat.growth * len(message)
