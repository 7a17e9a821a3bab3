"""What operators of such systems run into, and which check tells it here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that goes wrong in the field.

    Attributes:
        told_as: How operators report it.
        checks: Ids of the checks that find its cause; none where it cannot occur, or cannot be seen
            from here.
        remark: Why there is none, or what remains to be looked at elsewhere.
    """

    told_as: str
    checks: tuple[str, ...] = ()
    remark: str = ""


SYMPTOMS = (
    Symptom(
        "404 from vLLM",
        ("model_servers",),
        "a URL without `/v1`, another served name and a missing chat template each have their row",
    ),
    Symptom("Connection refused (GitLab log)", ("gateway",)),
    Symptom(
        "401 in GitLab log",
        ("issuers", "clock"),
        "seat and licence are GitLab's; `explain FEATURE --token FILE` judges one token",
    ),
    Symptom('JWT signature verification failed; "no keys found in JWKS"', ("names", "issuers")),
    Symptom("JWK key de-serialisation error", ("settings", "keys", "tls")),
    Symptom(
        "Token creation failed / 503 on direct_access",
        ("keys",),
        "keys that are not set are made once, in `DATA_DIR`",
    ),
    Symptom("SSL verify failed: self-signed in chain", ("tls",)),
    Symptom("TLS wrong version on agent token", ("tls",)),
    Symptom(
        "20 s extra on each request offline",
        ("names", "egress"),
        "no vendor's portal is ever asked",
    ),
    Symptom(
        "Health check 401 while features work",
        ("model_servers",),
        "the check is a request as features make it, so it is good where they are",
    ),
    Symptom(
        "Gateway URL rejected on save",
        remark="cannot be seen from here: GitLab judges it; allow the URL in its settings of "
        "outbound requests",
    ),
    Symptom("Model not reachable at localhost", ("model_servers", "egress")),
    Symptom(
        "Image platform does not match host",
        ("settings",),
        "information alone: no image is shipped, and the row of the machine names its platform",
    ),
    Symptom(
        'Bedrock "on-demand throughput not supported"',
        remark="cannot occur: vendors' models are not offered",
    ),
    Symptom(
        "500 on completion, tokenizer download attempt",
        remark="cannot occur: no tokenizer is used, and nothing is downloaded",
    ),
    Symptom("Read-only `/tmp`, permission denied in cache", ("disk", "permissions")),
    Symptom(
        "No logs in gateway",
        ("settings",),
        "a `LOG_LEVEL` at which requests are not logged is a warning",
    ),
    Symptom(
        "Answer generated but UI stays empty",
        remark="cannot be seen from here: WebSockets are between browser and GitLab; allow "
        "upgrades to `/-/cable`",
    ),
    Symptom(
        "Long answers cut without error",
        remark="cannot be seen from here: proxies in front have the time-outs; raise them above "
        "300 s. What breaks off behind the gateway ends in an error or a cut",
    ),
    Symptom("Feature button missing", ("features",)),
    Symptom(
        "Features page 500, 403 on models after 18.4",
        remark="cannot occur: a bug of another product",
    ),
    Symptom(
        "Every suggestion 403 on 19.4 with online licence",
        remark="cannot occur: nothing is metered here",
    ),
    Symptom(
        "Agent features fail with a generic error",
        ("features",),
        "a context that does not hold a feature's prompt is told; tools are called by words in the "
        "answer, which needs no parser at the server, and the Agent Platform is not offered",
    ),
    Symptom(
        "Direct connection failed in IDE",
        ("gateway",),
        "the way from the IDE is the IDE's: open it, or use the indirect connection",
    ),
)
