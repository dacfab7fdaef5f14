// Calls servers through the gateway by the official clients, and prints what came of it as one line of JSON.
// Arguments: the endpoint's URL, the token, a directory that server-filesystem serves.
import { Client as Old } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OldHTTP } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [url, token, dir] = process.argv.slice(2);
const requestInit = { headers: { Authorization: `Bearer ${token}` } };
const info = { name: "interop", version: "1" };

async function use(client, out) {
  const tools = [];
  let cursor;
  do {
    const page = await client.listTools(cursor ? { cursor } : {});
    tools.push(...page.tools.map((t) => t.name));
    cursor = page.nextCursor;
  } while (cursor);
  out.tools = tools.sort();
  out.echo = (await client.callTool({ name: "everything__echo", arguments: { message: "hello" } })).content[0].text;
  const progress = [];
  out.long = (
    await client.callTool(
      { name: "everything__trigger-long-running-operation", arguments: { duration: 1, steps: 3 } },
      ...(out.old ? [undefined] : []),
      { onprogress: (p) => progress.push(p.progress) },
    )
  ).content[0].text;
  out.progress = progress;
  out.files = (await client.callTool({ name: "filesystem__list_directory", arguments: { path: dir } })).content[0].text;
  await client.callTool({
    name: "memory__create_entities",
    arguments: { entities: [{ name: "gateway", entityType: "thing", observations: ["it works"] }] },
  });
  out.memory = (await client.callTool({ name: "memory__read_graph", arguments: {} })).content[0].text;
  const { resources } = await client.listResources();
  out.resources = resources.length;
  out.resource = (await client.readResource({ uri: resources[0].uri })).contents[0].uri === resources[0].uri;
  const { prompts } = await client.listPrompts();
  out.prompts = prompts.map((p) => p.name).sort();
  out.prompt = (await client.getPrompt({ name: "everything__simple-prompt" })).messages.length;
  try {
    const r = await client.callTool({ name: "everything__get-env", arguments: {} });
    out.refused = r.isError ? r.content[0].text : "it was not";
  } catch (e) {
    out.refused = String(e.message);
  }
}

const out = { old: { old: true }, modern: {} };
{
  const client = new Old(info, { capabilities: { sampling: {} } });
  client.setRequestHandler(CreateMessageRequestSchema, async () => ({
    model: "none",
    role: "assistant",
    content: { type: "text", text: "sampled" },
  }));
  const transport = new OldHTTP(new URL(url), { requestInit });
  await client.connect(transport);
  out.old.session = transport.sessionId !== undefined;
  await use(client, out.old);
  const names = out.old.tools;
  if (names.includes("everything__trigger-sampling-request")) {
    const r = await client.callTool({ name: "everything__trigger-sampling-request", arguments: { prompt: "x", maxTokens: 5 } });
    out.old.sampling = JSON.stringify(r.content);
  }
  await transport.terminateSession();
  await client.close();
}
{
  const client = new Client(info, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
  await client.connect(transport);
  out.modern.version = client.getNegotiatedProtocolVersion?.();
  await use(client, out.modern);
  await client.close();
}
console.log(JSON.stringify(out));
process.exit(0);
