import pytest

from docsearch.sections import Page, parse_page


def page_of(text: str) -> Page:
    return parse_page(text, fallback_title="fallback")


def shape_of(text: str) -> list[tuple[int, tuple[str, ...], str]]:
    return [(part.level, part.trail, part.anchor) for part in page_of(text).sections]


def shown(text: str) -> str:
    return "\n".join("\n".join(part.lines) for part in page_of(text).sections)


def indexed(text: str) -> str:
    return "\n".join("\n".join(part.indexed_lines) for part in page_of(text).sections)


def test_sections_know_the_headings_they_stand_under() -> None:
    text = "# Title\n\nintro\n\n## A\n\n### B\n\nb\n\n## C\n"

    assert shape_of(text) == [
        (1, (), ""),
        (2, ("A",), "a"),
        (3, ("A", "B"), "b"),
        (2, ("C",), "c"),
    ]


def test_underlined_headings_are_headings_and_rules_are_not() -> None:
    text = "Title\n=====\n\nPart\n----\n\ntext\n\n---\n\nmore\n"

    assert shape_of(text) == [(1, (), ""), (2, ("Part",), "part")]
    assert "more" in shown(text)


def test_table_and_list_before_a_rule_are_no_heading() -> None:
    assert shape_of("# T\n\n| a |\n---\n\n- item\n---\n") == [(1, (), "")]


def test_code_holds_no_headings_comments_or_shortcodes() -> None:
    code = "```shell\n# not a heading\n<!-- kept -->\n{{< kept >}}\n```"
    text = f"# T\n\n{code}\n\nafter\n"

    assert shape_of(text) == [(1, (), "")]
    assert code in shown(text)


@pytest.mark.parametrize("inner", ["```", "~~~", "```` "])
def test_a_fence_ends_with_its_own_kind(inner: str) -> None:
    assert len(shape_of(f"# T\n\n`````\n{inner}\n# no\n`````\n\n## Yes\n")) == 2


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Create a board", "create-a-board"),
        ("`artifacts:expire_in`", "artifactsexpire_in"),
        ("What's new? (beta)", "whats-new-beta"),
        ("A - B", "a-b"),
        ("[Linked](x.md) heading ##", "linked-heading"),
    ],
)
def test_anchor_is_the_one_gitlab_makes(heading: str, anchor: str) -> None:
    assert shape_of(f"# T\n\n## {heading}\n")[1][2] == anchor


def test_a_heading_that_comes_twice_has_two_anchors() -> None:
    assert [place[2] for place in shape_of("# T\n\n## A\n\n## A\n\n## A\n")] == [
        "",
        "a",
        "a-1",
        "a-2",
    ]


def test_title_is_that_of_the_front_matter() -> None:
    page = page_of('---\nstage: Plan\ntitle: "Issue boards"\n---\n\nA board.\n')

    assert page.title == "Issue boards"
    assert [part.lines for part in page.sections] == [["", "A board.", ""]]


def test_a_rule_at_the_start_is_no_front_matter() -> None:
    text = "---\n\nFirst words.\n\n---\n\nLast words.\n"

    assert "First words." in shown(text)
    assert "Last words." in shown(text)


def test_a_page_without_heading_has_the_fallback_title() -> None:
    assert page_of("Only text.").title == "fallback"


def test_comments_are_hidden_and_open_ones_are_text() -> None:
    assert shown("# T\n\na <!-- b\nc --> d\n").split() == ["#", "T", "a", "d"]
    assert "all of it" in shown("# T\n\n<!-- all of it\n\nis text\n")
    assert "later" in shown("Write `<!--` to open one.\n\nlater\n\n-->\n")


def test_tiers_and_history_are_shown_and_not_indexed() -> None:
    text = "# T\n\n{{< details >}}\n\n- Tier: Ultimate\n\n{{< /details >}}\n\nText.\n"

    assert "Tier: Ultimate" in shown(text)
    assert "{{<" not in shown(text)
    assert "Tier" not in indexed(text)
    assert "Text." in indexed(text)


@pytest.mark.parametrize(
    "marker",
    [
        "::include{file=partials/limits.md}",
        '::include{file="https://example.com/limits.md"}',
        "{% include 'partials/limits.md' %}",
        '{{< include "partials/limits.md" >}}',
        "{{% include partials/limits.md %}}",
        "<!--- start_remove The following content will be removed: limits -->",
        "[[_TOC_]]",
    ],
)
def test_what_includes_other_files_is_neither_shown_nor_found(marker: str) -> None:
    text = f"# T\n\nBefore.\n\n{marker}\n\nAfter.\n"

    assert shown(text).split() == ["#", "T", "Before.", "After."]
    assert indexed(text).split() == ["Before.", "After."]


def test_what_includes_other_files_stays_in_code() -> None:
    assert "::include{file=x.md}" in shown("# T\n\n```markdown\n::include{file=x.md}\n```\n")


def test_a_table_is_text_and_its_rules_are_no_headings() -> None:
    text = "# T\n\n| Role | May |\n| ---- | --- |\n| Guest | comment |\n\n---\n\nEnd.\n"

    assert shape_of(text) == [(1, (), "")]
    assert "| Guest | comment |" in indexed(text)


@pytest.mark.parametrize(
    "text",
    [
        "# T\n\nThis document was moved to [another location](x.md).\n",
        "This page has moved: see [here](x.md)",
        "---\nredirect_to: '../x.md'\n---\n\n# T\n",
    ],
)
def test_a_page_that_only_says_where_it_went_is_a_stub(text: str) -> None:
    assert page_of(text).is_stub


def test_a_page_about_moving_is_no_stub() -> None:
    text = (
        "# Moving issues\n\nAn issue can be moved to another project. "
        + "It keeps its notes. " * 20
    )

    assert not page_of(text).is_stub


def test_line_ends_bom_and_nul_make_no_difference() -> None:
    assert page_of("\ufeff# T\r\n\r\n## A\0\r\n") == page_of("# T\n\n## A\n")
