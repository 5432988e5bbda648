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

/** Put into the RGBA bytes `made`, from a column on, what the table makes of `before` and `after`; alpha is that of `before`. */
export function applyTable(table, before, after, made, width, column) {
	for (let row = 0; row < made.length; row += 4 * width) {
		for (let i = row + 4 * column; i < row + 4 * width; i += 4) {
			made[i] = table[(before[i] << 8) | after[i]];
			made[i + 1] = table[(before[i + 1] << 8) | after[i + 1]];
			made[i + 2] = table[(before[i + 2] << 8) | after[i + 2]];
			made[i + 3] = before[i + 3];
		}
	}
}
