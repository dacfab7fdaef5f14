// An MCP client of the official TypeScript SDK: it starts the command line that follows, does the steps that it reads on
// standard input, and writes what came of each.
//
//	node stdio.mjs v1|v2|v2-2026 COMMAND ARGS... < steps.json
import { readFileSync } from 'node:fs'

const [generation, command, ...args] = process.argv.slice(2)
const steps = JSON.parse(readFileSync(0, 'utf8'))
const info = { name: 'node-client', version: '1' }
const env = { ...process.env }

let client, transport
if (generation === 'v1') {
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js')
  const { StdioClientTransport } = await import('@modelcontextprotocol/sdk/client/stdio.js')
  client = new Client(info)
  transport = new StdioClientTransport({ command, args, env, stderr: 'inherit' })
} else {
  const { Client } = await import('@modelcontextprotocol/client')
  const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio')
  client = new Client(info, generation === 'v2-2026' ? { versionNegotiation: { mode: 'auto' } } : {})
  transport = new StdioClientTransport({ command, args, env, stderr: 'inherit' })
}
await client.connect(transport)
for (const [method, params] of steps) {
  let out
  try {
    out = { result: await client[method](params) }
  } catch (e) {
    out = { error: { code: e.code, message: e.message } }
  }
  console.log(JSON.stringify(out))
}
await client.close()
