import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import escapeHtml from "escape-html";

const page = readFileSync(new URL("dist/page.html", import.meta.url), "utf8");

const server = createServer((request, response) => {
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.end(`<!doctype html>\n<title>Sample</title>\n${page}<p>You asked for ${escapeHtml(request.url)}</p>\n`);
});
server.listen(process.env.PORT ?? 8000, "0.0.0.0");
process.on("SIGTERM", () => server.close());
