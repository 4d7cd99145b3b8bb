from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st


def test_lines_are_indexed(campaign):
    lines = campaign.text.split("\n")
    assert len(campaign) == len(lines)
    assert [campaign.lines(i, i) for i in range(len(lines))] == lines
    assert campaign.lines(10, 20) == "\n".join(lines[10:21])
    assert campaign.lines(-5, 10**9) == campaign.text
    assert campaign.lines(20, 10) == ""


@given(st.data())
def test_lines_are_found_where_they_are(campaign, data):
    first = data.draw(st.integers(0, len(campaign) - 8))
    last = data.draw(st.integers(first + 7, min(len(campaign) - 1, first + 3_000)))
    assert campaign.locate(campaign.lines(first, last)) == (first, last)
    assert campaign.locate(f"\n {campaign.lines(first, last)}\n\n") == (first, last)


@given(st.lists(st.integers(0, 360_000), min_size=1, max_size=12))
def test_chunks_cut_anywhere_share_the_lines_out(campaign, cuts):
    edges = sorted({0, len(campaign.text), *(cut for cut in cuts if cut < len(campaign.text))})
    covered = []
    for low, high in pairwise(edges):
        if high - low > 400:
            found = campaign.locate(campaign.text[low:high])
            assert found
            covered += range(found[0], found[1] + 1)
    assert len(covered) == len(set(covered))
    if all(high - low > 400 for low, high in pairwise(edges)):
        # Only a line of which no chunk has more than half can be nobody's.
        assert len(covered) >= len(campaign) - len(edges)


def test_a_line_belongs_to_the_chunk_with_more_than_half_of_it(campaign):
    starts = campaign.line_starts
    line = next(i for i in range(100, 200) if starts[i + 1] - starts[i] > 60)
    low, high = starts[line], starts[line + 1] - 1
    end = starts[line + 21] - 1
    assert campaign.locate(campaign.text[low + 5 : end]) == (line, line + 20)
    half = (low + high) // 2
    assert campaign.locate(campaign.text[half - 1 : end]) == (line, line + 20)
    assert campaign.locate(campaign.text[half + 1 : end]) == (line + 1, line + 20)
    assert campaign.locate(campaign.text[high - 5 : end]) == (line + 1, line + 20)
    begin = starts[line - 20]
    assert campaign.locate(campaign.text[begin : high - 5]) == (line - 20, line)
    assert campaign.locate(campaign.text[begin : low + 5]) == (line - 20, line - 1)


def test_the_preamble_and_a_heading_are_ignored(campaign):
    chunk = campaign.lines(100, 400)
    assert campaign.locate(campaign.context) == (0, len(campaign) - 1)
    assert campaign.locate(f"{campaign.preamble}\n\n{chunk}") == (100, 400)
    assert campaign.locate(f"{campaign.preamble}\n\n{campaign.lines(100, 110)}") == (100, 110)
    assert campaign.locate(f"Part 3 of 9:\n{chunk}\n(end of part 3)") == (100, 400)


def test_what_is_not_of_this_text_is_not_found(campaign, single):
    chunk = campaign.lines(100, 200)
    assert single.locate(chunk) is None
    assert campaign.locate("") is None
    assert campaign.locate("   \n") is None
    assert campaign.locate(f"{single.lines(50, 150)}\n{chunk}") is None
    # More than half of it is, its middle too, but not nearly all.
    assert campaign.locate(f"{single.lines(50, 75)}\n{chunk}\n{single.lines(80, 105)}") is None
    assert campaign.locate(chunk.replace("e", "x")) is None


def test_a_chunk_that_occurs_twice_is_nowhere(campaign):
    assert campaign.locate("[START OF EPISODE]") is None
    assert campaign.text.count("Oh no.") > 1
    assert campaign.locate("Oh no.") is None
