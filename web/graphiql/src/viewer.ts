import { isUnauthenticated, send } from "./gateway";
import type { Credentials } from "./credentials";
import query from "./viewer.graphql";

/** Who the gateway says the caller is. */
export interface Viewer {
  readonly name: string;
  readonly tenant: string;
}

/** The outcome of a sign-in: who one is, or in words why not. */
export type SignIn = { readonly viewer: Viewer } | { readonly refused: string };

interface ViewerAnswer {
  readonly tenant: { readonly name: string; readonly slug: string } | null;
  readonly operator: { readonly name: string } | null;
  readonly instance: { readonly name: string } | null;
}

/** Asks the gateway who these credentials belong to. Throws when the gateway cannot be reached. */
export async function signIn(credentials: Credentials): Promise<SignIn> {
  const answer = await send(credentials, { query, operationName: "WhoAmI" });
  if (isUnauthenticated(answer)) {
    return { refused: answer.errors?.[0]?.message ?? "The gateway refuses this token." };
  }
  const viewer = answer.data?.["viewer"] as ViewerAnswer | null | undefined;
  if (!viewer) return { refused: answer.errors?.[0]?.message ?? "The gateway does not say whose token this is." };
  return {
    viewer: {
      name: viewer.operator?.name ?? viewer.instance?.name ?? "Platform",
      tenant: viewer.tenant?.name ?? "no tenant",
    },
  };
}
