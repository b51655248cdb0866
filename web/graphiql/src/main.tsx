import "./workers";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./page.css";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { pageStorage } from "./storage";

// GraphiQL sets this class itself once it is there; the sign-in before it should not flash in the other theme.
const theme = pageStorage.getItem("graphiql:theme");
if (theme === "light" || theme === "dark") document.body.classList.add(`graphiql-${theme}`);

const root = document.getElementById("page");
if (!root) throw new Error("index.html has no element with the id page.");
createRoot(root).render(<App />);
