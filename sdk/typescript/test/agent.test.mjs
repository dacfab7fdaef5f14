import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import * as sdk from '@safeconduct/sdk'
import { challenge } from '../dist/agent.js'
import { claims, DISCOVERY, drip, fake, issued, metadata, TOKEN } from './fake.mjs'

const { Agent, Key } = sdk

async function served(t, options = {}) {
  const f = await fake(t)
  f.answers[DISCOVERY] = [metadata(f)]
  f.answers[TOKEN] = [issued()]
  const agent = new Agent(f.url, 'bot', await Key.generate(), { timeout: 5000, attempts: 1, ...options })
  return { f, agent }
}

const fails = (kind, code) => (e) => {
  assert.equal(e.constructor, kind, inspect(e))
  if (code !== undefined) assert.equal(e.code, code)
  return true
}

test('a token is asked for with an assertion and a proof', async (t) => {
  for (const algorithm of ['EdDSA', 'ES256']) {
    const { f } = await served(t)
    const agent = new Agent(f.url, 'bot', await Key.generate(algorithm))
    const token = await agent.token({ scope: ['pay', 'read'], resource: 'https://bank.example', mayAct: 'filer' })
    const [{ headers, body }] = f.of(TOKEN)
    const form = Object.fromEntries(new URLSearchParams(body))
    assert.deepEqual([form.grant_type, form.scope, form.resource, form.may_act], ['client_credentials', 'pay read', 'https://bank.example', 'filer'])
    const [head, said] = claims(form.client_assertion)
    assert.deepEqual(head, { alg: algorithm, typ: 'client-authentication+jwt', kid: agent.keyId })
    assert.deepEqual([said.iss, said.sub, said.aud, said.exp - said.iat], ['bot', 'bot', f.url, 60])
    const [proofHead, proof] = claims(headers.dpop)
    assert.equal(proofHead.typ, 'dpop+jwt')
    assert.equal(proofHead.jwk.d, undefined)
    assert.deepEqual([proof.htm, proof.htu], ['POST', `${f.url}/token`])
    for (const shown of [inspect(token), String(token), JSON.stringify({ token }), inspect(agent, { depth: 9 })]) assert.ok(!shown.includes('t0ken'), shown)
  }
})

test('a token is kept, and renewed before it ends', async (t) => {
  let now = Date.now()
  const { f, agent } = await served(t, { now: () => now })
  const source = agent.tokens({ scope: ['pay'] })
  assert.equal(source, agent.tokens({ scope: ['pay'] }))
  assert.notEqual(source, agent.tokens({ scope: ['read'] }))
  const first = await source.token()
  assert.equal(await source.token(), first)
  assert.equal(f.of(TOKEN).length, 1)
  now = first.expires.getTime() - 1000
  assert.notEqual(await source.token(), first)
  assert.equal(f.of(TOKEN).length, 2)
})

test('many who wait ask once', async (t) => {
  const { f, agent } = await served(t)
  const got = await Promise.all(Array.from({ length: 8 }, () => agent.token()))
  assert.deepEqual([f.of(TOKEN).length, new Set(got).size], [1, 1])
})

test('who fails does not keep the next from asking', async (t) => {
  const { f, agent } = await served(t)
  f.answers[TOKEN] = [{ status: 503, body: {} }, issued()]
  await assert.rejects(agent.token(), fails(sdk.UnavailableError))
  assert.equal((await agent.token()).value, 't0ken')
})

test('a nonce is answered, with another assertion', async (t) => {
  const { f, agent } = await served(t)
  f.answers[TOKEN] = [{ status: 400, headers: { 'DPoP-Nonce': 'n1' }, body: { error: 'use_dpop_nonce' } }, issued()]
  await agent.token()
  assert.deepEqual(f.of(TOKEN).map((a) => claims(a.headers.dpop)[1].nonce), [undefined, 'n1'])
  const [a, b] = f.of(TOKEN).map((x) => new URLSearchParams(x.body).get('client_assertion'))
  assert.notEqual(a, b)
})

test('nonces without end are not', async (t) => {
  const { f, agent } = await served(t)
  let n = 0
  f.answers[TOKEN] = [() => ({ status: 400, headers: { 'DPoP-Nonce': `n${n++}` }, body: { error: 'use_dpop_nonce' } })]
  await assert.rejects(agent.token(), fails(sdk.UnavailableError, 'use_dpop_nonce'))
  assert.equal(f.of(TOKEN).length, 2)
})

test('answers that are no token', async (t) => {
  const { f, agent } = await served(t)
  for (const [answer, kind] of [
    [issued({ token_type: 'Bearer' }), sdk.ForbiddenError], [issued({ iss: 'https://evil.example' }), sdk.ForbiddenError],
    [issued({ issued_token_type: 'urn:ietf:params:oauth:token-type:id_token' }), sdk.ForbiddenError], [issued({ access_token: 'a b' }), sdk.UnavailableError],
    [issued({ access_token: 'x'.repeat(20000) }), sdk.UnavailableError], [issued({ access_token: 7 }), sdk.UnavailableError],
    [issued({ expires_in: 0 }), sdk.UnavailableError], [issued({ expires_in: true }), sdk.UnavailableError], [issued({ expires_in: '300' }), sdk.UnavailableError],
    [issued({ scope: ['pay'] }), sdk.UnavailableError], ['{"access_token":"a","access_token":"b","token_type":"DPoP","expires_in":300}', sdk.UnavailableError],
    ['['.repeat(100000), sdk.UnavailableError], [Buffer.from('7b22616363657373ff', 'hex'), sdk.UnavailableError], ['[]', sdk.UnavailableError], ['', sdk.UnavailableError],
    [{ __proto__: issued() }, sdk.UnavailableError], ['{"__proto__":{"access_token":"a","token_type":"DPoP","expires_in":9}}', sdk.UnavailableError],
  ]) {
    f.answers[TOKEN] = [answer]
    await assert.rejects(agent.token(), fails(kind), String(answer).slice(0, 60))
  }
})

test('a redirect is not followed', async (t) => {
  const { f, agent } = await served(t)
  const evil = await fake(t, { [TOKEN]: [issued()] })
  f.answers[TOKEN] = [{ status: 307, headers: { Location: `${evil.url}/token` }, body: '' }]
  await assert.rejects(agent.token(), fails(sdk.UnavailableError))
  f.answers[DISCOVERY] = [{ status: 302, headers: { Location: evil.url }, body: '' }]
  await assert.rejects(new Agent(f.url, 'bot', await Key.generate(), { attempts: 1 }).token(), fails(sdk.UnavailableError))
  assert.deepEqual(evil.asked, [])
})

test('a huge answer is not read', async (t) => {
  const { f, agent } = await served(t)
  f.answers[TOKEN] = [' '.repeat(2 << 20)]
  await assert.rejects(agent.token(), /more than/)
})

test('an answer that is cut off, or does not end', async (t) => {
  const { f, agent } = await served(t, { timeout: 250 })
  f.answers[TOKEN] = [(_, res) => { res.writeHead(200, { 'Content-Length': '9999' }); res.end(JSON.stringify(issued())); res.socket.end() }]
  await assert.rejects(agent.token(), fails(sdk.UnavailableError))
  f.answers[TOKEN] = [drip]
  await assert.rejects(agent.token(), /in time/)
})

test('errors have kinds', async (t) => {
  const { f, agent } = await served(t)
  for (const [status, error, kind] of [
    [401, 'invalid_client', sdk.UnauthenticatedError], [400, 'invalid_scope', sdk.ForbiddenError], [400, 'invalid_target', sdk.InvalidError],
    [400, 'access_denied', sdk.ForbiddenError], [503, 'temporarily_unavailable', sdk.UnavailableError], [429, 'invalid_request', sdk.UnavailableError],
    [418, 'odd\n\u001b[2J', sdk.InvalidError], [400, 'constructor', sdk.InvalidError],
  ]) {
    f.answers[TOKEN] = [{ status, body: { error, error_description: 'x\u001b[31my' } }]
    await assert.rejects(agent.token(), (e) => fails(kind)(e) && !/\p{C}/u.test(e.message + e.code))
  }
})

test('what is unavailable is tried again', async (t) => {
  const { f, agent } = await served(t, { attempts: 3 })
  f.answers[TOKEN] = [{ status: 503, body: {} }, { status: 502, body: '<html>' }, issued()]
  await agent.token()
  assert.equal(f.of(TOKEN).length, 3)
})

test('exchange', async (t) => {
  const { f, agent } = await served(t)
  await agent.exchange('theirs', { scope: ['pay'] })
  const form = new URLSearchParams(f.of(TOKEN)[0].body)
  assert.deepEqual([form.get('grant_type'), form.get('subject_token')], ['urn:ietf:params:oauth:grant-type:token-exchange', 'theirs'])
})

test('the issuer must be exact', async (t) => {
  const { f, agent } = await served(t)
  for (const issuer of [`${f.url}/`, 'https://evil.example', null, 7, undefined]) {
    f.answers[DISCOVERY] = [{ ...metadata(f), issuer }]
    await assert.rejects(agent.token(), fails(sdk.ForbiddenError, 'issuer_mismatch'))
  }
  assert.equal(f.of(TOKEN).length, 0)
  const tenant = `${f.url}/tenant`
  f.answers[`${DISCOVERY}/tenant`] = [{ ...metadata(f), issuer: tenant }]
  await new Agent(tenant, 'bot', await Key.generate()).token()
})

test('endpoints must be as safe as the issuer', async (t) => {
  const { f, agent } = await served(t)
  for (const endpoint of ['http://evil.example/token', 'ftp://x/', 'https://u@evil.example/', '/token', '', null, 'https://x/#f', 'https://x/#']) {
    f.answers[DISCOVERY] = [metadata(f, { token_endpoint: endpoint })]
    await assert.rejects(agent.token(), fails(sdk.InvalidError), String(endpoint))
  }
  for (const more of [{ token_endpoint_auth_methods_supported: ['client_secret_basic'] }, { dpop_signing_alg_values_supported: ['ES512'] }]) {
    f.answers[DISCOVERY] = [metadata(f, more)]
    await assert.rejects(agent.token(), fails(sdk.InvalidError))
  }
})

test('issuers that are none', async () => {
  const key = await Key.generate()
  for (const issuer of ['http://as.example', 'https://as.example?x', 'https://as.example/#', 'https://u:p@as.example', 'as.example', '', 'https://as.exa mple', 'http://127.evil.example']) {
    assert.throws(() => new Agent(issuer, 'bot', key), fails(sdk.InvalidError), issuer)
  }
})

test('headers for one request', async (t) => {
  const { f, agent } = await served(t)
  const source = agent.tokens({ resource: `${f.url}/api` })
  const h = await source.headers('GET', `${f.url}/x?y=1#z`)
  assert.equal(h.Authorization, 'DPoP t0ken')
  const [, proof] = claims(h.DPoP)
  assert.deepEqual([proof.htm, proof.htu, proof.ath], ['GET', `${f.url}/x`, 'tGwJZ3NDJh8LQ5pHJCIiXjojDJwJTWqxZ2LiA2tZcFM'])
})

test('tokens never go to another origin', async (t) => {
  const { f, agent } = await served(t)
  const source = agent.tokens({ resource: `${f.url}/api` })
  for (const url of ['https://evil.example/', `${f.url}@evil.example/`, f.url.replace('127.0.0.1', 'localhost'), '//x', '', `${f.url}\\@evil.example`]) {
    await assert.rejects(source.headers('GET', url), fails(sdk.ForbiddenError), url)
    await assert.rejects(source.send('GET', url), fails(sdk.ForbiddenError), url)
  }
  await assert.rejects(agent.tokens({ scope: ['pay'] }).headers('GET', f.url), fails(sdk.InvalidError))
})

test('nonces of the resource server, and refused tokens', async (t) => {
  const { f, agent } = await served(t)
  const source = agent.tokens({ resource: f.url })
  f.answers['GET /x'] = [{ status: 401, headers: { 'WWW-Authenticate': 'Bearer, DPoP error="use_dpop_nonce"', 'DPoP-Nonce': 'n7' }, body: '' }, 'done']
  assert.equal(Buffer.from((await source.send('GET', `${f.url}/x`)).body).toString(), 'done')
  assert.deepEqual(f.of('GET /x').map((a) => claims(a.headers.dpop)[1].nonce), [undefined, 'n7'])
  let n = 0
  f.answers['GET /y'] = [() => ({ status: 401, headers: { 'WWW-Authenticate': 'DPoP error="use_dpop_nonce"', 'DPoP-Nonce': `m${n++}` }, body: '' })]
  assert.equal((await source.send('GET', `${f.url}/y`)).status, 401)
  assert.equal(f.of('GET /y').length, 2)
  const before = f.of(TOKEN).length
  f.answers['GET /z'] = [{ status: 401, headers: { 'WWW-Authenticate': 'DPoP error="invalid_token"' }, body: '' }]
  assert.equal((await source.send('GET', `${f.url}/z`)).status, 401)
  assert.deepEqual([f.of('GET /z').length, f.of(TOKEN).length - before], [2, 1])
})

test('challenges', () => {
  for (const [line, want] of [
    ['DPoP error="use_dpop_nonce"', 'use_dpop_nonce'], ['dpop', ''], ['Bearer', undefined], ['Bearer error="x", DPoP algs="EdDSA ES256"', ''], ['', undefined],
    ['Basic realm="a, DPoP error=b", DPoP error=invalid_token', 'invalid_token'], ['DPoP realm="x", Bearer error="y"', ''], ['DPoP error="a\\"b"', 'a"b'],
  ]) assert.equal(challenge(line), want, line)
})

test('a redirect keeps the token', async (t) => {
  const { f, agent } = await served(t)
  const evil = await fake(t, { 'GET /x': ['got it'] })
  f.answers['GET /x'] = [{ status: 302, headers: { Location: `${evil.url}/x` }, body: '' }]
  assert.equal((await agent.tokens({ resource: f.url }).send('GET', `${f.url}/x`)).status, 302)
  assert.deepEqual(evil.asked, [])
})

async function scratch(t) {
  const dir = await mkdtemp(join(tmpdir(), 'sdk-'))
  t.after(() => rm(dir, { recursive: true }))
  return join(dir, 'key')
}

test('enrolment makes the key file', async (t) => {
  const { f } = await served(t)
  const file = await scratch(t)
  const register = async () => {
    const { proof } = JSON.parse(f.of('POST /oauth2/enroll').at(-1).body)
    const [head, said] = claims(proof)
    assert.deepEqual([head.typ, said.aud, head.jwk.d], ['key-proof+jwt', f.url, undefined])
    return { status: 201, body: { client_id: 'bot', kid: (await Key.load(file)).id, issuer: f.url, expires_at: '2027-01-01T00:00:00Z' } }
  }
  f.answers['POST /oauth2/enroll'] = [{ status: 503, body: {} }, register]
  const e = { issuer: f.url, token: 'sc_enrol_1', file }
  await assert.rejects(Agent.enrol(e, { attempts: 1 }), fails(sdk.UnavailableError))
  const left = (await Key.load(file)).id // durable before the server heard of it, and used again
  const agent = await Agent.enrol(e, { attempts: 1 })
  assert.deepEqual([agent.id, agent.keyId, agent.expires.toISOString()], ['bot', left, '2027-01-01T00:00:00.000Z'])
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.match(await readFile(file, 'utf8'), /^Safeconduct-Issuer: .*\nSafeconduct-Agent: bot\nSafeconduct-Expires: 2027-01-01T00:00:00Z\n-----BEGIN PRIVATE KEY/)
  await assert.rejects(Agent.enrol(e), fails(sdk.ConflictError))
})

test('enrolment with a stranger, or of another key', async (t) => {
  const { f } = await served(t)
  const file = await scratch(t)
  f.answers['POST /oauth2/enroll'] = [{ status: 201, body: { client_id: 'bot', kid: 'other' } }]
  await assert.rejects(Agent.enrol({ issuer: f.url, token: 't', file }, { attempts: 1 }), fails(sdk.UnavailableError))
  const before = f.of('POST /oauth2/enroll').length
  f.answers[DISCOVERY] = [{ ...metadata(f), issuer: 'https://evil.example' }]
  await assert.rejects(Agent.enrol({ issuer: f.url, token: 't', file }), fails(sdk.ForbiddenError))
  assert.equal(f.of('POST /oauth2/enroll').length, before)
})

test('key files that are refused', async (t) => {
  const file = await scratch(t)
  const pem = (await Key.generate()).pem()
  const said = 'Safeconduct-Issuer: https://as.example\nSafeconduct-Agent: bot\n'
  for (const [text, mode] of [
    [said + pem, 0o644], [said + pem, 0o640], [pem, 0o600], [said, 0o600], [said + pem + pem, 0o600], ['x'.repeat(20000), 0o600],
    [said + pem.replace('PRIVATE', 'EC PRIVATE'), 0o600], [`${said}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`, 0o600],
    [`${said}Safeconduct-Expires: soon\n${pem}`, 0o600],
  ]) {
    await writeFile(file, text)
    await chmod(file, mode)
    await assert.rejects(Agent.load(file), (e) => fails(sdk.InvalidError)(e) && !e.message.includes('MC4C'))
  }
  await rm(file)
  await assert.rejects(Agent.load(file), fails(sdk.NotFoundError))
})

test('a rotated key is taken up', async (t) => {
  const { f } = await served(t)
  const file = await scratch(t)
  const text = async (key) => `Safeconduct-Issuer: ${f.url}\nSafeconduct-Agent: bot\n${key.pem()}`
  await writeFile(file, await text(await Key.generate()), { mode: 0o600 })
  const agent = await Agent.load(file)
  const next = await Key.generate('ES256')
  await writeFile(file, await text(next))
  f.answers[TOKEN] = [{ status: 401, body: { error: 'invalid_client' } }, issued()]
  await agent.token()
  assert.equal(agent.keyId, next.id)
})
