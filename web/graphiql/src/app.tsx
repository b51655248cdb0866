import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { GraphiQL } from "graphiql";
import { useCallback, useEffect, useMemo, useState, type ReactElement } from "react";
import { forgetCredentials, readCredentials, storeCredentials, type Credentials } from "./credentials";
import { examples, examplesPlugin } from "./examples";
import { Gateway } from "./gateway";
import { iconUrl } from "./icon";
import { SignInForm } from "./signin";
import { pageStorage } from "./storage";
import { signIn, type Viewer } from "./viewer";

interface Session {
  readonly credentials: Credentials;
  readonly viewer: Viewer;
}

const plugins = [explorerPlugin({ showAttribution: false, explorerIsOpen: true, hideActions: false }), examplesPlugin, HISTORY_PLUGIN];

/** A link may carry an operation (`?query=…&variables=…`); it opens in a tab of its own and is run by nobody but its reader. */
const linked = new URLSearchParams(location.search);

export function App(): ReactElement {
  const [session, setSession] = useState<Session | null>(null);
  const [busy, setBusy] = useState(true);
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  const enter = useCallback(async (credentials: Credentials) => {
    setBusy(true);
    try {
      const outcome = await signIn(credentials);
      if ("refused" in outcome) {
        forgetCredentials();
        setProblem(outcome.refused);
        setAsking(true);
        return;
      }
      storeCredentials(credentials);
      setSession({ credentials, viewer: outcome.viewer });
      setProblem(null);
      setAsking(false);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setAsking(true);
    } finally {
      setBusy(false);
    }
  }, []);

  useEffect(() => {
    const start = (): void => {
      const kept = readCredentials();
      if (kept) void enter(kept);
      else {
        setAsking(true);
        setBusy(false);
      }
    };
    start();
    // Pasting a printed address over one that is open changes the fragment alone, which loads nothing anew.
    const onHash = (): void => {
      if (new URLSearchParams(location.hash.slice(1)).has("token")) start();
    };
    window.addEventListener("hashchange", onHash);
    return () => window.removeEventListener("hashchange", onHash);
  }, [enter]);

  const expired = useCallback(() => {
    setProblem("The gateway no longer accepts this token. What you have typed is kept; sign in to go on.");
    setAsking(true);
  }, []);

  const leave = (): void => {
    forgetCredentials();
    setSession(null);
    setProblem(null);
    setAsking(true);
  };

  return (
    <>
      <Bar session={session} good={session !== null && problem === null} onChange={() => setAsking(true)} onLeave={leave} />
      <main>
        {session && <Workbench session={session} onUnauthenticated={expired} />}
        {asking && (
          <SignInForm
            problem={problem}
            busy={busy}
            tenant={session?.credentials.tenant ?? ""}
            onSubmit={(credentials) => void enter(credentials)}
            onCancel={session && !problem ? () => setAsking(false) : undefined}
          />
        )}
        {!session && !asking && <p className="fleet-waiting">Signing in…</p>}
      </main>
    </>
  );
}

interface BarProps {
  readonly session: Session | null;
  /** False where the gateway has refused the token since. */
  readonly good: boolean;
  onChange(): void;
  onLeave(): void;
}

function Bar({ session, good, onChange, onLeave }: BarProps): ReactElement {
  const viewer = session?.viewer;
  return (
    <header className="fleet-bar">
      <img src={iconUrl} alt="" width="22" height="22" />
      <strong>Fleetgraph</strong>
      {viewer?.tenant && <span className="fleet-tenant">{viewer.tenant}</span>}
      {viewer?.mode && viewer.mode !== "NORMAL" && (
        <span className="fleet-mode" title="The emergency mode in force (operator controls)">
          {viewer.mode}
        </span>
      )}
      <span className="fleet-state" role="status" data-signed-in={good}>
        {viewer ? (
          <span title={`The token is good until ${new Date(viewer.tokenExpiresAt).toLocaleString()}.`}>
            Signed in as {viewer.kind === "INSTANCE" && "the agent "}
            <b>{viewer.name}</b>
          </span>
        ) : (
          "Not signed in"
        )}
      </span>
      {session && (
        <>
          <button type="button" onClick={onChange}>
            Change token
          </button>
          <button type="button" onClick={onLeave}>
            Sign out
          </button>
        </>
      )}
    </header>
  );
}

function Workbench({ session, onUnauthenticated }: { readonly session: Session; onUnauthenticated(): void }): ReactElement {
  const gateway = useMemo(() => new Gateway(session.credentials, onUnauthenticated), [session, onUnauthenticated]);
  useEffect(() => () => gateway.close(), [gateway]);

  const query = linked.get("query");
  const tabs = useMemo(
    () => [
      ...(query === null ? [] : [{ query, variables: linked.get("variables") }]),
      ...examples().map(({ query: text, variables }) => ({ query: text, variables })),
    ],
    [query],
  );
  // Another token may see another schema and other rows: a new key starts GraphiQL afresh, which fetches the schema
  // again. Its tabs are kept in the page's storage.
  return (
    <GraphiQL
      key={`${session.credentials.tenant} ${session.credentials.token}`}
      fetcher={gateway.fetcher}
      plugins={plugins}
      storage={pageStorage as Storage}
      defaultTabs={tabs}
      shouldPersistHeaders={false}
      showPersistHeadersSettings={false}
      inputValueDeprecation={true}
      {...(query !== null && { initialQuery: query, initialVariables: linked.get("variables") ?? "" })}
    >
      <GraphiQL.Logo>
        <span />
      </GraphiQL.Logo>
      <FollowSystemTheme />
    </GraphiQL>
  );
}

/** Monaco takes its colours when the theme is set; where that is the system's, they are to change when it does. */
function FollowSystemTheme(): null {
  const theme = useGraphiQL((state) => state.theme);
  const { setTheme } = useGraphiQLActions();
  useEffect(() => {
    if (theme !== null) return undefined;
    const system = matchMedia("(prefers-color-scheme: dark)");
    const follow = (): void => setTheme(null);
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, [theme, setTheme]);
  return null;
}
