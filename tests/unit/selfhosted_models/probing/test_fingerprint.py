from selfhosted_models.probing.fingerprint import described, differences, fingerprint_digest


def test_digest_is_of_the_facts_in_any_order() -> None:
    one, other = {"chat": True, "context": 8192}, {"context": 8192, "chat": True}

    assert fingerprint_digest(one) == fingerprint_digest(other)
    assert fingerprint_digest(one) != fingerprint_digest({**one, "context": 4096})
    assert fingerprint_digest(one) != fingerprint_digest({**one, "text": True})


def test_only_what_is_known_of_both_can_differ() -> None:
    before = {"chat": True, "context": 8192, "tools": True}
    after = {"chat": True, "context": 4096, "text": False}

    assert differences(before, after) == {"context": [8192, 4096]}


def test_a_change_is_a_sentence() -> None:
    assert described({"context": [8192, 4096], "chat": [True, False]}) == (
        "chat: no, was yes; context: 4,096, was 8,192"
    )
