// Turns page.md into the page that the server sends. Needs a package that production does not.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { marked } from "marked";

mkdirSync("dist", { recursive: true });
writeFileSync("dist/page.html", marked.parse(readFileSync("page.md", "utf8")));
