from selfhosted_models.serving import CHAT_CLOCKS, COMPLETION_CLOCKS, ClockOverrides, Clocks


def test_what_an_admin_did_not_set_keeps_the_default() -> None:
    assert ClockOverrides().apply(CHAT_CLOCKS) == CHAT_CLOCKS


def test_what_an_admin_set_replaces_the_default_of_any_kind_of_request() -> None:
    overrides = ClockOverrides(first_token_s=9, idle_s=8, total_s=70)

    clocks = overrides.apply(COMPLETION_CLOCKS)

    assert clocks == Clocks(connect_s=2, first_token_s=9, idle_s=8, total_s=70)


def test_one_clock_may_be_set_alone() -> None:
    clocks = ClockOverrides(idle_s=7).apply(CHAT_CLOCKS)

    assert clocks == Clocks(connect_s=3, first_token_s=60, idle_s=7, total_s=300)
