import { isUnauthenticated, send, type Answer } from "./gateway";
import type { Credentials } from "./credentials";
import query from "./viewer.graphql";

/** Who the gateway says the caller is. */
export interface Viewer {
  readonly kind: "OPERATOR" | "INSTANCE" | "PLATFORM";
  readonly name: string;
  /** RFC 3339. */
  readonly tokenExpiresAt: string;
  /** Name of the tenant; null where the caller has none, or may not read it. */
  readonly tenant: string | null;
  /** The emergency mode in force; null where it cannot be told. */
  readonly mode: string | null;
}

/** The outcome of a sign-in: who one is, or in words why not. */
export type SignIn = { readonly viewer: Viewer } | { readonly refused: string };

const viewerOf = (answer: Answer): Record<string, unknown> | null =>
  (answer.data?.["viewer"] ?? null) as Record<string, unknown> | null;

/** Asks the gateway who these credentials belong to. Throws when the gateway cannot be reached. */
export async function signIn(credentials: Credentials): Promise<SignIn> {
  const ask = (operationName: string): Promise<Answer> => send(credentials, { query, operationName });
  const answer = await ask("WhoAmI");
  const viewer = viewerOf(answer);
  if (isUnauthenticated(answer) || viewer === null) {
    return { refused: answer.errors?.[0]?.message ?? "The gateway does not say whose token this is." };
  }
  const [tenant, mode] = (await Promise.all([ask("WhichTenant"), ask("WhichMode")])).map(viewerOf);
  return {
    viewer: {
      ...(viewer as unknown as Pick<Viewer, "kind" | "name" | "tokenExpiresAt">),
      tenant: (tenant?.["tenant"] as { name: string } | null | undefined)?.name ?? null,
      mode: (mode?.["emergencyMode"] as string | undefined) ?? null,
    },
  };
}
