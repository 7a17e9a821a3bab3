"""What may be registered as an endpoint, and which addresses may be dialled."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfhosted_models.endpoints import (
    MAX_URL_CHARS,
    Endpoint,
    UrlPolicy,
    parse_endpoint,
    parse_line,
)
from selfhosted_models.errors import EndpointRefused


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://10.0.4.11:8000/v1", Endpoint("http", "10.0.4.11", 8000, "/v1")),
        ("http://10.0.4.11:8000/v1/", Endpoint("http", "10.0.4.11", 8000, "/v1")),
        ("https://gpu1/v1", Endpoint("https", "gpu1", 443, "/v1")),
        ("http://gpu1", Endpoint("http", "gpu1", 80, "")),
        ("http://gpu1/", Endpoint("http", "gpu1", 80, "")),
        ("http://gpu1:/v1", Endpoint("http", "gpu1", 80, "/v1")),
        ("HTTP://GPU1.Example.ORG/V1", Endpoint("http", "gpu1.example.org", 80, "/V1")),
        ("http://model_server:8000/v1", Endpoint("http", "model_server", 8000, "/v1")),
        ("http://xn--bcher-kva.example/v1", Endpoint("http", "xn--bcher-kva.example", 80, "/v1")),
        ("http://gpu/a-b/c_d/e.f/~g", Endpoint("http", "gpu", 80, "/a-b/c_d/e.f/~g")),
        ("http://[fd00::1]:8000/v1", Endpoint("http", "fd00::1", 8000, "/v1")),
        ("http://[FD00:0:0::0001]/v1", Endpoint("http", "fd00::1", 80, "/v1")),
        # How Python writes a mapped address differs between its versions.
        (
            "http://[::ffff:10.0.0.1]/v1",
            Endpoint("http", str(ipaddress.ip_address("::ffff:10.0.0.1")), 80, "/v1"),
        ),
        ("http://gpu:65535", Endpoint("http", "gpu", 65535, "")),
        # A legacy form with letters is a name to us: its resolved address is what is judged.
        ("http://0x7f.1/v1", Endpoint("http", "0x7f.1", 80, "/v1")),
        ("http://0xA9FEA9FE/v1", Endpoint("http", "0xa9fea9fe", 80, "/v1")),
    ],
)
def test_plain_base_url_is_accepted(url: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(url) == endpoint


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("http://gpu1:80/v1/", "http://gpu1/v1"),
        ("https://GPU1:443", "https://gpu1"),
        ("https://gpu1:80/v1", "https://gpu1:80/v1"),
        ("http://[FD00::1]:8000/v1", "http://[fd00::1]:8000/v1"),
    ],
)
def test_url_of_an_endpoint_is_normalised(url: str, normalised: str) -> None:
    assert parse_endpoint(url).url == normalised


@pytest.mark.parametrize(
    ("line", "weight"),
    [
        ("http://gpu1/v1", 1),
        ("http://gpu1/v1 weight=1", 1),
        ("http://gpu1/v1 weight=3", 3),
        ("http://gpu1/v1/   weight=100", 100),
    ],
)
def test_weight_may_follow_the_url(line: str, weight: int) -> None:
    endpoint = parse_line(line)

    assert (endpoint.url, endpoint.weight) == ("http://gpu1/v1", weight)


@pytest.mark.parametrize(
    "weight",
    ["weight=0", "weight=101", "weight=-1", "weight=2.5", "weight=", "weight=1 weight=2", "w=2"],
)
def test_weight_is_a_whole_number_from_1_to_100(weight: str) -> None:
    with pytest.raises(EndpointRefused):
        parse_line(f"http://gpu1/v1 {weight}")


def test_a_url_alone_has_no_weight() -> None:
    with pytest.raises(EndpointRefused):
        parse_endpoint("http://gpu1/v1 weight=3")


def test_weight_does_not_make_another_endpoint() -> None:
    assert parse_line("http://gpu1/v1 weight=3") == parse_endpoint("http://gpu1/v1")


CHARACTER = "holds a character"
NOT_A_URL = "not a URL"
SCHEME = "must begin with http"
HOST = "host of the URL is not"
NETLOC = "Write host and port"
PATH = "path of the URL must be plain"
BRACKETS = f"{NETLOC}|{NOT_A_URL}"  # newer versions of Python notice more of them


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", SCHEME),
        ("gpu1:8000/v1", SCHEME),
        ("//gpu1/v1", SCHEME),
        ("http:gpu1/v1", SCHEME),
        ("http:///v1", SCHEME),
        ("ftp://gpu1/v1", SCHEME),
        ("file:///etc/passwd", SCHEME),
        ("unix:///run/vllm.sock", SCHEME),
        ("http://user:secret@gpu1/v1", "user and password"),
        ("http://user@gpu1/v1", "user and password"),
        ("http://@gpu1/v1", "user and password"),
        ("http://10.0.0.1@169.254.169.254/v1", "user and password"),
        ("http://gpu1/v1?key=1", r"from \? or #"),
        ("http://gpu1/v1?", r"from \? or #"),
        ("http://gpu1/v1#top", r"from \? or #"),
        ("http://gpu1#@other/v1", r"from \? or #"),
        ("http://gpu1\\v1", CHARACTER),
        ("http:\\\\gpu1/v1", CHARACTER),
        ("http://gpu1\\@other/v1", CHARACTER),
        (" http://gpu1/v1", CHARACTER),
        ("http://gpu1/v1 ", CHARACTER),
        ("http://gpu 1/v1", CHARACTER),
        ("http://gpu1/v1\n", CHARACTER),
        ("http://gpu1/v1\r\nX-Evil: 1", CHARACTER),
        ("ht\ttp://gpu1/v1", CHARACTER),
        ("http://gpu1/v1\x00", CHARACTER),
        ("http://gpu1/v1\x7f", CHARACTER),
        ("http://bücher.example/v1", CHARACTER),
        ("http://gpu1.exаmple/v1", CHARACTER),
        ("http://169。254。169。254/v1", CHARACTER),
        ("http://①⑥⑨.254.169.254/v1", CHARACTER),
        ("http://gpu1:８０/v1", CHARACTER),
        ('http://gpu1/"v1"', CHARACTER),
        ("http://gpu1/<v1>", CHARACTER),
        ("http://gpu1/v1/../pause", PATH),
        ("http://gpu1/..", PATH),
        ("http://gpu1/./v1", PATH),
        ("http://gpu1/v1/.", PATH),
        ("http://gpu1//v1", PATH),
        ("http://gpu1/v1//", PATH),
        ("http://gpu1/%2e%2e/pause", PATH),
        ("http://gpu1/v1%0d", PATH),
        ("http://gpu1/v1;a=b", PATH),
        ("http://gpu1/v1:chat", PATH),
        ("http://gpu%31/v1", NETLOC),
        ("http://gpu1:0/v1", NETLOC),
        ("http://gpu1:65536/v1", NOT_A_URL),
        ("http://gpu1:-1/v1", NOT_A_URL),
        ("http://gpu1:80:80/v1", NOT_A_URL),
        ("http://gpu1:http/v1", NOT_A_URL),
        ("http://[fd00::1/v1", NOT_A_URL),
        ("http://fd00::1/v1", NOT_A_URL),
        ("http://[fd00::1%eth0]/v1", BRACKETS),
        ("http://[fd00::1%25eth0]/v1", BRACKETS),
        ("http://gpu1[fd00::1]/v1", BRACKETS),
        ("http://[fd00::1]gpu1/v1", BRACKETS),
        ("http://[v1.fe80]/v1", BRACKETS),
        ("http://[10.0.0.1]/v1", BRACKETS),
        ("http://[:::]/v1", BRACKETS),
        ("http://-gpu1/v1", HOST),
        ("http://gpu1-/v1", HOST),
        ("http://.gpu1/v1", HOST),
        ("http://gpu1./v1", HOST),
        ("http://gpu1..example/v1", HOST),
        (f"http://{'a' * 64}.example/v1", HOST),
        ("http://gpu*/v1", HOST),
        # Legacy forms of digits alone are looked up by no client: they can only be a mistake.
        ("http://2130706433/v1", HOST),
        ("http://127.1/v1", HOST),
        ("http://0251.0.0.1/v1", HOST),
        ("http://010.0.0.1/v1", HOST),
        ("http://256.0.0.1/v1", HOST),
        ("http://1.2.3.4.5/v1", HOST),
    ],
)
def test_anything_else_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(EndpointRefused, match=why):
        parse_endpoint(url)


def test_url_is_as_long_as_gitlab_stores_and_no_longer() -> None:
    longest = "http://gpu1/" + "a" * (MAX_URL_CHARS - len("http://gpu1/"))

    assert parse_endpoint(longest).url == longest
    with pytest.raises(EndpointRefused, match="longer than 255"):
        parse_endpoint(longest + "a")


@given(st.text() | st.from_regex(r"https?://[\[\]a-z0-9.:@%/\\_-]{0,30}", fullmatch=True))
def test_whatever_is_accepted_is_plain_and_stays_what_it_is(url: str) -> None:
    try:
        endpoint = parse_endpoint(url)
    except EndpointRefused:
        return

    assert parse_endpoint(endpoint.url) == endpoint
    assert url.lower().startswith(f"{endpoint.scheme}://")
    assert not set(endpoint.url) & set("@?#\\% \t\r\n")
    assert 0 < endpoint.port < 65536


PUBLIC = ["8.8.8.8", "1.1.1.1", "11.0.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
PRIVATE = ["10.0.4.11", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1", "fd00::1"]
LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]
NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "255.255.255.255",
]
HIDDEN = [
    "::ffff:169.254.169.254",
    "::ffff:100.100.100.200",
    "::ffff:0.0.0.0",
    "2002:a9fe:a9fe::1",  # 6to4 of 169.254.169.254
    "2002:6464:64c8::",  # 6to4 of 100.100.100.200
    "64:ff9b::169.254.169.254",
    "64:ff9b::a83f:8110",  # NAT64 of 168.63.129.16
]
EVERYTHING = ["0.0.0.0/0", "::/0"]


@pytest.mark.parametrize("address", [*PRIVATE, "::ffff:10.0.4.11", "64:ff9b::10.0.4.11"])
def test_private_address_is_dialled_by_default(address: str) -> None:
    UrlPolicy().check("gpu1", address)


@pytest.mark.parametrize("address", [*PUBLIC, *LOOPBACK, "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_and_loopback_addresses_are_refused_by_default(address: str) -> None:
    with pytest.raises(EndpointRefused) as caught:
        UrlPolicy().check("gpu1", address)

    for message in (caught.value.safe_message, caught.value.admin_message):
        assert "UPSTREAM_ALLOWED_HOSTS" in message
        assert "UPSTREAM_ALLOWED_CIDRS" in message


@pytest.mark.parametrize("address", ["8.8.8.8", "169.254.169.254"])
def test_where_a_name_points_is_told_to_admins_alone(address: str) -> None:
    with pytest.raises(EndpointRefused) as caught:
        UrlPolicy().check("gpu1", address)

    assert address in caught.value.admin_message
    assert address not in caught.value.safe_message


@pytest.mark.parametrize("address", [*PUBLIC, *LOOPBACK])
def test_public_and_loopback_addresses_are_dialled_for_a_listed_host(address: str) -> None:
    UrlPolicy(allowed_hosts=["GPU1"]).check("gpu1", address)


@pytest.mark.parametrize("address", [*PUBLIC, *LOOPBACK, *PRIVATE])
def test_listed_network_is_dialled(address: str) -> None:
    UrlPolicy(allowed_cidrs=EVERYTHING).check("gpu1", address)


def test_listed_networks_replace_the_private_ones() -> None:
    policy = UrlPolicy(allowed_cidrs=["10.0.4.0/24"])

    policy.check("gpu1", "10.0.4.11")
    with pytest.raises(EndpointRefused):
        policy.check("gpu1", "10.0.5.11")


def test_listed_host_allows_no_other_host() -> None:
    policy = UrlPolicy(allowed_hosts=["gpu1"])

    with pytest.raises(EndpointRefused):
        policy.check("gpu1.example", "127.0.0.1")


def test_ipv6_literal_may_be_listed_in_brackets() -> None:
    UrlPolicy(allowed_hosts=["[::1]"]).check("::1", "::1")


@pytest.mark.parametrize("address", [*NEVER, *HIDDEN])
def test_denied_address_wins_over_every_setting(address: str) -> None:
    policy = UrlPolicy(EVERYTHING, ["gpu1", address]).trusting(["gpu1", address])

    with pytest.raises(EndpointRefused, match="is never dialled"):
        policy.check("gpu1", address)


def test_refusal_of_a_denied_address_offers_no_setting() -> None:
    with pytest.raises(EndpointRefused) as caught:
        UrlPolicy().check("gpu1", "169.254.169.254")

    assert "UPSTREAM_" not in caught.value.safe_message


def test_trusted_hosts_are_dialled_and_the_rest_stays_as_it_was() -> None:
    narrow = UrlPolicy(["10.0.4.0/24"], ["gpu1"])

    widened = narrow.trusting(["GitLab.example"])

    widened.check("gitlab.example", "8.8.8.8")
    widened.check("gpu1", "127.0.0.1")
    with pytest.raises(EndpointRefused):
        widened.check("other", "10.0.5.1")
    with pytest.raises(EndpointRefused):
        narrow.check("gitlab.example", "8.8.8.8")


@pytest.mark.parametrize("cidr", ["10.0.0.1/8", "gpu1", "10.0.0.0/99"])
def test_network_that_is_none_is_a_mistake_in_the_settings(cidr: str) -> None:
    with pytest.raises(ValueError, match=cidr):
        UrlPolicy([cidr])


# --- Our own listeners ---------------------------------------------------------------------------

OURS = UrlPolicy(allowed_hosts=["127.0.0.1"]).sparing([("10.0.0.5", 5432), ("0.0.0.0", 8000)])


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("address", "port"),
    [("10.0.0.5", 5432), ("::ffff:10.0.0.5", 5432), ("127.0.0.1", 8000), ("127.0.0.53", 8000)],
)
def test_what_is_ours_is_never_dialled(address: str, port: int) -> None:
    with pytest.raises(EndpointRefused, match="this installation's own"):
        OURS.check_listener(address, port)


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("address", "port"), [("10.0.0.5", 8000), ("10.0.0.6", 5432), ("127.0.0.1", 8001)]
)
def test_other_places_are_nobody_s_of_ours(address: str, port: int) -> None:
    OURS.check_listener(address, port)


def test_trusting_hosts_keeps_what_is_ours() -> None:
    with pytest.raises(EndpointRefused):
        OURS.trusting(["10.0.0.5"]).check_listener("10.0.0.5", 5432)
