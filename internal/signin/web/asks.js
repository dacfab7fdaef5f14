import { agreed, base, call, element, fail, find, signedIn, state, when } from "./safeconduct.js";

function line(ask, more) {
  const a = element("a", ask.sentence);
  a.href = base + "/asks/" + encodeURIComponent(ask.id);
  const end = ask.status === "pending" ? "until " + when(ask.expires_at) : state(ask);
  return element("li", [a, element("div", `${when(ask.asked_at)}, ${end}${more ? ". " + more : ""}`, "small")]);
}

try {
  const me = await signedIn();
  const waiting = await call("GET", "/v1/approvals?mine=true&limit=100");
  const seen = new Set();
  for (const ask of waiting.items) {
    if (agreed(ask, me.id)) continue;
    seen.add(ask.id);
    find("waiting").append(line(ask));
  }
  const reviews = await call("GET", "/v1/approvals?review=true&limit=100");
  for (const ask of reviews.items) {
    if (seen.has(ask.id)) continue;
    seen.add(ask.id);
    find("waiting").append(line(ask, `Waits for your review, until ${when(ask.broken_glass?.due)}.`));
  }
  find("none").hidden = seen.size > 0;
  const others = await call("GET", "/v1/approvals?limit=50");
  for (const ask of others.items) {
    if (!seen.has(ask.id)) find("others").append(line(ask, agreed(ask, me.id) ? "You have said yes; others are still needed." : ""));
  }
  find("past").hidden = find("others").childElementCount === 0;
  document.body.dataset.ready = "true";
} catch (error) {
  fail(error);
}
