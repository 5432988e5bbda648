// From finished pictures to files on the disk.

import { outputName, uniqueNames } from "./names.js";
import { LARGEST, ZipWriter } from "./zip.js";

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
 * Write the pictures; the next is made while one is written. `make(picture)` promises {blob, kind}; `failed` is told
 * of each that is left out, `tell` how many are done. Returns how many are in.
 */
export async function saveAll(archive, pictures, { make, failed, tell, signal }) {
	const zip = new ZipWriter((part) => archive.write(part));
	const free = uniqueNames();
	const start = async (picture) => {
		try {
			return picture && { made: await make(picture) };
		} catch (error) {
			return { error };
		}
	};
	try {
		let next = start(pictures[0]);
		for (const [index, picture] of pictures.entries()) {
			const { made, error } = await next;
			signal.throwIfAborted();
			next = start(pictures[index + 1]);
			if (error) failed(picture, error);
			else if (zip.offset + made.blob.size > LARGEST) failed(picture, new Error("The zip is full; download this one alone."));
			else await zip.add(free(outputName(picture.name, made.kind)), made.blob);
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
