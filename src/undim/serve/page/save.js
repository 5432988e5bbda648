// From finished pictures to files on the user's disk.

import { UniqueNames, outputName } from "./names.js";
import { ZipWriter } from "./zip.js";

const KEPT = 60_000;
/** Milliseconds after which a saved file's address is taken back: the browser has long begun to write it. */

export function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
}

/** Where a zip goes: straight to a file that the user names, where the browser can; else a download at its end. */
export async function openArchive(name) {
  if (!window.showSaveFilePicker) {
    const parts = [];
    return {
      write: (part) => parts.push(part),
      close: () => saveBlob(new Blob(parts, { type: "application/zip" }), name),
      abort: () => parts.splice(0),
    };
  }
  const types = [{ description: "Zip archive", accept: { "application/zip": [".zip"] } }];
  const file = await window.showSaveFilePicker({ suggestedName: name, types });
  const stream = await file.createWritable();
  return { write: (part) => stream.write(part), close: () => stream.close(), abort: () => stream.abort() };
}

/**
 * Write the pictures one after another; the next one is made while one is written.
 * `make(picture)` gives {blob, kind}, `failed(picture, error)` is told of those that are left out, `tell(done)` of
 * progress. Returns how many were written.
 */
export async function saveAll(archive, pictures, { make, failed, tell, signal }) {
  const zip = new ZipWriter((part) => archive.write(part));
  const names = new UniqueNames();
  const start = (picture) => picture && Promise.resolve(make(picture)).then((made) => ({ made }), (error) => ({ error }));
  let next = start(pictures[0]);
  try {
    for (const [index, picture] of pictures.entries()) {
      const { made, error } = await next;
      signal.throwIfAborted();
      next = start(pictures[index + 1]);
      if (error) failed(picture, error);
      else await zip.add(names.take(outputName(picture.name, made.kind)), made.blob);
      tell(index + 1);
    }
    if (!zip.entries.length) throw new Error("None of the pictures could be made.");
    await zip.close();
    await archive.close();
  } catch (error) {
    await archive.abort();
    throw error;
  }
  return zip.entries.length;
}
