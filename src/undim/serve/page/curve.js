// The blend of `strength` and the exposure curve, as docs/exposure.md writes them, of whole encoded values.

/** The curve: values from 0 to `white` to such values, not rounded. `exposure` is in stops. */
export function expose(value, exposure, white) {
  const gain = 2 ** exposure;
  return (white * gain * value) / (white + (gain - 1) * value);
}

/** To the nearest whole number, halves to even: Math.round takes halves up. */
export function roundEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest === 0.5) return below % 2 ? below + 1 : below;
  return rest < 0.5 ? below : below + 1;
}

/** One channel's value: (1 - strength) * before + strength * after, then the curve, rounded once. */
export function settle(before, after, strength, exposure, white) {
  const mixed = (1 - strength) * before + strength * after;
  return roundEven(exposure === 0 ? mixed : expose(mixed, exposure, white));
}

/** All 256 x 256 of them for 8 bits: what becomes of `before` and `after` stands at 256 * before + after. */
export function makeTable(strength, exposure) {
  const table = new Uint8Array(65536);
  for (let before = 0; before < 256; before++) {
    for (let after = 0; after < 256; after++) {
      table[256 * before + after] = settle(before, after, strength, exposure, 255);
    }
  }
  return table;
}

/** Put what the table makes of the RGBA bytes `before` and `after` into `after`; alpha is that of `before`. */
export function applyTable(table, before, after) {
  for (let i = 0; i < after.length; i += 4) {
    after[i] = table[256 * before[i] + after[i]];
    after[i + 1] = table[256 * before[i + 1] + after[i + 1]];
    after[i + 2] = table[256 * before[i + 2] + after[i + 2]];
    after[i + 3] = before[i + 3];
  }
}
