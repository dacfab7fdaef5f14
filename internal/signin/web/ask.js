import { agreed, assert, call, during, element, fail, find, sentence, signedIn, when } from "./safeconduct.js";

const id = decodeURIComponent(location.pathname.split("/").pop());
const path = "/v1/approvals/" + encodeURIComponent(id);

// How long a page may be looked at before it counts as a new look: the service takes an answer within ten
// minutes of a look.
const stale = 9 * 60 * 1000;

let me, ask, view, viewed;

const json = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));

function facts(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) {
    if (value !== undefined && value !== null && value !== "" && !(Array.isArray(value) && value.length === 0)) {
      list.append(element("dt", name), element("dd", Array.isArray(value) ? value.map(json).join(", ") : json(value)));
    }
  }
  return list;
}

const origins = { prompt: "a person's own words", operator: "configuration", untrusted: "what others can write to", unknown: "not known" };

function table(args) {
  const body = element("tbody");
  for (const a of args) {
    body.append(element("tr", [
      element("td", a.name), element("td", json(a.value), "value"),
      element("td", origins[a.from] ?? a.from, a.from === "untrusted" ? "untrusted" : ""),
    ]));
  }
  const head = element("tr", ["Argument", "Value", "Came from"].map((t) => {
    const th = element("th", t);
    th.scope = "col";
    return th;
  }));
  return element("table", [element("thead", head), body]);
}

// nameOf names an act; of several, with its place.
function nameOf(i) {
  const item = ask.items[i];
  return `${ask.items.length > 1 ? i + 1 + ". " : ""}${item.action} · ${item.resource.type} ${item.resource.id}`;
}

// way says how far one route has been gone for an act.
function way(w) {
  const need = w.yes.length + w.more;
  const progress = w.more > 0 ? `${w.yes.length} of ${need} have said yes` : w.yes.length > 0 ? `${w.yes.length} said yes` : "";
  const key = ask.routes?.find((r) => r.id === w.route)?.passkey ? "with a passkey" : "";
  const who = w.yes.join(", ");
  return `${w.title || w.route}: ${[progress, who, key].filter(Boolean).join("; ")}`;
}

const holds = (grant) => !grant.revoked_at && Date.parse(grant.until) > Date.now() && (grant.scope.uses < 0 || grant.used < (grant.scope.uses || 1));

// granted says what was approved, and what became of it.
function granted(grant) {
  const s = grant.scope, said = [];
  said.push(s.uses < 0 ? `As often as it likes, until ${when(grant.until)}` : `${s.uses > 1 ? s.uses + " times" : "Once"}, until ${when(grant.until)}`);
  if (s.class) said.push("any resource of the type whose data is no more sensitive");
  if (s.arguments) said.push("any arguments");
  for (const [name, value] of Object.entries(s.amounts ?? {}).sort()) said.push(`${name} up to ${value}`);
  said.push(grant.used === 0 ? "not used" : grant.used === 1 ? "used once" : `used ${grant.used} times`);
  return said.join("; ") + ".";
}

// bounds says how far a yes went, nothing if it was a plain one.
function bounds(s) {
  const said = [];
  if (s?.uses) said.push(s.uses < 0 ? "as often as it likes" : `${s.uses} times`);
  if (s?.until) said.push("until " + when(s.until));
  if (s?.class) said.push("any such resource");
  if (s?.arguments) said.push("any arguments");
  for (const [name, value] of Object.entries(s?.amounts ?? {}).sort()) said.push(`${name} up to ${value}`);
  return said.length ? ` (${said.join("; ")})` : "";
}

function act(item, i) {
  const detail = ask.acts?.[i], grant = item.grant;
  const box = element("div", element("h2", nameOf(i)), "act");
  if (detail?.arguments?.length) box.append(table(detail.arguments));
  const said = (detail?.policy ?? []).map((p) => p.detail || p.message || p.error || p.policy);
  box.append(facts([
    ["Data", item.data], ["Labels", item.labels], ["Why it was refused", said],
    ["A yes permits", item.status === "pending" ? sentence(detail?.allows) : ""],
    ["At most", item.status === "pending" ? sentence(detail?.most) : ""],
    ["Risk", detail?.risk], ["Who must agree", (detail?.ways ?? []).map(way).join("\n")],
    ["State", grant?.revoked_at ? "revoked" : item.status], ["Approved", grant && granted(grant)],
    ["Revoked", grant?.revoked_at && `${when(grant.revoked_at)}. ${grant.why ?? ""}`],
    ["Properties", item.resource.properties],
  ]));
  return box;
}

// stands says how far the ask has come.
function stands() {
  if (ask.status === "pending") return `Waits until ${when(ask.expires_at)}.`;
  const grants = ask.items.flatMap((item) => item.grant ?? []);
  const gone = grants.find((g) => g.revoked_at);
  if (gone) return `This was approved, and the approval was revoked, ${when(gone.revoked_at)}. ${gone.why ?? ""}`;
  if (ask.status === "approved") return grants.length && !grants.some(holds) ? "This was approved; the approval is used up or over." : "This is approved.";
  return `This has ended: ${ask.status}. ${ask.why ?? ""}`;
}

// broken says that the glass was broken, and what became of that.
function broken(glass) {
  if (!glass) return [];
  const lines = [element("p", `${glass.by} broke the glass and approved alone, ${when(glass.at)}: ${glass.reason}`)];
  if (glass.verdict) lines.push(element("p", `${glass.reviewer} reviewed it: ${glass.verdict}. ${glass.comment ?? ""}`));
  else lines.push(element("p", Date.parse(glass.due) > Date.now() ? `Somebody else must review it until ${when(glass.due)}.` : `Nobody has reviewed it: the review was due ${when(glass.due)}.`));
  return [element("h2", "The glass was broken"), ...lines];
}

// answered says one answer: whose it is, and about which acts.
function answered(a) {
  const verb = a.broke_glass ? "broke the glass, and approved alone" : a.yes ? "approved" : "refused";
  const about = ask.items.length > 1 && a.items?.length ? " " + a.items.map(nameOf).join(", ") : "";
  const lost = a.void_at ? ` It counts no more since ${when(a.void_at)}, for what was not approved by then.` : "";
  return `${a.by}${a.for ? " for " + a.for : ""} ${verb}${about}${a.yes ? bounds(a.scope) : ""}, ${when(a.at)}${a.passkey ? ", with a passkey" : ""}. ${a.comment ?? ""}${lost}`;
}

function show() {
  document.title = "Ask · Safeconduct";
  find("sentence").textContent = "";
  find("sentence").append(element("span", ask.sentence));
  find("status").replaceChildren(element("span", stands()));
  find("broken").replaceChildren(...broken(ask.broken_glass));
  find("warnings").replaceChildren(...(ask.warnings ?? []).map((w) => element("li", sentence(w))));
  find("acts").replaceChildren(...ask.items.map(act));
  const by = ask.asking ?? {};
  find("about").replaceChildren(element("h2", "Who asks"), facts([
    ["Agent", ask.agent], ["Owner", by.owner ?? ask.owner], ["Purpose", by.purpose], ["Version", by.version], ["State", by.state],
    ["On behalf of", (ask.on_behalf ?? []).map((r) => `${r.type} ${r.id}`)],
    ["Trust", (by.trust ?? []).map((t) => `${t.class}: ${t.level}`)],
    ["Findings", (by.findings ?? []).map((f) => `${f.kind} (${f.severity})`)],
    ["It says", ask.justification], ["Message", ask.message], ["Details", ask.details], ["Bound to", ask.context],
    ["Wished until", when(ask.requested_until)], ["Who is asked", ask.person], ["Session", ask.session], ["Enforcement point", ask.pep],
    ["Asked", when(ask.asked_at)], ["More were asked", when(ask.escalated_at)], ["Asked again", ask.joined],
  ]));
  find("similar").replaceChildren(...(ask.similar?.length ? [element("h2", "Asked before"), element("ul", ask.similar.map((s) =>
    element("li", `${when(s.asked_at)}: ${s.acts.join("; ")}: ${s.revoked ? s.status + ", then revoked" : s.status}. ${s.answered.join("; ")}`)))] : []));
  find("answers").replaceChildren(...(ask.answers?.length ? [element("h2", "Answers"), element("ul", ask.answers.map((a) =>
    element("li", answered(a))))] : []));
  const standing = ask.standing ?? {};
  const open = ask.status === "pending";
  const yes = open && standing.approve, no = open && standing.refuse;
  if (yes || no) choices(yes, standing.most ?? {});
  find("form").hidden = !(yes || no);
  find("yes").hidden = !yes;
  find("no").hidden = !no;
  find("only-no").hidden = yes || agreed(ask, me.id);
  find("glass").hidden = !(open && standing.break_glass);
  find("key-note").hidden = !(yes && standing.passkey);
  find("glass-note").hidden = !standing.passkey;
  find("standing").replaceChildren(element("span", open && !yes && standing.why ? sentence(standing.why) + "." : ""));
  find("review").hidden = !standing.review;
  find("take-back").hidden = !ask.items.some((item) => item.grant && holds(item.grant));
}

function choice(fieldset, text, type, attributes) {
  const input = element("input");
  Object.assign(input, { type, ...attributes });
  fieldset.append(element("label", type === "checkbox" ? [input, element("span", text)] : [element("span", text), input]));
  fieldset.hidden = false;
  return input;
}

// What the person may choose; each entry changes the form of an answer.
let chosen = [], offered = "";

// choices offers how far a yes may go, within what the route permits, and which of the acts that wait it is
// for. What is chosen stays as long as the same is offered.
function choices(yes, most) {
  const waits = ask.items.flatMap((item, i) => (item.status === "pending" ? [i] : []));
  const offer = JSON.stringify([yes, { ...most, until: undefined }, waits]);
  if (offer === offered) return;
  offered = offer;
  chosen = [];
  const which = find("which"), scope = find("scope");
  for (const fieldset of [which, scope]) {
    fieldset.hidden = true;
    for (const label of fieldset.querySelectorAll("label")) label.remove();
  }
  if (waits.length > 1) {
    const boxes = waits.map((i) => choice(which, nameOf(i), "checkbox", { checked: true }));
    chosen.push((form) => {
      const picked = waits.filter((_, n) => boxes[n].checked);
      if (picked.length === 0) throw new Error("Choose at least one act.");
      if (picked.length < boxes.length) form.items = picked;
    });
  }
  if (!yes) return;
  if (most.uses > 1 || most.uses < 0) {
    const uses = choice(scope, most.uses < 0 ? "Times:" : `Times, at most ${most.uses}:`, "number", { min: 1, max: most.uses < 0 ? 1000000 : most.uses, value: 1, required: true });
    chosen.push((_, s) => {
      if (!uses.checkValidity()) throw new Error("How many times? " + uses.validationMessage);
      if (uses.valueAsNumber > 1) s.uses = uses.valueAsNumber;
    });
  }
  if (most.class) {
    const box = choice(scope, "For any resource of the same type whose data is no more sensitive", "checkbox", { id: "scope-class" });
    chosen.push((_, s) => { if (box.checked) s.class = true; });
  }
  if (most.arguments) {
    const box = choice(scope, "With any arguments", "checkbox", { id: "scope-arguments" });
    chosen.push((_, s) => { if (box.checked) s.arguments = true; });
  }
  for (const [name, limit] of Object.entries(most.amounts ?? {}).sort()) {
    const amount = choice(scope, `Up to what ${name}, at most ${limit}? Left empty: as asked.`, "text", { maxLength: 40, autocomplete: "off" });
    chosen.push((_, s) => {
      const value = amount.value.trim();
      if (value) s.amounts = { ...s.amounts, [name]: value };
    });
  }
}

// answerForm is an answer as it is signed and sent. A refusal has no scope.
function answerForm(yes) {
  const form = { yes, view }, scope = {};
  for (const f of chosen) f(form, scope);
  if (yes && Object.keys(scope).length > 0) form.scope = scope;
  return form;
}

async function load() {
  ask = await call("GET", path);
  show();
}

// look records that the ask is looked at; the service wants to know before an answer.
async function look() {
  const seen = await call("POST", path + "/view");
  view = seen.view;
  viewed = Date.now();
}

// sign makes the passkey's assertion over the digest of one answer, or of breaking the glass for a reason.
async function sign(form) {
  const { digest, passkeys } = await call("POST", path + "/challenge", form);
  return assert({ challenge: digest, allowCredentials: passkeys.map((key) => ({ id: key, type: "public-key" })) });
}

async function answer(yes) {
  if (Date.now() - viewed > stale) {
    await look();
    await load();
    throw new Error("You opened this a while ago. Look at it again, and then answer.");
  }
  const form = answerForm(yes);
  if (yes && ask.standing?.passkey) form.assertion = await sign(form);
  const comment = find("comment").value.trim();
  if (comment) form.comment = comment;
  await call("POST", path + "/answer", form);
  await load();
}

// said returns what was written into a box, which must not be empty.
function said(id, problem) {
  const text = find(id).value.trim();
  if (!text) throw new Error(problem);
  return text;
}

async function breakGlass() {
  const form = { reason: said("reason", "Say why it cannot wait."), view };
  if (ask.standing?.passkey) form.assertion = await sign({ break_glass: form.reason, view });
  await call("POST", path + "/break-glass", form);
  await load();
}

async function review(justified) {
  await call("POST", path + "/review", { justified, comment: said("verdict", "Say why.") });
  await load();
}

async function revoke() {
  await call("POST", path + "/revoke", { why: said("back", "Say why.") });
  await load();
}

try {
  me = await signedIn();
  await load();
  if (!find("form").hidden || !find("glass").hidden) await look();
  const does = {
    yes: () => answer(true), no: () => answer(false), break: breakGlass, revoke,
    justified: () => review(true), unjustified: () => review(false),
  };
  const buttons = Object.keys(does).map(find);
  for (const [name, f] of Object.entries(does)) find(name).addEventListener("click", () => during(buttons, f));
  for (const name of ["form", "glass", "review", "take-back"]) find(name).addEventListener("submit", (event) => event.preventDefault());
  document.body.dataset.ready = "true";
} catch (error) {
  fail(error);
}
