// OpenID CIBA by openid-client, against a running authorization server.
//
// Standard input: {"issuer", "client": {"id", "jwk", "kid"}, "hint", "sub", "scope", "acr", "answers", "port"}. A POST of
// {"ask", "yes"} to answers has the person answer; port is where pings arrive, 0 if there are none.
// Standard output: a line of JSON for each check, {"name", "ok", "error"}.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import * as jose from 'jose'
import * as openid from 'openid-client'

const setup = JSON.parse(await new Response(process.stdin).text())
const CIBA = 'urn:openid:params:grant-type:ciba'

async function check(name, f) {
  try {
    const value = await f()
    console.log(JSON.stringify({ name, ok: true }))
    return value
  } catch (err) {
    const told = err?.cause?.body ?? err?.cause
    console.log(JSON.stringify({ name, ok: false, error: `${err?.stack ?? err} ${JSON.stringify(told) ?? ''}` }))
  }
}

const algorithm = setup.client.jwk.crv === 'Ed25519' ? 'Ed25519' : { name: 'ECDSA', namedCurve: 'P-256' }
const key = await crypto.subtle.importKey('jwk', setup.client.jwk, algorithm, false, ['sign'])
const config = await check('discovery', async () => {
  const c = await openid.discovery(new URL(setup.issuer), setup.client.id, {}, openid.PrivateKeyJwt({ key, kid: setup.client.kid }),
    { algorithm: 'oidc', execute: [openid.allowInsecureRequests] })
  const as = c.serverMetadata()
  assert.ok(as.backchannel_authentication_endpoint)
  assert.ok(as.grant_types_supported.includes(CIBA))
  assert.ok(as.backchannel_token_delivery_modes_supported.includes(setup.port ? 'ping' : 'poll'))
  return c
})
const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256'))

const ask = (more) => openid.initiateBackchannelAuthentication(config, { login_hint: setup.hint, scope: 'openid ' + setup.scope, ...more })
const answer = async (ask, yes) => {
  const r = await fetch(setup.answers, { method: 'POST', body: JSON.stringify({ ask, yes }) })
  assert.equal(r.status, 204, await r.text())
}
const once = (asked) => openid.genericGrantRequest(config, CIBA, { auth_req_id: asked.auth_req_id }, { DPoP })
const fails = (promise, code) => assert.rejects(promise, (err) => {
  assert.equal(err.error ?? err.cause?.error, code)
  return true
})

await check('poll: pending, too fast, then a token for the person', async () => {
  const asked = await ask({ binding_message: 'W4-SCT', requested_expiry: '120', acr_values: setup.acr })
  assert.equal(asked.expires_in, 120)
  assert.equal(asked.interval, 5)
  await fails(once(asked), 'authorization_pending')
  await fails(once(asked), 'slow_down')
  await answer(asked.auth_req_id, true)
  const t = await openid.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 1 }, undefined, { DPoP })
  assert.equal(t.token_type, 'dpop')
  assert.equal(t.scope, setup.scope)
  const claims = jose.decodeJwt(t.access_token)
  assert.equal(claims.sub, setup.sub)
  assert.deepEqual(claims.act, { sub: setup.client.id })
  assert.equal(claims.acr, setup.acr)
  assert.equal(t.claims().sub, setup.sub) // openid-client has checked the ID token
  assert.equal(t.claims().acr, setup.acr)
  const said = await openid.tokenIntrospection(config, t.access_token)
  assert.equal(said.active, true)
  assert.equal(said.acr, setup.acr)
  await fails(once(asked), 'invalid_grant')
})

await check('poll: answered while openid-client waits', async () => {
  const asked = await ask({ binding_message: 'while it waits' })
  const waiting = openid.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 2 }, undefined, { DPoP })
  await answer(asked.auth_req_id, true)
  assert.equal((await waiting).scope, setup.scope)
})

await check('poll: refused by the person', async () => {
  const asked = await ask({ binding_message: 'no' })
  await answer(asked.auth_req_id, false)
  await fails(openid.pollBackchannelAuthenticationGrant(config, { ...asked, interval: 1 }, undefined, { DPoP }), 'access_denied')
})

await check('a signed request', async () => {
  const request = await new jose.SignJWT({ login_hint: setup.hint, scope: setup.scope, binding_message: 'signed' })
    .setProtectedHeader({ alg: algorithm === 'Ed25519' ? 'EdDSA' : 'ES256', kid: setup.client.kid }).setIssuer(setup.client.id).setAudience(setup.issuer)
    .setIssuedAt().setNotBefore('0s').setExpirationTime('1m').setJti(crypto.randomUUID()).sign(key)
  const asked = await openid.initiateBackchannelAuthentication(config, { request })
  await answer(asked.auth_req_id, true)
  assert.equal((await once(asked)).scope, setup.scope)
  await fails(openid.initiateBackchannelAuthentication(config, { request }), 'invalid_request')
})

await check('nobody is meant', () => fails(ask({ login_hint: 'nobody' }), 'unknown_user_id'))
await check('a level that nobody reaches', () => fails(ask({ acr_values: 'urn:example:none' }), 'unmet_authentication_requirements'))

if (setup.port) {
  await check('ping: told, then a token', async () => {
    const secret = crypto.randomUUID() + crypto.randomUUID()
    let heard
    const told = new Promise((resolve) => { heard = resolve })
    const server = createServer(async (req, res) => {
      const body = JSON.parse(await new Response(req).text())
      res.writeHead(204).end()
      heard({ authorization: req.headers.authorization, method: req.method, body })
    })
    await new Promise((resolve) => server.listen(setup.port, '127.0.0.1', resolve))
    const asked = await ask({ client_notification_token: secret, binding_message: 'ping' })
    await answer(asked.auth_req_id, true)
    assert.deepEqual(await told, { authorization: `Bearer ${secret}`, method: 'POST', body: { auth_req_id: asked.auth_req_id } })
    assert.equal((await once(asked)).scope, setup.scope)
    server.close()
    server.closeAllConnections()
  })
}
