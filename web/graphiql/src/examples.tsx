import { useGraphiQL, useGraphiQLActions, type GraphiQLPlugin } from "@graphiql/react";
import type { ReactElement } from "react";
import files from "fleetgraph:examples";

/** One file of docs/examples; `variables` is JSON text as it is written there. */
export interface Example {
  readonly title: string;
  readonly description: string;
  readonly query: string;
  readonly variables: string | null;
}

const DAY = 86_400_000;

/** Puts the time that `"-P7D"` (seven days ago) and its like stand for into the variables. */
const datesFilledIn = (variables: string): string =>
  variables.replace(/"-P(\d+)D"/g, (_, days: string) => JSON.stringify(new Date(Date.now() - Number(days) * DAY).toISOString()));

/** The examples, their times reckoned from now. */
export const examples = (): readonly Example[] =>
  files.map((example) => ({
    ...example,
    variables: example.variables === null ? null : datesFilledIn(example.variables).trim(),
  }));

function Examples(): ReactElement {
  const { addTab, updateActiveTabValues } = useGraphiQLActions();
  const { queryEditor, variableEditor } = useGraphiQL((state) => state);

  const open = ({ query, variables }: Example): void => {
    addTab();
    queryEditor?.setValue(query);
    variableEditor?.setValue(variables ?? "");
    updateActiveTabValues({ query, variables });
  };
  return (
    <section className="fleet-examples" aria-label="Examples">
      <div className="graphiql-doc-explorer-title">Examples</div>
      <p>Each opens in a new tab.</p>
      <ul>
        {examples().map((example) => (
          <li key={example.title}>
            <button type="button" onClick={() => open(example)}>
              <strong>{example.title}</strong>
              <span>{example.description}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

const Icon = (): ReactElement => (
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinejoin="round" height="1em">
    <path d="M9 18h6M10 21h4M12 3a6 6 0 0 0-3.6 10.8c.7.5 1.1 1.3 1.1 2.2h5c0-.9.4-1.7 1.1-2.2A6 6 0 0 0 12 3Z" />
  </svg>
);

/** The sidebar's list of examples, for those who closed the tabs they came in. */
export const examplesPlugin: GraphiQLPlugin = { title: "Examples", icon: Icon, content: Examples };
