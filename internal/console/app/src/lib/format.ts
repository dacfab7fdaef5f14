/** Numbers, times and words, as people read them. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** 12,345 */
export const count = (n: number) => whole.format(n);

/** 12.3K */
export const compact = (n: number) => (Math.abs(n) < 10_000 ? whole.format(n) : short.format(n));

/** 0.0731 as 7.3 % */
export function percent(x: number, digits = 1): string {
  return `${(x * 100).toFixed(x !== 0 && Math.abs(x) < 0.1 ? digits : Math.min(digits, 1))} %`.replace('.0 %', ' %');
}

/** Some bytes as 12.3 kB. */
export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return `${n >= 100 || i === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[i]}`;
}

/** Milliseconds as 850 µs, 12 ms, 3.2 s, 5 min, 3 h, 12 d. */
export function duration(ms: number): string {
  if (ms < 0.9995) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1).replace('.0', '') : Math.round(s)} s`;
  const m = s / 60;
  if (m < 60) return `${Math.round(m)} min`;
  const h = m / 60;
  if (h < 48) return `${Math.round(h)} h`;
  return `${Math.round(h / 24)} d`;
}

const pad = (n: number) => String(n).padStart(2, '0');

/** A time to the second, in the zone of whoever reads: 2026-11-27 18:51:02. */
export function moment(at: string | number | Date): string {
  const d = new Date(at);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${clock(d)}`;
}

/** 18:51:02 */
export function clock(at: string | number | Date): string {
  const d = new Date(at);
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

/** 2026-11-27 */
export const day = (at: string | number | Date) => moment(at).slice(0, 10);

/** How long ago or ahead: now, 12 s ago, in 5 min. */
export function ago(at: string | number | Date, now = Date.now()): string {
  const ms = now - new Date(at).getTime();
  if (Math.abs(ms) < 2000) return 'now';
  return ms > 0 ? `${duration(ms)} ago` : `in ${duration(-ms)}`;
}

/** One agent, 2 agents. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Times of the log's zero value are no times. */
export const known = (at: string | undefined | null): at is string => !!at && !at.startsWith('0001-');
