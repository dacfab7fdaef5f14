// Makes src/api from the service's OpenAPI document: the types of what it takes and answers, and the roles that may call each route.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import openapiTS, { astToString } from 'openapi-typescript';

const repository = new URL('../../../../', import.meta.url);
const text = execFileSync('go', ['run', './cmd/safeconduct', 'openapi'], { cwd: repository, maxBuffer: 64 << 20 }).toString();
const document = JSON.parse(text);
const head = '// Made by `npm run types` from the OpenAPI document. Do not edit.\n\n';

mkdirSync(new URL('../src/api/', import.meta.url), { recursive: true });
writeFileSync(new URL('../src/api/schema.d.ts', import.meta.url), head + astToString(await openapiTS(document)));

const roles = {};
for (const [path, item] of Object.entries(document.paths)) {
  for (const [method, operation] of Object.entries(item)) {
    if (operation['x-roles']) roles[`${method.toUpperCase()} ${path}`] = operation['x-roles'];
  }
}
writeFileSync(new URL('../src/api/roles.ts', import.meta.url),
  `${head}/** The roles that may call a route, by its method and path. Routes that anybody may call are not here. */\nexport const roles = ${JSON.stringify(roles, null, 2)} as const;\n\nexport type Route = keyof typeof roles;\n`);
