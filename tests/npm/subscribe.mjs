// Follows opEvents with a client of npm, as docs/live.md says: it keeps the cursor of the last message and comes back
// with it, whatever ended the stream. Prints what it heard, a line of JSON an event.
//
// Arguments: which client, the address (http://…), a token, and the cursor to begin with.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createSse } from "graphql-sse";
import { createClient as createWs } from "graphql-ws";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // Node has had one of its own since 22; Apollo asks for it by name

const [kind, url, token, begin] = process.argv.slice(2);
const socketUrl = url.replace("http", "ws");
const authorization = `Bearer ${token}`;
const QUERY = "subscription Tail($after: Seq) { opEvents(after: $after) { seq type project { name } } }";
const VIEWER = "query Who { viewer { name } }";
let cursor = begin;

const say = (value) => console.log(JSON.stringify(value));

/** One event, or the errors that end a stream. */
function hear(result) {
  const errors = result.errors ?? result.error?.graphQLErrors ?? result.error?.errors ?? [];
  for (const error of errors) {
    cursor = error.extensions?.cursor ?? cursor;
    say({ ended: error.extensions?.code ?? error.message });
  }
  const event = result.data?.opEvents;
  if (event) {
    cursor = event.seq;
    say({ seq: Number(event.seq), type: event.type });
  }
}

const ws = () => createWs({ url: socketUrl, connectionParams: { authorization }, retryAttempts: 0, webSocketImpl: WebSocket });

/** Consumes an async iterable to its end, whatever the end is. */
async function drain(iterable) {
  for await (const result of iterable) hear(result);
}

/** Consumes an observable to its end. */
const observed = (subscribe) => new Promise((resolve, reject) => subscribe(hear, reject, resolve));

function apollo(link) {
  return new ApolloClient({ link, cache: new InMemoryCache() });
}

const clients = {
  "graphql-ws": () => {
    const client = ws();
    return () => drain(client.iterate({ query: QUERY, variables: { after: cursor } }));
  },
  "graphql-sse": () => {
    const client = createSse({ url, headers: { authorization }, retryAttempts: 0 });
    return () => drain(client.iterate({ query: QUERY, variables: { after: cursor } }));
  },
  "apollo-ws": () => {
    const client = apollo(new GraphQLWsLink(ws()));
    return () =>
      observed((next, error, complete) =>
        client.subscribe({ query: gql(QUERY), variables: { after: cursor } }).subscribe({ next, error, complete }),
      );
  },
  "apollo-multipart": () => {
    const client = apollo(ApolloLink.from([new HttpLink({ uri: url, headers: { authorization } })]));
    return async () => {
      const { data } = await client.query({ query: gql(VIEWER), fetchPolicy: "no-cache" });
      say({ viewer: data.viewer.name });
      await observed((next, error, complete) =>
        client.subscribe({ query: gql(QUERY), variables: { after: cursor } }).subscribe({ next, error, complete }),
      );
    };
  },
  "urql-ws": () => {
    const socket = ws();
    const exchange = subscriptionExchange({
      forwardSubscription: (request) => ({
        subscribe: (sink) => ({ unsubscribe: socket.subscribe({ ...request, query: request.query ?? "" }, sink) }),
      }),
    });
    return () => urql([exchange, fetchExchange]);
  },
  "urql-sse": () => () => urql([fetchExchange], { fetchSubscriptions: true }),
};

async function urql(exchanges, options = {}) {
  const client = new Client({ url, exchanges, preferGetMethod: false, fetchOptions: { headers: { authorization } }, ...options });
  const { data, error } = await client.query(VIEWER, {}).toPromise();
  if (error) throw error;
  say({ viewer: data.viewer.name });
  await new Promise((resolve) => {
    const { unsubscribe } = client.subscription(QUERY, { after: cursor }).subscribe((result) => {
      // With its end, or an error, urql says the last event once more.
      hear(result.hasNext === false || result.error ? { error: result.error } : result);
      if (result.error || result.hasNext === false) {
        resolve();
        setTimeout(unsubscribe);
      }
    });
  });
}

const follow = clients[kind]();
for (;;) {
  try {
    await follow();
  } catch (error) {
    hear({ errors: Array.isArray(error) ? error : (error.errors ?? error.graphQLErrors ?? []) });
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
}
