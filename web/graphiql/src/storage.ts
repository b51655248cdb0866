// GraphiQL keeps its tabs, history and theme under keys such as "graphiql:tabState". Every GraphiQL that ever ran on
// this host and port (localhost:8000 sees many) would share them, and its tabs would hide our examples: hence a prefix.
const PREFIX = "fleetgraph/";

const ownKeys = (): string[] =>
  Array.from({ length: localStorage.length }, (_, index) => localStorage.key(index)).filter(
    (key): key is string => key !== null && key.startsWith(PREFIX),
  );

/** What GraphiQL remembers across visits: never a token, which lives in the tab's sessionStorage alone. */
export const pageStorage = {
  get length(): number {
    return ownKeys().length;
  },
  getItem: (key: string): string | null => localStorage.getItem(PREFIX + key),
  setItem: (key: string, value: string): void => localStorage.setItem(PREFIX + key, value),
  removeItem: (key: string): void => localStorage.removeItem(PREFIX + key),
  clear: (): void => ownKeys().forEach((key) => localStorage.removeItem(key)),
};
