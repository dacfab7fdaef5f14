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
    ["A yes permits", detail?.allows], ["Risk", detail?.risk], ["State", item.status],
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
  find("form").hidden = !mine;
  find("glass").hidden = !(open && standing.break_glass);
  find("key-note").hidden = !standing.passkey;
  find("allows").textContent = mine ? "" : standing.why ?? "";
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

// sign makes the passkey's assertion over the digest of one answer.
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
  const form = { yes, view };
  const comment = find("comment").value.trim();
  if (comment) form.comment = comment;
  if (yes && ask.standing?.passkey) form.assertion = await sign({ yes, view });
  await call("POST", path + "/answer", form);
  await load();
}

try {
  me = await signedIn();
  await load();
  if (!find("form").hidden || !find("glass").hidden) await look();
  const buttons = ["yes", "no", "break"].map(find);
  find("yes").addEventListener("click", () => during(buttons, () => answer(true)));
  find("no").addEventListener("click", () => during(buttons, () => answer(false)));
  find("break").addEventListener("click", () => during(buttons, async () => {
    const reason = find("reason").value.trim();
    if (!reason) throw new Error("Say why it cannot wait.");
    const form = { reason, view };
    if (ask.standing?.passkey) form.assertion = await sign({ yes: true, view });
    await call("POST", path + "/break-glass", form);
    await load();
  }));
  for (const form of [find("form"), find("glass")]) form.addEventListener("submit", (event) => event.preventDefault());
  document.body.dataset.ready = "true";
} catch (error) {
  fail(error);
}
