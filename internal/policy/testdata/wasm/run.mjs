// Reads one case a line, judges it with Cedar's own implementation, and writes one answer a line.
// Case:   {schema, policies: {id: text}, entities: [...], requests: [{principal, action, resource, context}]}
// Answer: {schema: bool, parsed: {id: bool}, valid: {id: bool}, messages: {id: [string]}, entities: bool,
//          answers: [{valid, decision, reason, errors}], failure}
import * as readline from 'node:readline';
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';

function messages(list) {
  return (list ?? []).map((e) => e.message + (e.related ?? []).map((r) => ' / ' + r.message).join(''));
}

function judge(c) {
  const out = { schema: false, parsed: {}, valid: {}, messages: {}, entities: false, answers: [] };
  const parsed = {};
  for (const [id, text] of Object.entries(c.policies)) {
    const a = cedar.checkParsePolicySet({ staticPolicies: { [id]: text } });
    out.parsed[id] = a.type === 'success';
    if (out.parsed[id]) parsed[id] = text;
    else out.messages[id] = messages(a.errors);
  }
  const schema = cedar.checkParseSchema(c.schema);
  out.schema = schema.type === 'success';
  if (!out.schema) {
    out.failure = messages(schema.errors).join('; ');
    return out;
  }
  const v = cedar.validate({ schema: c.schema, policies: { staticPolicies: parsed } });
  if (v.type !== 'success') {
    out.failure = messages(v.errors).join('; ');
    return out;
  }
  for (const id of Object.keys(parsed)) out.valid[id] = true;
  for (const e of v.validationErrors) {
    out.valid[e.policyId] = false;
    (out.messages[e.policyId] ??= []).push(e.error.message);
  }
  const entities = cedar.checkParseEntities({ entities: c.entities, schema: c.schema });
  out.entities = entities.type === 'success';
  if (!out.entities) {
    out.failure = messages(entities.errors).join('; ');
    return out;
  }
  for (const r of c.requests) {
    const call = { ...r, schema: c.schema, policies: { staticPolicies: parsed }, entities: c.entities };
    const strict = cedar.isAuthorized({ ...call, validateRequest: true });
    const answer = { valid: strict.type === 'success' };
    const a = answer.valid ? strict : cedar.isAuthorized({ ...call, validateRequest: false });
    if (a.type === 'success') {
      answer.decision = a.response.decision;
      answer.reason = a.response.diagnostics.reason;
      answer.errors = a.response.diagnostics.errors.map((e) => e.policyId);
      answer.error_messages = a.response.diagnostics.errors.map((e) => e.error.message);
    } else {
      answer.failure = messages(a.errors).join('; ');
    }
    out.answers.push(answer);
  }
  return out;
}

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line === '') continue;
  let out;
  try {
    out = judge(JSON.parse(line));
  } catch (e) {
    out = { failure: 'crash: ' + String(e) };
  }
  process.stdout.write(JSON.stringify(out) + '\n');
}
