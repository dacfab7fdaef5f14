import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import ts from 'typescript'
import { Key } from '@safeconduct/sdk'
import { DISCOVERY, EVALUATE, fake, issued, metadata, OUTCOME, TOKEN } from './fake.mjs'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
const blocks = [...readme.matchAll(/```ts\n(.*?)```/gs)].map((m) => m[1])

async function run(i, places) {
  let code = blocks[i].replaceAll('@safeconduct/sdk', new URL('../dist/index.js', import.meta.url).href)
  for (const [place, value] of Object.entries(places)) {
    assert.ok(code.includes(place), place)
    code = code.replaceAll(place, value)
  }
  code = ts.transpile(code, { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 })
  return (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code])).stdout
}

test('the guard of the README', async (t) => {
  const f = await fake(t, { [OUTCOME]: [{ entry: 1 }], [EVALUATE]: [{ decision: true, context: { evaluation_id: 'd7' } }] })
  const places = { 'https://pdp.example.com': f.url }
  assert.equal(await run(0, places), "{ paid: '120.50' }\n")
  f.answers[EVALUATE] = [{ decision: false, context: { code: 'forbidden', reasons: [{ code: 'x', message: 'Too much.' }] } }]
  assert.equal(await run(0, places), 'forbidden refused: Too much. []\n')
})

test('the agent of the README', async (t) => {
  const f = await fake(t, { [TOKEN]: [issued()], [EVALUATE]: [{ decision: true }], 'GET /invoices/7': ['seven'] })
  f.answers[DISCOVERY] = [metadata(f)]
  const dir = await mkdtemp(join(tmpdir(), 'sdk-'))
  t.after(() => rm(dir, { recursive: true }))
  const file = join(dir, 'key')
  await writeFile(file, `Safeconduct-Issuer: ${f.url}\nSafeconduct-Agent: invoice-bot\n${(await Key.generate()).pem()}`, { mode: 0o600 })
  assert.equal(await run(1, { 'https://erp.example.com': f.url, 'invoice-bot.key': file }), "[ 'Authorization', 'DPoP' ]\n200 seven\nallow\n")
})
