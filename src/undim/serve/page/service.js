// What the page asks of the service.

const address = (path) => new URL(`../${path}`, import.meta.url);
let token = "";

/** The token that the service asks for, in this page's memory alone. */
export const setToken = (value) => (token = `Bearer ${value}`);

/** Why there is no picture, in words; `status` is 0 if no answer came, `wait` the seconds of Retry-After. */
export class ServiceError extends Error {
	constructor(message, status, wait = null) {
		super(message);
		Object.assign(this, { status, wait });
	}
}

export async function listModels() {
	const answer = await fetch(address("v1/models"), { headers: token ? { Authorization: token } : {} });
	if (!answer.ok) throw toError(answer.status, await answer.text(), null);
	return answer.json();
}

/**
 * Send a picture and take what comes back: {blob, kind, notes}. `query` is the address's, without what is empty;
 * `tell(stage, share)` is called while "sending", "working" and "receiving".
 * By XMLHttpRequest: fetch does not tell how much was sent.
 */
export function enhance(file, query, signal, tell) {
	return new Promise((resolve, reject) => {
		const request = new XMLHttpRequest();
		const target = address("v1/enhance");
		for (const [name, value] of Object.entries(query)) if (value !== "") target.searchParams.set(name, value);
		request.open("POST", target);
		request.responseType = "blob";
		if (token) request.setRequestHeader("Authorization", token);
		// By its content: what the browser takes from a suffix may be wrong.
		request.setRequestHeader("Content-Type", "application/octet-stream");
		const [suffix] = /\.\w+$/.exec(file.name) ?? [""]; // tells kinds of camera raw apart
		request.setRequestHeader("Content-Disposition", `attachment; filename="picture${suffix}"`);
		const share = ({ loaded, total }) => (total ? loaded / total : 0);
		request.upload.onprogress = (event) => tell("sending", share(event));
		request.upload.onload = () => tell("working", 0);
		request.onprogress = (event) => tell("receiving", share(event));
		request.onload = async () => {
			const { status, response } = request;
			const header = (name) => request.getResponseHeader(name);
			if (status !== 200) return reject(toError(status, await response.text(), header("Retry-After")));
			return resolve({ blob: response, kind: header("Content-Type") ?? "", notes: parse(header("Undim-Notes")) ?? [] });
		};
		request.onerror = async () => reject(new ServiceError(await explain(file), 0));
		request.onabort = () => reject(signal.reason);
		signal.addEventListener("abort", () => request.abort());
		request.send(file);
	});
}

const parse = (text) => {
	try {
		return JSON.parse(text);
	} catch {
		return null; // from something between here and the service
	}
};

/** A problem body (RFC 9457) and Retry-After, a number of seconds or a date. */
function toError(status, body, after) {
	const words = parse(body)?.detail || `The service answered with the status ${status}.`;
	const wait = /^\d+$/.test(after ?? "") ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
	return new ServiceError(words, status, Number.isFinite(wait) ? Math.max(0, wait) : null);
}

/** Why no answer came. */
async function explain(file) {
	try {
		await file.slice(0, 1).arrayBuffer();
	} catch {
		return "The file can no longer be read. Was it moved or changed? Choose it again.";
	}
	try {
		await fetch(address("healthz"));
		return "The connection was cut before an answer came. Try again; the picture may be too large for this service.";
	} catch {
		return "The service does not answer. See that undim serve is running, then try again.";
	}
}
