/** What can be written at a place of a policy: from the schema and the catalog, as the service tells them. */

import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import { snippetCompletion, startCompletion } from '@codemirror/autocomplete';
import type { EditorView } from '@codemirror/view';
import type { Schemas } from '../../lib/api';

type Vocabulary = Schemas['VersionVocabulary'];
type Attribute = Schemas['PolicyAttribute'];

/** around writes two parts, puts the cursor between them, and looks at once for what can stand there. */
const around = (before: string, after: string) => (view: EditorView, _: Completion, from: number, to: number) => {
  view.dispatch({ changes: { from, to, insert: before + after }, selection: { anchor: from + before.length }, userEvent: 'input.complete' });
  startCompletion(view);
};

const statement = [
  snippetCompletion('@id("${name}")\npermit (principal is Agent, action == Action::"${action}", resource)\nwhen { ${condition} };\n', { label: 'permit', detail: 'a policy that permits', type: 'keyword' }),
  snippetCompletion('@id("${name}")\n@reason("${reason}")\nforbid (principal is Agent, action == Action::"${action}", resource)\nwhen { ${condition} };\n', { label: 'forbid', detail: 'a policy that forbids', type: 'keyword' }),
];

const words: Completion[] = ['when', 'unless', 'if', 'then', 'else', 'in', 'is', 'has', 'like', 'true', 'false'].map((label) => ({ label, type: 'keyword' }));
const variables: Completion[] = ['principal', 'action', 'resource', 'context'].map((label) => ({ label, type: 'variable' }));
const functions: Completion[] = ['decimal', 'ip', 'datetime', 'duration'].map((label) => ({ label, type: 'function', apply: around(`${label}("`, '")') }));

const methods: Record<string, string[]> = {
  decimal: ['lessThan', 'lessThanOrEqual', 'greaterThan', 'greaterThanOrEqual'],
  ipaddr: ['isIpv4', 'isIpv6', 'isLoopback', 'isMulticast', 'isInRange'],
  datetime: ['offset', 'durationSince', 'toDate', 'toTime'],
  duration: ['toMilliseconds', 'toSeconds', 'toMinutes', 'toHours', 'toDays'],
  Set: ['contains', 'containsAll', 'containsAny', 'isEmpty'],
};

/** completer returns a source of completions for policies. The vocabulary may come later. */
export function completer(vocabulary: () => Vocabulary | undefined) {
  return (c: CompletionContext): CompletionResult | null => {
    const v = vocabulary();
    const line = c.state.doc.lineAt(c.pos);
    const before = c.state.sliceDoc(Math.max(line.from, c.pos - 1000), c.pos);
    if (/^\s*\/\//.test(before)) return null;

    // @rea|
    let m = /@(\w*)$/.exec(before);
    if (m) {
      return {
        from: c.pos - m[1]!.length,
        options: (v?.annotations ?? []).map((a) => ({ label: a.key, type: 'property', info: a.doc, detail: a.on === 'forbid' ? 'of a forbid' : undefined, apply: around(`${a.key}("`, '")') })),
        validFor: /^\w*$/,
      };
    }
    // @reason("|
    m = /@(\w+)\s*\(\s*"([^"]*)$/.exec(before);
    if (m) {
      const a = v?.annotations.find((a) => a.key === m![1]);
      if (!a?.values?.length) return null;
      const last = /[^\s,]*$/.exec(m[2]!)![0];
      return { from: c.pos - last.length, options: a.values.map((w) => ({ label: w.value, type: 'enum', info: w.doc })), validFor: /^[\w.:-]*$/ };
    }
    // Action::"|, User::"|
    m = /\b((?:\w+::)*\w+)::"([^"]*)$/.exec(before);
    if (m) {
      const typ = m[1]!;
      const options: Completion[] =
        typ === 'Action' || typ.endsWith('::Action')
          ? (v?.actions ?? []).filter((a) => a.cedar.startsWith(`${typ}::"`)).map((a) => ({ label: a.cedar.slice(typ.length + 3, -1), type: 'constant', detail: a.group ? 'group' : (a.resources ?? []).join(', ') }))
          : (v?.types.find((t) => t.name === typ)?.ids ?? []).map((id) => ({ label: id, type: 'constant' }));
      return options.length ? { from: c.pos - m[2]!.length, options, validFor: /^[^"]*$/ } : null;
    }
    const head = headOf(c);
    // ....contains("|, ... == "|
    m = /((?:context|principal|resource)(?:\.\w+)+)\s*(?:\.\s*contains\w*\s*\(\s*(?:\[[^\]]*)?|==\s*|!=\s*)"([^"]*)$/.exec(before);
    if (m && v) {
      const values = find(v, head, m[1]!.split('.'))?.values ?? [];
      return values.length ? { from: c.pos - m[2]!.length, options: values.map((w) => ({ label: w.value, type: 'enum', info: w.doc })), validFor: /^[^"]*$/ } : null;
    }
    if (inText(before)) return null;
    // is Doc|
    m = /\bis\s+((?:\w+::)*\w*)$/.exec(before);
    if (m) return { from: c.pos - m[1]!.length, options: (v?.types ?? []).map((t) => ({ label: t.name, type: 'class' })), validFor: /^[\w:]*$/ };
    // context.observed.|, and after has: context.observed has |
    m = /((?:context|principal|resource)(?:\.\w+)*)(?:\.|\s+has\s+)(\w*)$/.exec(before);
    if (m && v) {
      const path = m[1]!.split('.');
      const options = members(v, head, path).map(attribute);
      if (!/\s+has\s+\w*$/.test(before)) {
        const at = find(v, head, path);
        const kind = at?.type.startsWith('Set<') ? 'Set' : (at?.type ?? '');
        for (const label of methods[kind] ?? []) options.push({ label, type: 'method', apply: around(`${label}(`, ')') });
      }
      return options.length ? { from: c.pos - m[2]!.length, options: unique(options), validFor: /^\w*$/ } : null;
    }
    // a word
    m = /(?:^|[^\w.])(\w*)$/.exec(before);
    if (!m || (!m[1] && !c.explicit)) return null;
    const inside = /\{[^}]*$/.test(c.state.sliceDoc(head.from, c.pos)) || /\([^)]*$/.test(c.state.sliceDoc(head.from, c.pos));
    const types: Completion[] = (v?.types ?? []).map((t) => ({ label: t.name, type: 'class', apply: around(`${t.name}::"`, '"') }));
    const actions: Completion[] = [{ label: 'Action', type: 'class', apply: around('Action::"', '"') }];
    return {
      from: c.pos - m[1]!.length,
      options: inside ? [...variables, ...words, ...functions, ...actions, ...types] : [...statement, ...words.slice(0, 2)],
      validFor: /^\w*$/,
    };
  };
}

/** The head of the policy in which the cursor stands: what it is about. */
interface Head {
  from: number;
  actions: string[]; // as policies name them
  resource?: string;
  principal?: string;
}

function headOf(c: CompletionContext): Head {
  const from = Math.max(0, c.pos - 20_000);
  const text = c.state.sliceDoc(from, c.pos);
  let start = 0;
  for (const m of text.matchAll(/;\s*(?:\/\/[^\n]*)?\n/g)) start = m.index + m[0].length;
  const own = text.slice(start);
  const scope = /\b(?:permit|forbid)\s*\(([^)]*)/.exec(own)?.[1] ?? '';
  return {
    from: from + start,
    actions: [...scope.matchAll(/(?:\w+::)*Action::"(?:[^"\\]|\\.)*"/g)].map((m) => m[0]),
    resource: /\bresource\s+(?:is\s+|==\s*)((?:\w+::)*?\w+)(?=\s|,|$|::")/.exec(scope)?.[1],
    principal: /\bprincipal\s+(?:is\s+|==\s*)((?:\w+::)*?\w+)(?=\s|,|$|::")/.exec(scope)?.[1],
  };
}

/** Whether a text that was begun in the line is still open. */
function inText(before: string): boolean {
  let open = false;
  for (let i = 0; i < before.length; i++) {
    if (before[i] === '\\' && open) i++;
    else if (before[i] === '"') open = !open;
  }
  return open;
}

/** The members of what a path leads to. */
function members(v: Vocabulary, head: Head, path: string[]): Attribute[] {
  const [root, ...rest] = path;
  let list: Attribute[] = [];
  if (root === 'context') {
    if (rest.length === 0) {
      return [
        { name: 'observed', type: 'Observed', doc: 'what we saw or know' },
        { name: 'claimed', type: 'record', doc: 'what the caller says of the moment' },
        { name: 'args', type: 'record', doc: 'the arguments of the action' },
      ];
    }
    const actions = v.actions.filter((a) => !a.group && (head.actions.length === 0 || head.actions.includes(a.cedar) || a.groups?.some((g) => head.actions.includes(g))));
    const part = rest.shift();
    if (part === 'observed') list = v.observed;
    else if (part === 'args') list = actions.flatMap((a) => a.args ?? []);
    else if (part === 'claimed') list = actions.flatMap((a) => a.claimed ?? []);
  } else {
    const typ = root === 'principal' ? head.principal : head.resource;
    list = v.types.filter((t) => (typ ? t.name === typ : root === 'resource' || t.name === 'Agent' || t.name === 'User')).flatMap((t) => t.attributes ?? []);
  }
  for (const name of rest) {
    list = list.filter((a) => a.name === name).flatMap((a) => a.attributes ?? v.types.find((t) => t.name === a.type)?.attributes ?? []);
  }
  return list;
}

function find(v: Vocabulary, head: Head, path: string[]): Attribute | undefined {
  const name = path[path.length - 1];
  const list = members(v, head, path.slice(0, -1)).filter((a) => a.name === name);
  return list.find((a) => a.values?.length) ?? list[0];
}

const attribute = (a: Attribute): Completion => ({
  label: a.name,
  type: 'property',
  detail: a.optional ? `${a.type}, may be absent` : a.type,
  info: a.doc || undefined,
});

function unique(list: Completion[]): Completion[] {
  const seen = new Set<string>();
  return list.filter((o) => !seen.has(o.label) && seen.add(o.label));
}

const sections: Record<string, string> = {
  zone: 'the time zone of the organisation', capabilities: 'what agents can be granted', types: 'what is said of types of things', default_class: 'the class of what nothing classifies',
  classify: 'rules that classify things', schedules: 'when something is open', networks: 'zones of addresses', obligations: 'what must be done along with an act', reasons: 'what a refusal says',
  approvers: 'groups of people who may approve', approvals: 'how people are asked', assurance: 'levels of authentication', entities: 'people and things that policies know', signals: 'what must be known before a policy is asked',
  risk: 'what risk weighs', conduct: 'how agents are watched',
};

/** catalogCompleter completes the names of a catalog's sections. */
export function catalogCompleter(c: CompletionContext): CompletionResult | null {
  const line = c.state.doc.lineAt(c.pos);
  const m = /^(\w*)$/.exec(c.state.sliceDoc(line.from, c.pos));
  if (!m || (!m[1] && !c.explicit)) return null;
  return { from: line.from, options: Object.entries(sections).map(([label, info]) => ({ label, info, type: 'property', apply: `${label}: ` })), validFor: /^\w*$/ };
}
