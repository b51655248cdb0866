import type { Fetcher } from "@graphiql/toolkit";
import { getOperationAST } from "graphql";
import { createClient, type Client, type SubscribePayload } from "graphql-ws";
import { authorization, type Credentials } from "./credentials";

/** A GraphQL answer as it stands on the wire. */
export interface Answer {
  data?: Record<string, unknown> | null;
  errors?: readonly { message: string; extensions?: Record<string, unknown> }[];
}

/** The page is served at the API's own path, below whatever prefix a proxy puts before it. */
const path = location.pathname;

/** Sends one operation. Throws an Error with a text for people when what comes back is no GraphQL answer. */
export async function send(credentials: Credentials, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: "POST",
      credentials: "omit",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/graphql-response+json, application/json;q=0.9",
        ...authorization(credentials),
        ...headers,
      },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The gateway does not answer. Is it running?");
  }
  const text = await response.text();
  try {
    return JSON.parse(text) as Answer;
  } catch {
    throw new Error(`The gateway answered ${response.status} ${response.statusText}: ${text.slice(0, 300)}`.trim());
  }
}

/** Whether an answer says that the token is missing, wrong or expired. */
export const isUnauthenticated = (answer: Answer): boolean =>
  answer.errors?.some((error) => error.extensions?.["code"] === "UNAUTHENTICATED") ?? false;

/** What GraphiQL runs its operations with: queries and mutations by POST, subscriptions by WebSocket on the same path. */
export class Gateway {
  readonly #sockets: Client;

  constructor(
    readonly credentials: Credentials,
    readonly onUnauthenticated: () => void,
  ) {
    this.#sockets = createClient({
      url: () => new URL(path, location.href.replace(/^http/, "ws")).href,
      connectionParams: () => authorization(credentials),
    });
  }

  readonly fetcher: Fetcher = async (parameters, options) => {
    const document = options?.documentAST;
    const operation = document && getOperationAST(document, parameters.operationName ?? undefined);
    if (operation?.operation === "subscription") return this.#subscribe(parameters as SubscribePayload);
    const answer = await send(this.credentials, parameters, options?.headers);
    if (isUnauthenticated(answer)) this.onUnauthenticated();
    return answer as never;
  };

  // Not an async generator: its return() would wait for the next event, and Stop is to act at once.
  #subscribe(parameters: SubscribePayload): AsyncIterableIterator<never> {
    const events = this.#sockets.iterate(parameters);
    const explain = (error: unknown): never => {
      if (!(error instanceof CloseEvent)) throw error;
      if (error.code === 4401) this.onUnauthenticated();
      throw new Error(`The subscription's socket was closed: ${error.code} ${error.reason}`.trim());
    };
    return {
      next: () => events.next().catch(explain) as Promise<IteratorResult<never>>,
      return: () => (events.return?.() ?? Promise.resolve({ done: true, value: undefined })) as Promise<IteratorResult<never>>,
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  close(): void {
    void this.#sockets.dispose();
  }
}
