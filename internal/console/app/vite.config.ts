import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin, type ProxyOptions } from 'vite';

// In development the pages come from Vite and the rest from a service that runs:
//   SAFECONDUCT_URL=http://127.0.0.1:8180 SAFECONDUCT_ADMIN_TOKEN=sc_admin_... npm run dev
// The token stands in for a session. Cookies of a session pass, too, if there is no token.
const service = process.env.SAFECONDUCT_URL ?? 'http://127.0.0.1:8180';
const token = process.env.SAFECONDUCT_ADMIN_TOKEN;
const proxy: ProxyOptions = {
  target: service,
  changeOrigin: true,
  headers: token ? { Authorization: `Bearer ${token}` } : {},
};

/** notices writes the licences of what is shipped into notices.txt, which is served beside the pages. */
function notices(): Plugin {
  return {
    name: 'notices',
    generateBundle(_options, bundle) {
      const packages = new Set(['@fontsource-variable/inter', 'svelte', 'uplot']); // a font, and two of which only styles or helpers may be seen
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== 'chunk') continue;
        for (const id of Object.keys(chunk.modules)) {
          const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(id);
          if (found) packages.add(found[1]!);
        }
      }
      const texts = [...packages].sort().map((name) => {
        const dir = join('node_modules', name);
        const about = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { version: string; license?: string };
        const file = existsSync(dir) ? readdirSync(dir).sort().find((f) => /^licen[cs]e(\.|$)/i.test(f)) : undefined;
        const text = file ? readFileSync(join(dir, file), 'utf8').trim() : `Licence: ${about.license ?? 'unknown'}`;
        return `${name} ${about.version}\n\n${text}\n`;
      });
      this.emitFile({ type: 'asset', fileName: 'notices.txt', source: `The console contains these works of others.\n\n${texts.join('\n---\n\n')}` });
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [svelte(), notices()],
  build: {
    outDir: '../dist',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
  },
  server: {
    proxy: Object.fromEntries(['/v1', '/access', '/sign-in', '/sign-out', '/enrol', '/checkpoint', '/tile', '/healthz', '/readyz', '/openapi.json'].map((p) => [p, proxy])),
  },
});
