// From finished pictures to files on the disk.

import { outputName, uniqueNames } from "./names.js";
import { ZipWriter } from "./zip.js";

const KEPT = 60_000; // milliseconds until a saved file's address is taken back

export function saveBlob(blob, name) {
	const link = document.createElement("a");
	Object.assign(link, { href: URL.createObjectURL(blob), download: name });
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
}

/** Where a zip goes: into a file that the user names, where the browser can; else a download at its end. */
export async function openArchive(name) {
	if (window.showSaveFilePicker) {
		const file = await window.showSaveFilePicker({ suggestedName: name });
		return file.createWritable();
	}
	const parts = [];
	return {
		write: (part) => parts.push(part),
		close: () => saveBlob(new Blob(parts, { type: "application/zip" }), name),
		abort: () => {},
	};
}

/**
 * Write the pictures, one after the other. `make(picture)` promises {blob, kind}; `failed` is told of each that is left
 * out, `tell` how many are done. Returns how many are in.
 */
export async function saveAll(archive, pictures, { make, failed, tell, signal }) {
	const zip = new ZipWriter((part) => archive.write(part));
	const free = uniqueNames();
	try {
		for (const [index, picture] of pictures.entries()) {
			const made = await make(picture).catch((error) => signal.aborted || failed(picture, error));
			signal.throwIfAborted();
			if (made) await zip.add(free(outputName(picture.name, made.kind)), made.blob);
			tell(index + 1);
		}
		if (!zip.entries.length) throw new Error("none of the pictures could be made");
		await zip.close();
		await archive.close();
	} catch (error) {
		await archive.abort();
		throw error;
	}
	return zip.entries.length;
}
