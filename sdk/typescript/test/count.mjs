// A reporter: a line for each test, with the suite it is in, and how many there were.
import { basename } from 'node:path'
import { inspect } from 'node:util'

export default async function* count(events) {
  let tests = 0
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail' || data.file === undefined || data.name === data.file) continue
    tests++
    const suite = basename(data.file, '.test.mjs')
    if (type === 'test:fail') yield `not ok ${suite}: ${data.name}\n${inspect(data.details.error, { depth: 4 })}\n`
    else if (data.skip !== undefined || data.todo !== undefined) yield `left out ${suite}: ${data.name}\n`
    else yield `ok ${suite}: ${data.name}\n`
  }
  yield `${tests} tests\n`
}
