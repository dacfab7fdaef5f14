import { call, during, find, make, base, plain } from "./safeconduct.js";

// The token is in the fragment, which browsers send to nobody; it is taken out of sight and of the history.
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

const button = find("make");
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  during([button], async () => {
    const { person, options } = await call("POST", "/enrol/begin", { token });
    find("greeting").textContent = plain(`This passkey will be ${person}'s.`);
    const credential = await make(options);
    await call("POST", "/enrol/finish", { token, title: find("title").value.trim(), credential });
    location.replace(base + "/sign-in");
  });
});

document.body.dataset.ready = "true";
