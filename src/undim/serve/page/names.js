// Names of files, in any script.

const SUFFIXES = {
  "image/jpeg": ["jpg", "jpeg", "jpe", "jfif"],
  "image/png": ["png", "apng"],
  "image/webp": ["webp"],
  "image/avif": ["avif"],
  "image/tiff": ["tif", "tiff"],
  "image/bmp": ["bmp", "dib"],
  "image/gif": ["gif"],
};
/** Suffixes of pictures whose kind browsers do not tell. */
const OTHERS = /\.(heic|heif|hif|avif|tiff?|dng|cr2|cr3|nef|nrw|arw|raf|orf|rw2|pef|srw)$/i;
// What no file system takes, or what would lead out of the folder.
const FORBIDDEN = /[\u0000-\u001f\u007f/\\:*?"<>|]/g;

/** Whether a file of a dropped folder is a picture, by its kind or its name. Hidden files are not. */
export function looksLikePicture(file) {
  return !file.name.startsWith(".") && (file.type.startsWith("image/") || OTHERS.test(file.name));
}

/** The name of what came back: the picture's own, with another suffix where its kind is another one. */
export function outputName(name, kind) {
  const suffixes = SUFFIXES[kind.split(";")[0].trim().toLowerCase()];
  const clean = name.replace(FORBIDDEN, "_").replace(/^[. ]+|[. ]+$/g, "") || "picture";
  const dot = clean.lastIndexOf(".");
  const stem = dot > 0 ? clean.slice(0, dot) : clean;
  const suffix = dot > 0 ? clean.slice(dot + 1) : "";
  if (!suffixes || suffixes.includes(suffix.toLowerCase())) return clean;
  return `${stem}.${suffixes[0]}`;
}

/** Gives each name once: "a.jpg", then "a (2).jpg". Names that differ in case or in Unicode's form alone are the same. */
export class UniqueNames {
  constructor() {
    this.taken = new Set();
  }

  take(name) {
    const dot = name.lastIndexOf(".");
    const [stem, suffix] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
    let free = name;
    for (let number = 2; this.taken.has(fold(free)); number++) free = `${stem} (${number})${suffix}`;
    this.taken.add(fold(free));
    return free;
  }
}

const fold = (name) => name.normalize("NFC").toLowerCase();
