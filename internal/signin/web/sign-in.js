import { assert, base, call, during, find, plain } from "./safeconduct.js";

// Where to go afterwards: one of our own pages, whatever the address says. The console says it with the service's path.
const said = new URLSearchParams(location.search).get("return") ?? "";
const wanted = base && said.startsWith(base + "/") ? said.slice(base.length) : said;
const own = /^\/(asks(\/[A-Za-z0-9_-]{1,64})?|console(\/([A-Za-z0-9._~:@-]|%[0-9A-F]{2})+)*\/?(\?[A-Za-z0-9._~:@%&=+,\/*-]*)?)$/;
const astray = /\/(\.|%2E)|%(2F|5C)/;
const to = wanted.length <= 1000 && own.test(wanted) && !astray.test(wanted.split("?")[0]) ? wanted : document.body.dataset.home;

find("provider")?.setAttribute("href", base + "/sign-in/provider?return=" + encodeURIComponent(to));

const button = find("passkey");
button?.addEventListener("click", () => during([button], async () => {
  const { options } = await call("POST", "/sign-in/begin");
  const credential = await assert(options.publicKey);
  await call("POST", "/sign-in/finish", { credential });
  location.replace(base + to);
}));

// Who has just made a passkey is told so, once.
const made = sessionStorage.getItem("made");
if (made) {
  sessionStorage.removeItem("made");
  find("made").textContent = plain(made);
  find("made").hidden = false;
}

document.body.dataset.ready = "true";
