"""What operators of such systems run into, and which check tells it here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that goes wrong in the field.

    Attributes:
        told_as: How operators report it.
        checks: Ids of the checks that find its cause; none where it cannot occur here.
        remark: Why it cannot occur, or what remains to be looked at elsewhere.
    """

    told_as: str
    checks: tuple[str, ...] = ()
    remark: str = ""


SYMPTOMS = (
    Symptom("404 from vLLM", ("model_servers",)),
    Symptom("Connection refused (GitLab log)", ("gateway",)),
    Symptom(
        "401 in GitLab log",
        ("issuers", "clock"),
        "seat and licence are GitLab's; `explain FEATURE --token FILE` judges one token",
    ),
    Symptom('JWT signature verification failed; "no keys found in JWKS"', ("names", "issuers")),
    Symptom("JWK key de-serialisation error", ("keys",)),
    Symptom("Token creation failed / 503 on direct_access", ("keys",)),
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
        "the check is a request as features make it",
    ),
    Symptom("Gateway URL rejected on save", ("gateway",), "allow it in GitLab's outbound requests"),
    Symptom("Model not reachable at localhost", ("model_servers", "egress")),
    Symptom(
        "Image platform does not match host",
        ("settings",),
        "no image is shipped; the row of the machine names its platform",
    ),
    Symptom(
        'Bedrock "on-demand throughput not supported"',
        remark="vendors' models are not offered",
    ),
    Symptom(
        "500 on completion, tokenizer download attempt",
        ("egress",),
        "nothing is downloaded: no tokenizer is used",
    ),
    Symptom("Read-only `/tmp`, permission denied in cache", ("disk", "permissions")),
    Symptom("No logs in gateway", ("settings",)),
    Symptom(
        "Answer generated but UI stays empty",
        remark="WebSockets are between browser and GitLab: allow upgrades to `/-/cable`",
    ),
    Symptom(
        "Long answers cut without error",
        ("proxy",),
        "an answer that breaks off ends in an error or a cut here; raise the time-outs of proxies "
        "in front above 300 s",
    ),
    Symptom("Feature button missing", ("features",)),
    Symptom("Features page 500, 403 on models after 18.4", remark="a bug of another product"),
    Symptom("Every suggestion 403 on 19.4 with online licence", remark="nothing is metered here"),
    Symptom(
        "Agent features fail with a generic error",
        ("model_servers",),
        "the Agent Platform is not offered; `probe` measures context and abilities",
    ),
    Symptom(
        "Direct connection failed in IDE",
        ("gateway",),
        "the way from the IDE is the IDE's: open it, or use the indirect connection",
    ),
)
