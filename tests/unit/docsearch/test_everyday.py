from docsearch.everyday import everyday_vocabulary, read_vocabulary


def test_arrows_point_one_way_and_equals_signs_every_way() -> None:
    vocabulary = read_vocabulary("# a comment\n\nticket, bug report > issue\ncreate = add = new\n")

    assert vocabulary.meanings == {
        ("ticket",): (("issue",),),
        ("bug", "report"): (("issue",),),
        ("creat",): (("add",), ("new",)),
        ("add",): (("create",), ("new",)),
        ("new",): (("create",), ("add",)),
    }
    assert vocabulary.words == {"ticket", "bug", "report", "issue", "create", "add", "new"}
    assert vocabulary.longest_phrase == 2


def test_every_line_of_the_list_says_something() -> None:
    vocabulary = everyday_vocabulary()

    assert len(vocabulary.meanings) > 400
    assert all(meanings for meanings in vocabulary.meanings.values())
    assert all(phrase for phrase in vocabulary.meanings)
