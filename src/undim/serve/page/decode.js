// From files to bitmaps of bounded size. The browser decodes beside the page, each picture in full: one at a time for the
// list, and one for the stage, which does not wait for it.

import { Gate } from "./gate.js";

export const LIST = new Gate(1);
export const STAGE = new Gate(1);

/** Size in pixels as it is shown, upright; null where this browser cannot show the file. */
export async function measure(blob) {
	const image = new Image();
	image.src = URL.createObjectURL(blob);
	try {
		await new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: reject }));
		return image.naturalWidth ? { width: image.naturalWidth, height: image.naturalHeight } : null;
	} catch {
		return null;
	} finally {
		URL.revokeObjectURL(image.src);
	}
}

/** A part of a picture, {left, top, width, height} in pixels of it, at `scale` where that is less than 1. */
export function decode(gate, blob, { left = 0, top = 0, width, height }, scale, signal) {
	const options = { premultiplyAlpha: "none", resizeQuality: "high" };
	if (scale < 1) {
		options.resizeWidth = Math.ceil(scale * width);
		options.resizeHeight = Math.ceil(scale * height);
	}
	return gate.run(() => createImageBitmap(blob, left, top, width, height, options), signal);
}
