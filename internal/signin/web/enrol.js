import { base, call, during, fail, find, make, plain } from "./safeconduct.js";

// The token is in the fragment, which browsers send to nobody; it is taken out of sight and of the history.
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

// begin finds out whose passkey is made; the service says so if the link is good.
async function begin() {
  if (!token) throw new Error("This page is reached by a link that is good once: ask an administrator for one.");
  const { person, options } = await call("POST", "/enrol/begin", { token });
  find("greeting").textContent = plain(`This passkey will be ${person}'s.`);
  return options;
}

const button = find("make");
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  during([button], async () => {
    const options = await begin();
    const credential = await make(options);
    const title = find("title").value.trim();
    const { person } = await call("POST", "/enrol/finish", { token, title, credential });
    sessionStorage.setItem("made", `The passkey “${title}” was made for ${person}. Sign in with it.`);
    location.replace(base + "/sign-in");
  });
});

try {
  await begin();
  find("form").hidden = false;
} catch (error) {
  fail(error);
}
document.body.dataset.ready = "true";
