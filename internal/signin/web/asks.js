import { base, call, element, fail, find, signedIn, when } from "./safeconduct.js";

function line(ask) {
  const a = element("a", ask.sentence);
  a.href = base + "/asks/" + encodeURIComponent(ask.id);
  const end = ask.status === "pending" ? "until " + when(ask.expires_at) : ask.status;
  return element("li", [a, element("div", `${when(ask.asked_at)}, ${end}`, "small")]);
}

try {
  await signedIn();
  const waiting = await call("GET", "/v1/approvals?mine=true&limit=100");
  const seen = new Set();
  for (const ask of waiting.items) {
    seen.add(ask.id);
    find("waiting").append(line(ask));
  }
  find("none").hidden = seen.size > 0;
  const others = await call("GET", "/v1/approvals?limit=50");
  for (const ask of others.items) {
    if (!seen.has(ask.id)) find("others").append(line(ask));
  }
  find("past").hidden = find("others").childElementCount === 0;
  document.body.dataset.ready = "true";
} catch (error) {
  fail(error);
}
