"""What Markdown is made of; the oracle is a parser of our own reading of GitHub's tables."""

import re

from undim.results.markdown import escape, section, table


def cells_of(line):
    """The cells of a line of a table, split at the bars that are not escaped."""
    inner = line.removeprefix("|").removesuffix("|")
    return [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", inner)]


def test_text_that_looks_like_markdown_stays_text_in_its_cell():
    texts = ["a|b", "*not bold*", "_x_", "[l](u)", "<b>", "`code`", "a\nb  c"]
    lines = table(["what", "n"], [[escape(text), "1"] for text in texts])
    assert [cells_of(line)[0] for line in lines[2:]] == [" ".join(text.split()) for text in texts]
    assert all(len(cells_of(line)) == 2 for line in lines)


def test_a_table_has_a_rule_under_its_head():
    assert table(["", "a", "b"], [["x", "1", ""]]) == ["| | a | b |", "| --- | --- | --- |", "| x | 1 |  |"]
    assert table(["a"], []) == ["| a |", "| --- |"]


def test_a_section_without_items_is_left_out():
    assert section("Notes", []) == []
    assert section("Notes", ["one"]) == ["## Notes", "", "- one", ""]
