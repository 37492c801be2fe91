// Requests to the server of this page. All URLs are relative, so that they keep the token.

export class Refused extends Error {} // the server answered with an error message

let lost = () => {};

export function onLost(callback) {
  lost = callback;
}

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name !== "AbortError") lost("ended");
    throw error;
  }
  if (response.status === 403) {
    lost("token");
    throw new Refused("The address is no longer valid.");
  }
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Refused(body.error || `The server answered ${response.status}.`);
  }
  return response;
}

export async function json(path, options) {
  return (await request(path, options)).json();
}

// The data that the server has included in the page: {study, number, scan}; see `_Served` in app.py.
export function started() {
  return JSON.parse(document.getElementById("start").textContent);
}

export async function bytes(path, signal) {
  return (await request(path, { signal })).arrayBuffer();
}

export function post(path, value) {
  return json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
}
