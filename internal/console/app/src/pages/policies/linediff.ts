/** The difference of two texts, line by line. */

export interface Line {
  kind: 'same' | 'added' | 'removed';
  text: string;
  before?: number; // numbers of the line, from 1
  after?: number;
}

const most = 3_000_000; // cells of the table; beyond, what lies between the common ends counts as replaced

/** lineDiff returns all lines of both texts in order. */
export function lineDiff(before: string, after: string): Line[] {
  const a = split(before);
  const b = split(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const out: Line[] = [];
  for (let i = 0; i < head; i++) out.push({ kind: 'same', text: a[i]!, before: i + 1, after: i + 1 });
  middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail), head, out);
  for (let i = tail; i > 0; i--) out.push({ kind: 'same', text: a[a.length - i]!, before: a.length - i + 1, after: b.length - i + 1 });
  return out;
}

function split(text: string): string[] {
  if (text === '') return [];
  const lines = text.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  return lines;
}

function middle(a: string[], b: string[], from: number, out: Line[]) {
  const n = a.length;
  const m = b.length;
  const whole = n * m > most;
  const width = m + 1;
  const common = whole ? undefined : new Uint32Array((n + 1) * width); // of what follows
  if (common) {
    for (let i = n - 1; i >= 0; i--) {
      for (let j = m - 1; j >= 0; j--) {
        common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1]! + 1 : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
      }
    }
  }
  let i = 0;
  let j = 0;
  while (i < n || j < m) {
    if (common && i < n && j < m && a[i] === b[j]) {
      out.push({ kind: 'same', text: a[i]!, before: from + ++i, after: from + ++j });
    } else if (i < n && (j >= m || !common || common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      out.push({ kind: 'removed', text: a[i]!, before: from + ++i });
    } else {
      out.push({ kind: 'added', text: b[j]!, after: from + ++j });
    }
  }
}

/** A run of lines with what stands around them, or the number of lines that are left out. */
export type Hunk = { lines: Line[] } | { left: number };

/** hunks leaves out what did not change, but for some lines around what did. */
export function hunks(lines: Line[], around = 3): Hunk[] {
  const keep = new Uint8Array(lines.length);
  lines.forEach((l, i) => {
    if (l.kind !== 'same') keep.fill(1, Math.max(0, i - around), Math.min(lines.length, i + around + 1));
  });
  const out: Hunk[] = [];
  for (let i = 0; i < lines.length; ) {
    const on = keep[i];
    let j = i;
    while (j < lines.length && keep[j] === on) j++;
    out.push(on ? { lines: lines.slice(i, j) } : { left: j - i });
    i = j;
  }
  return out;
}
