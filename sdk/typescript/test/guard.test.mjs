import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import * as sdk from '@safeconduct/sdk'
import { parse, write } from '../dist/json.js'
import { drip, EVALUATE, fake, OUTCOME, soon, STATUS, SUBMIT } from './fake.mjs'

const { Client, Guard, Permit, Refused, Withheld } = sdk

const ALLOWED = { decision: true, context: { evaluation_id: 'd7', code: 'allowed' } }
const DENIED = {
  decision: false, context: {
    evaluation_id: 'd8', code: 'forbidden', reasons: [{ code: 'big', message: 'Too much.' }], remedies: ['approval'],
    changes: [{ who: 'agent', kind: 'lower', target: 'action.amount', to: '100.00', hint: 'Lower it.' }],
  },
}
const REQUEST = { action: 'pay', resource: { type: 'invoice', id: '7' }, subject: { type: 'agent', id: 'bot' } }
const obliged = (...obligations) => ({ decision: true, context: { evaluation_id: 'd7', obligations } })
const custom = (obligation, more = {}, id = 'o1') => ({ id, type: 'custom', properties: { obligation, ...more } })

async function served(t, options = {}, clientOptions = {}) {
  const f = await fake(t, { [OUTCOME]: [{ entry: 1 }] })
  const waited = []
  const client = new Client(f.url, 'sc_pep_1', { timeout: 5000, attempts: 1, sleep: async (ms) => { waited.push(ms) }, ...clientOptions })
  const guard = new Guard(client, { subject: { type: 'agent', id: 'bot' }, ...options })
  const s = {
    f, client, guard, waited, did: [],
    answers: (...list) => { f.answers[EVALUATE] = list },
    pay: (result, wrapped = {}) => s.guard.tool(function pay(args) { s.did.push(args); return result }, wrapped),
    asked: (n = -1) => JSON.parse(f.of(EVALUATE).at(n).body),
    outcome: () => JSON.parse(f.of(OUTCOME).at(-1).body),
    refused: async (call) => {
      const before = s.did.length
      let error
      await assert.rejects(call, (e) => { error = e; return e instanceof Refused }, 'it was not refused')
      assert.equal(s.did.length, before, 'the act happened')
      assert.equal(error.decision.effect, 'refuse')
      return error
    },
  }
  return s
}

test('a decision is asked for and answered', async (t) => {
  const s = await served(t)
  s.answers(DENIED)
  const d = await s.client.decide({
    ...REQUEST, resource: { type: 'invoice', id: '7', properties: { open: true } }, properties: { amount: '120.50' }, context: { confidence: 0.9 },
    onBehalfOf: [{ type: 'user', id: 'alice' }], observed: { ip: '10.1.2.3' },
  })
  assert.deepEqual(s.asked(), {
    subject: { type: 'agent', id: 'bot' }, action: { name: 'pay', properties: { amount: '120.50' } }, resource: { type: 'invoice', id: '7', properties: { open: true } },
    context: { confidence: 0.9, observed: { ip: '10.1.2.3' }, on_behalf_of: [{ type: 'user', id: 'alice' }] },
  })
  assert.deepEqual([d.effect, d.code, d.id, d.reasons[0].code, d.changes[0].to, d.remedies], ['refuse', 'forbidden', 'd8', 'big', '100.00', ['approval']])
  assert.equal(s.f.asked[0].headers.authorization, 'Bearer sc_pep_1')
})

test('a decision has no value, and does not change', async (t) => {
  const s = await served(t)
  s.answers(ALLOWED)
  const d = await s.client.decide(REQUEST)
  for (const misuse of [() => d == true, () => `${d}`, () => +d, () => d + 1, () => d > 0]) assert.throws(misuse, TypeError)
  assert.throws(() => { d.effect = 'refuse' }, TypeError)
})

test('permits are not made by hand', async (t) => {
  const s = await served(t)
  s.answers(ALLOWED)
  const d = await s.client.decide(REQUEST)
  assert.throws(() => new Permit(), TypeError)
  assert.throws(() => new Permit(Symbol('ours'), s.client, d, undefined, { shapes: [] }, []), TypeError)
  await assert.rejects(async () => Permit.prototype.run.call(Object.create(Permit.prototype), () => 1), TypeError)
})

test('a presented token goes along', async (t) => {
  const s = await served(t)
  s.answers(ALLOWED)
  const presented = { token: 's3cret', audience: 'https://bank.example', proof: 'pr00f', method: 'GET', url: 'https://bank.example/x' }
  await s.client.decide({ action: 'pay', resource: REQUEST.resource, presented: { ...presented, odd: 1 } })
  assert.deepEqual(s.asked().context.observed.passport, presented)
  assert.equal(s.asked().subject, undefined)
})

test('answers that are no decision', async (t) => {
  const s = await served(t)
  for (const answer of [
    '', '{', '[]', 'null', 'true', {}, { decision: 'true' }, { decision: 1 }, { decision: null }, '{"decision":false,"decision":true}', { decision: true, context: [] },
    { decision: true, context: { obligations: {} } }, { decision: true, context: { reasons: [7] } }, { decision: true, context: { remedies: [{}] } },
    Buffer.from('{"decision":true,"x":"\xff"}', 'latin1'), '{"decision":true,"x":NaN}', '['.repeat(200000), '{"__proto__":{"decision":true}}',
    '{"decision":true,"context":{"obligations":[{"id":"a","id":"b","type":"custom","properties":{}}]}}', '{"decision":true,"decis\\u0069on":true}',
    { status: 302, headers: { Location: '/x' }, body: ALLOWED }, { status: 201, body: ALLOWED }, { status: 500, body: ALLOWED }, { status: 401, body: ALLOWED },
    { status: 404, body: ALLOWED }, ' '.repeat(5 << 20), '{"decision":true} {"decision":true}', '\ufeff{"decision":true}',
  ]) {
    s.answers(answer)
    await assert.rejects(s.client.decide(REQUEST), sdk.SafeconductError, inspect(answer).slice(0, 70))
    await s.refused(s.pay()({}))
  }
})

test('nobody answers', async (t) => {
  const s = await served(t, {}, { timeout: 200 })
  s.answers(drip)
  assert.equal((await s.refused(s.pay()({}))).code, 'unavailable')
  s.f.close()
  assert.ok((await s.refused(s.pay()({}))).cause instanceof sdk.UnavailableError)
})

test('only questions without an approval are repeated', async (t) => {
  const s = await served(t, {}, { attempts: 3 })
  s.answers({ status: 503, body: {} }, ALLOWED)
  await s.client.decide(REQUEST)
  s.answers({ status: 503, body: {} }, ALLOWED)
  await assert.rejects(s.client.decide(REQUEST, { approval: new sdk.Approval('apr_1', new Date(Date.now() + 60000), '{"id":"apr_1"}') }), sdk.UnavailableError)
})

test('what cannot be asked', async (t) => {
  const s = await served(t)
  for (const q of [
    { ...REQUEST, action: '' }, { ...REQUEST, resource: { type: 'a' } }, { ...REQUEST, resource: 'ab' }, { ...REQUEST, properties: { x: NaN } }, { ...REQUEST, properties: { x: new Date() } },
    { ...REQUEST, properties: { x: '\ud800' } }, { ...REQUEST, properties: { x: () => 1 } }, { ...REQUEST, context: { observed: {} }, observed: { ip: '::1' } },
  ]) await assert.rejects(s.client.decide(q), sdk.InvalidError, inspect(q))
  assert.deepEqual(s.f.asked, [])
  for (const url of ['http://pdp.example', 'pdp.example', 'https://u:p@pdp.example', 'https://pdp.example/?x', 'ftp://pdp.example', '']) {
    assert.throws(() => new Client(url, 't'), sdk.InvalidError, url)
  }
  assert.throws(() => new Client('https://pdp.example', 'a\r\nb'), sdk.InvalidError)
  assert.ok(new Client('http://pdp.example', 't', { insecureHttp: true }))
})

test('JSON is strict', () => {
  for (const text of ['{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', 'NaN', '1 2', '', "'a'", '[1,]', '{"a":1,}', '01', '1.', '.5', '+1', '1e', '"\n"', '"\\x"', '"', '[', 'nul', '1e999',
    Buffer.from([0xff]), Buffer.from('efbbbf31', 'hex'), '{"__proto__":1,"__proto__":2}']) {
    assert.throws(() => parse(text), Error, inspect(text))
  }
  for (const text of ['{"a":[1,-0.5,1e3,true,false,null,"\\u00e9\\n"],"__proto__":{"x":1}}', ' [ ] ', '"\ud83d\ude00"', '0']) {
    assert.deepEqual(JSON.stringify(parse(text)), JSON.stringify(JSON.parse(text)))
  }
  assert.equal({}.x, undefined)
  assert.equal(write(parse('{"z":1.50,"a":12345678901234567890}', true)), '{"z":1.50,"a":12345678901234567890}')
})

test('JSON is what JSON.parse takes, but for what is refused', () => {
  let seed = 1
  const random = (n) => { seed = (seed * 48271) % 2147483647; return seed % n } // Park and Miller
  const texts = ['{"a":[1,-0.5e3,true],"b":{"c":null},"d":"\\u00e9\\n"}', '[[],{},"x",0]', ' {"k" : "v"} ']
  const pieces = ['{', '}', '[', ']', ',', ':', '"', '\\', '0', '1', '-', '.', 'e', 'true', 'null', ' ', '\n', '\u0001', '"a"', '\\u00', 'NaN', '\ud800']
  let taken = 0
  for (let i = 0; i < 20000; i++) {
    let text = texts[random(texts.length)]
    for (let n = random(4); n >= 0; n--) {
      const at = random(text.length + 1)
      text = text.slice(0, at) + (random(2) ? pieces[random(pieces.length)] : '') + text.slice(at + random(3))
    }
    let want
    try { want = JSON.stringify(JSON.parse(text)) } catch { want = undefined }
    let got
    try { got = JSON.stringify(parse(text)) } catch (e) { if (/twice/.test(e.message)) continue; got = undefined }
    assert.equal(got, want, JSON.stringify(text))
    if (got !== undefined) taken++
  }
  assert.ok(taken > 500, `${taken} texts were JSON`)
})

test('allowed: asked with the arguments, done, and reported', async (t) => {
  const s = await served(t)
  s.answers(ALLOWED)
  const args = { amount: '120.50', note: undefined }
  assert.deepEqual(await s.pay({ paid: true })(args), { paid: true })
  assert.deepEqual(s.asked(), {
    subject: { type: 'agent', id: 'bot' }, action: { name: 'pay', properties: { amount: '120.50' } }, resource: { type: 'tool', id: 'pay' },
    context: { observed: { supported_obligations: ['cap', 'delay', 'mask'] } },
  })
  assert.equal(s.outcome().size_bytes, '{"paid":true}'.length)
  assert.equal(s.outcome().fault, undefined)
})

test('denied: not done, not reported, and told why', async (t) => {
  const s = await served(t)
  s.answers(DENIED)
  const e = await s.refused(s.pay()({}))
  assert.deepEqual([e.code, e.reasons[0].message, e.changes[0].hint, e.remedies, e.offer, e.message], ['forbidden', 'Too much.', 'Lower it.', ['approval'], undefined, 'refused: Too much.'])
  assert.equal(s.f.of(OUTCOME).length, 0)
})

test('what is done is what was asked about', async (t) => {
  const s = await served(t)
  const args = { to: ['acme'], amount: 1 }
  s.answers(() => { args.amount = 1e6; args.to[0] = 'evil'; return ALLOWED })
  await s.pay()(args)
  assert.deepEqual(s.did, [{ to: ['acme'], amount: 1 }])
  assert.deepEqual(s.asked().action.properties, { to: ['acme'], amount: 1 })
  let n = 0
  await s.pay()({ get amount() { return n++ } })
  assert.deepEqual([s.did[1].amount, s.asked().action.properties.amount], [0, 0])
})

test('resource and properties of the call', async (t) => {
  const s = await served(t)
  s.answers(ALLOWED)
  await s.pay(1, { action: 'pay_invoice', resource: (a) => ({ type: 'account', id: a.account }), properties: (a) => ({ sum: a.amount }) })({ amount: 5, account: 'x' })
  assert.deepEqual([s.asked().action, s.asked().resource], [{ name: 'pay_invoice', properties: { sum: 5 } }, { type: 'account', id: 'x' }])
})

test('arguments that are no JSON, and generators', async (t) => {
  const s = await served(t)
  for (const bad of ['x', [1], null, new Map(), { a: new Date() }, { a: Infinity }, { a: Symbol('x') }, { a: '\udfff' }, { toJSON: () => ({}) }]) {
    await assert.rejects(s.pay()(bad), sdk.InvalidError, inspect(bad))
  }
  assert.deepEqual([s.did, s.f.asked], [[], []])
  assert.throws(() => s.guard.tool(function* () { yield 1 }), TypeError)
  assert.throws(() => s.guard.tool(async function* () { yield 1 }), TypeError)
})

test('failed acts are reported', async (t) => {
  const s = await served(t)
  s.answers(ALLOWED)
  for (const [name, fault] of [['Error', 'tool'], ['TimeoutError', 'timeout']]) {
    await assert.rejects(s.guard.tool(() => { throw Object.assign(new Error('x'), { name }) }, { action: 'x' })({}), { message: 'x' })
    assert.equal(s.outcome().fault, fault)
  }
})

test('an outcome that cannot be reported', async (t) => {
  const told = []
  const s = await served(t, { onUnreported: (p, e) => told.push([p.decision, e.constructor]) })
  s.answers(ALLOWED)
  s.f.answers[OUTCOME] = [{ status: 503, body: {} }]
  assert.equal(await s.pay('x')({}), 'x')
  assert.deepEqual(told, [['d7', sdk.UnavailableError]])
})

test('a permit is for one act', async (t) => {
  const s = await served(t)
  s.answers(ALLOWED)
  const p = await s.guard.permit(REQUEST)
  assert.deepEqual([p.decision, p.tried, p.whole, p.until, p.met], ['d7', false, false, undefined, []])
  assert.equal(await p.run(() => 5), 5)
  await assert.rejects(p.run(() => s.did.push(1)), (e) => e instanceof Refused && e.code === 'permit_used')
  await p.done()
  assert.deepEqual([s.f.of(OUTCOME).length, s.did], [1, []])
})

test('mask', async (t) => {
  const s = await served(t)
  const result = { iban: 'DE1', to: [{ iban: 7, name: 'x' }], deep: { 'a/b': { '~': 's' } }, n: 1.5, gone: undefined }
  s.answers(obliged(custom('mask', { fields: ['iban', '/deep/a~1b/~0'] }), custom('mask', { fields: ['name'], with: '-' }, 'o2')))
  assert.deepEqual(await s.pay(result)({}), { iban: '***', to: [{ iban: '***', name: '-' }], deep: { 'a/b': { '~': '***' } }, n: 1.5 })
  assert.deepEqual([result.iban, s.outcome().met], ['DE1', ['o1', 'o2']])
  s.answers(obliged(custom('mask', { fields: ['iban'] })))
  assert.equal(await s.pay('{"iban":"DE1","n":1.50}')({}), '{"iban":"***","n":1.50}')
  assert.equal(String(await s.pay(Buffer.from('[{"iban":"DE1"}]'))({})), '[{"iban":"***"}]')
  assert.equal(await s.pay(undefined)({}), undefined)
})

test('results that cannot be masked are withheld', async (t) => {
  const s = await served(t)
  s.answers(obliged(custom('mask', { fields: ['iban'] })))
  const deep = JSON.parse('['.repeat(200) + ']'.repeat(200))
  for (const result of ['iban DE1', '{"iban":1,"iban":2}', new Map([['iban', 'DE1']]), { x: new Set() }, deep, Buffer.from([0xff]), new (class { iban = 'DE1' })(), { toJSON: () => 'DE1' }]) {
    await assert.rejects(s.pay(result)({}), (e) => e instanceof Withheld && !inspect(e).includes('DE1'), inspect(result).slice(0, 50))
    assert.equal(s.outcome().met, undefined)
  }
  await assert.rejects(s.guard.tool(() => { throw new Error('no such iban DE1') }, { action: 'x' })({}), (e) => e instanceof Withheld && !inspect(e).includes('DE1') && e.reason.message.includes('DE1'))
  assert.equal(s.outcome().fault, 'tool')
  await s.refused(s.guard.permit(REQUEST), 'nobody promised to shape the result')
})

test('cap', async (t) => {
  const s = await served(t)
  s.answers(obliged(custom('cap', { argument: 'amount', most: '100.00' })))
  for (const amount of ['100.00', 100, '99.999', 0, 0.5, '0000100']) await s.pay()({ amount })
  for (const amount of ['100.000000000000000000000000000001', 101, '1e2', '-1', -1, true, null, ['1', '101'], '٣', 1e21, '']) {
    assert.equal((await s.refused(s.pay()({ amount }))).code, 'obligation_unsupported', inspect(amount))
  }
  await s.refused(s.pay()({}))
})

test('names of masks and caps are the same in any case', async (t) => {
  const s = await served(t)
  s.answers(obliged(custom('mask', { fields: ['iBan', '/deep/Name'] })))
  assert.deepEqual(await s.pay({ IBAN: 1, Iban: 2, Deep: { NAME: 3 }, name: 4 })({}), { IBAN: '***', Iban: '***', Deep: { NAME: '***' }, name: 4 })
  s.answers(obliged(custom('mask', { fields: ['kodos'] })))
  assert.equal(await s.pay('{"\u212aodos":1,"KODO\u017f":2}')({}), '{"\u212aodos":"***","KODO\u017f":"***"}')
  for (const [argument, properties, fine] of [
    ['amount', { Amount: 10 }, true], ['amount', { AMOUNT: 11 }, false], ['amount', { amount: 1, Amount: 1000000 }, false],
    ['amount', { x: [{ amount: 1, Amount: 1 }] }, false], ['amount', { amount: 1, x: { Amount: 2 } }, true],
    ['kilos', { kilos: 1, '\u212ailos': 2 }, false], ['/to/amount', { TO: { Amount: 11 } }, false], ['/to/amount', { TO: { Amount: 9 } }, true],
    ['/to/amount', { TO: { amount: 1 }, to: { amount: 1 } }, false],
  ]) {
    s.answers(obliged(custom('cap', { argument, most: '10' })))
    if (fine) await s.guard.permit({ ...REQUEST, properties })
    else await s.refused(s.guard.permit({ ...REQUEST, properties }))
  }
})

test('a permit does not last', async (t) => {
  let now = Date.now()
  const s = await served(t, {}, { now: () => now })
  s.answers(ALLOWED)
  for (const [guard, after] of [[s.guard, 60_000], [new Guard(s.client, { fresh: 5_000 }), 5_000]]) {
    const old = await guard.permit(REQUEST)
    now += after - 500
    ;(await guard.permit(REQUEST)).use()
    now += 500
    assert.equal((await s.refused(async () => old.use())).code, 'permit_stale')
  }
})

test('an act that was delayed is decided anew', async (t) => {
  let now = Date.now()
  const notified = []
  const handlers = { ...sdk.builtIn(), delay: sdk.meetDelay(48 * 3600_000), notification: (d) => { notified.push(d.id) } }
  const s = await served(t, { handlers }, { now: () => now, sleep: async (ms) => { now += ms } })
  const note = { id: 'o3', type: 'notification', properties: { to: 'a', body: 'b' } }
  const duties = [custom('delay', { for: '24h' }), custom('mask', { fields: ['iban'] }, 'o2'), note]
  const began = now
  s.answers(obliged(...duties))
  const permit = await s.guard.permit(REQUEST, { shapes: true })
  assert.deepEqual(await permit.run(() => ({ iban: 1 })), { iban: '***' })
  assert.deepEqual([s.f.of(EVALUATE).length, now - began, notified.length, permit.met], [2, 86_400_000, 1, ['o1', 'o2', 'o3']])

  s.answers(obliged(...duties), { ...obliged(note), decision: false }) // suspended meanwhile: that is another decision
  await s.refused(s.guard.permit(REQUEST, { shapes: true }))
  assert.equal(notified.length, 3)

  s.answers(obliged(...duties), obliged(custom('delay', { for: '23h' }))) // other words
  assert.equal((await s.refused(s.guard.permit(REQUEST, { shapes: true }))).code, 'permit_stale')

  s.answers(obliged(...duties)) // by a proof that counts once
  const before = s.f.of(EVALUATE).length
  const presented = { token: 't', audience: 'https://a.example', proof: 'p' }
  assert.equal((await s.refused(s.guard.permit({ ...REQUEST, presented }, { shapes: true }))).code, 'permit_stale')
  assert.equal(s.f.of(EVALUATE).length, before + 1)
})

test('the service is left alone for as long as it wants', async (t) => {
  const s = await served(t, {}, { attempts: 3 })
  const away = (status, after) => ({ status, headers: after ? { 'Retry-After': after } : {}, body: '{}' })
  for (const [answers, waits] of [
    [[away(503, '2'), ALLOWED], [2000]], [[away(429, '1'), away(503), ALLOWED], [1000, 100]], [[away(503, 'soon'), ALLOWED], [50]],
    [[away(503, '3600'), ALLOWED], undefined],
  ]) {
    s.waited.length = 0
    s.answers(...answers)
    if (waits === undefined) {
      await assert.rejects(s.client.decide(REQUEST), (e) => e instanceof sdk.UnavailableError && e.retryAfter === 3_600_000)
      assert.deepEqual(s.waited, [])
    } else {
      assert.equal((await s.client.decide(REQUEST)).id, 'd7')
      assert.equal(s.waited.length, waits.length)
      s.waited.forEach((w, i) => assert.ok(w >= waits[i] && w < waits[i] + 51, `${s.waited}, want ${waits}`))
    }
  }
})

test('dry-run and delay', async (t) => {
  const s = await served(t)
  s.answers(obliged(custom('dry-run')))
  await s.refused(s.pay()({}))
  assert.equal(await s.pay(1, { dryRun: (a) => `would pay ${a.amount}` })({ amount: 1 }), 'would pay 1')
  assert.deepEqual(s.did, [])
  s.answers(obliged(custom('delay', { for: '1m' }), custom('delay', { for: '1s500ms' }, 'o2')))
  await s.pay()({})
  assert.equal(s.waited.length, 1)
  assert.ok(s.waited[0] > 59_000 && s.waited[0] <= 60_000, s.waited)
  for (const properties of [{ for: '61s' }, { for: '2d' }, { for: '-1s' }, { for: 's' }, {}, { until: 'soon' }, { for: '1s', odd: 1 }, { until: soon(3600) }]) {
    s.answers(obliged(custom('delay', properties)))
    await s.refused(s.pay()({}), inspect(properties))
  }
})

test('log', async (t) => {
  const entries = []
  const s = await served(t, { handlers: sdk.builtIn((level, message, entry) => entries.push({ level, ...entry })) })
  s.answers(obliged(custom('log', { fields: ['account'], level: 'warn' })))
  await s.pay()({ account: `ac\u001b[2Jme\u202e\n${'x'.repeat(500)}` })
  const text = inspect(entries)
  assert.equal(entries[0].level, 'warn')
  assert.ok(entries[0]['argument account'].startsWith('ac?[2Jme??') && entries[0]['argument account'].length < 300, text)
  s.answers(obliged(custom('log', { level: 'loud' })))
  await s.refused(s.pay()({}))
})

test('what is not understood refuses, and the others are met', async (t) => {
  const met = []
  const s = await served(t, { handlers: { ...sdk.builtIn(), told: (d) => { met.push(d.id) }, fails: () => { throw new Error('boom') }, late: () => new Promise(() => {}) }, timeout: 20 })
  const told = custom('told', {}, 'ok')
  for (const bad of [
    custom('dance'), custom('constructor'), custom('__proto__'), { id: 'x', type: 'dance', properties: {} }, { id: 'x', type: 'toString', properties: {} }, { type: 'custom', properties: {} },
    { id: 'x', type: 'custom' }, { id: 'x', type: 'custom', properties: [] }, { id: 'x', type: 'step-up', properties: {} }, { id: 'x', type: 'notification', properties: { to: 'a' } }, 7, null, told,
    { ...custom('told', {}, 'x'), more: 1 }, custom('mask'), custom('mask', { fields: [] }), custom('mask', { fields: ['/a~2'] }), custom('mask', { fields: Array(65).fill('a') }),
    custom('mask', { fields: ['a'], odd: 1 }), custom('cap', { argument: 'amount', most: 5 }), custom('cap', { argument: 'amount', most: '1e9' }), custom('told', { pad: 'x'.repeat(70000) }, 'x'),
    custom('fails'), custom('late'),
  ]) {
    met.length = 0
    s.answers(obliged(told, bad))
    await s.refused(s.pay()({}))
    assert.deepEqual(met, ['ok'], inspect(bad).slice(0, 80))
  }
  s.answers(obliged(...Array.from({ length: 65 }, (_, i) => custom('told', {}, `o${i}`))))
  await s.refused(s.pay()({}))
})

test('refusals oblige too, and a step-up is worth one more question', async (t) => {
  const met = []
  const s = await served(t, { handlers: { told: (d) => { met.push(d.id) }, 'step-up': async () => {} } })
  s.answers({ ...obliged(custom('told')), decision: false })
  await s.refused(s.pay()({}))
  assert.deepEqual(met, ['o1'])
  const step = { ...obliged({ id: 's', type: 'step-up', properties: { acr_value: 'high' } }), decision: false }
  s.answers(step, ALLOWED)
  await s.pay()({})
  s.answers(step)
  await s.refused(s.pay()({}))
  assert.equal(s.f.of(EVALUATE).length, 5)
})

const offer = (s, more = {}) => ({
  decision: false, context: {
    evaluation_id: 'd3', code: 'approval_required', evaluated_at: soon(0), reason: 'approval_required',
    access_request: { endpoint: `${s.f.url}/access/v1/requests`, expires_at: soon(600), binding_token: 'a.b.c', template: 'one', ...more },
  },
})
const approval = () => ({ id: 'apr_1', approved_until: soon(600), state: ['RAW', '<&>'] })
const task = (s, status, approved, more = {}) => JSON.stringify({
  task: { id: 'arq_1', status, status_endpoint: `${s.f.url}/access/v1/requests/arq_1`, expires_at: soon(600), ...more },
  ...(approved ? { result: { mode: 'reevaluate', approval: approved } } : {}),
}).replace('"RAW"', '1.50')
const asking = (t, more = {}) => served(t, { ask: () => 'Invoice 7 is due.', ...more })

test('approved by a person', async (t) => {
  const s = await asking(t)
  s.answers(offer(s), { decision: true, context: { evaluation_id: 'd7', approval: { id: 'apr_1', approved_until: soon(600) } } })
  s.f.answers[SUBMIT] = [{ status: 202, body: task(s, 'approved', approval()) }]
  assert.equal(await s.pay('paid')({ amount: 900 }), 'paid')
  const sent = JSON.parse(s.f.of(SUBMIT)[0].body)
  assert.deepEqual([sent.context.business_justification, sent.action.properties.amount, sent.denial.binding_token, sent.denial.evaluation_id], ['Invoice 7 is due.', 900, 'a.b.c', 'd3'])
  assert.ok(s.f.of(SUBMIT)[0].headers['idempotency-key'])
  assert.match(s.f.of(EVALUATE)[1].body, /"state":\[1\.50,"<&>"\]/, 'an approval is carried as it was given')
})

test('a task is asked for until it ends', async (t) => {
  const s = await asking(t)
  s.answers(offer(s), ALLOWED)
  s.f.answers[SUBMIT] = [{ status: 202, body: task(s, 'pending') }]
  s.f.answers[STATUS] = [{ status: 503, body: {} }, { status: 200, headers: { 'Retry-After': '7' }, body: task(s, 'pending') }, task(s, 'approved', approval())]
  await s.pay()({})
  assert.deepEqual([s.did.length, s.waited.length, s.f.of(STATUS).length], [1, 3, 3])
  assert.ok(s.waited.every((w) => w >= 1500 && w <= 9000) && s.waited[2] >= 7000, s.waited)
})

test('an offer without an address is taken up where the metadata says', async (t) => {
  const s = await asking(t)
  s.answers(offer(s, { endpoint: undefined }), ALLOWED)
  assert.ok((await s.refused(s.pay()({}))).cause instanceof sdk.UnavailableError)
  s.answers(offer(s, { endpoint: undefined }), ALLOWED)
  s.f.answers['GET /.well-known/authzen-configuration'] = [{ access_request_endpoint: `${s.f.url}/access/v1/requests` }]
  s.f.answers[SUBMIT] = [{ status: 201, body: task(s, 'approved', approval()) }]
  await s.pay()({})
  assert.equal(s.did.length, 1)
})

test('what is not approved', async (t) => {
  const s = await asking(t)
  for (const body of [task(s, 'denied'), task(s, 'expired'), task(s, 'approved'), task(s, 'approved', { id: 'x' }), task(s, 'failed', approval()), task(s, 'partial', approval()),
    task(s, 'approved', approval(), { items: [{}] }), '{}', '{"task":{"status":7}}', task(s, 'dancing', approval(), { expires_at: soon(-1) })]) {
    s.answers(offer(s))
    s.f.answers[SUBMIT] = [{ status: 202, body }]
    await s.refused(s.pay()({}), body)
  }
})

test('offers that are none, and nobody who asks', async (t) => {
  const s = await asking(t)
  for (const expires_at of ['soon', null]) {
    s.answers(offer(s, { expires_at }))
    assert.equal((await s.refused(s.pay()({}))).offer, undefined)
  }
  s.answers(offer(s))
  for (const ask of [undefined, () => undefined]) {
    s.guard = new Guard(s.client, { subject: { type: 'agent', id: 'bot' }, ...(ask ? { ask } : {}) })
    const e = await s.refused(s.pay()({}))
    assert.deepEqual([e.code, e.offer.template], ['approval_required', 'one'])
  }
  assert.equal(s.f.of(SUBMIT).length, 0)
})

test('nothing goes to another origin', async (t) => {
  const s = await asking(t)
  const evil = await fake(t, { [SUBMIT]: [task(s, 'approved', approval())], [STATUS]: [task(s, 'approved', approval())] })
  s.answers(offer(s, { endpoint: `${evil.url}/access/v1/requests` }))
  assert.ok((await s.refused(s.pay()({}))).cause instanceof sdk.ForbiddenError)
  s.answers(offer(s))
  s.f.answers[SUBMIT] = [{ status: 202, body: task(s, 'pending').replaceAll(s.f.url, evil.url) }]
  assert.ok((await s.refused(s.pay()({}))).cause instanceof sdk.ForbiddenError)
  assert.deepEqual(evil.asked, [])
})

test('persons are asked once, and an approval that is over is none', async (t) => {
  const s = await asking(t)
  s.answers(offer(s))
  s.f.answers[SUBMIT] = [{ status: 202, body: task(s, 'approved', approval()) }]
  await s.refused(s.pay()({}))
  assert.equal(s.f.of(SUBMIT).length, 1)
  s.answers(offer(s), { decision: true, context: { evaluation_id: 'd7', approval: { id: 'apr_1', approved_until: soon(-5) } } })
  assert.equal((await s.refused(s.pay()({}))).code, 'approval_expired')
  for (const approved_until of ['soon', 7]) {
    s.answers({ decision: true, context: { evaluation_id: 'd7', approval: { id: 'apr_1', approved_until } } })
    await s.refused(s.pay()({}))
  }
})

test('a grant that is pending is waited for', async (t) => {
  const s = await asking(t)
  s.answers(offer(s), { decision: false, context: { reason: 'grant_pending', next_action: 'retry', retry_after: 2 } }, ALLOWED)
  s.f.answers[SUBMIT] = [{ status: 202, body: task(s, 'approved', approval()) }]
  await s.pay()({})
  assert.deepEqual(s.waited, [2000])
})

test('who goes away ends the wait', async (t) => {
  const s = await asking(t)
  const c = new AbortController()
  const client = new Client(s.f.url, 'sc_pep_1')
  s.answers(offer(s))
  s.f.answers[SUBMIT] = [() => { setImmediate(() => c.abort(new Error('gone'))); return { status: 202, body: task(s, 'pending') } }]
  await assert.rejects(new Guard(client, { subject: { type: 'agent', id: 'bot' }, ask: () => 'x' }).permit(REQUEST, { signal: c.signal }), /gone/)
  s.answers(ALLOWED)
  await assert.rejects(s.guard.permit(REQUEST, { signal: c.signal }), /gone/)
  await assert.rejects(s.pay(1, { signal: ([options]) => options.abortSignal })({}, { abortSignal: c.signal }), /gone/)
  assert.deepEqual(s.did, [])
})

test('outcomes', async (t) => {
  const s = await served(t, {}, { attempts: 3 })
  for (const [o, want] of [[{}, { size_bytes: 0 }], [{ result: 'right', latency: 1.5, size: 12, met: ['m'] }, { result: 'right', latency_ms: 2, size_bytes: 12, met: ['m'] }], [{ fault: 'timeout' }, { fault: 'timeout' }]]) {
    await s.client.outcome('d7', o)
    assert.deepEqual(s.outcome(), want)
  }
  for (const id of ['', 'd', '7', 'd4/../x', 'd-1', 'd٣']) await assert.rejects(s.client.outcome(id), sdk.InvalidError)
  s.f.answers[OUTCOME] = [{ status: 503, body: {} }, { status: 409, body: {} }]
  await s.client.outcome('d7')
  await assert.rejects(s.client.outcome('d7'), sdk.ConflictError)
  s.answers({ decision: true })
  const before = s.f.of(OUTCOME).length
  await s.pay()({})
  assert.equal(s.f.of(OUTCOME).length, before, 'what is not recorded has no outcome')
})
