// The caller's token: kept in this tab, gone when the tab closes, never in an address, never in localStorage.

/** A bearer token and, for a person who has several, the tenant to act in (an empty string: the token's own). */
export interface Credentials {
  readonly token: string;
  readonly tenant: string;
}

const TOKEN_KEY = "fleetgraph.token";
const TENANT_KEY = "fleetgraph.tenant";

/**
 * Reads the credentials of this tab. An address ending in `#token=…` (what `make run` prints; a fragment is never sent
 * to a server) is taken over into the tab's storage, and the fragment removed from the address and the history.
 */
export function readCredentials(): Credentials | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const handed = fragment.get("token");
  if (handed !== null) {
    history.replaceState(history.state, "", location.pathname + location.search);
    if (handed.trim() !== "") {
      storeCredentials({ token: cleanToken(handed), tenant: fragment.get("tenant")?.trim() ?? "" });
    }
  }
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { token, tenant: sessionStorage.getItem(TENANT_KEY) ?? "" } : null;
}

export function storeCredentials(credentials: Credentials): void {
  sessionStorage.setItem(TOKEN_KEY, credentials.token);
  sessionStorage.setItem(TENANT_KEY, credentials.tenant);
}

export function forgetCredentials(): void {
  sessionStorage.removeItem(TOKEN_KEY);
  sessionStorage.removeItem(TENANT_KEY);
}

/** Tokens are copied from terminals: with line breaks where it wrapped, sometimes with the word Bearer in front. */
export function cleanToken(text: string): string {
  return text.replace(/^\s*bearer\s+/i, "").replace(/\s+/g, "");
}

/** The same two fields as HTTP headers and in `connection_init`. */
export function authorization({ token, tenant }: Credentials): Record<string, string> {
  return { Authorization: `Bearer ${token}`, ...(tenant && { "Fleetgraph-Tenant": tenant }) };
}
