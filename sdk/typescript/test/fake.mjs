// A server that answers as it is told, so that it can say what ours never would.
import { createServer } from 'node:http'

/**
 * answers maps "METHOD /path" to a list of answers, one after the other; the last is repeated. An answer is a body, {status, headers,
 * body}, or a function of request and response that returns one of them, or nothing if it has answered.
 */
export async function fake(t, answers = {}) {
  const f = { answers, asked: [], url: '' }
  const server = createServer((req, res) => {
    const chunks = []
    req.on('data', (c) => chunks.push(c))
    req.on('end', async () => {
      const line = `${req.method} ${req.url}`
      f.asked.push({ line, headers: req.headers, body: Buffer.concat(chunks).toString() })
      const listed = f.answers[line] ?? [{ status: 404, body: '{}' }]
      let answer = listed.length > 1 ? listed.shift() : listed[0]
      if (typeof answer === 'function') answer = await answer(req, res)
      if (answer === undefined) return
      const { status = 200, headers = {}, body } = answer.body !== undefined ? answer : { body: answer }
      res.writeHead(status, headers)
      res.end(typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body))
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  f.url = `http://127.0.0.1:${server.address().port}`
  f.lines = () => f.asked.map((a) => a.line)
  f.of = (line) => f.asked.filter((a) => a.line === line)
  f.close = () => { server.closeAllConnections(); server.close() }
  t.after(f.close)
  return f
}

export const DISCOVERY = 'GET /.well-known/oauth-authorization-server'
export const TOKEN = 'POST /token'
export const EVALUATE = 'POST /access/v1/evaluation'
export const SUBMIT = 'POST /access/v1/requests'
export const STATUS = 'GET /access/v1/requests/arq_1'
export const OUTCOME = 'POST /v1/decisions/d7/outcome'

export const metadata = (f, more = {}) => ({ issuer: f.url, token_endpoint: `${f.url}/token`, ...more })
export const issued = (more = {}) => ({ access_token: 't0ken', token_type: 'DPoP', expires_in: 300, scope: 'pay', ...more })
export const claims = (jws) => jws.split('.').slice(0, 2).map((p) => JSON.parse(Buffer.from(p, 'base64url')))
export const drip = (_, res) => {
  res.writeHead(200)
  const timer = setInterval(() => res.write(' '), 20)
  res.on('close', () => clearInterval(timer))
}
export const soon = (seconds) => new Date(Date.now() + seconds * 1000).toISOString()
