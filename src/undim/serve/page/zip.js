// A zip file without compression, part after part: pictures are compressed already. Names are UTF-8.

const LIMIT = 0xffffffff;
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

export async function crc32(blob) {
  let crc = LIMIT;
  const reader = blob.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return (crc ^ LIMIT) >>> 0;
    for (let at = 0; at < value.length; at += 1) crc = TABLE[(crc ^ value[at]) & 255] ^ (crc >>> 8);
  }
}

// Little-endian fields: [bytes, value] each.
function record(...fields) {
  const size = fields.reduce((sum, [bytes]) => sum + bytes, 0);
  const view = new DataView(new ArrayBuffer(size));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 4) view.setUint32(at, value, true);
    else view.setUint16(at, value, true);
    at += bytes;
  }
  return view.buffer;
}

function stamp(date) {
  const day = ((Math.max(date.getFullYear(), 1980) - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return [[2, (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1)], [2, day]];
}

export class Zip {
  #parts = [];
  #central = [];
  #names = new Set();
  #size = 0;

  // Append one file; two of one name are told apart.
  async add(name, blob, date = new Date()) {
    if (this.#size + blob.size > LIMIT - (1 << 24)) throw new Error("These are more than 4 GB: download some of them alone.");
    const bytes = new TextEncoder().encode(this.#own(name));
    const common = [
      [2, 20], [2, 0x0800], [2, 0], ...stamp(date),
      [4, await crc32(blob)], [4, blob.size], [4, blob.size], [2, bytes.length], [2, 0],
    ];
    const at = this.#size;
    this.#put(record([4, 0x04034b50], ...common), bytes, blob);
    this.#central.push(record([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), bytes);
  }

  // The whole file.
  close() {
    const start = this.#size;
    const count = this.#central.length / 2;
    this.#put(...this.#central);
    this.#put(record([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, this.#size - start], [4, start], [2, 0]));
    return new Blob(this.#parts, { type: "application/zip" });
  }

  #put(...parts) {
    for (const part of parts) this.#size += part.size ?? part.byteLength;
    this.#parts.push(...parts);
  }

  #own(name) {
    const clean = name.replace(/[\\/]/g, "_");
    const dot = clean.lastIndexOf(".") > 0 ? clean.lastIndexOf(".") : clean.length;
    let own = clean;
    for (let number = 2; this.#names.has(own); number += 1) own = `${clean.slice(0, dot)} (${number})${clean.slice(dot)}`;
    this.#names.add(own);
    return own;
  }
}
