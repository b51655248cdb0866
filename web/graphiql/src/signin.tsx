import { useState, type FormEvent, type ReactElement } from "react";
import { cleanToken, type Credentials } from "./credentials";
import { iconUrl } from "./icon";

interface SignInProps {
  /** Why the token there was does not do, in words; null at the first visit. */
  readonly problem: string | null;
  readonly busy: boolean;
  readonly tenant: string;
  onSubmit(credentials: Credentials): void;
  /** Set where there is something to go back to. */
  onCancel?: (() => void) | undefined;
}

const SHAPE = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Asks for a token, and for a tenant where the token alone does not name one. */
export function SignInForm({ problem, busy, tenant: initialTenant, onSubmit, onCancel }: SignInProps): ReactElement {
  const [text, setText] = useState("");
  const [tenant, setTenant] = useState(initialTenant);
  const [shapeProblem, setShapeProblem] = useState<string | null>(null);

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    const token = cleanToken(text);
    if (!SHAPE.test(token)) {
      setShapeProblem("A token has three parts with dots between them. Paste the whole line that the command printed.");
      return;
    }
    setShapeProblem(null);
    onSubmit({ token, tenant: tenant.trim() });
  };

  const said = shapeProblem ?? problem;
  return (
    <div className="fleet-signin">
      <form onSubmit={submit} aria-labelledby="signin-title">
        <h1 id="signin-title">
          <img src={iconUrl} alt="" width="36" height="36" />
          Fleetgraph
        </h1>
        <p>
          The fleet&rsquo;s graph is read with a token. It stays in this tab and is gone when the tab closes.
        </p>
        <label>
          Token
          <input
            name="token"
            type="password"
            autoComplete="off"
            spellCheck={false}
            autoFocus
            required
            placeholder="eyJ…"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        </label>
        <details open={tenant !== ""}>
          <summary>My token is good for several tenants</summary>
          <label>
            Tenant
            <input
              name="tenant"
              autoComplete="off"
              spellCheck={false}
              placeholder="northwind"
              value={tenant}
              onChange={(event) => setTenant(event.target.value)}
            />
          </label>
        </details>
        {said && (
          <p className="fleet-problem" role="alert">
            {said}
          </p>
        )}
        <div className="fleet-actions">
          <button type="submit" disabled={busy}>
            {busy ? "Signing in…" : "Sign in"}
          </button>
          {onCancel && (
            <button type="button" className="fleet-quiet" onClick={onCancel}>
              Cancel
            </button>
          )}
        </div>
        <p className="fleet-hint">
          <code>make run</code> prints one, or make one for a role:
          <code className="fleet-command">.venv/bin/fleetgraph token --tenant northwind --role viewer</code>
        </p>
      </form>
    </div>
  );
}
