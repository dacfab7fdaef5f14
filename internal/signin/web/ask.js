import { assert, call, during, element, fail, find, signedIn, when } from "./safeconduct.js";

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

function act(item, detail) {
  const box = element("div", element("h2", `${item.action} · ${item.resource.type} ${item.resource.id}`), "act");
  if (detail?.arguments?.length) box.append(table(detail.arguments));
  const said = (detail?.policy ?? []).map((p) => p.detail || p.message || p.error || p.policy);
  box.append(facts([
    ["Data", item.data], ["Labels", item.labels], ["Why it was refused", said],
    ["A yes permits", detail?.allows], ["At most", detail?.most], ["Risk", detail?.risk], ["State", item.status],
    ["Properties", item.resource.properties],
  ]));
  return box;
}

function show() {
  document.title = "Ask · Safeconduct";
  find("sentence").textContent = "";
  find("sentence").append(element("span", ask.sentence));
  find("status").textContent = ask.status === "pending" ? `Waits until ${when(ask.expires_at)}.` : `This has ended: ${ask.status}. ${ask.why ?? ""}`;
  find("warnings").replaceChildren(...(ask.warnings ?? []).map((w) => element("li", w)));
  find("acts").replaceChildren(...ask.items.map((item, i) => act(item, ask.acts?.[i])));
  const by = ask.asking ?? {};
  find("about").replaceChildren(element("h2", "Who asks"), facts([
    ["Agent", ask.agent], ["Owner", by.owner ?? ask.owner], ["Purpose", by.purpose], ["Version", by.version], ["State", by.state],
    ["On behalf of", (ask.on_behalf ?? []).map((r) => `${r.type} ${r.id}`)],
    ["Trust", (by.trust ?? []).map((t) => `${t.class}: ${t.level}`)],
    ["Findings", (by.findings ?? []).map((f) => `${f.kind} (${f.severity})`)],
    ["It says", ask.justification], ["Message", ask.message], ["Details", ask.details], ["Bound to", ask.context],
    ["Asked", when(ask.asked_at)], ["Asked again", ask.joined],
  ]));
  find("similar").replaceChildren(...(ask.similar?.length ? [element("h2", "Asked before"), element("ul", ask.similar.map((s) =>
    element("li", `${when(s.asked_at)}: ${s.acts.join("; ")}: ${s.status}. ${s.answered.join("; ")}`)))] : []));
  find("answers").replaceChildren(...(ask.answers?.length ? [element("h2", "Answers"), element("ul", ask.answers.map((a) =>
    element("li", `${a.by}${a.for ? " for " + a.for : ""} ${a.yes ? "approved" : "refused"}, ${when(a.at)}${a.passkey ? ", with a passkey" : ""}. ${a.comment ?? ""}`)))] : []));
  const standing = ask.standing ?? {};
  const open = ask.status === "pending";
  const mine = open && (standing.routes?.length > 0 || ask.person === me.id);
  if (mine && find("form").hidden) choices(standing.most ?? {});
  find("form").hidden = !mine;
  find("glass").hidden = !(open && standing.break_glass);
  find("key-note").hidden = !standing.passkey;
  find("allows").replaceChildren(element("span", open && !mine ? standing.why ?? "" : ""));
  const broken = ask.broken_glass;
  find("review").hidden = !(broken && !broken.verdict && broken.by !== "person:" + me.id);
  find("take-back").hidden = !ask.items.some((item) => item.grant && !item.grant.revoked_at && Date.parse(item.grant.until) > Date.now());
}

function choice(fieldset, text, type, attributes) {
  const input = element("input");
  Object.assign(input, { type, ...attributes });
  fieldset.append(element("label", type === "checkbox" ? [input, element("span", text)] : [element("span", text), input]));
  fieldset.hidden = false;
  return input;
}

// What the person may choose; each entry changes the form of an answer.
let chosen = [];

// choices offers how far a yes may go, within what the route permits, and which of several acts it is for.
function choices(most) {
  chosen = [];
  if (ask.items.length > 1) {
    const boxes = ask.items.map((item) => choice(find("which"), `${item.action} · ${item.resource.type} ${item.resource.id}`, "checkbox", { checked: true }));
    chosen.push((form) => {
      const picked = boxes.flatMap((box, i) => (box.checked ? [i] : []));
      if (picked.length === 0) throw new Error("Choose at least one act.");
      if (picked.length < boxes.length) form.items = picked;
    });
  }
  const scope = find("scope");
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
