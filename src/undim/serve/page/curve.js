// The blend of `strength` and the exposure curve of docs/exposure.md, of whole encoded values.

/** The curve, not rounded: values from 0 to `white` to such values; `exposure` in stops. */
export function expose(value, exposure, white) {
	const gain = 2 ** exposure;
	return (white * gain * value) / (white + (gain - 1) * value);
}

/** To the nearest whole number, halves to even; Math.round takes halves up. */
function roundEven(value) {
	const below = Math.floor(value);
	const rest = value - below;
	return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** One channel: the blend, then the curve, rounded once. */
export function settle(before, after, strength, exposure, white) {
	const mixed = (1 - strength) * before + strength * after;
	return roundEven(exposure ? expose(mixed, exposure, white) : mixed);
}

/** What becomes of each pair of bytes: it stands at 256 * before + after. */
export function makeTable(strength, exposure) {
	return Uint8Array.from({ length: 65536 }, (_, pair) => settle(pair >> 8, pair & 255, strength, exposure, 255));
}

/** Put into the RGBA bytes `after` what the table makes of `before` and them, with the alpha of `before`. */
export function applyTable(table, before, after) {
	for (let i = 0; i < after.length; i++) after[i] = i % 4 === 3 ? before[i] : table[256 * before[i] + after[i]];
}
