/** Signing with a passkey: what the service asks for as base64url, and what it takes back as JSON. */

const bytes = (text: string) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const text = (b: ArrayBuffer) => btoa(String.fromCharCode(...new Uint8Array(b))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/** assert has one of the passkeys sign a challenge, after the authenticator has verified who is there. */
export async function assert(challenge: string, passkeys: string[]): Promise<unknown> {
  if (!navigator.credentials) throw new Error('This browser cannot use passkeys here.');
  let got: PublicKeyCredential;
  try {
    got = (await navigator.credentials.get({
      publicKey: { challenge: bytes(challenge), allowCredentials: passkeys.map((id) => ({ id: bytes(id), type: 'public-key' })), userVerification: 'required' },
    })) as PublicKeyCredential;
  } catch (e) {
    throw e instanceof DOMException && e.name === 'NotAllowedError' ? new Error('The passkey was not used.') : e;
  }
  const r = got.response as AuthenticatorAssertionResponse;
  return {
    id: got.id,
    rawId: text(got.rawId),
    type: got.type,
    authenticatorAttachment: got.authenticatorAttachment ?? undefined,
    clientExtensionResults: {},
    response: {
      clientDataJSON: text(r.clientDataJSON),
      authenticatorData: text(r.authenticatorData),
      signature: text(r.signature),
      userHandle: r.userHandle ? text(r.userHandle) : undefined,
    },
  };
}
