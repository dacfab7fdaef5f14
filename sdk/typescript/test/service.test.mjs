// Against a running service, which SAFECONDUCT_SDKTEST tells of; go test ./sdk/sdktest runs one.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import * as sdk from '@safeconduct/sdk'

const { Agent, Client, Guard, Refused } = sdk
const file = process.env.SAFECONDUCT_SDKTEST
const skip = file ? false : 'NOT TRIED: SAFECONDUCT_SDKTEST names no running service; go test ./sdk/sdktest does'
const at = file ? JSON.parse(readFileSync(file, 'utf8')) : {}
const service = (name, f) => test(name, { skip }, f)

const clerk = file && await Agent.load(at.key_file)
const filer = file && await Agent.enrol({ issuer: at.url, token: at.enrolments.filer, file: join(at.scratch, 'filer.key'), algorithm: 'ES256' })
// Tests of guards look how persons have answered more often than the service wants.
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, Math.min(ms, 100)))
const pep = file && new Client(at.url, at.pep, { sleep })

async function api(who, method, path, body) {
  const r = await fetch(at.url + path, {
    method, headers: { Authorization: `Bearer ${at[who]}`, 'Content-Type': 'application/json' }, signal: AbortSignal.timeout(10_000), ...(body ? { body: JSON.stringify(body) } : {}),
  })
  assert.equal(r.status, 200, `${method} ${path}`)
  return r.json()
}

/** Answers the next ask as anna. */
async function anna(yes) {
  let items = []
  while (!items.length) ({ items } = await api('approver', 'GET', '/v1/approvals?mine=true'))
  const path = `/v1/approvals/${items[0].id}`
  const { view } = await api('approver', 'POST', `${path}/view`, {})
  await api('approver', 'POST', `${path}/answer`, { yes, view, comment: 'as agreed' })
}

const outcomes = async (decision) => (await api('admin', 'GET', '/v1/audit/entries?kind=outcome.reported&limit=100')).items.filter((e) => `d${e.body.decision}` === decision)
const account = { type: 'Account', id: 'acme' }
const pays = (amount) => ({ action: 'pay', resource: account, subject: { type: 'agent', id: 'clerk' }, properties: { amount } })
const shown = (h) => ({ token: h.Authorization.split(' ')[1], proof: h.DPoP, audience: at.bank, method: 'GET', url: `${at.bank}/accounts` })

service('token', async () => {
  const t = await clerk.token({ scope: ['pay'], resource: at.bank })
  assert.deepEqual([t.type, t.scope], ['DPoP', ['pay']])
  assert.equal(await clerk.token({ scope: ['pay'], resource: at.bank }), t)
  assert.equal((await clerk.introspect(t.value)).active, true)
})

service('the nonce that the service demands', async () => {
  const nonces = []
  const real = globalThis.fetch
  globalThis.fetch = async (url, init) => {
    if (init.headers.DPoP) nonces.push(JSON.parse(Buffer.from(init.headers.DPoP.split('.')[1], 'base64url')).nonce)
    return real(url, init)
  }
  try {
    await (await Agent.load(at.key_file)).token({ scope: ['pay'] })
  } finally {
    globalThis.fetch = real
  }
  assert.equal(nonces.length, 2)
  assert.equal(nonces[0], undefined)
  assert.ok(nonces[1])
})

service('enrolled by the SDK itself', async () => {
  assert.equal(filer.id, 'filer')
  const again = await Agent.load(join(at.scratch, 'filer.key'))
  assert.deepEqual([again.id, again.keyId, (await again.token({ scope: ['pay'] })).scope], ['filer', filer.keyId, ['pay']])
  await assert.rejects(Agent.enrol({ issuer: at.url, token: at.enrolments.filer, file: join(at.scratch, 'again.key') }), (e) => e instanceof sdk.UnauthenticatedError && e.hint !== '')
})

service('what is not granted', async () => {
  await assert.rejects(clerk.token({ scope: ['fly'] }), (e) => e instanceof sdk.ForbiddenError && e.code === 'invalid_scope')
  const stranger = await Agent.enrol({ issuer: at.url, token: at.enrolments.stranger, file: join(at.scratch, 'stranger.key') })
  await assert.rejects(stranger.token({ scope: ['pay'] }), sdk.SafeconductError)
})

service('decide', async () => {
  let d = await pep.decide(pays('100.0'))
  assert.deepEqual([d.effect, d.code, d.obligations.map((o) => o.id)], ['allow', 'allowed', ['masked']])
  d = await pep.decide(pays('20000.0'))
  assert.deepEqual([d.effect, d.code, d.offer], ['refuse', 'forbidden', undefined])
  assert.ok(d.reasons.some((r) => r.message === 'Nobody pays that much.') && d.changes.length > 0)
  assert.equal((await pep.decide({ ...pays('1.0'), subject: { type: 'agent', id: 'nobody' } })).code, 'agent_unknown')
  await assert.rejects(pep.decide({ ...pays('1.0'), action: 'fly' }), sdk.InvalidError)
  await assert.rejects(new Client(at.url, 'sc_pep_wrong').decide(pays('1.0')), sdk.UnauthenticatedError)
})

service('a guard masks and reports', async () => {
  const guard = new Guard(pep, { subject: { type: 'agent', id: 'clerk' } })
  const made = []
  const pay = guard.tool(async ({ amount }) => { made.push(amount); return { paid: true, from: { iban: 'DE02120300000000202051' } } }, { action: 'pay', resource: account })
  assert.deepEqual(await pay({ amount: '99.0' }), { paid: true, from: { iban: '***' } })
  await assert.rejects(pay({ amount: '20000.0' }), (e) => e instanceof Refused && e.code === 'forbidden')
  assert.deepEqual(made, ['99.0'])
  const p = await guard.permit(pays('98.0'), { shapes: true })
  await p.run(() => ({}))
  const reported = await outcomes(p.decision)
  assert.deepEqual([reported.length, reported[0].body.met], [1, ['masked']])
  await assert.rejects(pep.outcome(p.decision, { fault: 'tool' }), sdk.ConflictError)
})

service('a guard that cannot mask', async () => {
  await assert.rejects(new Guard(pep, { handlers: {} }).permit(pays('97.0'), { shapes: true }), (e) => e instanceof Refused && e.code === 'obligation_unsupported')
})

service('approved, and refused, by a person', async () => {
  const guard = new Guard(pep, { subject: { type: 'agent', id: 'clerk' }, ask: () => 'Invoice 7 is due.' })
  const made = []
  const pay = guard.tool(({ amount }) => { made.push(amount); return { paid: amount } }, { action: 'pay', resource: account })
  const [paid] = await Promise.all([pay({ amount: '900.0' }), anna(true)])
  assert.deepEqual(paid, { paid: '900.0' })
  await Promise.all([assert.rejects(pay({ amount: '901.0' }), (e) => e instanceof Refused && e.code === 'approval_required' && e.task.status === 'denied'), anna(false)])
  assert.deepEqual(made, ['900.0'])
})

service('how to ask', async () => {
  let e
  await assert.rejects(new Guard(pep).permit(pays('902.0'), { shapes: true }), (x) => { e = x; return x instanceof Refused })
  assert.deepEqual([e.remedies, e.offer.template], [['approval'], 'finance'])
  const task = await pep.requestAccess(pays('902.0'), e.offer, { justification: 'Please.' })
  assert.deepEqual([task.status, task.approval], ['pending', undefined])
  assert.equal((await pep.cancel(await pep.task(task), 'not needed')).status, 'cancelled')
})

service('an agent asks for itself', async () => {
  const me = Client.ofAgent(clerk, { scope: ['pay'] })
  const q = { action: 'pay', resource: account, properties: { amount: '10.0' } }
  assert.equal((await me.decide(q)).effect, 'allow')
  await assert.rejects(me.decide({ ...q, observed: { ip: '::1' } }), sdk.InvalidError)
  const p = await new Guard(me).permit(q, { shapes: true })
  await p.run(() => null)
  assert.deepEqual([p.unreported, (await outcomes(p.decision)).length], [undefined, 1])
  const large = { ...q, properties: { amount: '903.0' } }
  const task = await me.requestAccess(large, (await me.decide(large)).offer, { justification: 'I am asked to.' })
  assert.equal((await me.cancel(task)).status, 'cancelled')
})

service('presented', async () => {
  const tokens = clerk.tokens({ scope: ['pay'], resource: at.bank })
  const q = { action: 'pay', resource: account, properties: { amount: '10.0' } }
  assert.equal((await pep.decide({ ...q, presented: shown(await tokens.headers('GET', `${at.bank}/accounts?own`)) })).code, 'allowed')
  assert.equal((await pep.decide({ ...q, presented: shown(await tokens.headers('POST', `${at.bank}/accounts`)) })).code, 'passport_invalid')
})

service('delegation', async () => {
  const subject = await clerk.token({ scope: ['pay'], resource: at.bank, mayAct: 'filer' })
  await assert.rejects(clerk.exchange(subject.value, { scope: ['pay'], resource: at.bank }), sdk.SafeconductError)
  const source = filer.delegated(subject.value, { scope: ['pay'], resource: at.bank })
  const q = { action: 'pay', resource: account, properties: { amount: '10.0' } }
  const presented = async () => (await pep.decide({ ...q, presented: shown(await source.headers('GET', `${at.bank}/accounts`)) })).code
  assert.equal(await presented(), 'allowed')
  assert.equal((await filer.introspect((await source.token()).value)).act.sub, 'filer')
  await clerk.revoke(subject.value)
  assert.equal(await presented(), 'passport_invalid')
})
