// OAuth clients that nobody here wrote, against a running authorization server.
//
// Standard input: {"issuer", "alice": {"id", "jwk"}, "bob": {...}, "pep", "enrolment", "scope"}.
// Standard output: a line of JSON for each check, {"name", "ok", "error"}.
import assert from 'node:assert/strict'
import * as jose from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

const setup = JSON.parse(await new Response(process.stdin).text())
const issuer = new URL(setup.issuer)
const insecure = { [oauth.allowInsecureRequests]: true } // plain http on loopback

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

async function privateKey(agent) {
  const key = await crypto.subtle.importKey('jwk', agent.jwk, agent.jwk.crv === 'Ed25519' ? 'Ed25519' : { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
  return { key, kid: agent.kid }
}

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

// --- openid-client ----------------------------------------------------------------------------

async function openidConfiguration(agent, algorithm) {
  return openid.discovery(issuer, agent.id, {}, openid.PrivateKeyJwt(await privateKey(agent)), { algorithm, execute: [openid.allowInsecureRequests] })
}

await check('openid-client: discovery as OpenID Connect', () => openidConfiguration(setup.alice, 'oidc'))
const alice = await check('openid-client: discovery (RFC 8414)', () => openidConfiguration(setup.alice, 'oauth2'))
const bob = await openidConfiguration(setup.bob, 'oauth2')

const keysOfAlice = await openid.randomDPoPKeyPair('ES256')
const proofsOfAlice = openid.getDPoPHandle(alice, keysOfAlice)
const granted = await check('openid-client: client credentials, private_key_jwt, DPoP with a nonce', async () => {
  const t = await openid.clientCredentialsGrant(alice, { scope: setup.scope, resource: setup.issuer }, { DPoP: proofsOfAlice })
  assert.equal(t.token_type, 'dpop')
  assert.equal(t.scope, setup.scope)
  assert.ok(t.expires_in <= 300, `lives ${t.expires_in} s`)
  assert.equal(jose.decodeProtectedHeader(t.access_token).typ, 'at+jwt')
  return t
})
await check('openid-client: Ed25519 proofs', async () => {
  const handle = openid.getDPoPHandle(alice, await openid.randomDPoPKeyPair('Ed25519'))
  const t = await openid.clientCredentialsGrant(alice, { scope: setup.scope }, { DPoP: handle })
  assert.equal(t.token_type, 'dpop')
})
await check('openid-client: introspection', async () => {
  const said = await openid.tokenIntrospection(alice, granted.access_token)
  assert.equal(said.active, true)
  assert.equal(said.scope, setup.scope)
  assert.equal(said.client_id, setup.alice.id)
  assert.equal(said.cnf.jkt, await proofsOfAlice.calculateThumbprint())
})
await check('openid-client: introspection of another agent’s token tells nothing', async () => {
  assert.deepEqual(await openid.tokenIntrospection(bob, granted.access_token), { active: false })
})
await check('openid-client: an agent asks for itself (RFC 9449 at the resource)', async () => {
  const ask = () => openid.fetchProtectedResource(alice, granted.access_token, new URL(setup.issuer + '/access/v1/evaluation'), 'POST',
    JSON.stringify(setup.evaluation), new Headers({ 'content-type': 'application/json' }), { DPoP: proofsOfAlice })
  const answer = await ask()
  assert.equal(answer.status, 200)
  const body = await answer.json()
  assert.equal(body.decision, true, JSON.stringify(body))
})
const proofsOfBob = openid.getDPoPHandle(bob, await openid.randomDPoPKeyPair('ES256'))
const delegated = await check('openid-client: token exchange (RFC 8693)', async () => {
  const subject = await openid.clientCredentialsGrant(alice, { scope: setup.scope, resource: setup.issuer, ...setup.delegation }, { DPoP: proofsOfAlice })
  const t = await openid.genericGrantRequest(bob, EXCHANGE, { subject_token: subject.access_token, subject_token_type: ACCESS_TOKEN, scope: setup.narrow }, { DPoP: proofsOfBob })
  assert.equal(t.issued_token_type, ACCESS_TOKEN)
  assert.equal(t.scope, setup.narrow)
  const claims = jose.decodeJwt(t.access_token)
  assert.equal(claims.sub, setup.alice.id)
  assert.equal(claims.act.sub, setup.bob.id)
  assert.equal(claims.client_id, setup.bob.id)
  return { subject, child: t }
})
await check('openid-client: a widened exchange is invalid_scope', async () => {
  await assert.rejects(openid.genericGrantRequest(bob, EXCHANGE, { subject_token: delegated.child.access_token, subject_token_type: ACCESS_TOKEN, scope: setup.scope }, { DPoP: proofsOfBob }),
    (err) => ['invalid_scope', 'invalid_grant', 'invalid_request'].includes(err.error))
})
await check('openid-client: revocation takes the delegated token along', async () => {
  await openid.tokenRevocation(alice, delegated.subject.access_token)
  assert.deepEqual(await openid.tokenIntrospection(bob, delegated.child.access_token), { active: false })
})

// --- oauth4webapi -----------------------------------------------------------------------------

const as = await check('oauth4webapi: discovery', async () =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })))
const client = { client_id: setup.alice.id }
const auth = oauth.PrivateKeyJwt(await privateKey(setup.alice))

async function again(handle, f) {
  try {
    return await f()
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return f() // the handle has taken the nonce from the answer
  }
}

const pair = await oauth.generateKeyPair('ES256')
const handle = oauth.DPoP(client, pair)
const mine = await check('oauth4webapi: client credentials, private_key_jwt, DPoP with a nonce', () => again(handle, async () =>
  oauth.processClientCredentialsResponse(as, client,
    await oauth.clientCredentialsGrantRequest(as, client, auth, { scope: setup.scope, resource: setup.issuer }, { DPoP: handle, ...insecure }))))
await check('oauth4webapi: rich authorization requests (RFC 9396)', () => again(handle, async () => {
  const t = await oauth.processClientCredentialsResponse(as, client,
    await oauth.clientCredentialsGrantRequest(as, client, auth, { authorization_details: JSON.stringify(setup.details) }, { DPoP: handle, ...insecure }))
  assert.deepEqual(t.authorization_details, setup.details)
}))
await check('oauth4webapi: our token is a JWT access token (RFC 9068) bound by DPoP', async () => {
  const url = 'https://api.example.com/orders'
  const headers = new Headers({ authorization: `DPoP ${mine.access_token}` })
  const proofs = oauth.DPoP(client, pair)
  await proofs.addProof(new URL(url), headers, 'POST', mine.access_token)
  const claims = await oauth.validateJwtAccessToken(as, new Request(url, { method: 'POST', headers }), setup.issuer, { requireDPoP: true, ...insecure })
  assert.equal(claims.client_id, setup.alice.id)
})
await check('oauth4webapi: introspection', async () => {
  const said = await oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, mine.access_token, insecure))
  assert.equal(said.active, true)
})
await check('oauth4webapi: signed introspection (RFC 9701)', async () => {
  const signed = { ...client, introspection_signed_response_alg: setup.signed }
  const response = await oauth.introspectionRequest(as, signed, auth, mine.access_token, { requestJwtResponse: true, ...insecure })
  assert.match(response.headers.get('content-type'), /^application\/token-introspection\+jwt/)
  const said = await oauth.processIntrospectionResponse(as, signed, response)
  assert.equal(said.active, true)
  await oauth.validateApplicationLevelSignature(as, response, insecure)
})
await check('oauth4webapi: revocation', async () => {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, mine.access_token, insecure))
  const said = await oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, mine.access_token, insecure))
  assert.deepEqual(said, { active: false })
})
await check('oauth4webapi: protected resource metadata (RFC 9728)', async () => {
  const rs = await oauth.processResourceDiscoveryResponse(issuer, await oauth.resourceDiscoveryRequest(issuer, insecure))
  assert.deepEqual(rs.authorization_servers, [setup.issuer])
})
await check('oauth4webapi: dynamic client registration (RFC 7591)', async () => {
  const { publicKey } = await oauth.generateKeyPair('Ed25519', { extractable: true })
  const jwk = await jose.exportJWK(publicKey)
  const registered = await oauth.processDynamicClientRegistrationResponse(await oauth.dynamicClientRegistrationRequest(as,
    { token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'], jwks: { keys: [jwk] } },
    { initialAccessToken: setup.enrolment, ...insecure }))
  assert.equal(registered.client_id, setup.carol)
  assert.equal(registered.client_secret, undefined)
})

// --- jose ---------------------------------------------------------------------------------------

await check('jose: verifies our tokens by the key set', async () => {
  const keys = jose.createRemoteJWKSet(new URL(as.jwks_uri))
  const { payload, protectedHeader } = await jose.jwtVerify(granted.access_token, keys, { issuer: setup.issuer, audience: setup.issuer, typ: 'at+jwt' })
  assert.equal(payload.sub, setup.alice.id)
  assert.ok(['EdDSA', 'ES256'].includes(protectedHeader.alg))
})
await check('jose: verifies our status list', async () => {
  const { status } = jose.decodeJwt(granted.access_token)
  const answer = await fetch(status.status_list.uri)
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type'), /^application\/statuslist\+jwt/)
  const keys = jose.createRemoteJWKSet(new URL(as.jwks_uri))
  const { payload } = await jose.jwtVerify(await answer.text(), keys, { typ: 'statuslist+jwt' })
  assert.equal(payload.sub, status.status_list.uri)
  const list = new Uint8Array(await new Response(new Blob([jose.base64url.decode(payload.status_list.lst)]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer())
  const { idx } = status.status_list
  assert.equal((list[idx >> 3] >> (idx & 7)) & 1, 0)
  const { status: dead } = jose.decodeJwt(mine.access_token)
  assert.equal((list[dead.status_list.idx >> 3] >> (dead.status_list.idx & 7)) & 1, 1, 'the revoked token is not marked')
})
