import type { Fetcher } from "@graphiql/toolkit";
import { Kind, parse } from "graphql";
import { createClient, type Client, type SubscribePayload } from "graphql-ws";
import { authorization, type Credentials } from "./credentials";

/** A GraphQL answer as it stands on the wire. */
export interface Answer {
  data?: Record<string, unknown> | null;
  errors?: readonly { message: string; extensions?: Record<string, unknown> }[];
}

/** The page is served at the API's own path, below whatever prefix a proxy puts before it. */
const path = location.pathname;

/** An error whose text is for people: GraphiQL would print its stack too. */
function complaint(text: string): Error {
  const error = new Error(text);
  delete error.stack;
  return error;
}

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
    throw complaint("The gateway does not answer. Is it running?");
  }
  const text = await response.text();
  try {
    return JSON.parse(text) as Answer;
  } catch {
    throw complaint(`The gateway answered ${response.status} ${response.statusText}: ${text.slice(0, 300)}`.trim());
  }
}

/** Whether an answer says that the token is missing, wrong or expired. */
export const isUnauthenticated = (answer: Answer): boolean =>
  answer.errors?.some((error) => error.extensions?.["code"] === "UNAUTHENTICATED") ?? false;

/**
 * Which operation of a document is meant. GraphiQL notes the name a moment after the text has changed, so that a text
 * pasted and run at once would go out under the name of the one before it.
 */
function chosenOperation(query: string, name: string | null | undefined): { operation?: string; operationName?: string } {
  let definitions;
  try {
    definitions = parse(query).definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
  } catch {
    return name ? { operationName: name } : {}; // the gateway tells what is wrong with the text
  }
  const [only] = definitions;
  const chosen = definitions.length === 1 ? only : definitions.find((definition) => definition.name?.value === name);
  return { ...(chosen && { operation: chosen.operation }), ...(chosen?.name && { operationName: chosen.name.value }) };
}

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
    const { operation, operationName } = chosenOperation(parameters.query, parameters.operationName);
    const body = { ...parameters, operationName };
    if (operation === "subscription") return this.#subscribe(body);
    const answer = await send(this.credentials, body, options?.headers);
    if (isUnauthenticated(answer)) this.onUnauthenticated();
    return answer as never;
  };

  // Not an async generator: its return() would wait for the next event, and Stop is to act at once.
  #subscribe(parameters: SubscribePayload): AsyncIterableIterator<never> {
    const events = this.#sockets.iterate(parameters);
    const explain = (error: unknown): never => {
      if (!(error instanceof CloseEvent)) throw error;
      if (error.code === 4401) this.onUnauthenticated();
      throw complaint(`The subscription's socket was closed: ${error.code} ${error.reason}`.trim());
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
