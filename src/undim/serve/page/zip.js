// A zip archive without compression: pictures are compressed already. PKWARE's APPNOTE 6.3.10; names in UTF-8; the
// records of ZIP64 where an offset or the number of files needs them.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});
const MOST = 0xffffffff;
const STORED = 0;
const UTF8 = 1 << 11;

/** CRC-32 of what comes after bytes whose CRC-32 is `crc`. */
export function crc32(bytes, crc = 0) {
  crc = ~crc;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Little-endian fields: each [bytes, value], with 2, 4 or 8 bytes, or bytes as they are. */
function pack(...fields) {
  const length = fields.reduce((sum, field) => sum + (field instanceof Uint8Array ? field.length : field[0]), 0);
  const packed = new Uint8Array(length);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const field of fields) {
    if (field instanceof Uint8Array) {
      packed.set(field, at);
      at += field.length;
      continue;
    }
    const [bytes, value] = field;
    if (bytes === 2) view.setUint16(at, value, true);
    else if (bytes === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += bytes;
  }
  return packed;
}

const encode = (name) => new TextEncoder().encode(name);

/** Date and time of MS-DOS: two-second steps, from 1980 on, local time. */
function dosTime(date) {
  const year = Math.min(Math.max(date.getFullYear(), 1980), 2107);
  const day = ((year - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return [(date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1), day];
}

/** What stands before a file's bytes. `entry` has name, size and crc (below 4 GiB each) and date. */
export function localHeader({ name, size, crc, date }) {
  const [time, day] = dosTime(date);
  const bytes = encode(name);
  return pack(
    [4, 0x04034b50], [2, 20], [2, UTF8], [2, STORED], [2, time], [2, day], [4, crc], [4, size], [4, size],
    [2, bytes.length], [2, 0], bytes,
  );
}

function centralHeader({ name, size, crc, date, offset }) {
  const [time, day] = dosTime(date);
  const bytes = encode(name);
  const far = offset >= MOST;
  const extra = far ? pack([2, 1], [2, 8], [8, offset]) : new Uint8Array();
  return pack(
    [4, 0x02014b50], [2, far ? 45 : 20], [2, far ? 45 : 20], [2, UTF8], [2, STORED], [2, time], [2, day], [4, crc],
    [4, size], [4, size], [2, bytes.length], [2, extra.length], [2, 0], [2, 0], [2, 0], [4, 0],
    [4, far ? MOST : offset], bytes, extra,
  );
}

/** What closes the archive. `entries` have also `offset`, where their local header stands; `start` is where this does. */
export function directory(entries, start) {
  const headers = entries.map(centralHeader);
  const size = headers.reduce((sum, header) => sum + header.length, 0);
  const end = start + size;
  const count = entries.length;
  const far = start >= MOST || end >= MOST || count >= 0xffff;
  if (far) {
    headers.push(
      pack([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count], [8, size], [8, start]),
      pack([4, 0x07064b50], [4, 0], [8, end], [4, 1]),
    );
  }
  const said = far ? 0xffff : count;
  headers.push(
    pack([4, 0x06054b50], [2, 0], [2, 0], [2, said], [2, said], [4, far ? MOST : size], [4, far ? MOST : start], [2, 0]),
  );
  return headers;
}

/** Writes the archive piece by piece to `write`, which takes bytes or blobs and may return a promise. */
export class ZipWriter {
  constructor(write) {
    this.write = write;
    this.entries = [];
    this.offset = 0;
  }

  async add(name, blob, date = new Date()) {
    let crc = 0;
    const reader = blob.stream().getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) crc = crc32(part.value, crc);
    const entry = { name, size: blob.size, crc, date, offset: this.offset };
    const header = localHeader(entry);
    await this.write(header);
    await this.write(blob);
    this.entries.push(entry);
    this.offset += header.length + blob.size;
  }

  async close() {
    for (const bytes of directory(this.entries, this.offset)) await this.write(bytes);
  }
}
