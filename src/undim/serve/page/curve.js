// The blend of `strength` and the exposure curve of docs/exposure.md, of whole encoded values.

const ROUND = 2 ** 52; // above it, a double has no fraction: what is added is rounded, halves to even

/** A function of before and after, values from 0 to `white`: the blend, then the curve by `exposure` stops, rounded once. */
export function settler(strength, exposure, white) {
	const gain = 2 ** exposure;
	return (before, after) => {
		const mixed = (1 - strength) * before + strength * after;
		return (exposure ? (white * gain * mixed) / (white + (gain - 1) * mixed) : mixed) + ROUND - ROUND;
	};
}

/** What becomes of each pair of bytes: it stands at 256 * before + after. */
export function makeTable(strength, exposure) {
	const settle = settler(strength, exposure, 255);
	const table = new Uint8Array(65536);
	for (let i = 0; i < 65536; i++) table[i] = settle(i >> 8, i & 255);
	return table;
}
