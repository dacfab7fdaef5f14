// An OAuth client that nobody here wrote (npm oauth4webapi), before a gateway.
//
// Standard input: {"modules", "resource", "client": {"id", "jwk", "kid"}, "scope"}.
// Standard output: a line of JSON for each check, {"name", "ok", "error"}.
import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'

const setup = JSON.parse(await new Response(process.stdin).text())
const oauth = await import(pathToFileURL(setup.modules + '/oauth4webapi/build/index.js'))
const insecure = { [oauth.allowInsecureRequests]: true } // plain http on loopback
const resource = new URL(setup.resource)

async function check(name, f) {
  try {
    const value = await f()
    console.log(JSON.stringify({ name, ok: true }))
    return value
  } catch (err) {
    console.log(JSON.stringify({ name, ok: false, error: `${err?.stack ?? err} ${JSON.stringify(err?.cause) ?? ''}` }))
  }
}

const issuer = await check('protected resource metadata', async () => {
  const bare = await fetch(resource, { method: 'POST' })
  assert.equal(bare.status, 401)
  assert.ok(bare.headers.get('www-authenticate').includes(`resource_metadata="${resource.origin}/.well-known/oauth-protected-resource${resource.pathname}"`))
  const m = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource, insecure))
  assert.equal(m.resource, setup.resource)
  return new URL(m.authorization_servers[0])
})

const key = await crypto.subtle.importKey('jwk', setup.client.jwk, 'Ed25519', false, ['sign'])
const client = { client_id: setup.client.id }
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
const token = await check('a token for the gateway', async () => {
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }))
  const ask = async () => {
    const params = { scope: setup.scope, resource: setup.resource }
    const auth = oauth.PrivateKeyJwt({ key, kid: setup.client.kid })
    const r = await oauth.clientCredentialsGrantRequest(as, client, auth, params, { DPoP, ...insecure })
    return oauth.processClientCredentialsResponse(as, client, r)
  }
  try {
    return (await ask()).access_token
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return (await ask()).access_token
  }
})

const use = () => oauth.protectedResourceRequest(token, 'POST', resource, undefined, null, { DPoP, ...insecure })
await check('the gateway demands a nonce, and then knows who comes', async () => {
  let first
  await assert.rejects(use(), (err) => { first = err; return true })
  assert.equal(first.constructor.name, 'WWWAuthenticateChallengeError')
  assert.ok(oauth.isDPoPNonceError(first))
  for (let i = 0; i < 3; i++) {
    const r = await use()
    assert.equal(r.status, 200)
    assert.equal(await r.text(), setup.client.id)
  }
})
await check('a token by the wrong scheme', async () => {
  const r = await fetch(resource, { method: 'POST', headers: { authorization: 'Bearer ' + token } })
  assert.equal(r.status, 401)
  assert.equal((await r.json()).error, 'invalid_token')
})
