"""Operators' tokens of an OpenID Connect issuer, against a real HTTP server on this machine."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import Key, OctKey

from app.auth.actor import ActorKind
from app.auth.claims import Token, TokenRejected
from app.auth.oidc import OidcIssuer, OidcSettings
from tests.app.auth.provider import AUDIENCE, EC, ED, NOW, RSA_ONE, RSA_TWO, Provider

ALL = ("RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA")


class Times:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def times() -> Times:
    return Times()


@asynccontextmanager
async def opened(provider: Provider, times: Times, **settings: Any) -> AsyncIterator[OidcIssuer]:
    demanded = {"issuer": provider.issuer, "audience": AUDIENCE, "algorithms": ALL} | settings
    issuer = OidcIssuer(OidcSettings(**demanded), clock=lambda: NOW, stopwatch=times)
    try:
        yield issuer
    finally:
        await issuer.close()


@pytest.fixture
async def issuer(provider: Provider, times: Times) -> AsyncIterator[OidcIssuer]:
    async with opened(provider, times) as made:
        yield made


async def test_a_token_of_the_issuer_stands_for_an_operator(provider: Provider, issuer: OidcIssuer) -> None:
    token = provider.token(tenant="northwind", email="ada@northwind.example", email_verified=True)
    assert await issuer.verify(token) == Token(
        kind=ActorKind.OPERATOR,
        subject="auth0|ada",
        tenant="northwind",
        expires_at=datetime.fromtimestamp(NOW + 360, UTC),
        email="ada@northwind.example",
    )


async def test_an_issuers_token_is_an_operators_whatever_it_claims(provider: Provider, issuer: OidcIssuer) -> None:
    found = await issuer.verify(provider.token(kind="platform", epoch=1))
    assert found.kind is ActorKind.OPERATOR
    assert found.epoch is None


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_decision_27_an_unverified_e_mail_is_none(provider: Provider, issuer: OidcIssuer, verified: Any) -> None:
    token = provider.token(email="ada@northwind.example", email_verified=verified)
    assert (await issuer.verify(token)).email is None


async def test_the_claim_of_the_tenant_can_have_another_name(provider: Provider, times: Times) -> None:
    async with opened(provider, times, tenant_claim="https://fleet/tenant") as issuer:
        claims: dict[str, Any] = {"https://fleet/tenant": "globex", "tenant": "northwind"}
        token = provider.token(**claims)
        assert (await issuer.verify(token)).tenant == "globex"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA_ONE, "PS256"), (EC, "ES256"), (ED, "Ed25519"), (ED, "EdDSA")],
    ids=["PS256", "ES256", "Ed25519", "EdDSA"],
)
async def test_every_allowed_algorithm_verifies(
    provider: Provider, issuer: OidcIssuer, key: Key, algorithm: str
) -> None:
    provider.publish(RSA_ONE, EC, ED)
    assert (await issuer.verify(provider.token(key, algorithm))).subject == "auth0|ada"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: p.token(iss="https://elsewhere.example"), "iss"),
        (lambda p: p.token(iss=p.issuer + "/"), "iss"),
        (lambda p: p.token(aud="another"), "aud"),
        (lambda p: p.token(aud=None), "aud"),
        (lambda p: p.token(exp=NOW - 60), "expired"),
        (lambda p: p.token(exp=None), "exp"),
        (lambda p: p.token(nbf=NOW + 61), "not yet valid"),
        (lambda p: p.token(iat=NOW + 61), "in the future"),
        (lambda p: p.token(sub=None), "sub"),
        (lambda p: p.token(RSA_TWO, header={"kid": "one"}), "bad_signature"),
        (lambda p: p.token(RSA_ONE, "RS512"), "not allowed"),
        (lambda p: p.token(EC, "ES256", header={"kid": "one"}), "no published key"),
    ],
)
async def test_a_token_that_is_wrong_in_one_thing_is_refused(
    provider: Provider, issuer: OidcIssuer, make: Callable[[Provider], str], reason: str
) -> None:
    with pytest.raises(TokenRejected, match=reason):
        await issuer.verify(make(provider))


async def test_an_audience_among_several_and_times_within_the_skew_are_good(
    provider: Provider, issuer: OidcIssuer
) -> None:
    token = provider.token(aud=["another", AUDIENCE], exp=NOW - 59, nbf=NOW + 60, iat=NOW + 60)
    assert (await issuer.verify(token)).subject == "auth0|ada"


async def test_an_unsigned_token_is_refused(provider: Provider, issuer: OidcIssuer) -> None:
    _, payload, signature = provider.token().split(".")
    for algorithm in ("none", "None", "nOnE"):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "one"}).encode()).rstrip(b"=").decode()
        for end in ("", signature):
            with pytest.raises(TokenRejected):
                await issuer.verify(f"{header}.{payload}.{end}")
    assert provider.asked == []


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(
    provider: Provider, issuer: OidcIssuer
) -> None:
    secret = OctKey.import_key(base64.b64encode(RSA_ONE.as_bytes(private=False)))
    with pytest.raises(TokenRejected, match="not allowed"):
        await issuer.verify(provider.token(secret, "HS256", header={"kid": "one"}))


async def test_a_symmetric_or_broken_or_encryption_key_of_the_set_is_passed_over(
    provider: Provider, issuer: OidcIssuer
) -> None:
    good = RSA_ONE.as_dict(private=False)
    weak = {"kty": "RSA", "kid": "one", "n": "AQAB" * 30, "e": "AQAB"}
    oct_key = {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(), "kid": "one"}
    encryption = {**RSA_TWO.as_dict(private=False), "kid": "one", "use": "enc"}
    broken: list[Any] = [None, 5, {}, {"kty": "EC", "kid": "one"}, {"kty": "AKP", "kid": "one"}, {"kty": ["RSA"]}]
    provider.keys = {"keys": [*broken, oct_key, encryption, weak, good]}
    assert (await issuer.verify(provider.token())).subject == "auth0|ada"


async def test_a_token_without_key_id_needs_a_set_without_choice(provider: Provider, times: Times) -> None:
    nameless = provider.token(header={"kid": None})
    async with opened(provider, times) as issuer:
        assert (await issuer.verify(nameless)).subject == "auth0|ada"
    provider.publish(RSA_ONE, RSA_TWO)
    async with opened(provider, times) as issuer:
        with pytest.raises(TokenRejected, match="no published key"):
            await issuer.verify(nameless)


async def test_keys_are_fetched_once_and_kept(provider: Provider, issuer: OidcIssuer) -> None:
    for _ in range(3):
        await issuer.verify(provider.token())
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_a_new_key_is_found_when_the_first_token_names_it(
    provider: Provider, issuer: OidcIssuer, times: Times
) -> None:
    await issuer.verify(provider.token())
    provider.publish(RSA_ONE, RSA_TWO)
    times.now = 31
    assert (await issuer.verify(provider.token(RSA_TWO))).subject == "auth0|ada"
    assert provider.asked.count("/keys") == 2


async def test_invented_key_ids_do_not_hammer_the_issuer(provider: Provider, issuer: OidcIssuer, times: Times) -> None:
    await issuer.verify(provider.token())
    for number in range(20):
        times.now += 3
        with pytest.raises(TokenRejected, match="no published key"):
            await issuer.verify(provider.token(header={"kid": f"invented-{number}"}))
    # Sixty seconds with a pause of thirty: two more fetches.
    assert provider.asked.count("/keys") == 3


async def test_many_callers_share_one_fetch(provider: Provider, issuer: OidcIssuer) -> None:
    provider.gate.clear()
    callers = [asyncio.create_task(issuer.verify(provider.token())) for _ in range(10)]
    await until(lambda: len(provider.asked) == 1)
    callers[0].cancel()
    provider.gate.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [one.subject for one in found[1:] if isinstance(one, Token)] == ["auth0|ada"] * 9
    assert provider.asked.count("/keys") == 1


async def test_a_withdrawn_key_stops_working_once_the_keys_are_old(
    provider: Provider, issuer: OidcIssuer, times: Times
) -> None:
    await issuer.verify(provider.token())
    provider.publish(RSA_TWO)
    times.now = 601
    # This one starts the fetch and does not wait for it.
    await issuer.verify(provider.token())
    await until(lambda: provider.asked.count("/keys") == 2)

    async def refused() -> bool:
        try:
            await issuer.verify(provider.token())
        except TokenRejected:
            return True
        return False

    await until_async(refused)


@pytest.mark.parametrize("outage", ["status", "garbage", "gone"])
async def test_known_keys_go_on_serving_while_the_issuer_is_away(
    provider: Provider, issuer: OidcIssuer, times: Times, outage: str
) -> None:
    await issuer.verify(provider.token())
    if outage == "gone":
        provider.server.server_close()
    elif outage == "status":
        provider.status = 503
    else:
        provider.discovery = b"<html>"
    times.now = 10_000
    await issuer.refresh()
    assert (await issuer.verify(provider.token())).subject == "auth0|ada"


async def test_an_issuer_that_is_away_at_the_start_is_found_when_it_is_back(
    provider: Provider, issuer: OidcIssuer, times: Times
) -> None:
    provider.status = 503
    with pytest.raises(TokenRejected, match="no published key"):
        await issuer.verify(provider.token())
    provider.status = 200
    times.now = 1
    assert (await issuer.verify(provider.token())).subject == "auth0|ada"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.discovery.update(issuer="https://elsewhere.example"),
        lambda p: p.discovery.update(jwks_uri="http://elsewhere.example/keys"),
        lambda p: p.discovery.update(jwks_uri="file:///etc/passwd"),
        lambda p: p.discovery.pop("jwks_uri"),
        lambda p: setattr(p, "discovery", [1]),
        lambda p: setattr(p, "discovery", b"[" * 100_000),
        lambda p: setattr(p, "keys", {"keys": {}}),
        lambda p: setattr(p, "keys", {"keys": []}),
        lambda p: setattr(p, "keys", b" " * (512 * 1024) + b"{}"),
        lambda p: setattr(p, "status", 302),
    ],
    ids=["issuer", "open line", "file", "no key set", "list", "deep", "no list", "no keys", "large", "redirect"],
)
async def test_documents_that_cannot_be_trusted_give_no_keys(
    provider: Provider, issuer: OidcIssuer, spoil: Callable[[Provider], object]
) -> None:
    spoil(provider)
    with pytest.raises(TokenRejected, match="no published key"):
        await issuer.verify(provider.token())


async def test_a_slow_issuer_is_given_up_on(provider: Provider, times: Times) -> None:
    provider.gate.clear()
    async with opened(provider, times, timeout=timedelta(milliseconds=50)) as issuer:
        with pytest.raises(TokenRejected, match="no published key"):
            await issuer.verify(provider.token())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"issuer": "http://login.example"}, "https://"),
        ({"issuer": "login.example"}, "https://"),
        ({"audience": ""}, "audience"),
        ({"algorithms": ["RS256", "HS256"]}, "HS256"),
        ({"algorithms": ["none"]}, "none"),
        ({"algorithms": []}, "none given"),
    ],
)
def test_settings_that_could_not_be_safe_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        OidcSettings(**({"issuer": "https://login.example", "audience": AUDIENCE} | change))


async def until(condition: Callable[[], bool]) -> None:
    async def check() -> bool:
        return condition()

    await until_async(check)


async def until_async(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110  (what is waited for lives in another thread)
            await asyncio.sleep(0.005)
