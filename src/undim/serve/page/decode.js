// From files to bitmaps of bounded size. The browser decodes in threads of its own, a few pictures at a time: one for
// the list, and the two sides of the stage, which do not wait for the list.

import { Gate } from "./gate.js";

const listGate = new Gate(1);
const stageGate = new Gate(2);
const AS_STORED = { premultiplyAlpha: "none", resizeQuality: "high" };

/** Size in pixels as it is shown (upright), or null where this browser cannot show the file. */
export async function measure(blob) {
  const url = URL.createObjectURL(blob);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = url;
    });
    return image.naturalWidth ? { width: image.naturalWidth, height: image.naturalHeight } : null;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The whole picture with at most `limit` pixels along its longer side, for the stage. */
export function decode(blob, size, limit, signal) {
  return stageGate.run(() => reduce(blob, size, limit), signal);
}

/** The same, for the list. */
export function decodeSmall(blob, size, limit, signal) {
  return listGate.run(() => reduce(blob, size, limit), signal);
}

function reduce(blob, size, limit) {
  const scale = Math.min(1, limit / Math.max(size.width, size.height));
  return createImageBitmap(blob, scale < 1 ? { ...AS_STORED, ...scaled(size, scale) } : AS_STORED);
}

/** A part of it, in pixels of the picture, reduced to `scale` where that is less than 1. */
export function decodePart(blob, part, scale, signal) {
  const options = scale < 1 ? { ...AS_STORED, ...scaled(part, scale) } : AS_STORED;
  return stageGate.run(() => createImageBitmap(blob, part.left, part.top, part.width, part.height, options), signal);
}

const scaled = (size, scale) => ({
  resizeWidth: Math.max(1, Math.round(scale * size.width)),
  resizeHeight: Math.max(1, Math.round(scale * size.height)),
});
