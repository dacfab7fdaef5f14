// Calls a tool through the gateway by the official clients, which get their token from our authorization server themselves,
// as agents that authenticate by a key, and prints what came of it as one line of JSON.
// Arguments: the endpoint's URL, the issuer, the agent, the file of its P-256 key, a tool.
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { Client as Old } from "@modelcontextprotocol/sdk/client/index.js";
import { PrivateKeyJwtProvider as OldProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { StreamableHTTPClientTransport as OldHTTP } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Client, PrivateKeyJwtProvider, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, issuer, agent, file, tool] = process.argv.slice(2);
const privateKey = createPrivateKey(readFileSync(file)).export({ format: "pem", type: "pkcs8" });
const options = { clientId: agent, privateKey, algorithm: "ES256", jwtLifetimeSeconds: 60, expectedIssuer: issuer };
const info = { name: "authorized", version: "1" };

async function use(client, transport, provider) {
  await client.connect(transport);
  const { tools } = await client.listTools();
  const answer = await client.callTool({ name: tool, arguments: {} });
  const { token_type: type, scope } = await provider.tokens();
  await client.close();
  return { tools: tools.map((t) => t.name).sort(), says: answer.content[0].text, type, scope };
}

const out = {};
{
  const authProvider = new OldProvider(options);
  out.old = await use(new Old(info), new OldHTTP(new URL(url), { authProvider }), authProvider);
}
{
  const authProvider = new PrivateKeyJwtProvider(options);
  const client = new Client(info, { versionNegotiation: { mode: "auto" } });
  out.modern = await use(client, new StreamableHTTPClientTransport(new URL(url), { authProvider }), authProvider);
}
console.log(JSON.stringify(out));
process.exit(0);
