"""Tokens that are let in, and what is read from them. Those that are not: test_auth_forgeries."""

from pathlib import Path

import pytest
import time_machine

from gateway.authentication.denied_tokens import DenyList
from gateway.authentication.refusal_limit import REFUSALS_PER_S
from gateway.authentication.trusted_keys import OwnKeys
from gateway.authentication.verifier import CACHED_TOKENS, Caller, TokenVerifier
from gateway.errors import KeysUnavailable, RefusalsExceeded, TokenRefused
from tests.fakes.gitlab import INSTANCE_ID, SERVICE_NAME, key_id, public_jwk, rsa_key
from tests.unit.gateway.parts import Clock, Instance, issuer_keys, verifier, verifier_with
from tests.unit.gateway.signing import OWN_KEY, USER_ID, headers, mint, mint_own


async def test_instance_token_proves_its_caller() -> None:
    token = mint(scopes=["complete_code", "duo_chat"], duo_seat_count=10)

    caller = await verifier().authenticate(headers(token))

    assert caller == Caller(
        subject=INSTANCE_ID,
        scopes=frozenset({"complete_code", "duo_chat"}),
        is_own_issued=False,
        realm="self-managed",
        instance_id=INSTANCE_ID,
        seat_count="10",
        token_id="a-token",
    )


async def test_own_token_proves_its_user_without_a_key_id() -> None:
    caller = await verifier().authenticate(headers(mint_own()))

    assert (caller.subject, caller.is_own_issued) == (USER_ID, True)


async def test_own_token_of_the_second_key_is_accepted() -> None:
    keys = OwnKeys(rsa_key(OWN_KEY), validation=rsa_key(-3))

    caller = await verifier(own_keys=keys).verify(mint_own(key=-3))

    assert caller.is_own_issued


async def test_own_token_needs_no_key_of_an_issuer() -> None:
    instance = Instance(keys=[])

    caller = await verifier(instance).verify(mint_own())

    assert caller.subject == USER_ID
    assert instance.requests == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_scheme_is_read_in_any_case(scheme: str) -> None:
    sent = headers(None, authorization=f"{scheme} {mint()}")

    caller = await verifier().authenticate(sent)

    assert caller.subject == INSTANCE_ID


@pytest.mark.parametrize(
    ("scopes", "read"),
    [
        (["complete_code"], {"complete_code"}),
        ([], set()),
        (None, set()),
        ("complete_code", set()),
        ({"complete_code": True}, set()),
        (["complete_code", 7], {"complete_code", "7"}),
    ],
)
async def test_scopes_are_read_from_a_list_only(scopes: object, read: set[str]) -> None:
    caller = await verifier().verify(mint(scopes=scopes))

    assert caller.scopes == read


@pytest.mark.parametrize("empty", [None, ""])
async def test_empty_claims_switch_their_header_checks_off(empty: str | None) -> None:
    token = mint(gitlab_realm=empty, gitlab_instance_id=empty, sub=empty)
    bare = headers(token, x_gitlab_realm=None, x_gitlab_instance_id=None)

    caller = await verifier().authenticate(bare)

    assert (caller.realm, caller.instance_id) == ("", "")


async def test_openai_clients_need_a_token_only() -> None:
    caller = await verifier().authenticate(
        {"Authorization": f"Bearer {mint()}"}, repeats_claims=False
    )

    assert caller.subject == INSTANCE_ID


@pytest.mark.parametrize(
    "changes", [{"x_gitlab_realm": "saas"}, {"x_gitlab_authentication_type": "cookie"}]
)
async def test_what_openai_clients_do_send_is_compared(changes: dict[str, str]) -> None:
    with pytest.raises(TokenRefused):
        await verifier().authenticate(headers(mint(), **changes), repeats_claims=False)


@pytest.mark.parametrize("sent", [None, "3", "many"])
async def test_seat_count_never_fails_a_request(sent: str | None) -> None:
    token = mint(duo_seat_count="10")

    caller = await verifier().authenticate(headers(token, x_gitlab_duo_seat_count=sent))

    assert caller.seat_count == "10"


async def test_audience_may_be_a_list_that_names_us() -> None:
    caller = await verifier().verify(mint(aud=["other", SERVICE_NAME]))

    assert caller.subject == INSTANCE_ID


async def test_issuer_without_any_key_yet_is_told_apart_from_a_bad_token() -> None:
    with pytest.raises(KeysUnavailable, match=r"https://gitlab\.example\.com could not be fetched"):
        await verifier(Instance(keys=[])).verify(mint())


# --- Texts of the wire contract, in its order of checking ---------------------------------------


async def test_missing_header_is_told_first() -> None:
    with pytest.raises(TokenRefused, match="^No authorization header presented$"):
        await verifier().authenticate({})


@pytest.mark.parametrize("sent", ["Basic dXNlcjpwYXNz", "Token abc", "", "eyJhbGciOi", "Bearerx"])
async def test_other_schemes_are_told_before_the_type(sent: str) -> None:
    wrong = headers(None, authorization=sent, x_gitlab_authentication_type=None)

    with pytest.raises(TokenRefused, match="^Invalid authorization header$"):
        await verifier().authenticate(wrong)


@pytest.mark.parametrize("sent", [None, "", "OIDC", "oidc ", "oauth"])
async def test_authentication_type_is_told_before_the_token(sent: str | None) -> None:
    wrong = headers("garbage", x_gitlab_authentication_type=sent)

    with pytest.raises(TokenRefused, match="token type - only OIDC is supported$"):
        await verifier().authenticate(wrong)


@pytest.mark.parametrize(
    ("token", "changes", "told"),
    [
        ("instance", {"x_gitlab_realm": "saas", "x_gitlab_instance_id": "x"}, "X-Gitlab-Realm"),
        ("instance", {"x_gitlab_realm": None}, "X-Gitlab-Realm"),
        ("instance", {"x_gitlab_instance_id": "inst-other"}, "X-Gitlab-Instance-Id"),
        ("instance", {"x_gitlab_instance_id": None}, "X-Gitlab-Instance-Id"),
        ("subject", {}, "X-Gitlab-Instance-Id"),
        ("own", {"x_gitlab_global_user_id": "user-0000"}, "X-Gitlab-Global-User-Id"),
        ("own", {"x_gitlab_global_user_id": None}, "X-Gitlab-Global-User-Id"),
        ("own", {"x_gitlab_realm": "saas"}, "X-Gitlab-Realm"),
    ],
)
async def test_header_that_contradicts_its_claim_is_refused(
    token: str, changes: dict[str, str | None], told: str
) -> None:
    minted = {
        "instance": mint(),
        "subject": mint(gitlab_instance_id=None, sub="inst-other"),
        "own": mint_own(),
    }[token]

    with pytest.raises(TokenRefused, match=f"^Header mismatch '{told}'$"):
        await verifier().authenticate(headers(minted, **changes))


async def test_own_token_does_not_compare_its_user_with_the_instance_header() -> None:
    token = mint_own(gitlab_instance_id=None)

    caller = await verifier().authenticate(headers(token, x_gitlab_instance_id="anything"))

    assert caller.subject == USER_ID


# --- Remembered verdicts -------------------------------------------------------------------------


async def test_verdict_is_remembered_until_the_token_expires(
    clock: time_machine.Traveller,
) -> None:
    verify, token = verifier().verify, mint()
    first = await verify(token)

    clock.shift(3600 + 29)
    second = await verify(token)
    clock.shift(1)

    assert second is first
    with pytest.raises(TokenRefused):
        await verify(token)


async def test_change_of_keys_drops_the_verdict() -> None:
    instance, monotonic = Instance(), Clock()
    keys = issuer_keys(instance, clock=monotonic)
    verify, token = verifier_with(keys).verify, mint()
    await verify(token)

    instance.keys = [public_jwk(1)]
    monotonic.now += 30
    await keys.find(instance.issuer, key_id(1))

    with pytest.raises(TokenRefused):
        await verify(token)


async def test_remembered_verdicts_are_bounded() -> None:
    verifies = verifier()
    await verifies.verify(mint_own(jti="first"))
    verdicts = verifies._verified  # signing so many tokens would take seconds
    filler = next(iter(verdicts.values()))
    verdicts.update(
        {bytes([number >> 8, number & 255]): filler for number in range(CACHED_TOKENS - 1)}
    )
    oldest = next(iter(verdicts))

    await verifies.verify(mint_own(jti="last"))

    assert len(verdicts) == CACHED_TOKENS
    assert oldest not in verdicts


# --- The operator's deny-list --------------------------------------------------------------------


@pytest.mark.parametrize("line", [f"kid {key_id(0)}", "jti stolen"])
async def test_denied_token_is_refused_though_it_was_good(tmp_path: Path, line: str) -> None:
    deny_list = DenyList(tmp_path / "denied_tokens")
    verify, token = verifier(deny_list=deny_list).verify, mint(jti="stolen")
    assert await verify(token)

    (tmp_path / "denied_tokens").write_text(line)
    deny_list.read()

    with pytest.raises(TokenRefused, match="^Forbidden by auth provider$"):
        await verify(token)
    with pytest.raises(TokenRefused, match="^Forbidden by auth provider$"):
        await verifier(deny_list=deny_list).verify(token)


async def test_denied_own_token_is_refused(tmp_path: Path) -> None:
    deny_list = DenyList(tmp_path / "denied_tokens")
    (tmp_path / "denied_tokens").write_text("jti stolen")
    deny_list.read()
    verify = verifier(deny_list=deny_list).verify

    assert await verify(mint_own(jti="another"))
    with pytest.raises(TokenRefused):
        await verify(mint_own(jti="stolen"))


async def test_token_that_is_denied_no_more_is_good_again(tmp_path: Path) -> None:
    deny_list, listed = DenyList(tmp_path / "denied_tokens"), tmp_path / "denied_tokens"
    listed.write_text("jti mistaken")
    deny_list.read()
    verify = verifier(deny_list=deny_list).verify
    with pytest.raises(TokenRefused):
        await verify(mint(jti="mistaken"))

    listed.unlink()
    deny_list.read()

    assert await verify(mint(jti="mistaken"))


# --- Floods of bad tokens ------------------------------------------------------------------------


async def refuse(verifies: TokenVerifier, times: int, address: str) -> None:
    forged = mint(key=1, header={"kid": key_id(0)})
    for _ in range(times):
        with pytest.raises(TokenRefused):
            await verifies.verify(forged, address)


async def test_flood_from_an_address_is_told_to_wait() -> None:
    verifies = verifier()
    await refuse(verifies, REFUSALS_PER_S, "10.0.0.7")

    with pytest.raises(RefusalsExceeded, match="wait a second"):
        await verifies.verify(mint(), "10.0.0.7")


async def test_tokens_refused_without_a_key_neither_count_nor_bar() -> None:
    verifies = verifier()
    for _ in range(2 * REFUSALS_PER_S):
        with pytest.raises(TokenRefused):
            await verifies.verify("a.b.c", "10.0.0.7")

    assert await verifies.verify(mint(), "10.0.0.7")


async def test_flood_never_bars_a_token_that_was_good_before() -> None:
    verifies, token = verifier(), mint()
    first = await verifies.verify(token, "10.0.0.7")

    await refuse(verifies, REFUSALS_PER_S, "10.0.0.7")

    assert await verifies.verify(token, "10.0.0.7") is first


async def test_flood_bars_nobody_elsewhere_and_soon_nobody_at_all() -> None:
    clock = Clock()
    verifies = verifier(clock=clock)
    await refuse(verifies, REFUSALS_PER_S, "10.0.0.7")

    assert await verifies.verify(mint(jti="elsewhere"), "10.0.0.8")
    clock.now += 1 / REFUSALS_PER_S
    assert await verifies.verify(mint(jti="later"), "10.0.0.7")


async def test_good_tokens_are_not_counted() -> None:
    verifies = verifier()

    for number in range(3 * REFUSALS_PER_S):
        await verifies.verify(mint_own(jti=str(number)), "10.0.0.7")
