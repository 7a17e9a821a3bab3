from docsearch.everyday import read_vocabulary
from docsearch.query import MAX_WORDS, MEANING_WEIGHT, Query, Term, parse_query

VOCABULARY = read_vocabulary("ticket > issue\nlog in > sign in\nin > inside")
REPAIRS = {"tikcet": "ticket", "hwo": "how"}


def parsed(text: str) -> Query:
    return parse_query(text, vocabulary=VOCABULARY, repair=lambda word: REPAIRS.get(word, word))


def words_of(query: Query) -> list[str]:
    return [" ".join(term.words) for notion in query.notions for term in notion]


def test_words_that_only_ask_are_left_out() -> None:
    assert words_of(parsed("How do I create a board?")) == ["create", "board"]


def test_a_question_of_nothing_but_such_words_keeps_them() -> None:
    assert words_of(parsed("What is it?")) == ["what", "is", "it"]


def test_what_a_word_may_mean_counts_less_than_the_word() -> None:
    assert parsed("tickets").notions == ((Term(("tickets",)), Term(("issue",), MEANING_WEIGHT)),)


def test_a_phrase_adds_its_meaning_beside_its_words() -> None:
    assert words_of(parsed("cannot log in")) == ["cannot", "log", "sign in"]


def test_a_meaning_that_was_said_itself_is_not_looked_for_twice() -> None:
    assert words_of(parsed("ticket or issue")) == ["ticket", "issue"]


def test_neighbours_are_pairs_across_words_that_only_ask() -> None:
    assert parsed("merge the request of the team").pairs == (
        ("merge", "request"),
        ("request", "team"),
    )


def test_repaired_words_are_shown() -> None:
    assert parsed("hwo to close a tikcet").shown == "how to close a ticket"
    assert parsed("close a ticket").shown == ""


def test_a_long_question_is_read_as_far_as_it_may_be() -> None:
    query = parsed(" ".join(f"word{number}" for number in range(10_000)))

    assert len(query.notions) == MAX_WORDS


def test_no_words_are_no_notions() -> None:
    assert parsed("?! --") == Query((), (), "", "")
