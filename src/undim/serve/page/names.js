// Names of files, in any script, and their sizes.

export const bytes = (size) => (size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`);

const SHORT = { jpeg: "jpg", tiff: "tif" };
const FORBIDDEN = /[\u0000-\u001f\u007f/\\:*?"<>|]/g;

const cut = (name) => /^(.+?)(\.\w{1,5})?$/su.exec(name).slice(1);

/** The picture's own name, with another suffix where what came back is of another kind. */
export function outputName(name, kind) {
	const clean = name.replace(FORBIDDEN, "_").replace(/^[. ]+|[. ]+$/g, "") || "picture";
	const [stem, suffix] = cut(clean);
	const [, long] = /^image\/(\w+)/.exec(kind) ?? [];
	const usual = SHORT[long] ?? long;
	return !long || [long, usual].includes(suffix?.slice(1).toLowerCase()) ? clean : `${stem}.${usual}`;
}

/** A function that gives each name once: "a.jpg", then "a (2).jpg". Case and Unicode's forms make no difference. */
export function uniqueNames() {
	const taken = new Set();
	return (name) => {
		const [stem, suffix = ""] = cut(name);
		const fold = (text) => text.normalize("NFC").toLowerCase();
		let free = name;
		for (let number = 2; taken.has(fold(free)); number++) free = `${stem} (${number})${suffix}`;
		taken.add(fold(free));
		return free;
	};
}
