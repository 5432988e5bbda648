// What the page asks of the service.

const address = (path) => new URL(`../${path}`, import.meta.url);
let token = "";

export const setToken = (value) => (token = `Bearer ${value}`);

export async function listModels() {
	const answer = await fetch(address("v1/models"), { headers: token ? { Authorization: token } : {} });
	if (!answer.ok) throw toError(answer.status, await answer.text());
	return answer.json();
}

/**
 * Send a picture and take what comes back, {blob, kind, notes}; `tell(stage, share)` is called on the way.
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
		request.setRequestHeader("Content-Type", "application/octet-stream");
		const [suffix] = /\.\w+$/.exec(file.name) ?? [""]; // tells kinds of camera raw apart
		request.setRequestHeader("Content-Disposition", `attachment; filename="picture${suffix}"`);
		const share = ({ loaded, total }) => (total ? loaded / total : 0);
		request.upload.onprogress = (event) => tell("sending", share(event));
		request.upload.onload = () => tell("working", 0);
		request.onprogress = (event) => tell("receiving", share(event));
		request.onload = async () => {
			const { status, response } = request;
			const header = (name) => request.getResponseHeader(name) ?? "";
			if (status !== 200) return reject(toError(status, await response.text(), header("Retry-After")));
			return resolve({ blob: response, kind: header("Content-Type"), notes: parse(header("Undim-Notes")) ?? [] });
		};
		request.onerror = async () => reject(new Error(await explain(file)));
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

const LARGE = /(\d+) pixels.* max_pixels\D+(\d+)/; // in what the service says

/** Of a problem body (RFC 9457); `wait` are the seconds to another try. */
function toError(status, body, after) {
	const said = parse(body)?.detail || `The service answered with the status ${status}.`;
	const [, has, most] = LARGE.exec(said) ?? [];
	const words = most ? `${Math.ceil(has / 1e5) / 10} megapixels; this service takes at most ${most / 1e6}.` : said;
	return Object.assign(new Error(words), { status, wait: Number(after) || 2 });
}

async function explain(file) {
	try {
		await file.slice(0, 1).arrayBuffer();
	} catch {
		return "The file can no longer be read. Choose it again.";
	}
	return "The service does not answer. See that it runs, then try again.";
}
