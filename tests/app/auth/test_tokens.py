"""The gateway's own tokens: what is issued verifies, and nothing else does."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from app.auth.actor import ActorKind
from app.auth.claims import LONGEST_TOKEN, Token, TokenRejected
from app.auth.tokens import AUDIENCE, ISSUER, LIFETIME, LocalTokens

NOW = 1_790_000_000
SKEW = 60
KEY = ECKey.generate_key("P-256", private=True, auto_kid=True)
OTHER = ECKey.generate_key("P-256", private=True, auto_kid=True)


def tokens(at: float = NOW, *, operators: bool = True) -> LocalTokens:
    return LocalTokens(KEY, operators=operators, skew=SKEW, clock=lambda: at)


def forged(key: Any = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of our own making: right in everything but what is given; a claim of None is left out."""
    content = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "kind": "operator", "iat": NOW, "exp": NOW + 60} | claims
    present = {name: value for name, value in content.items() if value is not None}
    return jwt.encode({"alg": "ES256", "kid": KEY.kid, **(header or {})}, present, key, ["ES256", "HS256"])


def unsigned(header: dict[str, Any], payload: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload)]
    return ".".join(parts)


def test_an_operators_token_says_who_and_which_tenant_and_never_a_role() -> None:
    issued = tokens().issue(ActorKind.OPERATOR, "ada", tenant="northwind")
    assert tokens().verify(issued) == Token(
        kind=ActorKind.OPERATOR,
        subject="ada",
        tenant="northwind",
        expires_at=datetime.fromtimestamp(NOW + SKEW, UTC) + LIFETIME,
    )
    payload = json.loads(base64.urlsafe_b64decode(issued.split(".")[1] + "=="))
    assert payload.keys() == {"iss", "aud", "sub", "kind", "tenant", "iat", "exp", "jti"}


def test_decision_26_an_instances_token_carries_its_epoch() -> None:
    issued = tokens().issue(ActorKind.INSTANCE, "0199-ins", tenant="northwind", epoch=3)
    assert tokens().verify(issued).epoch == 3


def test_decision_24_the_platforms_token_is_short_lived() -> None:
    issued = tokens().issue(ActorKind.PLATFORM, "platform")
    assert tokens().verify(issued).expires_at <= datetime.fromtimestamp(NOW + SKEW, UTC) + timedelta(minutes=15)
    with pytest.raises(ValueError, match="at most 0:15:00"):
        tokens().issue(ActorKind.PLATFORM, "platform", lifetime=timedelta(hours=1))


@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (lambda: tokens(operators=False).issue(ActorKind.OPERATOR, "ada"), "OIDC"),
        (lambda: tokens().issue(ActorKind.INSTANCE, "x", tenant="northwind"), "epoch"),
        (lambda: tokens().issue(ActorKind.INSTANCE, "x", epoch=1), "tenant"),
        (lambda: tokens().issue(ActorKind.PLATFORM, "x", tenant="northwind"), "no tenant"),
        (lambda: tokens().issue(ActorKind.OPERATOR, "x", lifetime=timedelta(0)), "lifetime"),
    ],
)
def test_what_would_not_verify_is_not_issued(issue: Callable[[], str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        issue()


def test_a_key_without_id_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="ensure_kid"):
        LocalTokens(ECKey.generate_key("P-256", private=True), operators=True)


def test_with_an_oidc_issuer_a_local_operators_token_is_refused_and_an_instances_is_not() -> None:
    with pytest.raises(TokenRejected, match="OIDC issuer"):
        tokens(operators=False).verify(forged())
    assert tokens(operators=False).verify(forged(kind="instance", tenant="northwind", epoch=0)).epoch == 0


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (forged(OTHER), "bad_signature"),
        (forged(OTHER, {"kid": OTHER.kid}), "another key"),
        (forged(iss="https://elsewhere.example"), "iss"),
        (forged(aud="another-service"), "aud"),
        (forged(aud=None), "aud"),
        (forged(sub=None), "sub"),
        (forged(sub=""), "sub"),
        (forged(sub="a\x00b"), "sub"),
        (forged(sub="a" * 256), "sub"),
        (forged(sub=7), "sub"),
        (forged(exp=None), "exp"),
        (forged(exp="tomorrow"), "exp"),
        (forged(exp=float("nan")), "exp"),
        (forged(exp=1e300), "calendar"),
        (forged(exp=NOW - SKEW), "expired"),
        (forged(nbf=NOW + SKEW + 1), "not yet valid"),
        (forged(iat=NOW + SKEW + 1), "in the future"),
        (forged(kind="root"), "kind"),
        (forged(kind=None), "kind"),
        (forged(tenant=["northwind"]), "tenant"),
        (forged(kind="instance", epoch=1), "tenant or epoch"),
        (forged(kind="instance", tenant="northwind"), "tenant or epoch"),
        (forged(kind="instance", tenant="northwind", epoch=True), "tenant or epoch"),
    ],
)
def test_a_token_that_is_wrong_in_one_thing_is_refused(token: str, reason: str) -> None:
    with pytest.raises(TokenRejected, match=reason):
        tokens().verify(token)


def test_clock_skew_is_allowed_for_at_both_ends() -> None:
    assert tokens().verify(forged(exp=NOW - SKEW + 1)).expires_at == datetime.fromtimestamp(NOW + 1, UTC)
    assert tokens().verify(forged(nbf=NOW + SKEW, iat=NOW + SKEW)).subject == "ada"


def test_an_unsigned_token_is_refused() -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "kind": "platform", "exp": NOW + 60}
    for algorithm in ("none", "None", "NONE", ""):
        with pytest.raises(TokenRejected):
            tokens().verify(unsigned({"alg": algorithm, "kid": KEY.kid}, claims) + ".")
        with pytest.raises(TokenRejected, match="unsupported_algorithm"):
            tokens().verify(unsigned({"alg": algorithm, "kid": KEY.kid}, claims) + ".c2ln")


def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused() -> None:
    secret = OctKey.import_key(base64.b64encode(KEY.as_bytes(private=False)))
    with pytest.raises(TokenRejected, match="unsupported_algorithm"):
        tokens().verify(forged(secret, {"alg": "HS256"}))


def test_the_key_inside_a_tokens_own_header_is_never_used() -> None:
    with pytest.raises(TokenRejected, match="bad_signature"):
        tokens().verify(forged(OTHER, {"jwk": OTHER.as_dict(private=False)}))


@given(st.text() | st.lists(st.text(), min_size=3, max_size=3).map(".".join))
def test_noise_is_refused_and_never_a_fault(token: str) -> None:
    with pytest.raises(TokenRejected):
        tokens().verify(token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5c", "jku"]), json_values),
    st.booleans(),
)
def test_any_header_over_a_stale_signature_is_refused_and_never_a_fault(header: dict[str, Any], same: bool) -> None:
    _, payload, signature = forged().split(".")
    if same:
        header = {"alg": "ES256", "kid": KEY.kid} | header
    part = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    if part == forged().split(".")[0]:
        return
    with pytest.raises(TokenRejected):
        tokens().verify(f"{part}.{payload}.{signature}")


@given(json_values)
def test_any_value_of_any_claim_verifies_or_is_refused_and_never_a_fault(value: Any) -> None:
    for name in ("iss", "aud", "sub", "kind", "tenant", "exp", "nbf", "iat", "epoch"):
        try:
            tokens().verify(forged(**{name: value}))
        except TokenRejected:
            continue


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_json_is_refused_before_it_is_parsed_far(depth: int) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":' + b"[" * depth).rstrip(b"=").decode()
    with pytest.raises(TokenRejected):
        tokens().verify(f"{header}.e30.c2ln")


def test_a_token_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(TokenRejected, match=str(LONGEST_TOKEN)):
        tokens().verify("a" * (LONGEST_TOKEN + 1))
