"""The stable part of what was measured: its digest, and what changed between two of them. Pure."""

import hashlib
from collections.abc import Mapping

import orjson

from selfhosted_models.probing.results import Facts

#: Of the traits and their words; with another one, digests are not compared.
FORMAT_VERSION = 1

#: What changed: by trait, before and after.
Differences = dict[str, list[bool | int]]


def digest_of(document: object) -> str:
    """Return a digest of a JSON document, whatever the order of its members."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def fingerprint_digest(facts: Facts) -> str:
    """Return the name of a server that is, and does, just this."""
    return digest_of([FORMAT_VERSION, dict(facts)])


def differences(before: Facts, after: Facts) -> Differences:
    """Return what is known of both and not the same; what was not known before is no change."""
    return {
        trait: [before[trait], after[trait]]
        for trait in sorted(before.keys() & after.keys())
        if before[trait] != after[trait]
    }


def described(changes: Mapping[str, list[bool | int]]) -> str:
    """Return `changes` as a sentence, as in "context: 8,192, was 16,384"."""
    return "; ".join(
        f"{trait}: {told(after)}, was {told(before)}"
        for trait, (before, after) in sorted(changes.items())
    )


def told(value: bool | int) -> str:
    """Return a fact in words: yes, no, or a number."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}"
