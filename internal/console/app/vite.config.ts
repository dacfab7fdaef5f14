import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type ProxyOptions } from 'vite';

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

export default defineConfig({
  base: './',
  plugins: [svelte()],
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
