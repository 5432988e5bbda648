// What the page asks of the service.

const address = (path) => new URL(`../${path}`, import.meta.url);
let token = "";

/** The token that the service asks for; kept in this page's memory alone. */
export function setToken(value) {
  token = value;
}

/** Why a picture was not made, in words for people. `status` is the HTTP status, 0 if no answer came. */
export class ServiceError extends Error {
  constructor(message, status, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export async function listModels() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(address("v1/models"), { headers });
  if (!answer.ok) throw toError(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer.json();
}

/**
 * Send a picture and take what comes back: {blob, kind, notes}.
 * `options` are the query's; `tell(stage, share)` is called with "sending", "working" and "receiving".
 * XMLHttpRequest, since fetch does not tell how much was sent.
 */
export function enhance(file, options, signal, tell = () => {}) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const end = (settle, value) => {
      signal.removeEventListener("abort", stop);
      settle(value);
    };
    const target = address("v1/enhance");
    for (const [name, value] of Object.entries(options)) {
      if (value !== "" && value !== null && value !== undefined) target.searchParams.set(name, String(value));
    }
    request.open("POST", target);
    request.responseType = "blob";
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    // By its content alone: what the browser takes from a file's suffix may be wrong.
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = ({ loaded, total }) => tell("sending", total ? loaded / total : 0);
    request.upload.onload = () => tell("working", 0);
    request.onprogress = ({ loaded, total }) => tell("receiving", total ? loaded / total : 0);
    request.onload = async () => {
      if (request.status === 200) {
        end(resolve, {
          blob: request.response,
          kind: request.getResponseHeader("Content-Type") ?? "",
          notes: readNotes(request.getResponseHeader("Undim-Notes")),
        });
      } else {
        end(reject, toError(request.status, await request.response.text(), request.getResponseHeader("Retry-After")));
      }
    };
    request.onerror = async () => end(reject, new ServiceError(await explain(file), 0));
    request.onabort = () => end(reject, signal.reason ?? new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", stop, { once: true });
    tell("sending", 0);
    request.send(file);
  });
}

/** A problem body (RFC 9457) in one line. */
function toError(status, body, retryAfter) {
  let words = "";
  try {
    const problem = JSON.parse(body);
    words = problem.detail || problem.title || "";
  } catch {
    // Something between here and the service answered; the status is what there is to tell.
  }
  return new ServiceError(words || `The service answered with the status ${status}.`, status, seconds(retryAfter));
}

/** Retry-After in seconds: a number, or a date. */
function seconds(header) {
  if (!header) return null;
  const wait = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(wait) ? Math.max(0, wait) : null;
}

function readNotes(header) {
  try {
    return header ? JSON.parse(header).map(String) : [];
  } catch {
    return [];
  }
}

/** Why no answer came: the file is gone, the service is, or the connection was cut. */
async function explain(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return "The file can no longer be read. Was it moved or changed? Choose it again.";
  }
  try {
    if ((await fetch(address("healthz"), { cache: "no-store" })).ok) {
      return "The connection was cut before an answer came. Try again; the picture may be too large for this service.";
    }
  } catch {
    // Said below.
  }
  return "The service does not answer. See that undim serve is running, then try again.";
}
