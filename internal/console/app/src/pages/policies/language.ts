/** The words of Cedar, of its schemas and of YAML: for the editor, and for texts that are only shown. */

export type Language = 'cedar' | 'schema' | 'yaml';

/** What a piece of text is. Nothing: it has no colour of its own. */
export type Kind = 'comment' | 'string' | 'keyword' | 'effect' | 'annotation' | 'variable' | 'type' | 'number' | 'function' | 'key' | '';

/** A piece of a line: where it ends, and what it is. */
export interface Piece {
  end: number;
  kind: Kind;
}

const cedarWords: Record<string, Kind> = { permit: 'effect', forbid: 'effect' };
for (const w of ['when', 'unless', 'if', 'then', 'else', 'in', 'is', 'has', 'like', 'true', 'false']) cedarWords[w] = 'keyword';
for (const w of ['principal', 'action', 'resource', 'context']) cedarWords[w] = 'variable';

const schemaWords: Record<string, Kind> = {};
for (const w of ['entity', 'action', 'type', 'namespace', 'in', 'tags', 'enum', 'appliesTo', 'principal', 'resource', 'context']) schemaWords[w] = 'keyword';
for (const w of ['String', 'Long', 'Bool', 'Boolean', 'Set', 'decimal', 'datetime', 'duration', 'ipaddr']) schemaWords[w] = 'type';

/** The file's language, by its name. */
export function languageOf(file: string): Language {
  return file.endsWith('.cedarschema') ? 'schema' : /\.(ya?ml|json|txtar)$/.test(file) ? 'yaml' : 'cedar';
}

/**
 * Returns the piece that begins at a place of a line. Block comments are no part of Cedar, so that every line can be read by
 * itself; of YAML the texts over several lines are only coloured in their first.
 */
export function piece(language: Language, line: string, at: number): Piece {
  const rest = line.slice(at);
  const space = /^\s+/.exec(rest);
  if (space) return { end: at + space[0].length, kind: '' };
  return language === 'yaml' ? yaml(line, at, rest) : cedar(language, line, at, rest);
}

function cedar(language: Language, line: string, at: number, rest: string): Piece {
  if (rest.startsWith('//')) return { end: line.length, kind: 'comment' };
  const text = /^"(?:[^"\\]|\\.)*"?/.exec(rest);
  if (text) return { end: at + text[0].length, kind: 'string' };
  const note = /^@\s*[A-Za-z_]\w*/.exec(rest);
  if (note) return { end: at + note[0].length, kind: 'annotation' };
  const number = /^\d+/.exec(rest);
  if (number) return { end: at + number[0].length, kind: 'number' };
  const word = /^[A-Za-z_]\w*/.exec(rest);
  if (!word) return { end: at + 1, kind: '' };
  const end = at + word[0].length;
  const before = line.slice(0, at).trimEnd();
  if (before.endsWith('.')) return { end, kind: /^\s*\(/.test(line.slice(end)) ? 'function' : '' };
  if (language === 'schema') return { end, kind: /^\s*\??\s*:(?!:)/.test(line.slice(end)) ? 'key' : Object.hasOwn(schemaWords, word[0]) ? schemaWords[word[0]]! : '' };
  if (Object.hasOwn(cedarWords, word[0])) return { end, kind: cedarWords[word[0]]! };
  if (/^\s*::/.test(line.slice(end)) || /\bis$/.test(before)) return { end, kind: 'type' };
  return { end, kind: /^\s*\(/.test(line.slice(end)) ? 'function' : '' };
}

function yaml(line: string, at: number, rest: string): Piece {
  if (rest[0] === '#' && (at === 0 || /\s/.test(line[at - 1]!))) return { end: line.length, kind: 'comment' };
  const text = /^(?:"(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?)/.exec(rest);
  if (text) return { end: at + text[0].length, kind: /^\s*:(\s|$)/.test(line.slice(at + text[0].length)) ? 'key' : 'string' };
  const mark = /^[&*][\w-]+/.exec(rest);
  if (mark) return { end: at + mark[0].length, kind: 'annotation' };
  if (/^[-{}[\],:?|>]/.test(rest) && !/^-\w/.test(rest)) return { end: at + 1, kind: '' };
  const word = /^[^\s#{}[\],:]+(?::(?=\S)[^\s{}[\],:]*)*/.exec(rest);
  if (!word) return { end: at + 1, kind: '' };
  const end = at + word[0].length;
  if (/^\s*:(\s|$)/.test(line.slice(end))) return { end, kind: 'key' };
  if (/^(true|false|null|~)$/.test(word[0])) return { end, kind: 'keyword' };
  return { end, kind: /^-?\d[\d.:TZ+-]*$/.test(word[0]) ? 'number' : '' };
}

/** A line cut into pieces, neighbours of one kind together. Very long lines stay whole. */
export function pieces(language: Language, line: string): { text: string; kind: Kind }[] {
  if (line.length > 2000) return [{ text: line, kind: '' }];
  const out: { text: string; kind: Kind }[] = [];
  for (let at = 0; at < line.length; ) {
    const p = piece(language, line, at);
    const text = line.slice(at, p.end);
    const last = out[out.length - 1];
    if (last && last.kind === p.kind) last.text += text;
    else out.push({ text, kind: p.kind });
    at = p.end;
  }
  return out;
}
