"""The authenticator that the settings ask for.

===================  =========================  ===============================================================
FLEETGRAPH_…         the gateway's signing key  operators sign in
===================  =========================  ===============================================================
(nothing)            a file, made on first run  with the gateway's own tokens (`fleetgraph token`)
SECRET_KEY           derived from it            with the gateway's own tokens
OIDC_ISSUER          none: agents get no token  at the issuer
both                 derived from SECRET_KEY    at the issuer; the gateway's tokens serve agents and the platform
===================  =========================  ===============================================================

In production (FLEETGRAPH_ENVIRONMENT) no key is made up, so without SECRET_KEY the gateway has none.
"""

from datetime import timedelta

from app.auth.authenticate import Authenticator, Refusals
from app.auth.consent import SignedInOperators
from app.auth.invitations import InvitedOperators
from app.auth.keys import derive_key, load_or_create_key
from app.auth.tokens import LocalTokens
from app.settings import Settings, SettingsError
from db.session import Database


def open_local_tokens(settings: Settings) -> LocalTokens | None:
    """The gateway's own tokens, or None where it has no key (see the table above). Raises KeyUnusable."""
    if settings.secret_key is not None:
        key = derive_key(settings.secret_key.reveal())
    elif settings.oidc_issuer is None and not settings.production:
        key = load_or_create_key(settings.data_dir / "keys")
    else:
        return None
    return LocalTokens(
        key,
        operators=settings.oidc_issuer is None,
        skew=settings.clock_skew_seconds,
        lifetime=timedelta(seconds=settings.token_ttl_seconds),
    )


def open_authenticator(settings: Settings, database: Database, refusals: Refusals | None = None) -> Authenticator:
    """The authenticator of these settings, which tells `refusals` of whom it does not let in; `close` it when the
    event loop ends.

    Raises KeyUnusable, and SettingsError for an issuer that cannot be used or where nobody could sign in at all.
    """
    local, consents = open_local_tokens(settings), SignedInOperators(database)
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        if local is None:
            raise SettingsError(
                "FLEETGRAPH_SECRET_KEY or FLEETGRAPH_OIDC_ISSUER: in production one of them must be set, "
                "or nobody can sign in"
            )
        return Authenticator(database, local=local, consents=consents, refusals=refusals)
    from app.auth.oidc import OidcIssuer, OidcSettings  # with an HTTP client, which nothing else here needs

    try:
        demanded = OidcSettings(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            algorithms=settings.oidc_algorithms,
            skew=settings.clock_skew_seconds,
        )
    except ValueError as error:
        raise SettingsError(f"FLEETGRAPH_OIDC_ISSUER: {error}") from None
    return Authenticator(
        database,
        local=local,
        oidc=OidcIssuer(demanded),
        invitations=InvitedOperators(database),
        consents=consents,
        refusals=refusals,
    )
