// What all pages share. Whatever comes from the service is shown as text, never as HTML.

export const base = document.body.dataset.base;

// call asks the service. A request that changes something carries a header that other sites cannot send.
export async function call(method, path, body) {
  const options = { method, credentials: "same-origin", headers: {}, cache: "no-store" };
  if (method !== "GET") {
    options.headers["X-Safeconduct-Request"] = "1";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  let answer, said = {};
  try {
    answer = await fetch(base + path, options);
    said = await answer.json();
  } catch {
    throw Object.assign(new Error("The service cannot be reached."), { status: answer?.status ?? 0 });
  }
  if (!answer.ok) {
    throw Object.assign(new Error(said.error?.message ?? "The service refused."), { status: answer.status });
  }
  return said;
}

export const find = (id) => document.getElementById(id);

export function fail(error) {
  const p = find("failure");
  p.textContent = error ? plain(error.message) : "";
  p.hidden = !error;
}

// element makes an element with text, or with elements.
export function element(name, content, className) {
  const e = document.createElement(name);
  if (className) e.className = className;
  for (const c of [content].flat()) {
    if (c !== undefined && c !== null) e.append(c instanceof Node ? c : plain(String(c)));
  }
  return e;
}

// plain makes characters visible that do not show or that turn the direction of a text.
export function plain(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u2028\u2029\u2800\u{1d159}\p{Default_Ignorable_Code_Point}]/gu, (c) =>
    c === "\n" || c === "\t" ? c : "\\u{" + c.codePointAt(0).toString(16) + "}");
}

const clock = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

export const when = (text) => (text ? clock.format(new Date(text)) : "");

// sentence returns what the service says, with its times as the page shows them and a capital letter. What
// is in quotes is somebody else's, and stays.
export function sentence(text) {
  const s = (text ?? "").replace(/"(?:[^"\\]|\\.)*"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (part) => (part[0] === '"' ? part : when(part)));
  return s.charAt(0).toUpperCase() + s.slice(1);
}

// state says in one or two words how far an ask has come.
export const state = (ask) => (ask.revoked ? "approved, then revoked" : ask.broken_glass && !ask.broken_glass.verdict ? ask.status + " by breaking the glass, not reviewed" : ask.status);

// agreed reports whether a person's yes to every act that waits counts already.
export function agreed(ask, person) {
  const waits = ask.items.flatMap((item, i) => (item.status === "pending" ? [i] : []));
  return waits.length > 0 && waits.every((i) => (ask.answers ?? []).some((a) =>
    a.yes && !a.void_at && (a.by === "person:" + person || a.for === person) && (!a.items?.length || a.items.includes(i))));
}

// who returns who is signed in, null if nobody is. A replica that has not yet read of a session that another
// has just begun gets a second chance.
async function who() {
  for (const pause of [500, 0]) {
    try {
      return await call("GET", "/sign-in/me");
    } catch (error) {
      if (error.status !== 401) throw error;
    }
    if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return null;
}

// signedIn returns who is signed in, or leads to the page of signing in.
export async function signedIn() {
  const me = await who();
  if (!me) {
    location.replace(base + "/sign-in?return=" + encodeURIComponent(location.pathname.slice(base.length)));
    return new Promise(() => {});
  }
  find("name").textContent = plain(me.name);
  find("who").hidden = false;
  find("sign-out").addEventListener("click", async () => {
    try {
      await call("POST", "/sign-out");
      location.replace(base + "/sign-in");
    } catch (error) {
      fail(error);
    }
  });
  return me;
}

// Bytes travel as base64url (WebAuthn, 5.1.8).
export function toBytes(text) {
  const raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(raw, (c) => c.charCodeAt(0));
}

export function toText(buffer) {
  let raw = "";
  for (const b of new Uint8Array(buffer)) raw += String.fromCharCode(b);
  return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

const descriptors = (list) => (list ?? []).map((d) => ({ ...d, id: toBytes(d.id) }));

// make makes a passkey, and returns it in the form in which it travels.
export async function make(options) {
  const o = options.publicKey;
  const made = await navigator.credentials.create({
    publicKey: {
      ...o,
      challenge: toBytes(o.challenge),
      user: { ...o.user, id: toBytes(o.user.id) },
      excludeCredentials: descriptors(o.excludeCredentials),
    },
  });
  return {
    id: made.id,
    rawId: toText(made.rawId),
    type: made.type,
    authenticatorAttachment: made.authenticatorAttachment ?? undefined,
    clientExtensionResults: {},
    response: {
      clientDataJSON: toText(made.response.clientDataJSON),
      attestationObject: toText(made.response.attestationObject),
      transports: made.response.getTransports?.() ?? [],
    },
  };
}

// assert signs a challenge with a passkey that verifies its user.
export async function assert(o) {
  const got = await navigator.credentials.get({
    publicKey: {
      ...o,
      challenge: toBytes(o.challenge),
      allowCredentials: descriptors(o.allowCredentials),
      userVerification: "required",
    },
  });
  return {
    id: got.id,
    rawId: toText(got.rawId),
    type: got.type,
    authenticatorAttachment: got.authenticatorAttachment ?? undefined,
    clientExtensionResults: {},
    response: {
      clientDataJSON: toText(got.response.clientDataJSON),
      authenticatorData: toText(got.response.authenticatorData),
      signature: toText(got.response.signature),
      userHandle: got.response.userHandle ? toText(got.response.userHandle) : undefined,
    },
  };
}

// during disables buttons while something is under way.
export async function during(buttons, f) {
  fail();
  for (const b of buttons) b.disabled = true;
  try {
    await f();
  } catch (error) {
    fail(error.name === "NotAllowedError" ? new Error("The passkey was not used.") : error);
  } finally {
    for (const b of buttons) b.disabled = false;
  }
}
