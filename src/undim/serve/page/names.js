// Names of files, in any script, and their sizes.

export const bytes = (size) => (size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`);

const SUFFIXES = {
	"image/jpeg": ["jpg", "jpeg"],
	"image/png": ["png"],
	"image/webp": ["webp"],
	"image/avif": ["avif"],
	"image/tiff": ["tif", "tiff"],
	"image/bmp": ["bmp"],
};
// Pictures whose kind browsers do not tell.
const UNTOLD = /\.(hei[cf]|hif|avif|tiff?|dng|cr[23]|ne[fr]w?|arw|raf|orf|rw2|pef|srw)$/i;
// What some file system does not take.
const FORBIDDEN = /[\u0000-\u001f\u007f/\\:*?"<>|]/g;

/** Whether a file in a folder is a picture; hidden ones do not count. */
export const looksLikePicture = ({ name, type }) => name[0] !== "." && (type.startsWith("image/") || UNTOLD.test(name));

const cut = (name) => /^(.+?)(\.\w{1,5})?$/su.exec(name).slice(1);

/** The picture's own name, with another suffix where what came back is of another kind. */
export function outputName(name, kind) {
	const clean = name.replace(FORBIDDEN, "_").replace(/^[. ]+|[. ]+$/g, "") || "picture";
	const [stem, suffix] = cut(clean);
	const suffixes = SUFFIXES[kind.split(";")[0].trim()];
	return !suffixes || suffixes.includes(suffix?.slice(1).toLowerCase()) ? clean : `${stem}.${suffixes[0]}`;
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
